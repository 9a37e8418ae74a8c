"""What a fork gets of its parent's log: the conversation as it stands, up to the last exchange that is whole.

The parent may be at work meanwhile, and is not disturbed: its log is read, and blobs that are named by the conversation
become links. The fork's records are of no job, so that nothing of them counts as done in the fork.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from agentd.domain import Entry, Record
from agentd.errors import StoreFailed
from agentd.store.blobs import Blobs
from agentd.store.files import PRIVATE_DIR, disk, fsync_dir
from agentd.store.home import SessionDir
from agentd.store.view import LogReader

SAID = frozenset({"message", "tool.finished", "history.compacted", "history.imported"})


def branch_off(parent: SessionDir, child: SessionDir) -> list[Entry]:
    """The records to begin the *child* with, whose blobs it has by then. Blocks. Raises StoreFailed."""
    with LogReader(parent.log_path) as reader:
        entries = history(reader.records())
    link_blobs(parent.blobs, child.blobs, {name for entry in entries for name in blobs_of(entry.data)})
    return entries


# --- The conversation ---------------------------------------------------------------------------------------------


@attrs.define
class _Exchange:
    """What was said so far. *whole*: how much of it may be taken: no call in that is unanswered, and no prompt that a
    job is still at work at."""

    said: list[Entry] = attrs.field(factory=list)
    whole: int = 0
    job: str | None = None  # that has not ended
    _calls: set[str] = attrs.field(factory=set)
    _answered: bool = False  # the last message is a model's

    def add(self, record: Record) -> None:
        self.said.append(Entry(record.type, record.data))
        if record.type == "message":
            calls = [block["id"] for block in record.data["content"] if block["type"] == "tool_use"]
            self._answered, self._calls = record.data["role"] == "assistant", set(calls)
        elif record.type == "tool.finished":
            self._calls.discard(record.data["call"])
        else:
            self._answered, self._calls = self._answered or record.type == "history.compacted", set()
        self.settle()

    def settle(self) -> None:
        if self.job is None or (self._answered and not self._calls):
            self.whole = len(self.said)

    def forget(self) -> None:
        self.said, self.whole = [], 0
        self._calls, self._answered = set(), False


def history(records: Iterable[Record]) -> list[Entry]:
    """The conversation that *records* tell, of no job, without what subagents said among themselves.

    A call that was stopped is closed as in the parent, for the next message does that in any fold."""
    exchange, staged = _Exchange(), list[Mapping[str, Any]]()
    for record in records:
        if record.parent is not None:
            continue
        match record.type:
            case "job.created":
                exchange.job = record.job
            case "job.finished" if record.job == exchange.job:
                exchange.job = None
                exchange.settle()
            case "history.cleared":
                exchange.forget()
            case "import.staged":
                staged.append(record.data)
            case "session.imported":
                exchange.forget()
                last = staged[max(len(staged) - record.data["records"], 0) :]
                exchange.said = [Entry(each["type"], each["data"]) for each in last if each["type"] in SAID]
                exchange.whole = len(exchange.said)
                staged.clear()
            case kind if kind in SAID:
                exchange.add(record)
    return exchange.said[: exchange.whole]


# --- What it names ------------------------------------------------------------------------------------------------


def blobs_of(data: Mapping[str, Any]) -> Iterator[str]:
    """Of the data of a message, or of a call's result: pictures, and what the call kept."""
    if artifact := data.get("artifact"):
        yield artifact
    yield from _of_blocks(data.get("content", ()))


def _of_blocks(blocks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for block in blocks:
        if block["type"] == "image" and block.get("sha256"):
            yield block["sha256"]
        if block["type"] == "tool_result":
            yield from _of_blocks(block["content"])


def link_blobs(source: Blobs, target: Blobs, names: Iterable[str]) -> None:
    """A blob is never changed, so that both may have the same file. One that is gone stays so. Raises StoreFailed."""
    wanted = sorted(names)
    if not wanted:
        return
    with disk("copy the blobs of a fork"):
        target.directory.mkdir(PRIVATE_DIR, parents=True, exist_ok=True)
        for name in wanted:
            try:
                os.link(source.path(name), target.path(name))
            except FileNotFoundError:
                continue
            except OSError:  # a file system that has no links
                _copy(source, target, name)
        fsync_dir(target.directory)


def _copy(source: Blobs, target: Blobs, name: str) -> None:
    if target.put_file(source.path(name)) != name:
        raise StoreFailed(f"blob {name} is damaged")
