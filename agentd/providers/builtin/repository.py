"""Questions about the repository as a whole: what it is, and what changed last."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import attrs

from agentd.providers.builtin.cite import cite, code
from agentd.providers.builtin.outputs import Hit, paths, read_lines
from agentd.providers.builtin.plan import Answered, Call, Plan, run_calls
from agentd.providers.builtin.words import Question

REFLOG = ".git/logs/HEAD"  # what git did here, one line each; readable without git
MAX_COMMITS = 15
MAX_FILES = 15
HEADLINES = 12
_RECENT = re.compile(
    r"\b(?:recent|latest|last|newest)\b[^.?]*\b(?:changes?|commits?|work|modifications?|edits?|history)\b"
    r"|\bwhat(?:'s| has| is)? (?:been )?(?:changed|new)\b|\bgit (?:log|history)\b|\bcommit history\b",
    re.IGNORECASE,
)
_OVERVIEW = re.compile(
    r"\b(?:overview|architecture|purpose)\b[^.?]*\b(?:this|the|repo\w*|project|code ?base)\b"
    r"|\b(?:what|explain|describe|summari[sz]e|introduce|understand)\b[^.?]{0,30}\b(?:this|the|your|whole)\s+(?:\w+\s+)?"
    r"(?:repo|repository|project|code ?base|program|software)\b(?=\s*(?:about|do\b|does|for\b|[?.!]|$))",
    re.IGNORECASE,
)
_COMMITTED = re.compile(
    r"[0-9a-f]+ (?P<sha>[0-9a-f]+) .* <[^>]*> (?P<at>\d+) (?P<zone>[+-]\d{4})"
    r"\t(?:commit|merge|pull|clone|rebase|cherry-pick)[^:]*: (?P<subject>.*)"
)


def asks_recent(question: Question) -> bool:
    return bool(_RECENT.search(question.text))


def asks_overview(question: Question) -> bool:
    return bool(_OVERVIEW.search(question.text)) and not question.symbols and not question.paths


@attrs.frozen
class Commit:
    sha: str
    day: str
    subject: str


def recent_changes(offered: frozenset[str]) -> Plan[str]:
    """From git's own record, the change log, and the times of files; which of them, is said. Where git can be asked
    what is not committed yet, a command takes a person's leave: no other is run."""
    status = "git_status" in offered
    if "Bash" in offered and not status:
        return (yield from _git_log())
    log, news, files = yield from run_calls(
        "Looking at what changed last.",
        Call("Read", {"file_path": REFLOG}),
        Call("Glob", {"pattern": "**/{CHANGELOG,CHANGES,NEWS,HISTORY,RELEASES}*"}),
        Call("git_status", {}) if status else Call("Glob", {"pattern": "**/*"}),
    )
    text, reads = yield from _more(log, paths(news.text)[:1] if news.ok else [])
    commits = commits_of(text)
    parts = (
        [_commits(commits)] if commits else ["I cannot see the commits: git's own record of them is not readable here."]
    )
    parts += [_headlines(read) for read in reads if read.ok]
    if status:
        said = f"What is not committed yet, as git_status tells it:\n{files.text.strip()}"
        return "\n\n".join([*parts, said, "For what each commit changed, say: run the command `git log --stat -n 5`."])
    if files.ok and paths(files.text):
        newest = [f"- {path}" for path in paths(files.text)[:MAX_FILES]]
        parts.append("\n".join(["Files by the time they were last changed on this disk, newest first:", *newest]))
    return "\n\n".join(
        [*parts, "I have no git here; in code mode I can run `git log`, which knows what each commit changed."]
    )


def _git_log() -> Plan[str]:
    command = f"git log --no-color --date=short --pretty=format:'%h %ad %an: %s' --stat=100 -n {MAX_COMMITS}"
    (answered,) = yield from run_calls("Asking git.", Call("Bash", {"command": command}))
    return (
        f"git says, newest first:\n\n{answered.text.strip()}" if answered.ok else f"git could not say: {answered.text}"
    )


def _more(log: Answered, news: Sequence[str]) -> Plan[tuple[str, Sequence[Answered]]]:
    """The end of the log, if it goes on behind what was read; and the change log's beginning."""
    calls = [Call("Read", {"file_path": path, "limit": 60}) for path in news]
    longer = re.search(r"of (\d+); offset=", log.text.rsplit("\n", 1)[-1])
    if log.ok and longer:
        calls.append(Call("Read", {"file_path": REFLOG, "offset": max(1, int(longer[1]) - 200)}))
    answers = yield from run_calls("Reading on.", *calls)
    tail = answers[-1].text if longer and answers else log.text
    return (tail if log.ok else ""), answers[: len(news)]


def commits_of(reflog: str) -> list[Commit]:
    """Newest first, each once, from what Read shows of a reflog."""
    found = [_COMMITTED.fullmatch(line.text) for line in read_lines(reflog).lines]
    commits = [
        Commit(match["sha"][:10], _day(int(match["at"]), match["zone"]), match["subject"]) for match in found if match
    ]
    return list({commit.sha: commit for commit in reversed(commits)}.values())


def _day(at: int, zone: str) -> str:
    minutes = (int(zone[1:3]) * 60 + int(zone[3:])) * (-1 if zone[0] == "-" else 1)
    if abs(minutes) >= 24 * 60 or at >= 1 << 37:
        return "?"
    return datetime.fromtimestamp(at, timezone(timedelta(minutes=minutes))).date().isoformat()


def _commits(commits: Sequence[Commit]) -> str:
    lines = [f"- {each.sha} {each.day} {code(each.subject)}" for each in commits[:MAX_COMMITS]]
    more = [f"[{len(commits) - MAX_COMMITS} more]"] if len(commits) > MAX_COMMITS else []
    return "\n".join(["What git recorded on this checkout, newest first:", *lines, *more])


def overview(offered: frozenset[str]) -> Plan[str]:
    """What the repository says of itself, and how it is laid out."""
    listing, readmes = yield from run_calls(
        "Looking at the whole.",
        Call("LS", {"path": "."}) if "LS" in offered else Call("Glob", {"pattern": "*"}),
        Call("Glob", {"pattern": "{README*,readme*,pyproject.toml,package.json,Cargo.toml,go.mod,pom.xml,setup.cfg}"}),
    )
    files = (
        sorted(paths(readmes.text), key=lambda path: not path.lower().startswith("readme"))[:3] if readmes.ok else []
    )
    reads = yield from run_calls(
        f"Reading {', '.join(files)}.", *(Call("Read", {"file_path": f, "limit": 80}) for f in files)
    )
    parts = [_headlines(read) for read in reads if read.ok]
    if not parts:
        parts = ["There is no README or project file here that says what this is."]
    tree = "\n".join(listing.text.split("\n")[:60])
    return "\n\n".join(
        [*parts, f"Its layout:\n{tree}", "Ask about a part of it, by name or by what it does, for more."]
    )


def _headlines(read: Answered) -> str:
    """The first lines that say something."""
    path = str(read.call.input["file_path"])
    lines = [line for line in read_lines(read.text).lines if re.search(r"\w{2}", line.text)][:HEADLINES]
    return "\n".join([f"{path} says:", *(cite(Hit(path, line.number, line.text)) for line in lines)])
