"""An objective becomes a list of tasks: split by its own words, after a brief look at what it touches."""

from __future__ import annotations

from collections.abc import Sequence

from agentd.providers.builtin.carry_out import I_AM
from agentd.providers.builtin.cite import counted, listed
from agentd.providers.builtin.grammar import Create, CreateEmpty, EditLines, Replace, Show
from agentd.providers.builtin.outputs import paths
from agentd.providers.builtin.plan import Answered, Call, Move, Plan, run_calls
from agentd.providers.builtin.rank import factor, path_score
from agentd.providers.builtin.split import Task, split
from agentd.providers.builtin.task import Free, parse
from agentd.providers.builtin.words import Question, read_question

MAX_TASKS = 100  # that the TaskList tool takes
MAX_WORDS = 4  # that are searched for
LOOKED_AT = 500  # files that mention any of them
SHOWN = 6
NOTHING = "There is nothing to be done in this, so the list has no tasks."
HOW = (
    "The list follows the words of the objective: I am agentd's built-in offline model, not a language model. What a "
    "task spells out will be carried out; what it does not, looked into and left as it is."
)


def plan_tasks(objective: str, offered: frozenset[str]) -> Plan[Move]:
    """Make the list of tasks that an objective comes to; what to say of it."""
    tasks = split(objective)
    if not tasks:
        return Move(f"{NOTHING} {I_AM}")
    question = read_question(objective)
    looked = yield from run_calls("Looking at what the objective touches.", *_look(objective, question, offered))
    listing = [{"title": task.title, "text": task.text} for task in tasks[:MAX_TASKS]]
    said = f"Planning: {counted(len(listing), 'task')}."
    (kept,) = yield from run_calls(said, Call("TaskList", {"tasks": listing}))
    if not kept.ok:
        return Move(f"The list of tasks was not taken: {kept.text}")
    return Move("\n\n".join(filter(None, (_told(tasks), _touched(looked, question), HOW))))


def _told(tasks: Sequence[Task]) -> str:
    lines = [f"{number}. {task.title} ({_kind(task)})" for number, task in enumerate(tasks[:MAX_TASKS], 1)]
    if len(tasks) > MAX_TASKS:
        lines.append(f"A list takes no more than {MAX_TASKS} tasks; these are left out, so give them again afterwards:")
        lines += [f"- {task.title}" for task in tasks[MAX_TASKS:]]
    return "\n".join([f"The plan has {counted(min(len(tasks), MAX_TASKS), 'task')}:", *lines])


def _kind(task: Task) -> str:
    kinds = {item.what.kind if isinstance(item.what, Free) else "" for item in parse(task.text)}
    if "work" in kinds:
        return "not spelled out" if kinds == {"work"} else "spelled out in part"
    return "a question" if kinds == {"question"} else "spelled out"


# --- The look at the repository: cheap, for a tree of any size --------------------------------------------------------


def _look(objective: str, question: Question, offered: frozenset[str]) -> list[Call]:
    """The files that it names, and those that mention its words; at most a call for each."""
    named = _named(objective)
    words = [] if named else sorted(question.terms, key=lambda term: -term.weight)[:MAX_WORDS]
    calls: list[Call] = []
    if named and "Glob" in offered:
        calls.append(Call("Glob", {"pattern": f"{{{','.join(named)}}}" if len(named) > 1 else named[0]}))
    if words and "Grep" in offered:
        pattern = "|".join(term.searched for term in words)
        calls.append(Call("Grep", {"pattern": pattern, "output_mode": "files_with_matches", "head_limit": LOOKED_AT}))
    return calls


def _named(objective: str) -> list[str]:
    """The files that spelled-out steps are about."""
    steps = [step for item in parse(objective) if not isinstance(item.what, Free) for step in item.what]
    files = [step.path for step in steps if isinstance(step, Create | CreateEmpty | EditLines | Replace | Show)]
    return [path for path in dict.fromkeys(files) if not set(path) & set("{}[]*?,!\\")][:20]


def _touched(looked: Sequence[Answered], question: Question) -> str:
    said = []
    for each in filter(lambda each: each.ok, looked):
        if each.call.name == "Glob":
            named = _named(question.text)
            there = [path for path in named if path in paths(each.text)]
            said.append(
                f"Of the {counted(len(named), 'file')} that it names, these are there now: {listed(there) or 'none'}."
            )
        elif there := paths(each.text):
            more = f" and {len(there) - SHOWN} more" if len(there) > SHOWN else ""
            said.append(f"Files that mention its words: {', '.join(_best_first(there, question)[:SHOWN])}{more}.")
        else:
            said.append("No file mentions its words.")
    return "\n".join(said)


def _best_first(found: Sequence[str], question: Question) -> list[str]:
    weights = [term.weight for term in question.terms]
    worth = {path: (path_score(path, question, weights) + 0.1) * factor(path, question) for path in found}
    return sorted(found, key=lambda path: (-worth[path], path))
