"""agentd: a coding-agent server in one file."""

__version__ = "0.1.0"
