"""What to do when a model service fails: try again and when, use another model, or give up.

    class             calls  first wait  longest  others wait  fallback
    RateLimited          10         2 s     60 s  yes          yes
    Overloaded           10         2 s     60 s  yes          yes
    ServerFailed          4         1 s     15 s  no           yes
    NetworkFailed         6         1 s     30 s  no           yes
    TimedOut              3         1 s     10 s  no           yes
    QuotaExhausted        1                                    yes
    any other             1                                    no

Waits double and are shortened by up to a half at random, so that many clients do not come back at once. A service that
says how long to wait is obeyed, and never asked earlier; one that asks for more than RETRY_AFTER_SECONDS is given up.
A failure that its class says to retry may still be final (`retryable`): a certificate that is refused stays refused.
Where there is a fallback model, waiting long for the first one makes no sense: see PATIENCE_CALLS and PATIENCE_SECONDS.
All of it is about failures before a reply has begun: a reply that broke off is not retried, half of it has been read.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import attrs
import trio

from agentd.errors import ProviderFailed
from agentd.providers import failures
from agentd.providers.failures import ServiceFailed

RETRY_SECONDS = 1800.0  # of one turn: after that no further call is begun; a single one may take 600 to say nothing
RETRY_AFTER_SECONDS = 300.0  # the longest wait that a service may ask for
PATIENCE_CALLS = 3  # of a model that has a fallback
PATIENCE_SECONDS = 10.0  # the longest wait for a model that has a fallback
SPACING_SECONDS = 0.25  # between the calls that waited for the same service


@attrs.frozen
class Rule:
    calls: int = 1  # in all, the first included
    first_wait: float = 0.0  # seconds
    longest_wait: float = 0.0
    holds: bool = False  # whether all calls to the service wait, of whatever job
    falls_back: bool = False  # whether another model may do better


FINAL = Rule()
RULES: Mapping[type[ServiceFailed], Rule] = {
    failures.Authentication: FINAL,
    failures.QuotaExhausted: Rule(falls_back=True),
    failures.ModelNotFound: FINAL,
    failures.ContextOverflow: FINAL,
    failures.BadRequest: FINAL,
    failures.RateLimited: Rule(10, 2.0, 60.0, holds=True, falls_back=True),
    failures.Overloaded: Rule(10, 2.0, 60.0, holds=True, falls_back=True),
    failures.ServerFailed: Rule(4, 1.0, 15.0, falls_back=True),
    failures.NetworkFailed: Rule(6, 1.0, 30.0, falls_back=True),
    failures.TimedOut: Rule(3, 1.0, 10.0, falls_back=True),
    failures.ProtocolBroken: FINAL,
}


def rule_of(failure: ProviderFailed) -> Rule:
    """A failure that no service has, a script's for one, is final."""
    return RULES[type(failure)] if isinstance(failure, ServiceFailed) else FINAL


@attrs.frozen
class Retry:
    """*wait* is in seconds; *calls* is how many there may be in all."""

    wait: float
    calls: int


@attrs.frozen
class GiveUp:
    why: str = ""  # for people; empty where the failure says it all


@attrs.define
class Pace:
    """Of one model: while it is held back calls wait, and then they go one by one."""

    _until: float = float("-inf")
    _slot: float = float("-inf")

    def hold(self, seconds: float) -> None:
        self._until = max(self._until, trio.current_time() + seconds)

    @property
    def held(self) -> float:
        """Seconds for which a call would have to wait now."""
        return max(0.0, self._until - trio.current_time())

    async def wait(self) -> None:
        """Until a call may be made. If the service fails again meanwhile, those who wait wait on."""
        while self.held > 0:
            self._slot = max(self._until, self._slot + SPACING_SECONDS)
            await trio.sleep_until(self._slot)


@attrs.define
class Policy:
    """What all calls of an executor share. *random* gives numbers from 0 to 1: the greater, the earlier a retry."""

    random: Callable[[], float] = random.random
    _paces: dict[tuple[str, str], Pace] = attrs.field(factory=dict)

    def pace(self, provider: str, model: str) -> Pace:
        """Services limit each of their models, so that one may be free when another is not."""
        return self._paces.setdefault((provider, model), Pace())

    def decide(
        self, failure: ProviderFailed, calls: int, elapsed: float, pace: Pace, *, has_fallback: bool
    ) -> Retry | GiveUp:
        """What follows the failure of a turn's call number *calls*, *elapsed* seconds after its first began. Where
        others have to wait too, *pace* is held."""
        if not isinstance(failure, ServiceFailed) or not failure.retryable:
            return GiveUp()
        rule, longest = rule_of(failure), RETRY_AFTER_SECONDS
        most = rule.calls
        if has_fallback and rule.falls_back:
            most, longest = min(most, PATIENCE_CALLS), PATIENCE_SECONDS
        wait = self._wait_after(failure, rule, calls)
        if rule.holds and wait <= RETRY_AFTER_SECONDS:
            pace.hold(wait)
        if wait > longest:
            return GiveUp(f"it asks to wait for {wait:.0f} s, which is too long")
        if calls >= most or elapsed + wait > RETRY_SECONDS:
            return GiveUp(f"{calls} calls have failed within {elapsed:.0f} s")
        return Retry(wait, most)

    def _wait_after(self, failure: ServiceFailed, rule: Rule, calls: int) -> float:
        """Seconds: what the service asks for, but no less than the back-off."""
        backoff = min(rule.first_wait * 2.0 ** (calls - 1), rule.longest_wait) * (1 - self.random() / 2)
        return max(backoff, failure.retry_after or 0.0)


def summary(failure: ProviderFailed) -> str:
    """What has failed and why, without advice."""
    if not isinstance(failure, ServiceFailed):
        return str(failure)
    return f"{failure.target.service} {failure.what}{f': {failure.detail}' if failure.detail else ''}"
