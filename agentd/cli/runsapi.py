"""How settings become the runs and chat API on a daemon. Contract runs-and-chat.md, 3."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import attrs
import trio

from agentd.config import Settings
from agentd.daemon.access import Access
from agentd.daemon.harness import POLICY, lines
from agentd.daemon.keys import Key, open_key
from agentd.daemon.listing import Listing
from agentd.daemon.opening import Work
from agentd.daemon.settings import address, listed
from agentd.errors import InvalidSetting
from agentd.faces.chat import routes as chats
from agentd.faces.runs import routes as runs
from agentd.faces.runs import service
from agentd.faces.runs.answers import Refused
from agentd.faces.runs.base import Base, FaceSettings
from agentd.faces.runs.models import Models
from agentd.faces.runs.policy import Policy, Router, read_policy
from agentd.faces.runs.policy import Settings as PolicySettings
from agentd.providers.factory import open_providers
from agentd.providers.settings import Catalog
from agentd.store.home import Home
from agentd.wire.routing import Mount

NAME = "runs"  # of its token
SETTINGS_FILE = "settings.json"  # in the data directory


@attrs.frozen
class RunsSettings:
    face: FaceSettings
    policy: Policy  # where settings.json has none
    aliases: Mapping[str, str] = attrs.field(factory=dict)


def open_runs_key(home: Home, settings: Settings) -> Key:
    """What requests need: nothing, where it is not set and only this machine can reach us. Raises InvalidSetting,
    StoreFailed."""
    given = settings.text("runs-token")
    return open_key(home, NAME, given) if given or address(settings, "listen").is_open_to_others else Key("")


def runs_settings(settings: Settings, key: Key) -> RunsSettings:
    """Raises InvalidSetting."""
    origins = tuple(listed(settings, "cors-origin"))
    face = FaceSettings(key.text, origins, lines(settings, "verify-command"))
    try:
        policy = read_policy(settings.harness[POLICY]) if settings.harness.get(POLICY) else Policy()
    except Refused as exc:
        raise InvalidSetting(f"{settings.text('harness-config')}: {POLICY}: {exc}") from exc
    return RunsSettings(face, policy, settings.aliases("model-alias"))


@asynccontextmanager
async def open_face(
    home: Home, chosen: RunsSettings, catalog: Catalog, work: Work, access: Access
) -> AsyncIterator[list[Mount]]:
    """Its parts, each below its own path. Raises InvalidRequest for an alias that leads nowhere."""
    listing: Listing = work.sessions.listing
    policy = PolicySettings(home.root / SETTINGS_FILE, chosen.policy)
    async with AsyncExitStack() as stack:
        providers = stack.enter_context(open_providers(catalog, os.environ))
        models = Models.of(catalog, providers, chosen.aliases, listing)
        router = Router(policy, models.look, catalog.roles.planner)
        nursery = await stack.enter_async_context(trio.open_nursery())
        base = Base(work, access, chosen.face, nursery, router.choose)
        opened = await stack.enter_async_context(runs.open_runs(base))
        talking = await stack.enter_async_context(chats.open_chats(base))
        yield [runs.mount(opened), chats.mount(talking), *service.mounts(service.Service(base, router))]
        nursery.cancel_scope.cancel()
