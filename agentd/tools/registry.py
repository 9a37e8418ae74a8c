"""The tools that ship with agentd."""

from __future__ import annotations

from agentd.tools.base import Tool
from agentd.tools.bash import Bash
from agentd.tools.bashoutput import BashOutput
from agentd.tools.classskeleton import ClassSkeleton
from agentd.tools.edit import Edit
from agentd.tools.filesummary import FileSummary
from agentd.tools.findusages import FindUsages
from agentd.tools.gitlog import GitLog
from agentd.tools.glob import Glob
from agentd.tools.grep import Grep
from agentd.tools.killshell import KillShell
from agentd.tools.ls import LS
from agentd.tools.methodsource import MethodSource
from agentd.tools.multiedit import MultiEdit
from agentd.tools.notebook_edit import NotebookEdit
from agentd.tools.notebook_read import NotebookRead
from agentd.tools.read import Read
from agentd.tools.searchsymbols import SearchSymbols
from agentd.tools.todowrite import TodoWrite
from agentd.tools.webfetch import WebFetch
from agentd.tools.write import Write
from agentd.wire.urlpolicy import UrlPolicy

FILE_TOOLS: tuple[Tool, ...] = (
    Read(),
    Write(),
    Edit(),
    MultiEdit(),
    Glob(),
    Grep(),
    LS(),
    NotebookRead(),
    NotebookEdit(),
)

CODE_TOOLS: tuple[Tool, ...] = (  # they answer from what is known of the code, and of its history
    SearchSymbols(),
    ClassSkeleton(),
    MethodSource(),
    FindUsages(),
    FileSummary(),
    GitLog(),
)


def built_in(policy: UrlPolicy = UrlPolicy.LOCAL) -> tuple[Tool, ...]:
    """All of them. *policy*: which pages are fetched."""
    return (*FILE_TOOLS, *CODE_TOOLS, TodoWrite(), Bash(), BashOutput(), KillShell(), WebFetch(policy.value))
