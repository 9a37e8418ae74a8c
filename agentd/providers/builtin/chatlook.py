"""Looking into files by the tools of a chat, which search for texts and know no patterns.

What a plan wants to look for is searched by the texts that a line has to hold, and files are read; patterns are matched
here, with what was found. All that one move needs is called for at once. Nothing is asked for twice until something
may have changed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import attrs

from agentd.providers.builtin.outputs import Hit, grep_hits, is_cut, paths, read_lines
from agentd.providers.builtin.plan import Answered, Call, Plan, run_calls

LOOKS = frozenset({"Glob", "Grep", "LS", "Read"})
PAGE_LINES = 400  # that read_file gives at most
TREE_FILES = 1500  # what a result has room for
MOST_SEARCHES = 24  # for one move
MOST_HITS = 300  # of one search
MOST_FILES = 10  # that are read for one move
MOST_PAGES = 3  # of a file, those that have most of what was searched for
WHOLE_LINES = 4000  # of what is looked into without knowing where: a file, or the files of a directory
LISTED = 80  # files of a directory that are told one by one
NO_FILES = "The workspace has no files."  # as tools/chat/glance.py says it; a test holds the two together
_GLOB = re.compile(r"\*\*/|\*\*|.", re.DOTALL)
_GLOB_SIGNS = {
    "**/": "(?:.*/)?",
    "**": ".*",
    "*": "[^/]*",
    "?": "[^/]",
    "{": "(?:",
    ",": "|",
    "}": ")",
}


@attrs.define
class Look:
    """What has been seen of the workspace."""

    _tree: list[str] | None = None
    _hits: dict[str, list[Hit]] = attrs.field(factory=dict)  # by the text that was searched for
    _cut: set[str] = attrs.field(factory=set)  # texts of which there are more
    _lines: dict[str, dict[int, str]] = attrs.field(factory=dict)  # of files that were read
    _reads: dict[tuple[str, int, int], Answered] = attrs.field(factory=dict)

    # --- Seeing -------------------------------------------------------------------------------------------------------

    def fetch(self, text: str, calls: Sequence[Call]) -> Plan[str]:
        """See what the answers to *calls* take. What is left to be said: *text*, if there was nothing to call."""
        if self._tree is None and any(self._needs_tree(call) for call in calls):
            (listed,) = yield from run_calls(text, Call("repo_tree", {"max_files": TREE_FILES}))
            self._tree, text = paths(listed.text) if listed.ok and listed.text != NO_FILES else [], ""
        wanted = [*self._searches(calls), *self._wanted_reads(calls)]
        while wanted:
            for answered in (yield from _every(text, wanted)):
                self._take(answered)
            wanted, text = list(self._rest(calls)), ""
        return text

    def _needs_tree(self, call: Call) -> bool:
        path = call.input.get("path", ".")
        return call.name in ("Glob", "LS") or (call.name == "Grep" and path != "." and path not in self._pages())

    def _searches(self, calls: Sequence[Call]) -> list[Call]:
        texts = dict.fromkeys(text for call in calls if call.name == "Grep" for text in call.holds)
        new = [text for text in texts if text not in self._hits][:MOST_SEARCHES]
        return [Call("search", {"query": text, "max_results": MOST_HITS}) for text in new]

    def _wanted_reads(self, calls: Sequence[Call]) -> list[Call]:
        hits = self._pages()
        named = dict.fromkeys(path for call in calls if call.name == "Grep" for path in self._below(call))
        starts = [
            (path, page * PAGE_LINES + 1, (page + 1) * PAGE_LINES)
            for path in [path for path in named if path not in self._lines][:MOST_FILES]
            for page in sorted(page for page, _ in hits.get(path, Counter([0])).most_common(MOST_PAGES))
        ]
        starts += [span(call) for call in calls if call.name == "Read" and self._run_of(call) is None]
        return [_page(*each) for each in dict.fromkeys(starts) if each not in self._reads]

    def _rest(self, calls: Sequence[Call]) -> Iterator[Call]:
        """The next pages of files that are looked into without knowing where."""
        hits = self._pages()
        wholes = [self._below(call)[:MOST_FILES] for call in calls if call.name == "Grep"]
        most = {path: WHOLE_LINES // len(files) for files in wholes for path in files if path not in hits}
        for path in most:
            if 0 < (after := self._goes_on(path)) <= most[path]:
                yield _page(path, after, after + PAGE_LINES - 1)

    def _goes_on(self, path: str) -> int:
        """The line behind what was read of a file; 0 if there is none."""
        last = max(self._lines.get(path, ()), default=0)
        read = self._reads.get((path, last - PAGE_LINES + 1, last))
        return last + 1 if read is not None and is_cut(read.text) else 0

    def _take(self, answered: Answered) -> None:
        asked = answered.call.input
        if answered.call.name == "search":
            self._hits[asked["query"]] = grep_hits(answered.text) if answered.ok else []
            if is_cut(answered.text):
                self._cut.add(asked["query"])
            return
        self._reads[asked["path"], asked["start_line"], asked["end_line"]] = answered
        if answered.ok:
            lines = {line.number: line.text for line in read_lines(answered.text).lines}
            self._lines.setdefault(asked["path"], {}).update(lines)

    def _pages(self) -> dict[str, Counter[int]]:
        """Which pages of which files have how many of the lines that were found."""
        found: dict[str, Counter[int]] = {}
        for hits in self._hits.values():
            for hit in hits:
                found.setdefault(hit.path, Counter())[(hit.number - 1) // PAGE_LINES] += 1
        return found

    # --- Answering ----------------------------------------------------------------------------------------------------

    def answer(self, call: Call) -> Answered:
        """What the tool that the plan knows would have said."""
        match call.name:
            case "Glob":
                found = "\n".join(self._glob(call.input["pattern"], call.input.get("path", ".")))
                return Answered(call, found or "No files found", ok=True)
            case "LS":
                return self._list(call)
            case "Read":
                told = self._run_of(call)
                read = self._reads.get(span(call))
                return Answered(call, told or (read.text if read else ""), ok=bool(told or (read and read.ok)))
        return self._grep(call)

    def _glob(self, pattern: str, path: str) -> list[str]:
        below = "" if path in (".", "") else f"{path.rstrip('/')}/"
        shape = "".join(_GLOB_SIGNS.get(sign) or re.escape(sign) for sign in _GLOB.findall(below + pattern))
        matches = re.compile(shape).fullmatch
        return [path for path in self._tree or () if matches(path)]

    def _list(self, call: Call) -> Answered:
        """Files one by one; of many, what is right in the directory."""
        path = call.input["path"].rstrip("/")
        below = "" if path in (".", "") else f"{path}/"
        found = [each for each in self._tree or () if each.startswith(below)]
        if len(found) > LISTED:
            count = Counter(re.sub(r"/.*", "/", each[len(below) :]) for each in found)
            found = [f"{below}{name}{f' ({count[name]} files)' * name.endswith('/')}" for name in count]
        return Answered(call, "\n".join(found) or f"{path} has no files", ok=bool(found) or not below)

    def _run_of(self, call: Call) -> str | None:
        """A piece of a file that is known; as far as it is known."""
        path, first, last = span(call)
        lines = self._lines.get(path, {})
        if "limit" not in call.input or first not in lines:
            return None
        known = [f"{number:>6}\t{lines[number]}" for number in range(first, last + 1) if number in lines]
        return "\n".join(known)

    def _grep(self, call: Call) -> Answered:
        path, files = call.input.get("path", "."), self._below(call)
        failed = [read.text for (name, *_), read in self._reads.items() if name == path and not read.ok]
        if failed and path not in self._lines:
            return Answered(call, failed[0], ok=False)
        matches = re.compile(call.input["pattern"], re.IGNORECASE if call.input.get("-i") else 0).search
        found = [hit for hit in self._seen(call, files) if matches(hit.text)]
        told = _grep_lines(found, call.input.get("output_mode"))
        most = call.input.get("head_limit") or len(told)
        unseen = (
            any(text in self._cut for text in call.holds) or len(files) > MOST_FILES or any(map(self._goes_on, files))
        )
        note = ["[there are more]"] if unseen or len(told) > most else []
        return Answered(call, "\n".join([*told[:most], *note]) or "No matches found", ok=True)

    def _below(self, call: Call) -> list[str]:
        """The files that a search is in; none for the whole workspace, of which the hits are enough."""
        path = call.input.get("path", ".").rstrip("/")
        if path in (".", ""):
            return [] if call.holds else list(self._tree or ())
        return [each for each in self._tree or () if each.startswith(f"{path}/")] or [path]

    def _seen(self, call: Call, files: Sequence[str]) -> Iterator[Hit]:
        """Lines in their order. What was read stands as it is, what was searched for without its indentation."""
        texts, inside = call.holds or self._hits.keys(), frozenset(files)
        hits = (hit for text in texts for hit in self._hits.get(text, ()) if not inside or hit.path in inside)
        seen = {(hit.path, hit.number): hit.text for hit in hits}
        seen = {where: self._lines.get(where[0], {}).get(where[1], text) for where, text in seen.items()}
        for path in files:
            seen.update({(path, number): text for number, text in self._lines.get(path, {}).items()})
        return (Hit(path, number, text) for (path, number), text in sorted(seen.items()))


def span(call: Call) -> tuple[str, int, int]:
    """The file and the lines that a Read is to show."""
    first = max(call.input.get("offset") or 1, 1)
    return call.input["file_path"], first, first + min(call.input.get("limit") or PAGE_LINES, PAGE_LINES) - 1


def _page(path: str, first: int, last: int) -> Call:
    return Call("read_file", {"path": path, "start_line": first, "end_line": last})


def _every(text: str, calls: Sequence[Call]) -> Plan[list[Answered]]:
    """All of them, though a chat makes none that come after one that fails."""
    answers: list[Answered] = []
    while len(answers) < len(calls):
        for answered in (yield from run_calls("" if answers else text, *calls[len(answers) :])):
            answers.append(answered)
            if not answered.ok:
                break
    return answers


def _grep_lines(found: Sequence[Hit], mode: str | None) -> list[str]:
    if mode == "content":
        return [f"{hit.path}:{hit.number}:{hit.text}" for hit in found]
    count = Counter(hit.path for hit in found)
    return [f"{path}:{lines}" for path, lines in count.items()] if mode == "count" else list(count)
