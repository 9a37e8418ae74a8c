"""Where a face says what it offers: its OpenAPI document, and a page of it. Made when somebody first asks."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from agentd.wire.openapi.mounts import docs_mounts
from agentd.wire.routing import Mount


def face_docs(face: str, prefix: str = "", *, server: str = "") -> list[Mount]:
    """`/openapi.json` and `/docs` below *prefix*, of a *face* at *server*, or there."""

    def make() -> Any:
        return import_module(f"agentd.faces.{face}.openapi").document(server or prefix or "/")

    return docs_mounts(make, prefix)
