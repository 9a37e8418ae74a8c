"""Which scanner reads which file. A language is a line here and a module with `scan(text, path)` beside this one; it is
imported when the first file of its kind is met. Standard library only: scanning processes import this."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from agentd.workspace.symbols.model import Scan

_MODULES = {
    "cfamily": "c h cc cpp cxx c++ hh hpp hxx h++ inl ipp tpp",
    "csharp": "cs",
    "golang": "go",
    "java": "java",
    "javascript": "js jsx mjs cjs ts tsx mts cts",
    "python": "py pyi pyw",
}
MODULE_OF: dict[str, str] = {suffix: module for module, suffixes in _MODULES.items() for suffix in suffixes.split()}
_SUFFIXES = frozenset(suffix.encode() for suffix in MODULE_OF)


def is_source(path: bytes) -> bool:
    """Whether there is a scanner for a file of that name."""
    _, dot, suffix = path.rpartition(b".")
    return bool(dot) and suffix.lower() in _SUFFIXES


def language_of(path: str) -> str:
    """The name of the module that reads it; "" if none does."""
    _, dot, suffix = path.rpartition(".")
    return MODULE_OF.get(suffix.lower(), "") if dot else ""


def scanner(path: str) -> Scan:
    """Raises KeyError if is_source() denies it."""
    scan: Scan = import_module(f"agentd.workspace.symbols.{MODULE_OF[path.rpartition('.')[2].lower()]}").scan
    return scan
