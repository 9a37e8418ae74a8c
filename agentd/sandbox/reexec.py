"""How this program starts another process of itself: from its one file, or from a checkout."""

from __future__ import annotations

import sys
from pathlib import Path

import agentd


def own_argv(*words: str) -> list[str]:
    """An argv that runs `agentd WORDS…` with this Python. Isolated (-I): no variable changes what is run."""
    home = Path(agentd.__path__[0]).parent
    if home.is_file():
        return [sys.executable, "-I", "-S", str(home), *words]  # all it needs is in the file: -S saves its start 10 ms
    start = f"import sys; sys.path.insert(0, {str(home)!r}); from agentd.cli import main; sys.exit(main(sys.argv[1:]))"
    return [sys.executable, "-I", "-c", start, *words]
