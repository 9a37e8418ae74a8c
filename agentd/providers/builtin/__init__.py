"""The built-in model: no language model, but a deterministic planner that needs no network. It says so.

It carries out what a task spells out, and for a question it searches the workspace with the tools on offer, reads the
best places and cites them. A reply is a pure function of the request. What files and commands hold is data: only the
person's last message is ever taken as a task.

    provider.py   the request in, the stream out
    plan.py       plans as generators, replayed at every request
    task.py       a person's words -> steps that are spelled out, questions, and work that is neither
    steps.py      carrying out what is spelled out
"""

from agentd.providers.builtin.provider import BuiltinProvider

__all__ = ["BuiltinProvider"]
