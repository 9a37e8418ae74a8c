"""NotebookRead and NotebookEdit: what a cell holds, and that nothing else in the file changes."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.errors import ToolFailed
from agentd.tools import notebook_read
from agentd.tools.base import Tool, ToolOutcome
from agentd.tools.notebook import Notebook
from agentd.tools.notebook_edit import NotebookEdit
from agentd.tools.notebook_read import NotebookRead
from agentd.workspace import files

Call = Callable[[Tool, Mapping[str, Any]], Awaitable[ToolOutcome]]
Told = Callable[[Tool, Mapping[str, Any]], Awaitable[str]]
Text = Callable[[], str]

PRINTED = {"output_type": "stream", "name": "stdout", "text": ["1\n"]}


def code(name: str | None, *source: str, count: int | None = None, outputs: tuple[Any, ...] = ()) -> dict[str, Any]:
    named = {} if name is None else {"id": name}
    rest = {"metadata": {}, "outputs": list(outputs), "source": list(source)}
    return {"cell_type": "code", "execution_count": count, **named, **rest}


def markdown(name: str | None, *source: str) -> dict[str, Any]:
    named = {} if name is None else {"id": name}
    return {"cell_type": "markdown", **named, "metadata": {}, "source": list(source)}


def notebook(*cells: dict[str, Any], minor: int = 5) -> dict[str, Any]:
    return {"cells": list(cells), "metadata": {"kernelspec": {"name": "π"}}, "nbformat": 4, "nbformat_minor": minor}


THREE = notebook(
    markdown("intro", "# Title\n", "text"), code("sum", "1 + 1", count=7, outputs=(PRINTED,)), code("end", "exit()")
)


def write(path: Path, value: Any, **layout: Any) -> None:
    path.write_text(json.dumps(value, **({"indent": 1, "ensure_ascii": False} | layout)) + "\n")


def edit(cell: str | None, source: str = "", **more: Any) -> dict[str, Any]:
    return {"notebook_path": "a.ipynb", "cell_id": cell, "new_source": source, **more}


@pytest.fixture
def text(workspace: Path) -> Text:
    """A notebook of three cells, as Jupyter writes it; call it for what is in the file."""
    write(workspace / "a.ipynb", THREE)
    return (workspace / "a.ipynb").read_text


def changed_lines(before: str, after: str) -> tuple[list[str], list[str]]:
    """What is between the lines that both begin with and the lines that both end with."""
    old, new = before.splitlines(), after.splitlines()
    while old and new and old[0] == new[0]:
        del old[0], new[0]
    while old and new and old[-1] == new[-1]:
        del old[-1], new[-1]
    return old, new


# --- Reading ------------------------------------------------------------------------------------------------------


async def test_cells_are_shown_with_their_number_type_and_id_and_what_they_printed(text: Text, told: Told) -> None:
    assert await told(NotebookRead(), {"notebook_path": "a.ipynb"}) == (
        "[cell 1: markdown, id intro]\n# Title\ntext\n"
        "[cell 2: code, id sum]\n1 + 1\n[output]\n1\n"
        "[cell 3: code, id end]\nexit()"
    )


@pytest.mark.parametrize("name", ["end", "3"])
async def test_one_cell_is_shown_by_its_id_or_its_number(text: Text, told: Told, name: str) -> None:
    asked = {"notebook_path": "a.ipynb", "cell_id": name}
    assert await told(NotebookRead(), asked) == "[cell 3: code, id end]\nexit()"


async def test_an_id_that_is_a_number_means_the_id(workspace: Path, told: Told) -> None:
    write(workspace / "a.ipynb", notebook(code("2", "one"), code("x", "two")))
    assert "one" in await told(NotebookRead(), {"notebook_path": "a.ipynb", "cell_id": "2"})


async def test_a_notebook_without_cells_says_so(workspace: Path, told: Told) -> None:
    write(workspace / "a.ipynb", notebook())
    assert await told(NotebookRead(), {"notebook_path": "a.ipynb"}) == "[the notebook has no cells]"


async def test_a_long_notebook_is_cut_and_what_is_missing_is_told(
    text: Text, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebook_read, "MAX_CHARACTERS", 40)
    assert (await told(NotebookRead(), {"notebook_path": "a.ipynb"})).endswith(
        "# Title\n[the rest of cell 1 and 2 more cells not shown: cell_id shows one, Read with offset any part]"
    )


async def test_a_long_line_is_cut(workspace: Path, told: Told) -> None:
    write(workspace / "a.ipynb", notebook(code("x", "y" * 3000)))
    shown = await told(NotebookRead(), {"notebook_path": "a.ipynb"})
    assert shown.endswith("y [line cut: it is 3000 characters long]")
    assert len(shown) < 2100


async def test_an_output_that_is_not_as_nbformat_has_it_hides_nothing_else(workspace: Path, told: Told) -> None:
    write(
        workspace / "a.ipynb", notebook(code("x", "before", outputs=({"output_type": "stream"}, 3)), code("y", "after"))
    )
    shown = await told(NotebookRead(), {"notebook_path": "a.ipynb"})
    assert shown.count("[not as nbformat has it: not shown]") == 2
    assert shown.endswith("after")


async def test_half_a_character_does_not_stop_the_answer(workspace: Path, told: Told) -> None:
    write(workspace / "a.ipynb", notebook(code("x", "é \ud800 ü")), ensure_ascii=True)
    assert (await told(NotebookRead(), {"notebook_path": "a.ipynb"})).endswith("é ? ü")


BROKEN = [
    ("{", r"it is not JSON \(Expecting property name enclosed in double quotes, line 1, column 2\)"),
    ("", "it is not JSON"),
    ("[" * 100_000, "nested too deeply"),
    ("[]", "it is not a JSON object"),
    ("{}", "it has no list of cells"),
    ('{"cells": 1}', "it has no list of cells"),
    ('{"cells": [{}]}', "its cell 1 has no cell_type"),
    ('{"cells": [{"cell_type": "code", "source": 3}]}', "the source of its cell 1 is neither text nor a list"),
    ('{"cells": [{"cell_type": "code", "source": [3]}]}', "the source of its cell 1"),
    ('{"cells": [{"cell_type": "code", "source": "", "outputs": 1}]}', "the outputs of its cell 1 are no list"),
    ('{"worksheets": [], "nbformat": 3}', "is a notebook of nbformat 3.*jupyter nbconvert"),
    ('{"cells": [], "nbformat": 5}', "is a notebook of nbformat 5"),
]


@pytest.mark.parametrize(("content", "says"), BROKEN)
@pytest.mark.parametrize("tool", [NotebookRead(), NotebookEdit()])
async def test_what_is_wrong_with_a_notebook_is_said(
    workspace: Path, call: Call, tool: Tool, content: str, says: str
) -> None:
    (workspace / "a.ipynb").write_text(content)
    with pytest.raises(ToolFailed, match=says) as caught:
        await call(tool, edit("1"))
    assert str(caught.value).startswith("a.ipynb is ")
    assert (workspace / "a.ipynb").read_text() == content


@pytest.mark.parametrize("tool", [NotebookRead(), NotebookEdit()])
async def test_bytes_that_are_no_utf_8_are_said(workspace: Path, call: Call, tool: Tool) -> None:
    (workspace / "a.ipynb").write_bytes(b'{"\xff": 1}')
    with pytest.raises(ToolFailed, match=r"it is not UTF-8 \(at byte 2\)"):
        await call(tool, edit("1"))


@pytest.mark.parametrize("tool", [NotebookRead(), NotebookEdit()])
async def test_a_notebook_that_is_too_large_is_refused(
    text: Text, call: Call, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_READ_BYTES", 100)
    with pytest.raises(ToolFailed, match="larger than 100 bytes"):
        await call(tool, edit("1"))


# --- Editing ------------------------------------------------------------------------------------------------------


async def test_a_replaced_code_cell_loses_what_it_printed_and_nothing_else_changes(
    workspace: Path, text: Text, told: Told
) -> None:
    assert await told(NotebookEdit(), edit("sum", "2 + 2\n3")) == "Replaced cell 2: code, id sum in a.ipynb"
    cell = THREE["cells"][1] | {"source": ["2 + 2\n", "3"], "outputs": [], "execution_count": None}
    write(workspace / "expected", THREE | {"cells": [THREE["cells"][0], cell, THREE["cells"][2]]})
    assert text() == (workspace / "expected").read_text()


async def test_of_a_replaced_source_only_the_lines_that_differ_are_a_diff(text: Text, call: Call) -> None:
    before = text()
    await call(NotebookEdit(), edit("intro", "# Other title\ntext"))
    assert changed_lines(before, text()) == (['    "# Title\\n",'], ['    "# Other title\\n",'])


async def test_an_inserted_cell_comes_after_the_one_named_with_an_id_of_its_own(text: Text, told: Told) -> None:
    before = text()
    said = await told(NotebookEdit(), edit("sum", "x = 1\nx", edit_mode="insert", cell_type="code"))
    name = re.fullmatch("Inserted cell 3: code, id ([0-9a-f]{8}) in a.ipynb", said)
    assert name is not None
    cells = json.loads(text())["cells"]
    assert cells[2] == code(name[1], "x = 1\n", "x")
    assert [cell["id"] for cell in cells] == ["intro", "sum", name[1], "end"]
    assert changed_lines(before, text())[0] == []


async def test_without_a_cell_named_a_new_one_comes_first(text: Text, told: Told) -> None:
    said = await told(NotebookEdit(), edit(None, "# First", edit_mode="insert", cell_type="markdown"))
    assert said.startswith("Inserted cell 1: markdown, id ")
    assert json.loads(text())["cells"][0]["source"] == ["# First"]


async def test_before_nbformat_4_5_a_new_cell_has_no_id(workspace: Path, call: Call) -> None:
    write(workspace / "a.ipynb", notebook(code(None, "1"), minor=4))
    await call(NotebookEdit(), edit("1", "2", edit_mode="insert", cell_type="markdown"))
    assert json.loads((workspace / "a.ipynb").read_text())["cells"] == [code(None, "1"), markdown(None, "2")]


async def test_a_deleted_cell_is_gone_and_nothing_else(text: Text, told: Told) -> None:
    before = text()
    assert await told(NotebookEdit(), edit("2", edit_mode="delete")) == "Deleted cell 2: code, id sum in a.ipynb"
    assert [cell["id"] for cell in json.loads(text())["cells"]] == ["intro", "end"]
    assert changed_lines(before, text())[1] == []


async def test_code_made_text_has_what_a_cell_of_text_has_and_no_more(text: Text, call: Call) -> None:
    await call(NotebookEdit(), edit("sum", "words", cell_type="markdown"))
    assert json.loads(text())["cells"][1] == markdown("sum", "words")


async def test_text_made_code_has_what_a_cell_of_code_has_and_no_more(workspace: Path, call: Call) -> None:
    write(workspace / "a.ipynb", notebook(markdown("x", "words") | {"attachments": {}, "other": 1}))
    await call(NotebookEdit(), edit("x", "1", cell_type="code"))
    assert json.loads((workspace / "a.ipynb").read_text())["cells"] == [code("x", "1") | {"other": 1}]


async def test_a_notebook_whose_layout_is_nobodys_keeps_it(workspace: Path, call: Call) -> None:
    text = (
        '{ "x":1e5,"cells" :[ {"source":"a" , "cell_type":"code","outputs":[ ],"metadata":{ },"\\u0069d":"a"}\n'
        ' ,{"cell_type":"raw","source":["b"] } ],\t"nbformat":4,"nbformat_minor":5 ,"x": 1.0 }\n\n'
    )
    (workspace / "a.ipynb").write_text(text)
    await call(NotebookEdit(), edit("a", "new"))
    assert (workspace / "a.ipynb").read_text() == text.replace('"a" ,', '"new" ,', 1)
    await call(NotebookEdit(), edit("2", "new"))
    assert (workspace / "a.ipynb").read_text() == text.replace('"a" ,', '"new" ,', 1).replace('["b"]', '["new"]')


@pytest.mark.usefixtures("text")
async def test_the_mode_of_the_file_stays(workspace: Path, call: Call) -> None:
    (workspace / "a.ipynb").chmod(0o640)
    await call(NotebookEdit(), edit("sum", "1"))
    assert (workspace / "a.ipynb").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (
            edit("nope"),
            r"^a\.ipynb has no cell nope\. Its cells are numbered from 1 to 3; the ids are intro, sum, end$",
        ),
        (edit("0"), "has no cell 0"),
        (edit("4"), "has no cell 4"),
        (edit("9" * 50), "has no cell 999"),
        (edit(None, "x"), "cell_id says which cell to replace"),
        (edit(None, edit_mode="delete"), "cell_id says which cell to delete"),
        (edit("1", "x", edit_mode="insert"), "cell_type says what the new cell is"),
        (edit("1", "x", edit_mode="move"), "@ edit_mode"),
        (edit("1", "x", cell_type="raw"), "@ cell_type"),
        (edit("1", "\ud800"), "new_source holds a lone surrogate"),
        ({"notebook_path": "a.ipynb", "cell_id": "1"}, "new_source"),
        (edit("1", "x") | {"notebook_path": "b.ipynb"}, "does not exist. Similar names: a.ipynb"),
        (edit("1", "x") | {"notebook_path": ".git/a.ipynb"}, "git commands"),
        (edit("1", "x") | {"notebook_path": "../a.ipynb"}, "outside the workspace"),
        (edit("1", "x") | {"notebook_path": ".agentd/a.ipynb"}, "off limits"),
    ],
)
async def test_what_cannot_be_edited_is_said_and_left_alone(
    text: Text, call: Call, asked: dict[str, Any], says: str
) -> None:
    before = text()
    with pytest.raises(ToolFailed, match=says):
        await call(NotebookEdit(), asked)
    assert text() == before


async def test_an_id_that_two_cells_have_names_neither(workspace: Path, call: Call) -> None:
    write(workspace / "a.ipynb", notebook(code("x", "1"), code("x", "2")))
    with pytest.raises(ToolFailed, match="has 2 cells with the id x; use a number"):
        await call(NotebookEdit(), edit("x", "3"))


texts = st.text(st.sampled_from('aé"\\\n{},: \u2028\U0001f600'), max_size=8)
sources = texts.map(lambda text: text.splitlines(keepends=True))
cells = st.one_of(
    st.builds(lambda lines: markdown(None, *lines), sources),
    st.builds(lambda lines, count: code(None, *lines, count=count, outputs=(PRINTED,)), sources, st.integers(1, 9)),
    st.builds(lambda text: markdown(None) | {"source": text, "metadata": {text: [text, {}, []]}}, texts),
)
layouts = st.one_of(
    st.fixed_dictionaries({"indent": st.sampled_from([1, 2, 4, "\t"]), "ensure_ascii": st.booleans()}),
    st.fixed_dictionaries(
        {"separators": st.sampled_from([(",", ":"), (", ", ": ")]), "ensure_ascii": st.booleans()},
    ),
)


def dumped(listed: list[dict[str, Any]], layout: Mapping[str, Any], line_end: str) -> bytes:
    # The é is there so that a layout with escapes can be told from one without.
    value = {"metadata": {"é": 1}, "cells": listed, "nbformat": 4, "nbformat_minor": 4}
    return (json.dumps(value, **layout).replace("\n", line_end) + line_end).encode()


@given(
    listed=st.lists(cells, min_size=1, max_size=4), layout=layouts, end=st.sampled_from(["\n", "\r\n"]), data=st.data()
)
def test_an_edited_notebook_is_what_its_author_would_have_written(
    listed: list[dict[str, Any]], layout: Mapping[str, Any], end: str, data: st.DataObject
) -> None:
    before = Notebook(dumped(listed, layout, end))
    index = data.draw(st.integers(0, len(listed) - 1))
    source = data.draw(texts)
    whole = isinstance(listed[index]["source"], str)
    new = listed[index] | {"source": source if whole else source.splitlines(keepends=True)}
    new |= {"outputs": [], "execution_count": None} if new["cell_type"] == "code" else {}
    assert before.replaced(index, source, None) == dumped([*listed[:index], new, *listed[index + 1 :]], layout, end)
    assert before.deleted(index) == dumped(listed[:index] + listed[index + 1 :], layout, end)


@given(listed=st.lists(cells, max_size=3), layout=layouts, end=st.sampled_from(["\n", "\r\n"]), data=st.data())
def test_a_notebook_with_a_new_cell_is_what_its_author_would_have_written(
    listed: list[dict[str, Any]], layout: Mapping[str, Any], end: str, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(listed)))
    source = data.draw(texts)
    whole = bool(listed) and all(isinstance(cell["source"], str) for cell in listed)
    new = code(None) | {"source": source if whole else source.splitlines(keepends=True)}
    inserted = Notebook(dumped(listed, layout, end)).inserted(at, source, "code")
    assert inserted == dumped([*listed[:at], new, *listed[at:]], layout, end)
