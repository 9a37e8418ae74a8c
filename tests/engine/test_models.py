"""Which model does a job's work: looked up before it begins, replaced when it cannot be reached."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from agentd.domain import JobState, Models, Record
from agentd.errors import ProviderFailed
from agentd.providers.failures import NetworkFailed, QuotaExhausted, ServiceFailed
from agentd.providers.protocol import ModelRequest, StreamEvent
from agentd.providers.scripted import Reply, ScriptedProvider, call, reply
from tests.workshop import Workshop, ended, spec, until


@attrs.define(eq=False)
class Service:
    """A scripted model under a name of its own, which may fail before or after *script* has been played, and may have
    models that it only tells when it is asked."""

    name: str
    script: ScriptedProvider
    failure: ServiceFailed | None = None
    breaks: bool = False  # after the reply, not before
    lists: tuple[str, ...] = ()
    asked: trio.Event = attrs.field(factory=trio.Event)
    answer: trio.Event = attrs.field(factory=trio.Event)

    @property
    def is_open(self) -> bool:
        return bool(self.lists)

    def models(self) -> tuple[str, ...]:
        return () if self.lists else (self.name,)

    async def list_models(self) -> tuple[str, ...]:
        self.asked.set()
        await self.answer.wait()
        return self.lists

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[StreamEvent], None]:
        if self.failure is not None and not self.breaks:
            raise self.failure
        async with self.script.stream(request) as events:
            yield self._play(events)

    async def _play(self, events: AsyncIterator[StreamEvent]) -> AsyncIterator[StreamEvent]:
        async for event in events:
            if self.breaks and self.failure is not None and type(event).__name__ == "Stopped":
                raise self.failure
            yield event


def service(name: str, *replies: Reply | str, failure: ServiceFailed | None = None, breaks: bool = False) -> Service:
    return Service(name, ScriptedProvider(replies), failure, breaks)


def only(records: list[Record], kind: str, key: str) -> list[object]:
    return [record.data[key] for record in records if record.type == kind]


async def test_a_fallback_does_the_rest_of_the_job_and_the_log_says_so(workshop: Workshop) -> None:
    spare = service("spare", reply(call("Read", about="a")), "Done.")
    workshop.services = [service("first", failure=QuotaExhausted()), spare]
    job, records = await workshop.do(models=Models(code="first", fallback="spare"))
    assert job.state is JobState.COMPLETED
    assert only(records, "job.started", "resolved_model") == ["first"]
    assert only(records, "usage", "model") == ["spare", "spare"]
    assert [code for code in only(records, "notice", "code") if code == "FALLBACK"] == ["FALLBACK"]


async def test_a_fallback_that_is_not_there_is_told_before_the_work_begins(workshop: Workshop) -> None:
    workshop.services = [service("first", "never said")]
    job, records = await workshop.do(models=Models(code="first", fallback="gone"))
    assert job.finished is not None
    assert job.finished["error"]["code"] == "MODEL_UNAVAILABLE"
    assert "message" not in [record.type for record in records if record.data.get("role") == "assistant"]


async def test_a_model_is_no_fallback_of_itself(workshop: Workshop) -> None:
    workshop.services = [service("first", failure=QuotaExhausted("no credit"))]
    job, records = await workshop.do(models=Models(code="first", fallback="first"))
    assert job.finished is not None
    assert job.finished["error"]["code"] == "PROVIDER_QUOTA"
    assert only(records, "notice", "code") == []


async def test_a_job_whose_reply_broke_off_fails_and_its_session_goes_on_from_there(workshop: Workshop) -> None:
    workshop.services = [service("first", "I was about to", failure=NetworkFailed("reset by peer"), breaks=True)]
    async with workshop.open() as engine:
        accepted = await engine.accept(spec("begin"))
        await ended(accepted.session, accepted.job)
        assert accepted.job.finished is not None
        assert accepted.job.finished["stop_reason"] == "llm_error"
        assert accepted.job.finished["error"]["code"] == "PROVIDER_UNREACHABLE"
    sound = service("first", "Done.")
    workshop.services = [sound]
    async with workshop.open() as engine:
        accepted = await engine.accept(spec("go on"))
        await ended(accepted.session, accepted.job)
        assert accepted.job.state is JobState.COMPLETED
    asked = sound.script.requests[0].messages
    assert [(message.role, message.text) for message in asked] == [
        ("user", "begin"),
        ("assistant", "I was about to"),
        ("user", "go on"),
    ]


async def test_a_job_is_accepted_while_services_are_still_asked_for_its_model(workshop: Workshop) -> None:
    lister = Service("first", ScriptedProvider(["Done."]), lists=("big",))
    workshop.services = [lister]
    async with workshop.open() as engine:
        accepted = await engine.accept(spec(models=Models(code="big")))
        await lister.asked.wait()
        assert not accepted.job.state.terminal
        lister.answer.set()
        await ended(accepted.session, accepted.job)
        assert accepted.job.state is JobState.COMPLETED


async def test_a_job_can_be_cancelled_while_services_are_asked(workshop: Workshop) -> None:
    lister = Service("first", ScriptedProvider([]), lists=("big",))
    workshop.services = [lister]
    async with workshop.open() as engine:
        accepted = await engine.accept(spec(models=Models(code="big")))
        await lister.asked.wait()
        engine.cancel(accepted.job.id)
        await until(accepted.session, lambda: accepted.job.state is JobState.CANCELLED)


async def test_a_failure_of_a_script_is_a_failure_of_the_job(workshop: Workshop) -> None:
    workshop.says()
    job, _ = await workshop.do()
    assert job.finished is not None
    assert job.finished["error"]["code"] == ProviderFailed.code
