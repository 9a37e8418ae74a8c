from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentd.providers.leakscan import MAX_HELD, Found, Scanner
from agentd.providers.protocol import ToolSchema

TOOLS = {name: ToolSchema(name, "", {"type": "object"}) for name in ("Read", "LS")}
CALL = '{"name": "Read", "arguments": {"file_path": "a"}}'
OTHER = '{"name": "LS", "arguments": {}}'
UNKNOWN = '{"name": "Drop", "arguments": {"file_path": "a"}}'


def scan(pieces: Iterable[str], *, whole: bool = True, own_fence: str = "", unmarked: bool = True) -> list[str | Found]:
    """What comes out, neighbouring texts joined."""
    scanner = Scanner(TOOLS, own_fence=own_fence, unmarked=unmarked)
    found: list[str | Found] = [item for piece in pieces for item in scanner.feed(piece)]
    found += scanner.close(whole=whole)
    joined: list[str | Found] = []
    for item in found:
        if isinstance(item, str) and joined and isinstance(joined[-1], str):
            joined[-1] += item
        elif item:
            joined.append(item)
    return joined


def everywhere(text: str, *, whole: bool = True, own_fence: str = "", unmarked: bool = True) -> list[str | Found]:
    """What comes out, which is the same wherever the text is cut."""
    options = {"whole": whole, "unmarked": unmarked}
    found = scan([text], own_fence=own_fence, **options)
    for cut in range(1, len(text)):
        assert scan([text[:cut], text[cut:]], own_fence=own_fence, **options) == found, cut
    assert scan(text, own_fence=own_fence, **options) == found
    return found


def told(found: list[str | Found]) -> list[str]:
    """Texts as they are, calls as form:names."""
    return [item if isinstance(item, str) else f"{item.form}:{'+'.join(c.name for c in item.calls)}" for item in found]


