"""Every fault of a model service, over real sockets and through the whole engine: the job ends as it should and when it
should, its conversation can be gone on with, and no secret is in any file. The clock is virtual; the machine's is not.

`python -m tests.faults.test_model_services` runs them all and prints what becomes of each.
"""

from __future__ import annotations

import math
import signal
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from agentd.domain import JobState, Record
from agentd.engine.engine import Engine
from agentd.providers.policy import Policy
from agentd.providers.scripted import ScriptedProvider
from agentd.store.home import make_home
from agentd.tools.registry import FILE_TOOLS
from agentd.wire.http import HttpClient, HttpSettings
from agentd.wire.proxy import Proxies
from agentd.wire.tls import Trust
from tests.faults.modelfaults import SECRETS, Fault, Outcome, done, faults
from tests.faults.strikes import AUTHORITY, DOORS, HOST, LookUp, breaks, reset
from tests.modelserver import (
    PROTOCOLS,
    SPOILT,
    ModelServer,
    ProtocolName,
    Turn,
    call,
    open_model_server,
    provider_of,
    speak,
)
from tests.workshop import Workshop, ended, spec

IDLE_SECONDS = 0.01  # real ones, without anything to do, after which the clock jumps: loopback may take its time
REAL_SECONDS = 60  # for one cell of the table
OFTEN = 12  # more than any model is called
MOST_BYTES = 8 * 2**20  # of the last request, whatever came before
FIRST, NEXT, CONTENT = "What is in a.txt?", "And now?", "the first line of a"
CELLS = [(protocol, name) for protocol in PROTOCOLS for name in faults(protocol)]
LASTING = [(protocol, name) for protocol, name in CELLS if faults(protocol)[name].always]


@pytest.fixture
def virtual_clock() -> MockClock:
    return MockClock(autojump_threshold=IDLE_SECONDS)


@pytest.mark.parametrize(("protocol", "name"), CELLS)
async def test_a_fault_ends_as_it_should(
    tmp_path: Path, virtual_clock: MockClock, protocol: ProtocolName, name: str
) -> None:
    fault = faults(protocol)[name]
    assert str(await meet(tmp_path, protocol, fault, times=1)) == str(fault.once)


@pytest.mark.parametrize(("protocol", "name"), LASTING)
async def test_a_fault_that_lasts_is_given_up(
    tmp_path: Path, virtual_clock: MockClock, protocol: ProtocolName, name: str
) -> None:
    fault = faults(protocol)[name]
    assert str(await meet(tmp_path, protocol, fault, times=OFTEN)) == str(fault.always)


ZONES = {"openai": (1, 9), "anthropic": (3, 17)}  # so many events and nothing is said yet; so many and all is said


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_reset_between_any_two_events_ends_as_it_should(
    tmp_path: Path, virtual_clock: MockClock, protocol: ProtocolName
) -> None:
    silent, said = ZONES[protocol]
    for after in range(len(speak(protocol, SPOILT, (1, 1, 0), 1)) + 1):
        expected = done() if after >= said else done(2, 1) if after <= silent else Outcome("PROVIDER_UNREACHABLE")
        (tmp_path / str(after)).mkdir()
        assert (after, await meet(tmp_path / str(after), protocol, Fault(done(), strike=breaks(after, reset)), 1)) == (
            after,
            expected,
        )


class Patience(trio.abc.Instrument):
    """Keeps the clock from jumping over the time that tools take in threads, which have deadlines too."""

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, MockClock)
        at_work = trio.to_thread.current_default_thread_limiter().borrowed_tokens
        threshold = math.inf if at_work else IDLE_SECONDS
        if clock.autojump_threshold != threshold:
            clock.autojump_threshold = threshold


@contextmanager
def patience() -> Iterator[None]:
    instrument = Patience()
    trio.lowlevel.add_instrument(instrument)
    try:
        yield
    finally:
        trio.lowlevel.remove_instrument(instrument)


async def meet(directory: Path, protocol: ProtocolName, fault: Fault, times: int) -> Outcome:
    """Have a job meet a fault, so often, and another one go on from there."""
    first = () if fault.strike is None else (Turn(calls=(call("Read", file_path="a.txt"),)), *[fault.strike] * times)
    with real_time(REAL_SECONDS), patience():
        look_ups = deque([fault.look_up] * times if fault.look_up else [])
        async with open_model_server(protocol, *first) as server, opened(directory, server, fault, look_ups) as engine:
            server.bad_doors.extend([fault.door] * times if fault.door else [])
            outcome = await do(engine, FIRST)
            for trouble in (server.plays, server.bad_doors, look_ups):
                trouble.clear()
            assert (await do(engine, NEXT)).what == "COMPLETED"
    check_history(server, told=CONTENT if fault.strike else "")
    check_secrets(directory)
    return outcome


