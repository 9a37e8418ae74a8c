"""What the operator set that requests of the agent API are read by."""

from __future__ import annotations

from pathlib import Path

import attrs

from agentd.faces.agent.models import ModelNames
from agentd.wire.urlpolicy import UrlPolicy


@attrs.frozen
class Terms:
    workspace: Path  # absolute; the cwd of a query that names none
    models: ModelNames = attrs.field(factory=ModelNames)
    url_policy: UrlPolicy = UrlPolicy.LOCAL
    question_seconds: float | None = 600.0  # for which a question waits; None: for ever
    hook_seconds: int = 30  # of a hook that says no timeout
    turns: int | None = None  # of a query that says no max_turns
