"""The tools that ship with agentd and need nothing from the machine. Bash is made where commands are contained."""

from __future__ import annotations

from agentd.tools.base import Tool
from agentd.tools.edit import Edit
from agentd.tools.glob import Glob
from agentd.tools.grep import Grep
from agentd.tools.ls import LS
from agentd.tools.multiedit import MultiEdit
from agentd.tools.notebook_edit import NotebookEdit
from agentd.tools.notebook_read import NotebookRead
from agentd.tools.read import Read
from agentd.tools.write import Write

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
