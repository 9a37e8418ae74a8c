"""What executors and launchers print: not to be trusted with our memory, our time, or the size of our own log."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable

import trio
from trio.lowlevel import FdStream

LINE_LIMIT, LINE_CHARACTERS = 1 << 16, 500  # what is looked at of a line, in bytes, and what is kept
KEPT_LINES, SHOWN_LINES = 20, 3
CHUNK_LINES = 50  # of one chunk that is drained: a flood is counted, not looked at
LOG_LINES, LOG_SECONDS = 100, 1.0  # so many lines are logged in so much time
logger = logging.getLogger("agentd.executor")


class Output:
    """What one executor says. The last lines of its standard error are kept, and what it prints is logged."""

    def __init__(self, session: str) -> None:
        self.words: deque[str] = deque(maxlen=KEPT_LINES)
        self._extra = {"session": session}
        self._window, self._logged, self._left_out = 0.0, 0, 0

    def hear_status(self, line: str) -> None:
        """A line of its standard error."""
        self.words.append(line[:LINE_CHARACTERS])
        self.hear_noise(line)

    def hear_noise(self, line: str) -> None:
        """A line of its standard output that is not ours."""
        now = time.monotonic()
        if now - self._window > LOG_SECONDS:
            self._window, self._logged = now, 0
        if self._logged >= LOG_LINES:
            self._left_out += 1
            return
        if self._left_out:
            logger.info("[%d lines left out]", self._left_out, extra=self._extra)
            self._left_out = 0
        self._logged += 1
        logger.info("%s", line[:LINE_CHARACTERS], extra=self._extra)

    def leave_out(self, lines: int) -> None:
        """So many lines came that nobody looked at."""
        self._left_out += lines

    def last_words(self) -> str:
        return "".join(f"\n  {line}" for line in list(self.words)[-SHOWN_LINES:])


class Lines:
    """The lines of a stream; of a very long one the beginning."""

    def __init__(self, stream: FdStream) -> None:
        self._stream = stream
        self._whole: deque[bytes] = deque()
        self._rest = b""

    async def next(self) -> str | None:
        """The next line, or what there is of one at the end. None after the end."""
        while not self._whole:
            chunk = await self._read()
            if not chunk:
                last, self._rest = self._rest, b""
                return last.decode(errors="replace") if last else None
            *whole, rest = (self._rest + chunk).split(b"\n")
            self._whole.extend(whole)
            self._rest = rest[:LINE_LIMIT]
        return self._whole.popleft().decode(errors="replace")

    async def drain(self, output: Output, hear: Callable[[str], None]) -> None:
        """Have *hear* what comes until the end; of a flood, the last lines of each piece; *output* counts the rest."""
        while self._whole:
            hear(self._whole.popleft().decode(errors="replace"))
        while chunk := await self._read():
            *whole, rest = (self._rest + chunk).rsplit(b"\n", CHUNK_LINES + 1)
            if len(whole) > CHUNK_LINES:
                output.leave_out(whole.pop(0).count(b"\n") + 1)
            for line in whole:
                hear(line.decode(errors="replace"))
            self._rest = rest[:LINE_LIMIT]
        if self._rest:
            hear(self._rest.decode(errors="replace"))

    async def _read(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some())
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            return b""
