"""What a session is asked to do next by somebody who is no client of its face. Pure."""

from __future__ import annotations

import attrs

from agentd.domain import ChatMessage, ChatPart, ChatSpec, JobSpec, Mode, Models, PermissionMode, ToolPolicy
from agentd.store.naming import fresh
from agentd.store.tables import MANAGED

CHAT = "chat"  # the face of chats


@attrs.frozen
class FollowUp:
    """What a session is to do next. None: as in its last job."""

    text: str
    mode: Mode | None = None
    model: str | None = None
    permission_mode: PermissionMode | None = None


def first_spec(face: str) -> JobSpec:
    """Of a session that has had no job. The manager's jobs run without asking, since nobody is there; those of others
    ask."""
    if face == CHAT:
        return JobSpec(Mode.CHAT, "", chat=ChatSpec(""))
    permission = PermissionMode.BYPASS if face == MANAGED else PermissionMode.DEFAULT
    return JobSpec(Mode.CODE, "", tools=ToolPolicy(permission_mode=permission))


def next_spec(last: JobSpec, asked: FollowUp) -> JobSpec:
    """As the *last* job, but for what is asked, and for what belonged to that job alone."""
    spec = last
    if asked.mode is not None:
        spec = attrs.evolve(spec, mode=asked.mode)
    if asked.model is not None:
        models = Models(asked.model, asked.model, asked.model, spec.models.fallback)
        spec = attrs.evolve(spec, models=models, face={**spec.face, "model": asked.model})
    if asked.permission_mode is not None:
        spec = attrs.evolve(spec, tools=attrs.evolve(spec.tools, permission_mode=asked.permission_mode))
    tools = attrs.evolve(spec.tools, ask_seconds=ToolPolicy().ask_seconds)  # whoever sends this can be asked
    spec = attrs.evolve(spec, prompt=asked.text, tools=tools, context_texts=(), images=())
    return _next_turn(spec) if spec.mode is Mode.CHAT else spec


def _next_turn(spec: JobSpec) -> JobSpec:
    """In a chat, what is said is a message of a turn, and whoever is asked there has all the time that they want."""
    chat = spec.chat or ChatSpec("")
    said = ChatMessage(fresh("msg_"), "user", (ChatPart("text", spec.prompt),))
    chat = attrs.evolve(chat, turn=fresh("turn_"), messages=(said,), retry=False)
    return attrs.evolve(spec, chat=chat, tools=attrs.evolve(spec.tools, ask_seconds=None))
