"""Specs are written: a job in an executor, whose end is waited for. The contract: runs-and-chat.md, 12."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import trio

from agentd.daemon.tail import Cursor, Tail
from agentd.domain import JobSpec, JobState, Mode, PermissionMode, SpecDraft, ToolPolicy
from agentd.errors import StoreFailed
from agentd.faces.runs.answers import Refused
from agentd.faces.runs.base import Base
from agentd.faces.runs.requests import Body, check_directory, place_of
from agentd.wire.messages import Request
from agentd.workspace import specfile

FACE = "specs"  # of the sessions in which they are written
SECONDS = 600.0
LOOK_SECONDS = 5.0
NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
NOBODY = ToolPolicy(permission_mode=PermissionMode.BYPASS, ask_seconds=0.0)  # no tool is there, and nobody is asked


@attrs.frozen
class Asked:
    workspace: Path
    name: str
    prompt: str
    overwrite: bool

    @property
    def path(self) -> Path:
        return specfile.path_of(self.workspace, self.name)


async def read_request(body: Body) -> Asked:
    """Raises Refused, in the contract's order."""
    given, name, prompt = (body.text(field).strip() for field in ("workspace_path", "spec_name", "prompt"))
    overwrite = body.flag("overwrite", default=False)
    if not (given and name and prompt):
        raise Refused("workspace_path, spec_name, and prompt are required")
    if not NAME.fullmatch(name):
        raise Refused("spec_name must be alphanumeric with dashes or underscores")
    await check_directory(given)
    asked = Asked(await trio.to_thread.run_sync(place_of, given), name, prompt, overwrite)
    if not overwrite and await trio.to_thread.run_sync(asked.path.exists):
        raise Refused("spec already exists", 409)
    return asked


async def generate(base: Base, request: Request, asked: Asked) -> dict[str, str]:
    """What is answered. Raises Refused, ProviderFailed where no model fits, and what starting does."""
    request.principal.check_root(str(asked.workspace))
    choice = await base.choose()
    spec = JobSpec(
        Mode.SPEC_DRAFT,
        asked.prompt,
        models=choice.models,
        limits=attrs.evolve(choice.limits, seconds=SECONDS),
        tools=NOBODY,
        draft=SpecDraft(asked.name, asked.overwrite),
    )
    name = f"spec {asked.name}"
    session = await base.sessions.create(FACE, name, asked.workspace, owner=request.principal.id)
    job = await base.sessions.start(session.id, spec)
    return {"spec_path": str(asked.path), "content": _content(await _end(await base.sessions.tail(session.id), job))}


async def _end(tail: Tail, job: str) -> Mapping[str, Any]:
    """What job.finished says. Raises StoreFailed where the log is gone, or the daemon stops."""
    at = Cursor()
    while not tail.closed:
        await tail.wait(at, LOOK_SECONDS, ("job.finished",))
        page = tail.page(at, 100, ("job.finished",))
        for record in map(json.loads, page.lines):
            if record["job"] == job:
                return dict(record["data"])
        at = page.at
    raise StoreFailed("the daemon stops, or the session was removed")


def _content(ended: Mapping[str, Any]) -> str:
    if ended["outcome"] == JobState.COMPLETED and ended["result"]:
        return str(ended["result"])
    error = ended["error"] or {"code": "", "message": "it was stopped before it was written"}
    if error["code"] == specfile.EXISTS:
        raise Refused(error["message"], 409)
    raise Refused(error["message"], 500)
