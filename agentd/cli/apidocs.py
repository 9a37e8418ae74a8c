"""Where a face says what it offers: its OpenAPI document, and a page of it. Made when somebody first asks."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from agentd.wire.openapi.mounts import docs_mounts
from agentd.wire.routing import Mount


def face_docs(face: str, prefix: str = "") -> list[Mount]:
    """`/openapi.json` and `/docs` below *prefix*, of a *face* there."""
    return docs_mounts(lambda: _module(face).document(prefix or "/"), prefix)


def joint_docs(*faces: str) -> list[Mount]:
    """`/openapi.json` and `/docs` of several, each at its own place."""

    def make() -> Any:
        from agentd.wire.openapi.joined import join_documents

        return join_documents("agentd", {face.capitalize(): _module(face).document() for face in faces})

    return docs_mounts(make)


def _module(face: str) -> Any:
    return import_module(f"agentd.faces.{face}.openapi")
