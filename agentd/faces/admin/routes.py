"""The admin API: every route of it, and how it is opened. The contract: admin.md."""

from __future__ import annotations

from agentd.faces.admin import jobs, sessions, system  # each puts its handlers into the table
from agentd.faces.admin.app import NEEDS, PREFIX, App, open_admin, routes

__all__ = ["NEEDS", "PREFIX", "App", "jobs", "open_admin", "routes", "sessions", "system"]