async def do(engine: Engine, prompt: str) -> Outcome:
    began = trio.current_time()
    accepted = await engine.accept(spec(prompt))
    await ended(accepted.session, accepted.job, math.inf)
    finished, seconds = accepted.job.finished or {}, trio.current_time() - began
    records: Sequence[Record] = [r for r in accepted.session.view.records() if r.job == accepted.job.id]
    assert [record.type for record in records][-1] == "job.finished"
    retries = sum(record.type == "notice" and record.data["code"] == "RETRY" for record in records)
    completed = accepted.job.state is JobState.COMPLETED
    return Outcome("COMPLETED" if completed else finished["error"]["code"], retries + 1, int(seconds))


def check_history(server: ModelServer, told: str) -> None:
    """The service understood all it was sent; in the last of it is what was said before, and what a tool had *told*."""
    assert server.problems == []
    last = server.seen[-1].body.decode()
    assert len(last) < MOST_BYTES
    assert FIRST in last
    assert NEXT in last
    assert told in last


def check_secrets(directory: Path) -> None:
    texts = [path.read_bytes() for path in (directory / "home").rglob("*") if path.is_file()]
    assert texts
    for secret in SECRETS.values():
        assert not any(secret.encode() in text for text in texts)


# --- The scene ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def opened(directory: Path, server: ModelServer, fault: Fault, look_ups: deque[LookUp]) -> AsyncIterator[Engine]:
    """An engine whose only model is the server's, which lies behind the fault."""
    workspace = directory / "workspace"
    workspace.mkdir()
    (workspace / "a.txt").write_text(f"{CONTENT}\n")
    server.door = DOORS[fault.way]
    settings = http_settings(directory, server, fault, look_ups)
    async with HttpClient(settings) as client:
        base_url = f"{'http' if fault.way == 'http' else 'https'}://{HOST}:{server.port}"
        key, headers = SECRETS["key"], {"x-gateway": SECRETS["header"]}
        service = provider_of(server, client, base_url=base_url, key=key, headers=headers, deadlines=fault.deadlines)
        shop = Workshop(make_home(directory / "home"), workspace, ScriptedProvider([]), tools=FILE_TOOLS)
        shop.services, shop.policy = [service], Policy(random=lambda: 0.0)
        async with shop.open() as engine:
            yield engine


def http_settings(directory: Path, server: ModelServer, fault: Fault, look_ups: deque[LookUp]) -> HttpSettings:
    async def resolve(host: str, port: int) -> Sequence[str]:
        await trio.lowlevel.checkpoint()
        return await look_ups.popleft()() if look_ups else ["127.0.0.1"]

    authorities = directory / "authorities.pem"
    AUTHORITY.cert_pem.write_to_path(str(authorities))
    proxy = f"http://somebody:{SECRETS['proxy']}@127.0.0.1:{server.port}"
    proxies = Proxies.from_env({"https_proxy": proxy} if fault.way == "proxy" else {})
    return HttpSettings(proxies, Trust(str(authorities)), resolve)


@contextmanager
def real_time(seconds: int) -> Iterator[None]:
    """What hangs although the clock is virtual fails."""

    def late(*_: object) -> None:
        raise AssertionError(f"not over after {seconds} s of real time")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# --- The table ----------------------------------------------------------------------------------------------------


def met(protocol: ProtocolName, fault: Fault, times: int) -> str:
    with tempfile.TemporaryDirectory() as directory:
        clock = MockClock(autojump_threshold=IDLE_SECONDS)
        return str(trio.run(partial(meet, times=times), Path(directory), protocol, fault, clock=clock))


def table(names: Sequence[str]) -> Iterator[str]:
    yield "| fault | service | once | always |\n| --- | --- | --- | --- |"
    for name in names or faults("openai"):
        found = {}
        for protocol in PROTOCOLS:
            fault = faults(protocol)[name]
            found[protocol] = (
                f"{met(protocol, fault, 1)} | {met(protocol, fault, OFTEN) if fault.always else 'the same'}"
            )
        for outcome in dict.fromkeys(found.values()):
            both = [protocol for protocol, each in found.items() if each == outcome]
            yield f"| {name} | {'both' if len(both) > 1 else both[0]} | {outcome} |"


if __name__ == "__main__":
    for line in table(sys.argv[1:]):
        print(line, flush=True)  # noqa: T201
