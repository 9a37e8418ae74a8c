"""The Session object, as clients see a chat. The contract: runs-and-chat.md, 6.3."""

from __future__ import annotations

from typing import Any

from agentd.faces.chat.dialect import Chat
from agentd.faces.chat.parts import Turn
from agentd.store.naming import instant


def session_of(ident: str, chat: Chat) -> dict[str, Any]:
    """The Session object of a chat whose messages were kept."""
    return {
        "id": ident,
        "created_at": instant(chat.created),
        "updated_at": instant(chat.updated),
        "status": chat.status,
        "mode": chat.mode,
        "workspace_path": chat.workspace,
        "system_prompt": chat.system_prompt,
        "spec_path": chat.spec_path,
        "auto_run": chat.auto_run,
        "last_turn_id": chat.last_turn,
        "messages": chat.messages or [],
        "turns": [_turn_of(turn) for turn in chat.turns.values()],
        "cost": chat.cost,
        "error": chat.error,
    }


def _turn_of(turn: Turn) -> dict[str, Any]:
    return {
        "id": turn.id,
        "status": turn.status,
        "started_at": None if turn.started is None else instant(turn.started),
        "completed_at": None if turn.completed is None else instant(turn.completed),
        "error": turn.error,
    }
