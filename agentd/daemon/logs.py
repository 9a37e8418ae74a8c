"""What the daemon says while it works: a line for each thing, for people or as JSON, on standard error. No trio here.

A line tells which request it is about. It never tells what was asked: no prompt, no body, no query, no token. Whoever
logs names things by their ids; what slips through in the text of a foreign error looks like a secret, or is not shown:
of an exception that is not ours, its type and where it came from are.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import traceback
from collections.abc import Iterator
from typing import IO, Any, Literal

from agentd.errors import AgentdError
from agentd.providers.redact import HIDDEN, redact
from agentd.wire.observer import current

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")
Form = Literal["text", "json"]
SUBJECTS = ("session", "job")
FRAMES = 12  # of a trace, the innermost

_TOKENS = re.compile(r"\b[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}\b")  # session tokens, and JSON Web Tokens
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


def configure(form: str, level: str, stream: IO[str] | None = None) -> None:
    """Have everything of *level* (of LEVELS) and above written to *stream*, by *form* (of FORMATS)."""
    _use(JsonFormatter() if form == "json" else TextFormatter(), level, stream)


def configure_plain(program: str, level: str, stream: IO[str] | None = None) -> None:
    """The same for a process whose lines go into the log of another, or to a person: they say who speaks, not when."""
    _use(PlainFormatter(program), level, stream)


def _use(formatter: logging.Formatter, level: str, stream: IO[str] | None) -> None:
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.raiseExceptions = False  # whoever read our stderr may have gone: no reason to do anything else about it


class TextFormatter(logging.Formatter):
    """2026-11-22T06:10:02.123Z INFO    daemon.pool [4f2c9e1a-1f] what happened, session=a312aa40-…"""

    def format(self, record: logging.LogRecord) -> str:
        request = current.get()
        about = f" [{request}]" if request else ""
        named = "".join(f", {name}={value}" for name, value in _subject(record).items())
        lines = "\n".join([_message(record) + named, *_trace(record)])
        head = f"{_stamp(record.created)} {record.levelname:7} {_source(record)}{about}"
        return f"{head} {lines}".replace("\n", "\n    ")  # no line of a text can pass for one of ours


class PlainFormatter(logging.Formatter):
    """agentd executor: WARNING what happened"""

    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program

    def format(self, record: logging.LogRecord) -> str:
        lines = "\n".join([_message(record), *_trace(record)])
        return f"{self._program}: {record.levelname} {lines}".replace("\n", "\n    ")


class JsonFormatter(logging.Formatter):
    """{"time", "level", "source", "message", "request"?, "session"?, "job"?, "trace"?: [lines]}, and what
    `extra={"fields": {…}}` has."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _stamp(record.created),
            "level": record.levelname.lower(),
            "source": _source(record),
            "message": _message(record),
        }
        if request := current.get():
            line["request"] = request
        line |= _subject(record) | getattr(record, "fields", {})
        if trace := list(_trace(record)):
            line["trace"] = trace
        return json.dumps(line, ensure_ascii=False)


def _stamp(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds * 1000) % 1000:03}Z"


def _source(record: logging.LogRecord) -> str:
    return record.name.removeprefix("agentd.")


def _subject(record: logging.LogRecord) -> dict[str, str]:
    """What `extra={"session": id}` says that it is about."""
    return {name: str(record.__dict__[name]) for name in SUBJECTS if name in record.__dict__}


def _message(record: logging.LogRecord) -> str:
    return safe(record.getMessage())


def safe(text: str) -> str:
    """*text* without what looks like a secret, and without what moves a terminal's cursor."""
    return _CONTROLS.sub("?", _TOKENS.sub(HIDDEN, redact(text)))


# --- Exceptions ---------------------------------------------------------------------------------------------------


def _trace(record: logging.LogRecord) -> Iterator[str]:
    exc = record.exc_info[1] if record.exc_info else None
    seen = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        yield from _told(exc)
        exc = exc.__cause__ or (None if exc.__suppress_context__ else exc.__context__)
        if exc is not None:
            yield "after"


def _told(exc: BaseException) -> Iterator[str]:
    yield _named(exc)
    for frame in traceback.extract_tb(exc.__traceback__)[-FRAMES:]:
        yield f"  {frame.filename}:{frame.lineno} {frame.name}"
    if isinstance(exc, BaseExceptionGroup):
        for each in exc.exceptions:
            yield from (f"  {line}" for line in _told(each))


def _named(exc: BaseException) -> str:
    """With its text only where that is known to be safe: others repeat the values that they choked on."""
    name = type(exc).__name__
    if isinstance(exc, AgentdError):
        return f"{name}: {safe(str(exc))}"
    return f"{name}: {exc.strerror}" if isinstance(exc, OSError) and exc.strerror else name
