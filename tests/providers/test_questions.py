"""The built-in model answers questions about code it has never seen: the right file is among the first three cited.

Asked of this repository and of the standard library's source, in words of everyday rather than in identifiers. The
questions of HELD_OUT were written before the model was tuned and never looked at while it was; most of them have to be
answered too, or the tuning has only learned the others by heart.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from agentd.providers.builtin.words import read_question
from tests.providers.conftest import Workspace, converse

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = shutil.ignore_patterns("site-packages", "dist-packages", "__pycache__", "test", "tests", "idlelib", "*.so")
CITATION = re.compile(r"^- (.+?):(\d+) (`+)(.*)\3$", re.MULTILINE)

STDLIB = {
    "How does json decide which characters must be escaped when writing strings?": "json/encoder.py",
    "Which class implements a FIFO queue for threads and how does it block?": "queue.py",
    "How are .pth files handled at start up?": "site.py",
    "Where is a password read from the terminal without echoing it?": "getpass.py",
    "Who deletes temporary files when they are closed?": "tempfile.py",
    "How does the http server decide which MIME type to send for a file?": "http/server.py",
    "Where are abbreviations of command line options resolved?": "argparse.py",
    "How are the members of a zip archive checked for corruption?": "zipfile.py",
    "What is the limit on the number of headers in an HTTP response?": "http/client.py",
    "How does the csv module guess the delimiter of a file?": "csv.py",
    "How is a whole directory tree copied, and what happens to symbolic links?": "shutil.py",
    "Where does a logger find the file name and line number of its caller?": "logging/__init__.py",
    "Which algorithm finds the longest matching block of two sequences?": "difflib.py",
    "How is a relative URL joined to a base address?": "urllib/parse.py",
    "How does a thread pool decide to start another worker?": "concurrent/futures/thread.py",
    "How are values interpolated between the options of a configuration file?": "configparser.py",
}
REPOSITORY = {
    "Where are HTTP request heads parsed, and what limits apply?": "agentd/wire/(head|parser|limits).py",
    "How does a script file describe a delay or a failure of the fake model?": "agentd/providers/script(file|ed).py",
    "What states can a job be in and which of them are final?": "agentd/domain.py",
    "How are aliases of model names checked for circles?": "agentd/providers/registry.py",
    "How is a unified diff put at the right place in a file?": "agentd/providers/builtin/patch.py",
    "What keeps a path from leading out of the workspace?": "agentd/workspace/paths.py",
    "How are glob patterns turned into regular expressions?": "agentd/workspace/globs.py",
}
HELD_OUT = {
    "How does the scheduler keep events sorted by time?": "sched.py",
    "Where are shell arguments quoted so that they are safe to paste?": "shlex.py",
    "How does the least recently used cache evict entries?": "functools.py",
    "What is done when a mail server does not support TLS?": "smtplib.py",
    "How are daylight saving transitions read from time zone files?": "zoneinfo/(_zoneinfo|_common).py",
    "Which functions normalize Windows paths with drive letters?": "ntpath.py",
    "How do entries of dead weak references get removed from a dictionary?": "(weakref|_weakrefset).py",
    "Who cancels the remaining tasks when one task of a group fails?": "asyncio/taskgroups.py",
    "How does pretty printing break long lists over lines?": "pprint.py",
    "How is the calendar of a month laid out as HTML?": "calendar.py",
}
HELD_OUT_RIGHT = 7


@pytest.fixture(scope="session")
def stdlib(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The standard library's own source, without its tests."""
    return Path(shutil.copytree(Path(os.__file__).parent, tmp_path_factory.mktemp("stdlib") / "lib", ignore=LEFT_OUT))


async def first_files(question: str, root: Path) -> list[str]:
    """The first three files that the answer cites; every citation in it is right, to the letter."""
    talk = await converse(question, Workspace(root))
    files: list[str] = []
    for path, line, _, quoted in CITATION.findall(talk.answer):
        text = (root / path).read_text(errors="replace").split("\n")[int(line) - 1]
        assert quoted.rstrip("…").strip() in text, f"{path}:{line} is not {quoted!r}"
        files += [path] if path not in files else []
    return files[:3]


def has(files: list[str], right: str) -> bool:
    return any(re.fullmatch(right, path) for path in files)


@pytest.mark.parametrize("question", STDLIB)
async def test_the_right_file_of_the_standard_library_is_among_the_first_three(question: str, stdlib: Path) -> None:
    files = await first_files(question, stdlib)
    assert has(files, STDLIB[question]), files


@pytest.mark.parametrize("question", REPOSITORY)
async def test_the_right_file_of_this_repository_is_among_the_first_three(question: str) -> None:
    files = await first_files(question, ROOT)
    assert has(files, REPOSITORY[question]), files


async def test_most_questions_that_were_never_tuned_for_are_answered_too(stdlib: Path) -> None:
    right = [question for question, file in HELD_OUT.items() if has(await first_files(question, stdlib), file)]
    assert len(right) >= HELD_OUT_RIGHT, set(HELD_OUT) - set(right)


def test_what_is_too_long_for_a_word_or_a_path_is_not_searched_for() -> None:
    pasted = "aGVsbG8" * 1000
    question = read_question(f"Where is parse_head used? {pasted} `{pasted}`")
    assert [term.word for term in question.terms if len(term.word) > 100] == []
    assert question.symbols == ("parse_head",)


@pytest.mark.parametrize("text", ["README.md", "`add`?", "`a.b`", "?"])
def test_a_question_without_a_plain_word_is_one(text: str) -> None:
    assert read_question(text).text == text
