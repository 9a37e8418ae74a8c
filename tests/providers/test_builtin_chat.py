"""The built-in model in a chat: it answers about the repository with the tools that chats have, and writes the spec."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from agentd.domain import Text
from agentd.engine.chatcalls import WRITE_SPEC
from agentd.errors import ToolFailed
from agentd.providers.builtin import chatlook, chatspec
from agentd.providers.builtin.chatlook import MOST_FILES, MOST_SEARCHES
from agentd.tools.base import Tool, ToolContext, ToolState
from agentd.tools.chat import glance, readfile
from agentd.tools.chat.commands import Ran
from agentd.tools.chat.registry import chat_tools
from agentd.workspace import specfile
from agentd.workspace.speccheck import problems
from tests.providers.conftest import Tell

LONG = "".join(f"value_{number} = {number}\n" for number in range(900))
FILES = {
    "README.md": "# Parcel\n\nParcel sends letters between machines.\n",
    "pyproject.toml": '[project]\nname = "parcel"\n',
    "parcel/store.py": (
        '"""Letters on disk."""\n\nMAX_LETTERS = 500  # in one box\n\n\nclass Box:\n'
        '    """Keeps letters until they are fetched."""\n\n    def __init__(self, size: int = MAX_LETTERS) -> None:\n'
        "        self.size = size\n        self.letters: list[str] = []\n\n"
        "    def deliver(self, letter: str) -> None:\n"
        "        if len(self.letters) >= self.size:\n            raise BoxFull(self.size)\n"
        "        self.letters.append(letter)\n\n\nclass BoxFull(Exception):\n    pass\n"
    ),
    "parcel/network.py": (
        "from parcel.store import Box\n\nRETRY_TIMEOUT = 30\n\n\ndef receive(box: Box, data: bytes) -> None:\n"
        '    """Decode what came over the network, and deliver it."""\n    box.deliver(data.decode())\n'
    ),
    "parcel/long.py": f"{LONG}\n\ndef weigh_the_envelope(envelope: str) -> int:\n    return len(envelope)\n",
    "tests/test_store.py": "from parcel.store import Box\n\n\ndef test_a_box():\n    Box().deliver('x')\n",
    ".env": "LETTERS_PASSWORD=letters\n",
}


async def no_command(command: str, context: ToolContext, seconds: float) -> Ran:
    raise ToolFailed("nobody approves of this")


@attrs.frozen
class Chat:
    """The tools of a chat in a workspace; like there, no call is made after one that fails."""

    root: Path
    spec: Path | None = None
    made: list[str] = attrs.field(factory=list)

    @property
    def tools(self) -> Mapping[str, Tool]:
        return {tool.name: tool for tool in chat_tools(no_command, (), self.spec)}

    @property
    def names(self) -> Sequence[str]:
        return list(self.tools)

    async def run(self, name: str, call_input: Mapping[str, Any]) -> str:
        self.made.append(name)
        context = ToolContext(self.root, ToolState(self.root), {}, (), lambda _: None, lambda path: path.name)
        outcome = await self.tools[name].run(call_input, context)
        text = "\n".join(part.text for part in outcome.content if isinstance(part, Text))
        if outcome.is_error:
            raise ToolFailed(text)
        return text


@pytest.fixture
def chat(tmp_path: Path) -> Chat:
    root = tmp_path / "repository"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    return Chat(root)


async def test_a_question_is_answered_with_places(chat: Chat, tell: Tell) -> None:
    talk = await tell("How are letters delivered, and what is the limit of a box?", chat)
    assert "parcel/store.py:13 `def deliver(self, letter: str) -> None:`" in talk.answer
    assert "parcel/store.py:3 `MAX_LETTERS = 500  # in one box`" in talk.answer
    assert set(chat.made) == {"search", "read_file"}


async def test_an_answer_is_found_with_few_calls(chat: Chat, tell: Tell) -> None:
    talk = await tell("How does data from the network get decoded, checked, stored and delivered into boxes?", chat)
    assert "parcel/network.py:6" in talk.answer
    assert talk.turns <= 6
    assert len(chat.made) <= MOST_SEARCHES + 2 * MOST_FILES


async def test_a_name_is_found_where_it_is_defined_and_used(chat: Chat, tell: Tell) -> None:
    talk = await tell("Where is `deliver` defined and used?", chat)
    assert "defined in:\n- parcel/store.py:13 `def deliver" in talk.answer
    assert "- parcel/network.py:8 `box.deliver(data.decode())`" in talk.answer
    assert chat.made == ["search"]


async def test_a_word_that_is_only_in_capitals_is_found(chat: Chat, tell: Tell) -> None:
    talk = await tell("What is the timeout?", chat)
    assert "parcel/network.py:3 `RETRY_TIMEOUT = 30`" in talk.answer


async def test_a_place_far_down_in_a_file_is_read(chat: Chat, tell: Tell) -> None:
    talk = await tell("How is an envelope weighed?", chat)
    assert "903\tdef weigh_the_envelope(envelope: str) -> int:" in talk.answer


async def test_the_whole_is_told_by_its_readme_and_layout(chat: Chat, tell: Tell) -> None:
    talk = await tell("What does this project do?", chat)
    assert "README.md:3 `Parcel sends letters between machines.`" in talk.answer
    assert "parcel/store.py" in talk.answer
    assert chat.made == ["repo_tree", "read_file", "read_file"]


async def test_what_a_file_or_a_directory_defines_is_told(chat: Chat, tell: Tell) -> None:
    file = await tell("List all the classes and functions in parcel/store.py", chat)
    assert "parcel/store.py:6 `class Box:`" in file.answer
    directory = await tell("What is the structure of parcel/?", chat)
    assert "parcel/network.py:6 `def receive" in directory.answer
    assert "parcel/long.py:903" in directory.answer


async def test_what_changed_last_is_told_without_a_command(chat: Chat, tell: Tell) -> None:
    log = chat.root / ".git/logs/HEAD"
    log.parent.mkdir(exist_ok=True)
    log.write_text(f"{'0' * 40} {'1' * 40} A <a@b> 1700000000 +0000\tcommit: Weigh envelopes\n")
    talk = await tell("What changed recently?", chat)
    assert "1111111111 2023-11-14 `Weigh envelopes`" in talk.answer
    assert "?? parcel/" in talk.answer
    assert "shell" not in chat.made


async def test_a_directory_that_is_elsewhere_is_named(chat: Chat, tell: Tell) -> None:
    talk = await tell("List all the functions in src/network.py", chat)
    assert "There is `parcel/network.py`" in talk.answer


async def test_what_is_nowhere_is_said_to_be_nowhere(chat: Chat, tell: Tell) -> None:
    talk = await tell("Where are zeppelins inflated?", chat)
    assert talk.answer.startswith("Nothing in the workspace mentions")


async def test_secrets_stay_where_they_are(chat: Chat, tell: Tell) -> None:
    talk = await tell("What is the password of letters?", chat)
    assert "PASSWORD" not in talk.answer


async def test_a_conversation_goes_on(chat: Chat, tell: Tell) -> None:
    first = await tell("Where is `Box` defined?", chat)
    assert "parcel/store.py:6 `class Box:`" in first.answer
    second = await tell("And where is `receive` used or defined?", chat, history=first.messages)
    assert "parcel/network.py:6" in second.answer
    assert second.messages[: len(first.messages)] == first.messages


@pytest.mark.parametrize("said", ["Hello!", "hi, what can you do?", "What can you do?"])
async def test_a_greeting_is_answered_at_once(said: str, chat: Chat, tell: Tell) -> None:
    talk = await tell(said, chat)
    assert "I answer questions about a repository" in talk.answer
    assert not chat.made


async def test_after_a_file_that_cannot_be_read_the_others_are(chat: Chat, tell: Tell) -> None:
    (chat.root / "parcel/a.bin").write_bytes(b"\0" * 100)
    talk = await tell("What is the structure of parcel/?", chat)
    assert "parcel/store.py:6 `class Box:`" in talk.answer


# --- The spec -------------------------------------------------------------------------------------------------------


@attrs.frozen
class Spec:
    path: Path

    @property
    def text(self) -> str:
        return self.path.read_text()


@pytest.fixture
def spec(chat: Chat) -> Spec:
    path = chat.root / "specs/boxes/spec.md"
    path.parent.mkdir(parents=True)
    path.write_text(specfile.draft("boxes"))
    return Spec(path)


async def test_what_is_to_be_done_goes_into_the_spec(chat: Chat, spec: Spec, tell: Tell) -> None:
    asked = "Add a lid to every box. It must not change the size. `parcel --lid` prints whether it is closed."
    talk = await tell(f"Write a spec for this: {asked}", attrs.evolve(chat, spec=spec.path))
    assert chat.made == ["read_spec", "write_spec"]
    text = spec.text
    assert problems(text) == []
    assert "# Goal\n\nAdd a lid to every box.\n" in text
    assert "# Constraints / nuances\n\n- It must not change the size.\n" in text
    assert "# Acceptance tests\n\n- `parcel --lid` prints whether it is closed.\n" in text
    assert "Add a lid to every box." in talk.answer


async def test_what_a_spec_says_already_stays_in_it(chat: Chat, spec: Spec, tell: Tell) -> None:
    spec.path.write_text("# Goal\n\n```sh\n# no heading\n```\n\n# Acceptance tests\n\n- It works.\n\n# Notes\n\nMine.")
    await tell("Add a lid to every box. It must be light.", attrs.evolve(chat, spec=spec.path))
    assert spec.text == (
        "# Goal\n\n```sh\n# no heading\n```\n\nAdd a lid to every box.\n\n# Acceptance tests\n\n- It works.\n\n"
        "# Notes\n\nMine.\n\n# Constraints / nuances\n\n- It must be light.\n"
    )


async def test_a_question_beside_a_spec_changes_nothing_in_it(chat: Chat, spec: Spec, tell: Tell) -> None:
    talk = await tell("Where is `Box` defined?", attrs.evolve(chat, spec=spec.path))
    assert "parcel/store.py:6" in talk.answer
    assert spec.text == specfile.draft("boxes")


def test_what_the_tools_say_is_known_as_they_say_it() -> None:
    assert chatlook.NO_FILES == glance.EMPTY
    assert chatlook.PAGE_LINES == readfile.MAX_LINES
    assert chatspec.NOT_YET == specfile.TO_BE_WRITTEN
    assert chatspec.WRITE == WRITE_SPEC
