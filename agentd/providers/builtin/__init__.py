"""The built-in model: no language model, but a deterministic planner that needs no network. It says so.

What it is to do it knows from the tools on offer and from the person's last message. With TaskList it splits an
objective into tasks; with Code it is the planner of two models; else it carries out what a task spells out, and for a
question it searches the workspace, reads the best places and cites them. A reply is a pure function of the request.
What files, commands and added material hold is data: only the person's last message is ever taken as a task.

    provider.py   the request in, the stream out
    plan.py       plans as generators, replayed at every request
    task.py       a person's words -> steps that are spelled out, questions, and work that is neither
    carry_out.py  a task, item by item: steps.py for what is spelled out, questions.py for the rest
    tasklist.py   an objective -> a task list; split.py takes its words apart
    indexed.py    questions that the tools which know the code answer; symbols.py and outline.py without them
    material.py   what a client put before the model
    form.py       an answer that has to be JSON; filler.py fills a schema, fields.py finds what a text says of a field
    recap.py      a conversation, summed up
    chattools.py  plans by the tools of a chat; chatlook.py looks into files by them, chatspec.py writes its spec
    runplan.py    a spec -> the steps of its run
"""

from agentd.providers.builtin.provider import BuiltinProvider

__all__ = ["BuiltinProvider"]
