"""Figures about the daemon, as Prometheus' text format wants them, and the log of its exchanges.

Labels name faces, routes, states: never an id, a path or a person. Counting is on the way of every request, so it is
one look-up and three additions; everything else is read only when somebody asks.
"""

from __future__ import annotations

import logging
import resource
import sys
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal
from uuid import UUID

import attrs
import trio

from agentd import __version__
from agentd.wire.messages import Request, Response
from agentd.wire.observer import Load
from agentd.wire.routing import Guard, Mount, Route, Routes

TYPE = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # of the histogram, in seconds
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
NO_ROUTE = "(none)"
QUIET = frozenset({"GET", "HEAD", "OPTIONS"})  # they change nothing
SLOW_SECONDS = 5.0
LAG_TICK_SECONDS = 0.5

Labels = Mapping[str, str]
Sample = tuple[Labels, float]
Read = Callable[[], Iterable[Sample] | float]
Kind = Literal["counter", "gauge"]

logger = logging.getLogger("agentd.http")


# --- Exchanges ----------------------------------------------------------------------------------------------------


@attrs.define
class Series:
    """One method of one route of one face."""

    statuses: Counter[int] = attrs.field(factory=Counter)
    buckets: list[int] = attrs.field(factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0


class Exchanges:
    """A wire.observer.Observer: counts every exchange, and logs those that change something, fail, or take long.

    One that only reads is logged at level debug alone: clients poll, and a line takes longer than a small answer."""

    def __init__(self) -> None:
        self.refusals: Counter[int] = Counter()
        self._loads: list[Callable[[], Load]] = []
        self._series: dict[tuple[str, str, str], Series] = {}

    def serving(self, load: Callable[[], Load]) -> None:
        self._loads.append(load)

    def answered(self, request: Request, mount: Mount | None, status: int, seconds: float) -> None:
        route = request.route
        method = request.method if request.method in METHODS else "other"
        key = (mount.name if mount else "", label_of(mount, route) if mount and route else NO_ROUTE, method)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = Series()
        series.statuses[status] += 1
        series.buckets[bisect_left(BOUNDS, seconds)] += 1
        series.seconds += seconds
        level = level_of(method, status, seconds)
        if logger.isEnabledFor(level):
            log_exchange(level, request, key, status, seconds)

    def refused(self, status: int) -> None:
        self.refusals[status] += 1
        logger.debug("refused with %d what was no request", status)

    def connections(self) -> int:
        return sum(load().connections for load in self._loads)

    def streams(self) -> Iterator[Sample]:
        """Readers of streams of events that have all there is for them, and those that lag behind."""
        loads = [load() for load in self._loads]
        behind = sum(load.behind for load in loads)
        yield {"state": "current"}, sum(load.streams for load in loads) - behind
        yield {"state": "behind"}, behind

    def requests(self) -> Iterator[Sample]:
        for labels, series in self._labelled():
            for status, number in series.statuses.items():
                yield {**labels, "status": str(status)}, number
        for status, number in self.refusals.items():
            yield {"face": "", "route": NO_ROUTE, "method": "other", "status": str(status)}, number

    def seconds(self) -> Iterator[str]:
        """The lines of the histogram."""
        name = "agentd_request_seconds"
        for labels, series in self._labelled():
            total = 0
            for bound, number in zip((*BOUNDS, "+Inf"), series.buckets, strict=True):
                total += number
                yield line(f"{name}_bucket", {**labels, "le": str(bound)}, total)
            yield line(f"{name}_sum", labels, series.seconds)
            yield line(f"{name}_count", labels, total)

    def _labelled(self) -> Iterator[tuple[dict[str, str], Series]]:
        for (face, route, method), series in sorted(self._series.items()):
            yield {"face": face, "route": route, "method": method}, series


def label_of(mount: Mount, route: Route) -> str:
    return f"{mount.prefix}{route.pattern}".rstrip("/") or "/"


def level_of(method: str, status: int, seconds: float) -> int:
    if status >= 500:
        return logging.WARNING
    if method not in QUIET or status in (401, 403) or seconds >= SLOW_SECONDS:
        return logging.INFO
    return logging.DEBUG


def log_exchange(level: int, request: Request, key: tuple[str, str, str], status: int, seconds: float) -> None:
    """The route instead of the path, which may hold anything; of its parameters, those that are ids."""
    face, route, method = key
    ids = {name: str(value) for name, value in request.params.items() if is_id(value)}
    fields = {"face": face, "method": method, "route": route, "status": status, "ms": round(seconds * 1000, 1), **ids}
    shown = " ".join([f"{method} {route}", *(f"{name}={value}" for name, value in ids.items())])
    text = f"{shown} {status} in {seconds * 1000:.1f} ms, to {request.peer}"
    logger.log(level, "%s", text, extra={"fields": fields | {"peer": request.peer}})


def is_id(value: object) -> bool:
    if isinstance(value, (int, UUID)):
        return True
    try:
        return isinstance(value, str) and bool(UUID(value))
    except ValueError:
        return False


# --- The page -----------------------------------------------------------------------------------------------------


@attrs.frozen
class Family:
    name: str
    kind: Kind
    text: str
    read: Read

    def lines(self) -> Iterator[str]:
        samples = self.read()
        pairs = [({}, float(samples))] if isinstance(samples, (int, float)) else samples
        for labels, value in pairs:
            yield line(self.name, labels, value)


class Metrics:
    """The exchanges, the process, and whatever add() brings."""

    def __init__(self) -> None:
        self.exchanges = Exchanges()
        self.lag_seconds = 0.0
        self._families: list[Family] = []
        self._before: list[Callable[[], Awaitable[None]]] = []
        self.add("agentd_requests_total", "counter", "requests answered", self.exchanges.requests)
        self.add("agentd_connections", "gauge", "open connections", self.exchanges.connections)
        self.add("agentd_streams", "gauge", "readers of events, by whether they have them all", self.exchanges.streams)
        self.add("agentd_info", "gauge", "the version that runs", lambda: [({"version": __version__}, 1)])
        self.add("agentd_loop_lag_seconds", "gauge", "how late the event loop is", lambda: self.lag_seconds)
        add_process(self)

    def add(self, name: str, kind: Kind, text: str, read: Read) -> None:
        """*read* gives a number, or pairs of labels and number, whenever somebody asks: it must not block."""
        self._families.append(Family(name, kind, text, read))

    def before(self, prepare: Callable[[], Awaitable[None]]) -> None:
        """Have *prepare* awaited before figures are read: it measures what takes longer."""
        self._before.append(prepare)

    async def page(self) -> str:
        for prepare in self._before:
            await prepare()
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        for family in self._families:
            yield from (f"# HELP {family.name} {family.text}", f"# TYPE {family.name} {family.kind}")
            yield from family.lines()
        name = "agentd_request_seconds"
        yield from (f"# HELP {name} time until the answer began", f"# TYPE {name} histogram")
        yield from self.exchanges.seconds()

    async def watch_loop(self) -> None:
        """Measure for ever how late a timer fires: what every client waits when a handler computes."""
        while True:
            due = trio.current_time() + LAG_TICK_SECONDS
            await trio.sleep_until(due)
            self.lag_seconds = max(0.0, trio.current_time() - due)

    def mount(self, guard: Guard) -> Mount:
        """`GET /metrics`, for whom *guard* lets in."""
        return Mount(routes, self, prefix="/metrics", name="main", guard=guard)


routes = Routes()


@routes.get("/")
async def show(app: Metrics, request: Request) -> Response:
    return Response(200, (await app.page()).encode(), TYPE)


def line(name: str, labels: Labels, value: float) -> str:
    inner = ",".join(f'{key}="{escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{inner}}} {value:.9g}" if inner else f"{name} {value:.9g}"


def escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


# --- The process and the disk -------------------------------------------------------------------------------------


def add_process(metrics: Metrics) -> None:
    """By the names that Prometheus' own libraries use."""
    started = time.time()
    metrics.add("process_start_time_seconds", "gauge", "when it started", lambda: started)
    metrics.add("process_cpu_seconds_total", "counter", "user and system time", time.process_time)
    metrics.add("process_resident_memory_bytes", "gauge", "memory in use", resident_bytes)
    descriptors = Path("/proc/self/fd")
    if descriptors.is_dir():
        metrics.add(
            "process_open_fds", "gauge", "open files and sockets", lambda: sum(1 for _ in descriptors.iterdir())
        )
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    metrics.add("process_max_fds", "gauge", "as many may be open", lambda: limit)


def resident_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:  # not Linux: the most there ever was has to do
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
