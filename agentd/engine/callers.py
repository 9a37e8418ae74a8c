"""The models of one job: which serves which part of it, and which are there at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from agentd.domain import JobSpec, Mode
from agentd.engine.branch import Branch
from agentd.engine.caller import Caller
from agentd.errors import ModelUnavailable
from agentd.providers.policy import Policy
from agentd.providers.registry import Registry, Resolved, Role


@attrs.frozen
class Callers:
    """*on_delay* is called before services are asked which models they have: whoever waits need not wait for that."""

    registry: Registry
    policy: Policy
    spec: JobSpec
    branch: Branch
    on_delay: Callable[[], object]

    async def for_roles(self, roles: Sequence[Role]) -> dict[Role, Caller]:
        """For the models that the job asks for. All are looked for now: later there would be work to lose. Raises
        ModelUnavailable."""
        callers = {role: await self._for_role(role) for role in roles}
        if self.spec.pre_scan and self.spec.mode is Mode.ASK:
            try:
                callers["scan"] = await self._for_role("scan")
            except ModelUnavailable as exc:
                self.branch.notice("warning", "SCAN_FAILED", f"there will be no scan before the answer: {exc}")
        return callers

    async def named(self, name: str) -> Caller:
        """For the model of that name. Raises ModelUnavailable."""
        return await self._caller(await self._resolve("planner", name))

    async def _for_role(self, role: Role) -> Caller:
        return await self._caller(await self._resolve(role, getattr(self.spec.models, role)))

    async def _caller(self, model: Resolved) -> Caller:
        named = self.spec.models.fallback
        fallback = await self._resolve("fallback", named) if self.registry.has_fallback(named) else None
        if fallback is not None and (fallback.provider, fallback.model) == (model.provider, model.model):
            fallback = None
        return Caller(
            self.policy,
            self.branch.write,
            model,
            fallback,
            self.branch.session.dir.blobs,
            thinking_tokens=self.spec.thinking_tokens,
            user=self.spec.user,
        )

    async def _resolve(self, role: Role, name: str | None) -> Resolved:
        try:
            return self.registry.resolve(role, name)
        except ModelUnavailable:
            if not self.registry.can_ask:
                raise
        self.on_delay()
        return await self.registry.ask(role, name)
