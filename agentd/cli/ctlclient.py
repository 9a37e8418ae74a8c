"""What the commands of `agentd ctl` share: the daemon and its token, requests, streams, what is shown. No trio here."""

from __future__ import annotations

import http.client
import json
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from agentd.cli.ctl import Usage
from agentd.cli.terminal import CONTROLS, one_line
from agentd.config import Settings, data_dir
from agentd.daemon.announced import Announced, find_daemon

DEFAULT_URL = "http://127.0.0.1:8787"
ADMIN = "/agentd/v1"
SECONDS = 60.0
SILENT_SECONDS = 60.0  # of a stream, which says that it lives every 15
AGAIN_SECONDS, LOST_SECONDS = 1.0, 300.0  # between two tries to resume a stream, and until it is given up
COLUMN_CHARS = 60


class Failed(Exception):
    """It could not be done. Its text is for the person."""


class HttpRefused(Failed):
    def __init__(self, status: int, body: bytes) -> None:
        text = CONTROLS.sub("\ufffd", body.decode("utf-8", "replace").strip())
        super().__init__(f"http {status}: {text}")
        self.status = status


class Reply(NamedTuple):
    headers: http.client.HTTPMessage
    body: bytes


class Event(NamedTuple):
    id: str
    name: str
    data: str


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Ctl:
    """Every method raises Failed for what the daemon does not do, and Usage for what was not said as it has to be."""

    def __init__(self, settings: Settings, env: Mapping[str, str]) -> None:
        self.settings, self.words, self._env = settings, settings.words, env
        self.json = settings.switch("json")
        found = find_daemon(data_dir(settings.text("data-dir"), env))
        asked = settings.text("url")
        self.url = (asked or (found.address if found else DEFAULT_URL)).rstrip("/")
        self._local: Announced | None = found if found is not None and self.url == found.address else None

    # --- What was said --------------------------------------------------------------------------------------------

    def text(self, name: str) -> str:
        return self.settings.text(name) or ""

    def needed(self, name: str) -> str:
        if not (value := self.settings.text(name)):
            raise Usage(f"--{name} is needed")
        return value

    def path(self, name: str) -> str:
        """Absolute; "" where it was not given."""
        value = self.settings.text(name)
        return str(Path(value).expanduser().absolute()) if value else ""

    def token(self, path: str) -> str:
        """The one that opens *path*; that in the data directory goes to the daemon there alone."""
        ours, admin = self._env.get("HARNESS_AUTH_TOKEN", "").strip(), self._env.get("AGENTD_ADMIN_TOKEN", "").strip()
        if not admin and self._local is not None and (file := self._local.tokens.get("admin")):
            admin = _read_token(file)
        first, second = (admin, ours) if path.startswith(ADMIN) else (ours, admin)
        return self.settings.text("token") or first or second

    # --- Asking ---------------------------------------------------------------------------------------------------

    def ask(self, method: str, path: str, body: Any = None, *, seconds: float = SECONDS) -> Any:
        """The JSON of an answer."""
        reply = self.fetch(method, path, body, seconds=seconds)
        try:
            return json.loads(reply.body) if reply.body else None
        except ValueError:
            raise Failed(f"what is at {self.url} is no agentd: its answer is no JSON") from None

    def fetch(self, method: str, path: str, body: Any = None, *, seconds: float = SECONDS) -> Reply:
        with self._exchange(method, path, body, seconds, {}) as response:
            return Reply(response.headers, response.read())

    @contextmanager
    def _exchange(
        self, method: str, path: str, body: Any, seconds: float, headers: Mapping[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        data = None if body is None else json.dumps(body).encode()
        fields = {"Accept": "application/json", **headers}
        fields |= {"Content-Type": "application/json"} if data is not None else {}
        fields |= {"Authorization": f"Bearer {token}"} if (token := self.token(path)) else {}
        connection, base = self._connection(seconds)
        try:
            connection.request(method, base + path, data, fields)
            response = connection.getresponse()
            if response.status >= 400:
                raise HttpRefused(response.status, response.read(65536))
            yield response
        except TimeoutError:
            raise Failed(f"the daemon at {self.url} did not answer within {seconds:g} s") from None
        except (ConnectionRefusedError, FileNotFoundError):
            raise Failed(self._not_there()) from None
        except (OSError, http.client.HTTPException) as exc:
            raise Failed(f"the daemon at {self.url} cannot be asked: {exc or type(exc).__name__}") from exc
        finally:
            connection.close()

    def _connection(self, seconds: float) -> tuple[http.client.HTTPConnection, str]:
        if self.url.startswith("unix:"):
            return _UnixConnection(self.url.removeprefix("unix:"), seconds), ""
        try:
            parts = urlsplit(self.url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if not host or parts.scheme not in ("http", "https"):
            raise Usage(f"{self.url} is no address; it is http://host:port or unix:/path")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        return kind(host, port, timeout=seconds), parts.path.rstrip("/")

    def _not_there(self) -> str:
        if self._local is not None:
            return f"the daemon, process {self._local.pid}, does not listen at {self.url}"
        return f"no daemon listens at {self.url}; start one with `agentd serve`, or name another with --url"

    # --- Streams --------------------------------------------------------------------------------------------------

    def follow(self, path: str, after: str = "") -> Iterator[Event]:
        """Server-sent events, behind *after*. A stream that breaks off is taken up again where it did."""
        lost = 0.0
        while True:
            began = time.monotonic()
            try:
                for event in self.stream(path, after):
                    after, lost = event.id or after, 0.0
                    yield event
            except HttpRefused:
                raise
            except Failed as exc:
                lost = lost or began
                if time.monotonic() - lost > LOST_SECONDS:
                    raise
                self.tell(f"{exc}; trying again")
            time.sleep(AGAIN_SECONDS)

    def stream(self, path: str, after: str = "") -> Iterator[Event]:
        """The same, once."""
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
        with self._exchange("GET", path, None, SILENT_SECONDS, headers) as response:
            ident, name, data = "", "message", list[str]()
            for raw in response:
                line = raw.decode("utf-8", "replace").rstrip("\r\n")
                field, _, value = line.partition(":")
                value = value.removeprefix(" ")
                match field:
                    case "id":
                        ident = value
                    case "event":
                        name = value
                    case "data":
                        data.append(value)
                    case "" if not line and data:
                        yield Event(ident, name, "\n".join(data))
                        ident, name, data = "", "message", []

    # --- Showing --------------------------------------------------------------------------------------------------

    def show(self, value: Any, *lines: str) -> None:
        """*lines* for people; with --json *value*."""
        if self.json:
            print(json.dumps(value, ensure_ascii=False), flush=True)
            return
        for line in lines:
            print(printable(line), flush=True)

    def table(self, value: Any, rows: Iterable[Sequence[Any]], *heads: str) -> None:
        """Rows under *heads*, in columns."""
        cells = [[_cell(value) for value in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
        lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in (heads, *cells))
        self.show(value, *(lines if cells else ["none"]))

    def tell(self, text: str) -> None:
        print(printable(text), file=sys.stderr)

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Tell a person at a terminal that it goes on."""
        over = threading.Event()
        thread = threading.Thread(target=_tick, args=(what, over))
        if sys.stderr.isatty() and not self.json:
            thread.start()
        try:
            yield
        finally:
            over.set()
            if thread.ident is not None:
                thread.join()


def _cell(value: Any) -> str:
    return "-" if value is None or value == "" else one_line(str(value), COLUMN_CHARS)


def printable(text: str) -> str:
    """Without what a terminal obeys."""
    return CONTROLS.sub("\ufffd", text)


def _tick(what: str, over: threading.Event) -> None:
    began = time.monotonic()
    while not over.wait(1.0):
        sys.stderr.write(f"\r\033[2m… {what}  {time.monotonic() - began:.0f} s\033[0m\033[K")
        sys.stderr.flush()
    sys.stderr.write("\r\033[K")
    sys.stderr.flush()


def _read_token(file: str) -> str:
    try:
        return Path(file).read_text(encoding="latin-1").strip()
    except OSError as exc:
        raise Failed(f"the token in {file} cannot be read: {exc.strerror}") from exc


def when(ms: int | None) -> str:
    """Epoch milliseconds for people, on this machine's clock."""
    return time.strftime("%m-%d %H:%M:%S", time.localtime(ms / 1000)) if ms else "-"


def part(text: str) -> str:
    """As a part of a path."""
    return quote(text, safe="")
