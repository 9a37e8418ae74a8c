"""A conversation, summed up from its record: what was asked, done, run and answered, and what is open. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import attrs

from agentd.domain import Message, Text, ToolResult, ToolUse
from agentd.providers.builtin.cite import code, counted

MAX_CHARS = 4000
ASKED_CHARS = 200  # of a task
ANSWER_LINES = 5
LINE_CHARS = 160
EXCHANGES_CHARS = 1800
EARLIER_CHARS = 700  # of the summary that the conversation began with
MAX_COMMANDS = 8
MAX_FILES = 25
MAX_OPEN = 10
SUMMED_UP = (
    "What happened in this conversation until now, summed up:"  # begins the text that took a conversation's place
)
MADE_BY = "[Summed up from the record by agentd's built-in offline model, which is not a language model.]"
_ASKS = re.compile(
    r"\W*(?:please\s+)?(?:(?:can|could) you\s+)?"
    r"(?:summari[sz]e|sum up|recap|give (?:me )?(?:a |an )?(?:short |brief )?(?:summary|recap|overview) of)\s+"
    r"(?:(?:the|this|our|whole|entire)\s+){0,2}(?:conversation|chat|dialogue|discussion|session)\b"
    r"(?=\s*(?:$|[.,:;!?\n])|\s+(?:so far|until|up to|above|for|in|to|as)\b)",
    re.IGNORECASE,
)
_PLACE = re.compile(r"[\w./\-]+\.\w+:\d+")


def asks_recap(text: str) -> bool:
    return bool(_ASKS.match(text))


@attrs.define
class _Exchange:
    """What was asked once, the calls that were made for it with their results, and the last word."""

    asked: str
    calls: list[tuple[ToolUse, ToolResult | None]] = attrs.field(factory=list)
    answer: str = ""


def recap(messages: Sequence[Message]) -> str:
    """The summary of a conversation, in at most MAX_CHARS characters."""
    exchanges = _exchanges(messages)
    sections = [
        _section("What was asked, and what became of it:", _told(exchanges)),
        _section("Files changed:", _files(exchanges)),
        _section("Commands run:", _commands(exchanges)),
        _section("Still open:", _open(exchanges)),
        _section("Before that:", _earlier(messages)),
    ]
    text = "\n\n".join(filter(None, sections)) or "Nothing has been asked or done yet."
    return f"{text[: MAX_CHARS - len(MADE_BY) - 2]}\n\n{MADE_BY}"


def _exchanges(messages: Sequence[Message]) -> list[_Exchange]:
    results = {block.tool_use_id: block for each in messages for block in each.content if isinstance(block, ToolResult)}
    exchanges: list[_Exchange] = []
    for message in messages:
        if message.role == "user":
            exchanges += [_Exchange(asked) for asked in _asked(message)]
        elif exchanges:
            exchanges[-1].calls += [(call, results.get(call.id)) for call in message.calls]
            exchanges[-1].answer = "" if message.calls else message.text
    return exchanges


def _asked(message: Message) -> list[str]:
    """The task of a message: its last text that is one. Material that came before it is not repeated."""
    if any(isinstance(block, ToolResult) for block in message.content):
        return []
    texts = [block.text.strip() for block in message.content if isinstance(block, Text) and block.text.strip()]
    return [text for text in texts if not text.startswith(SUMMED_UP)][-1:]


def _section(title: str, lines: Iterable[str]) -> str:
    told = list(lines)
    return "\n".join([title, *told]) if told else ""


def _told(exchanges: Sequence[_Exchange]) -> list[str]:
    """As many of the last exchanges as there is room for."""
    told: list[str] = []
    for number in range(len(exchanges), 0, -1):
        lines = [f"{number}. {_line(exchanges[number - 1].asked, ASKED_CHARS)}", *_became(exchanges[number - 1])]
        if told and sum(map(len, [*told, *lines])) > EXCHANGES_CHARS:
            return [f"[{counted(number, 'earlier one')} left out]", *told]
        told = [*lines, *told]
    return told


def _became(exchange: _Exchange) -> list[str]:
    """The first line of the answer, and those that name places in the code."""
    lines = [line.strip() for line in exchange.answer.split("\n") if line.strip()]
    chosen = [*lines[:1], *(line for line in lines[1:] if _PLACE.search(line))][:ANSWER_LINES]
    called = f"not answered yet; {counted(len(exchange.calls), 'call')} made"
    return [f"   {_line(line, LINE_CHARS)}" for line in chosen or [called]]


def _calls(exchanges: Sequence[_Exchange], *names: str) -> Iterator[tuple[ToolUse, ToolResult]]:
    """The calls of some tools that have a result."""
    for exchange in exchanges:
        yield from ((call, result) for call, result in exchange.calls if result is not None and call.name in names)


def _files(exchanges: Sequence[_Exchange]) -> list[str]:
    edits = _calls(exchanges, "Write", "Edit", "MultiEdit", "NotebookEdit")
    paths = [
        call.input.get("file_path") or call.input.get("notebook_path") for call, each in edits if not each.is_error
    ]
    files = [f"- {path}" for path in dict.fromkeys(paths)]
    handed = [
        f"- {'not ' * each.is_error}by the code model: {_line(str(call.input.get('instructions')), ASKED_CHARS)}"
        for call, each in _calls(exchanges, "Code")
    ]
    more = [f"[{len(files) - MAX_FILES} more]"] if len(files) > MAX_FILES else []
    return [*files[:MAX_FILES], *more, *handed[-MAX_COMMANDS:]]


def _commands(exchanges: Sequence[_Exchange]) -> list[str]:
    told = []
    for call, result in _calls(exchanges, "Bash"):
        command = code(" ".join(str(call.input.get("command")).split()))
        last = _text(result).strip().rsplit("\n", 1)[-1]
        told.append(f"- {command} {f'failed: {_line(last, LINE_CHARS)}' if result.is_error else 'ran'}")
    more = [f"[{len(told) - MAX_COMMANDS} earlier]"] if len(told) > MAX_COMMANDS else []
    return [*more, *told[-MAX_COMMANDS:]]


def _open(exchanges: Sequence[_Exchange]) -> list[str]:
    """The last task without an answer, and what the lists still hold."""
    titles = [exchange.asked for exchange in exchanges[-1:] if not exchange.answer.strip()]
    answered = {exchange.asked for exchange in exchanges if exchange.answer.strip()}
    if lists := [call for call, result in _calls(exchanges, "TaskList") if not result.is_error]:
        tasks = [task for task in lists[-1].input.get("tasks", ()) if str(task.get("text")).strip() not in answered]
        titles += [str(task.get("title")) for task in tasks if str(task.get("text")).strip() not in titles]
    if todos := list(_calls(exchanges, "TodoWrite")):
        left = (todo for todo in todos[-1][0].input.get("todos", ()) if todo.get("status") != "completed")
        titles += [str(todo.get("content")) for todo in left]
    more = [f"[{len(titles) - MAX_OPEN} more]"] if len(titles) > MAX_OPEN else []
    return [*(f"- {_line(title, LINE_CHARS)}" for title in titles[:MAX_OPEN]), *more]


def _earlier(messages: Sequence[Message]) -> list[str]:
    """What an earlier summary says, which is all that is left of what came before it."""
    texts = [block.text for each in messages[:1] for block in each.content if isinstance(block, Text)]
    summary = next((text.removeprefix(SUMMED_UP) for text in texts if text.startswith(SUMMED_UP)), "")
    kept = summary.replace(MADE_BY, "").strip()[:EARLIER_CHARS]
    return [line for line in kept.split("\n") if line.strip()]


def _text(result: ToolResult) -> str:
    return "\n".join(part.text for part in result.content if isinstance(part, Text))


def _line(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
