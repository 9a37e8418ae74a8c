"""The model calls of one job: tried again when they fail, paced, and with another model to fall back on.

What is done after which failure is policy.py's to say; here it is done, and told in the log.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import attrs
import trio

from agentd.domain import Entry, Message, Thinking, Usage
from agentd.engine import images
from agentd.engine.requestdigest import RequestDigest, material_chars
from agentd.engine.turn import Attempt, Turn
from agentd.errors import ProviderFailed
from agentd.providers.policy import PATIENCE_SECONDS, Pace, Policy, Retry, rule_of, summary
from agentd.providers.protocol import ModelRequest, ToolSchema
from agentd.providers.registry import Resolved
from agentd.providers.requestbody import common_prefix
from agentd.store.blobs import Blobs

UNTOLD_SECONDS = 1.0  # a wait for others that is no longer than this need not be told


class _FallBack(Exception):
    """The model is not to be waited for, and there is another. Its text says why."""


@attrs.define
class Caller:
    """*model* is the one that serves the job now; *fallback* the one that does from the first time *model* cannot."""

    policy: Policy
    write: Callable[[Entry], object]
    model: Resolved
    fallback: Resolved | None = None
    blobs: Blobs | None = None  # where images of the conversation are
    thinking_tokens: int | None = None
    user: str | None = None  # the end user, as the service is told
    _calls: int = 0  # of this turn
    _sent: bytes | None = None  # the body of the last request
    _digest: RequestDigest = attrs.field(factory=RequestDigest)
    _unpriced: set[str] = attrs.field(factory=set)  # models of which it was told that they have no price

    def writing_to(self, write: Callable[[Entry], object]) -> Caller:
        """The same models for another conversation."""
        return attrs.evolve(self, write=write, calls=0, sent=None, digest=RequestDigest())

    async def take_turn(
        self,
        system: str,
        messages: tuple[Message, ...],
        tools: tuple[ToolSchema, ...],
        taken: set[str] | None = None,
        said: tuple[Message, ...] | None = None,
    ) -> tuple[Turn, float | None]:
        """The model's reply, in the log with what it took, and what it cost in USD. Raises ProviderFailed.

        *taken*: ids that calls of the reply may not have; its own are added. *said*: the same messages without what
        clients put there.
        """
        self._calls, taken = 0, set() if taken is None else taken
        try:
            turn, sent = await self._persist(self._request(system, messages, tools), taken)
        except _FallBack as wanted:
            self._fall_back(str(wanted))
            turn, sent = await self._persist(self._request(system, messages, tools), taken)
        plain = messages if said is None else said
        material, context = material_chars(messages, plain), self.model.info.context_tokens
        digest = self._digest.describe(system, plain, tools, context=context, material=material)
        return turn, self._record(turn, sent, digest)

    def _request(self, system: str, messages: tuple[Message, ...], tools: tuple[ToolSchema, ...]) -> ModelRequest:
        model, shown = self.model.model, messages
        if self.blobs is not None:
            shown = images.for_model(messages, self.blobs, self.model.info.vision is not False)
        return ModelRequest(
            model,
            system,
            tuple(_fit_for(model, message) for message in shown),
            tools,
            thinking_tokens=self.thinking_tokens,
            user=self.user,
        )

    async def _persist(self, request: ModelRequest, taken: set[str]) -> tuple[Turn, bytes | None]:
        """Call the model until it has replied; what it said, and the body of the request, where that is told.

        Raises ProviderFailed, or _FallBack where that makes sense."""
        began = trio.current_time()
        for calls in itertools.count(1):
            await self._wait_for_service()
            self._calls += 1
            attempt = Attempt(self.model.provider, request, self.write, taken)
            try:
                turn = await attempt.run()
            except ProviderFailed as failure:
                if attempt.begun:
                    raise
                wait = self._wait_before_retry(failure, calls, trio.current_time() - began)
                if wait is None:
                    raise
                await trio.sleep(wait)
            else:
                return turn, attempt.sent
        raise AssertionError("there is always another call")

    @property
    def _pace(self) -> Pace:
        return self.policy.pace(self.model.provider.name, self.model.model)

    async def _wait_for_service(self) -> None:
        text = f"{self.model.provider.name} is not to be called for another {self._pace.held:.0f} s"
        if self.fallback is not None and self._pace.held > PATIENCE_SECONDS:
            raise _FallBack(text)
        if self._pace.held > UNTOLD_SECONDS:
            self._notice("HELD_BACK", text, "info")
        await self._pace.wait()

    def _wait_before_retry(self, failure: ProviderFailed, calls: int, elapsed: float) -> float | None:
        """Seconds; None to give up. Raises _FallBack."""
        verdict = self.policy.decide(failure, calls, elapsed, self._pace, has_fallback=self.fallback is not None)
        if isinstance(verdict, Retry):
            self._notice("RETRY", f"{summary(failure)}; call {calls + 1} of {verdict.calls} in {verdict.wait:.1f} s")
            return verdict.wait
        if self.fallback is not None and rule_of(failure).falls_back:
            raise _FallBack(summary(failure))
        if verdict.why:
            self._notice("GAVE_UP", f"{self.model.provider.name} is not called again: {verdict.why}")
        return None

    def _fall_back(self, why: str) -> None:
        assert self.fallback is not None
        self._notice("FALLBACK", f"{why}; {self.fallback.name} serves the rest of this job")
        self.model, self.fallback, self._sent = self.fallback, None, None

    def _record(self, turn: Turn, sent: bytes | None, digest: dict[str, Any]) -> float | None:
        cost, price = self.model.cost(turn.usage), self.model.info.price
        if cost is None and self.model.name not in self._unpriced:
            self._unpriced.add(self.model.name)
            text = f"no price is known of {self.model.name}, so no cost is counted and no budget ends the job"
            self._notice("NO_PRICE", f"{text}; `agentd help config` says how to set one", "info")
        data: dict[str, Any] = {
            **attrs.asdict(turn.usage),
            "cost": cost,
            "output_cost": price.cost(Usage(output_tokens=turn.usage.output_tokens)) if price is not None else None,
            "model": self.model.model,
            "provider": self.model.provider.name,
            "calls": self._calls,
            "salvaged": turn.salvaged,
            "request_bytes": None if sent is None else len(sent),
            "prefix_bytes": None if sent is None else common_prefix(self._sent or b"", sent),
            "first_ms": turn.first_ms,
            "duration_ms": turn.duration_ms,
            "stop": turn.stop_reason,
            "sent": digest,
        }
        self._sent = sent
        self.write(Entry("usage", data))
        return cost

    def _notice(self, code: str, text: str, level: str = "warning") -> None:
        self.write(Entry("notice", {"level": level, "code": code, "text": text}))


def _fit_for(model: str, message: Message) -> Message:
    """Thinking is signed for the model that thought it: services refuse that of another."""
    if message.model == model or not any(isinstance(block, Thinking) for block in message.content):
        return message
    return attrs.evolve(message, content=tuple(b for b in message.content if not isinstance(b, Thinking)))