LEAKS = {
    "a tag": (f"<tool_call>\n{CALL}\n</tool_call>", ["<tool_call>:Read"]),
    "a tag after text": (f"I look.\n\n<tool_call>{CALL}</tool_call>\n", ["I look.\n\n", "<tool_call>:Read"]),
    "tags in a row": (
        f"<tool_call>{CALL}</tool_call>\n<tool_call>{OTHER}</tool_call>",
        ["<tool_call>:Read", "<tool_call>:LS"],
    ),
    "two calls in a tag": (f"<tool_call>{CALL}\n{OTHER}</tool_call>", ["<tool_call>:Read+LS"]),
    "a tag and text after it": (f"<tool_call>{CALL}</tool_call>\nSo.", ["<tool_call>:Read", "\nSo."]),
    "a tag that does not end": (f"Hm <tool_call>\n{CALL}", ["Hm ", "<tool_call>:Read"]),
    "a tag without the last bracket": (f"<tool_call>{CALL[:-1]}</tool_call>", ["<tool_call>:Read"]),
    "a tag within a string": (
        '<tool_call>{"name": "Read", "arguments": {"file_path": "</tool_call>"}}</tool_call>',
        ["<tool_call>:Read"],
    ),
    "a function": ('<function=Read>{"file_path": "a"}</function>', ["<function=…>:Read"]),
    "a function in a tag": (
        "<tool_call>\n<function=Read>\n<parameter=file_path>\na\n</parameter>\n</function>\n</tool_call>",
        ["<tool_call>:Read"],
    ),
    "Mistral": (f"Well.[TOOL_CALLS][{CALL}, {OTHER}]</s>", ["Well.", "[TOOL_CALLS]:Read+LS"]),
    "Mistral since 2024": ('[TOOL_CALLS]Read[ARGS]{"a": 1}[TOOL_CALLS]LS{}', ["[TOOL_CALLS]:Read+LS"]),
    "Llama": (f"<|python_tag|>{CALL}; {OTHER}", ["<|python_tag|>:Read+LS"]),
    "a block": (f"I look.\n```json\n{CALL}\n```\n", ["I look.\n", "a fenced block:Read"]),
    "a block without a word": (f"```\n{CALL}\n```", ["a fenced block:Read"]),
    "a block of several": (f"~~~tool_call\n[{CALL},\n{OTHER}]\n~~~  \n", ["a fenced block:Read+LS"]),
    "blocks in a row": (f"```\n{CALL}\n```\n\n```json\n{OTHER}\n```", ["a fenced block:Read", "a fenced block:LS"]),
    "a block that does not end": (f"```json\n{CALL}\n", ["a fenced block:Read"]),
    "a block with a block in a string": (
        '```json\n{"name": "Read", "arguments": {"text": "x\n```\ny"}}\n```',
        ["a fenced block:Read"],
    ),
    "bare": (CALL, ["bare JSON:Read"]),
    "bare after text": (f"I look.\n\n{CALL}\n", ["I look.\n\n", "bare JSON:Read"]),
    "bare ones": (f"{CALL}; {OTHER}\n{OTHER}", ["bare JSON:Read", "bare JSON:LS", "bare JSON:LS"]),
    "bare array": (f"[{CALL}, {OTHER}]", ["bare JSON:Read+LS"]),
    "bare over several lines": (json.dumps(json.loads(CALL), indent=2), ["bare JSON:Read"]),
    "bare without the last bracket": (f" {CALL[:-1]}\n", [" ", "bare JSON:Read"]),
    "bare with single quotes": (CALL.replace('"', "'"), ["bare JSON:Read"]),
    "bare with brackets and quotes in strings": (
        '{"name": "Read", "arguments": {"a": "}\\"\\\\", "b": "it\'s ["}}',
        ["bare JSON:Read"],
    ),
    "bare, then a tag": (f"{CALL}\n<tool_call>{OTHER}</tool_call>", ["bare JSON:Read", "<tool_call>:LS"]),
    "a tag, then a block": (
        f"<tool_call>{OTHER}</tool_call>\n```\n{CALL}\n```",
        ["<tool_call>:LS", "a fenced block:Read"],
    ),
    "after a block of code": (f"```py\nx = [1]\n```\n{CALL}", ["```py\nx = [1]\n```\n", "bare JSON:Read"]),
    "after inline code": (f"Use `a` here: <tool_call>{CALL}</tool_call>", ["Use `a` here: ", "<tool_call>:Read"]),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leaked_call_is_found_wherever_the_text_is_cut(leak: str) -> None:
    text, expected = LEAKS[leak]
    assert told(everywhere(text)) == expected


ANSWERS = {
    "nothing": "",
    "prose": "It is `a < b`, see [this](x) and {that}.\n[1] Yes\n{ no }\n",
    "a call of another tool": f"<tool_call>{UNKNOWN}</tool_call>",
    "another tool in a block": f"```json\n{UNKNOWN}\n```",
    "another tool, bare": UNKNOWN,
    "another function": "<function=Drop>{}</function>",
    "another tool of Mistral's": "[TOOL_CALLS]Drop{}",
    "two tools of which one is another": f"[{CALL}, {UNKNOWN}]",
    "a tag in backticks": f"Write `<tool_call>{CALL}</tool_call>` then.",
    "a tag in two backticks": f"Write ``<tool_call>{CALL}</tool_call>`` then.",
    "a tag in three backticks": f"```<tool_call>{CALL}</tool_call>``` is it.",
    "a tag on a line that opens a block": f"```<tool_call>{CALL}{CALL}{CALL}</tool_call>\n{CALL}",
    "a tag in a block of code": f"```xml\n<tool_call>{CALL}</tool_call>\n```",
    "a tag in a block that does not end": f"```xml\n<tool_call>{CALL}</tool_call>\n",
    "a tag in a block that begins like JSON": f"```\n<tool_call>{CALL}</tool_call>\n```",
    "a tag in a longer block": f"````md\n```\n<tool_call>{CALL}</tool_call>\n```\n````\n",
    "JSON in a block of code": f"```python\n{CALL}\n```",
    "JSON in indented code": f"So:\n\n    {CALL}\n",
    "JSON within a line": f"So: {CALL}",
    "JSON that is quoted": f"> {CALL}",
    "a block that is spoken of": f"This is a call:\n```json\n{CALL}\n```\nIt reads a file.",
    "JSON that is spoken of": f"{CALL}\nThis reads a file.",
    "a block, JSON, and talk": f"```\n{CALL}\n```\n{OTHER}\nBoth.",
    "JSON that is another answer": '{"name": "Read", "version": 3}',
    "a list of names": '[{"name": "Read"}, {"name": "LS"}]',
    "JSON within JSON": f'{{"calls": [\n{CALL}\n]}}',
    "an array of text": f'[\n"x",\n{CALL}\n]',
    "a mark alone": "The <tool_call> mark, [TOOL_CALLS] too, and <function=x; <|python_tag|>.",
    "a mark at the end": "See <tool_call>",
    "half a mark at the end": "See <tool_",
    "half a mark of Mistral": "See [TOOL",
    "a tag with prose": "<tool_call> Read the file </tool_call>",
    "a string that does not end": '<tool_call>{"name": "Read", "arguments": {"file_path": "a',
    "ticks": "``` `` ```` ~~~\n~~~\n`x\n``",
    "a fence of four": "````\nx\n```\n",
    "a line of spaces in code": "```py\n   \n  ``\n```",
    "white space": " \n\t\n",
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_what_is_no_call_is_left_as_it_is(answer: str) -> None:
    text = ANSWERS[answer]
    assert everywhere(text) == ([text] if text else [])


CUT = {
    "in a string": ('<tool_call>{"name": "Read", "arguments": {"file_path": "a', 1),
    "between brackets": (f"<tool_call>{CALL[:-1]}", 1),
    "in bare JSON": (CALL[:-1], 1),
    "in a block": (f"```json\n{CALL[:-1]}", 1),
    "before the end tag": (f"<tool_call>{CALL}</tool", 1),
    "after the call": (f"<tool_call>{CALL}", 0),
}


@pytest.mark.parametrize("place", CUT)
def test_a_reply_that_was_cut_off_is_not_completed(place: str) -> None:
    text, texts = CUT[place]
    assert [item for item in everywhere(text, whole=False) if isinstance(item, str)] == [text] * texts


def test_blocks_of_ones_own_are_calls_wherever_they_are() -> None:
    text = f"I look.\n```tool_call\n{CALL}\n```\nThen:\n```json\n{OTHER}\n```\nAnd so on."
    found = everywhere(text, own_fence="tool_call")
    assert told(found) == ["I look.\n", ":Read", f"\nThen:\n```json\n{OTHER}\n```\nAnd so on."]


OWN = {
    "a tool that there is not": ("```tool_call\n" + UNKNOWN + "\n```", [("Drop", '{"file_path": "a"}')]),
    "broken JSON": (
        '```tool_call\n{"name": "Read", "arguments": {"x": "a "b""}}\n```\nSo.',
        [("Read", '{"x": "a "b""}')],
    ),
    "a string that does not end": (
        '```tool_call\n{"name": "Read", "arguments": {"x": "a}}\n```',
        [("Read", '{"x": "a}}\n```')],
    ),
    "no JSON": ("```tool_call\nRead the file\n```\n", [("", "Read the file")]),
    "nothing": ("```tool_call\n```\n", [("", "null")]),
}


@pytest.mark.parametrize("fault", OWN)
def test_a_block_of_ones_own_is_a_call_whatever_is_in_it(fault: str) -> None:
    text, calls = OWN[fault]
    found = [item for item in everywhere(text, own_fence="tool_call") if isinstance(item, Found)]
    assert [(call.name, call.arguments) for item in found for call in item.calls] == calls


def test_a_block_of_ones_own_that_was_cut_off_is_no_call() -> None:
    text = "```tool_call\n" + CALL[:-5]
    assert everywhere(text, whole=False, own_fence="tool_call") == [text]


def test_where_json_is_the_answer_only_marks_are_calls() -> None:
    for text in (CALL, f"```json\n{CALL}\n```"):
        assert everywhere(text, unmarked=False) == [text]
    assert told(everywhere(f"<tool_call>{CALL}</tool_call>", unmarked=False)) == ["<tool_call>:Read"]


def test_an_answer_in_json_is_not_held_back() -> None:
    scanner = Scanner(TOOLS)
    assert list(scanner.feed('{"ver')) == []
    assert list(scanner.feed('sion": 3, ')) == ['{"version": 3, ']
    assert list(scanner.feed('"name": "Read"')) == ['"name": "Read"']


def test_what_may_be_a_call_is_held_back() -> None:
    scanner = Scanner(TOOLS)
    assert list(scanner.feed("Hm. <too")) == ["Hm. "]
    assert list(scanner.feed(f"l_call>{CALL}")) == []
    assert scanner.release() == f"<tool_call>{CALL}"


def test_what_is_held_back_has_a_bound() -> None:
    scanner = Scanner(TOOLS)
    text = '<tool_call>{"name": "Read", "arguments": {"text": "' + "x" * MAX_HELD
    out = [item for start in range(0, len(text), 1000) for item in scanner.feed(text[start : start + 1000])]
    assert "".join(map(str, out)) == text
    assert everywhere_coarsely(text + '"}}</tool_call>') == [text + '"}}</tool_call>']


def test_calls_that_may_be_none_have_a_bound_together() -> None:
    first, *rest = everywhere_coarsely((CALL + "\n") * (MAX_HELD // len(CALL) + 2))
    assert isinstance(first, str)
    assert MAX_HELD - len(CALL) < len(first) <= MAX_HELD + len(CALL)
    assert told(rest) == ["bare JSON:Read"] * len(rest)


def everywhere_coarsely(text: str) -> list[str | Found]:
    """As everywhere(), for long texts."""
    found = scan([text])
    assert scan(text[start : start + 7777] for start in range(0, len(text), 7777)) == found
    return found


PIECES = st.sampled_from(
    ["<tool_call>", "</tool_call>", "<function=Drop>", "</function>", "[TOOL_CALLS]", "```", "```json\n", "~~~", "`",
     "\n", " ", "    ", "{", "}", "[", "]", '"', "'", UNKNOWN, '{"name": "', '"arguments": ', "Drop", "x", ";", "\\",
     "<", "</"]
)  # fmt: skip


@given(st.lists(st.one_of(PIECES, st.text(max_size=3)), max_size=25), st.booleans())
@example(["```json\n", UNKNOWN, "\n", "```", "\n", "`", "<tool_call>"], True)
def test_text_without_a_call_of_a_tool_on_offer_is_never_altered(pieces: list[str], whole: bool) -> None:
    text = "".join(pieces)
    for found in (scan([text], whole=whole), scan(text, whole=whole), scan(pieces, whole=whole)):
        assert found == ([text] if text else [])


@given(st.lists(st.one_of(PIECES, st.sampled_from([CALL, OTHER, "Read", "<function=LS>"])), max_size=12), st.booleans())
def test_the_same_is_found_however_the_text_is_cut(pieces: list[str], whole: bool) -> None:
    text = "".join(pieces)
    assert scan([text], whole=whole) == scan(text, whole=whole) == scan(pieces, whole=whole)
