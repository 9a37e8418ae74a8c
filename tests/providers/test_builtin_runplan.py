"""Plans that the built-in model makes of specs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agentd.engine import specrunplan
from agentd.providers.builtin import runplan


def planned(spec: str) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = json.loads(runplan.plan_run(f"{specrunplan.ASK}{spec}"))["steps"]
    return steps


def commands(spec: str) -> list[str]:
    return [step["command"] for step in planned(spec) if step["type"] == "command"]


def carried_out(spec: str, workspace: Path) -> None:
    for command in commands(spec):
        subprocess.run(["bash", "-c", command], cwd=workspace, check=True)


def test_it_knows_what_the_engine_asks() -> None:
    assert specrunplan.ASK.startswith(runplan.ASKED)
    assert specrunplan.ASK.endswith(runplan.SPEC_BEGINS)
    assert runplan.asks_run_plan(specrunplan.ASK)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("# Goal\n\nRun the command `make all`.\n", ["make all"]),
        ("# Steps\n\n1. `npm ci`\n2. `npm test`\n", ["npm ci", "npm test"]),
        ("# Steps\n\n```bash\n$ echo one\n```\n", ["echo one"]),
        ("# Steps\n\n```sh\necho one\necho two\n```\n", ["set -e\necho one\necho two"]),
        ("# Steps\n\n- [ ] `mkdir -p out`\n- [x] `touch out/a`\n", ["mkdir -p out", "touch out/a"]),
        ("# Acceptance tests\n\n- `pytest` passes\n- `ruff check .` exits with status 0\n", ["pytest", "ruff check ."]),
        ("# Acceptance tests\n\n- `grep -q a b.txt`\n", ["grep -q a b.txt"]),
        ("---\nname: x\nstatus: draft\n---\n\n# Goal\n\nRun `true`.\n", ["true"]),
    ],
)
def test_what_a_spec_spells_out_becomes_steps(spec: str, expected: list[str]) -> None:
    assert commands(spec) == expected


@pytest.mark.parametrize(
    "spec",
    [
        "# Goal\n\nMake the parser faster.\n",
        "# Constraints / nuances\n\n- `git push --force`\n- `rm -rf out`\n",
        "# Goal\n\nNever run these:\n\n- `git push --force`\n- `git reset --hard`\n",
        "# Goal\n\nDo not run `rm -rf build`.\n",
        "# Acceptance tests\n\n- The function `parse` returns 3.\n",
        "# Notes\n\n```bash\nrm -rf build\n```\n",
        "# Goal\n\n```\necho not marked as a script\n```\n",
        "",
    ],
)
def test_what_it_does_not_spell_out_does_nothing(spec: str) -> None:
    (step,) = planned(spec)
    assert step["type"] == "note"
    assert "spells out no step" in step["title"]


@pytest.mark.parametrize("piece", ["<!--", "not ", "`", "# ", "- ", "---\n", "Run `", " ", "\n"])
def test_a_spec_of_whatever_is_looked_through_in_one_go(piece: str) -> None:
    assert planned("# Goal\n\n" + piece * (100_000 // len(piece)))


def test_comments_are_no_part_of_a_spec() -> None:
    assert commands("# Goal\n\n<!-- Run `one`. -->Run `two`.\n") == ["two"]


def test_a_diff_becomes_a_patch() -> None:
    diff = "--- a/x.txt\n+++ b/x.txt\n@@ -1 +1 @@\n-a\n+b\n"
    (step,) = planned(f"# Goal\n\n```diff\n{diff}```\n")
    assert (step["type"], step["patch"], step["title"]) == ("patch", diff, "Apply the patch to x.txt")


def test_files_are_written_and_changed_to_the_letter(tmp_path: Path) -> None:
    spec = (
        "# Steps\n\n1. Create the file `src/it's/a.txt` with the content:\n\n```\nEND_OF_FILE\n$HOME `x`\n```\n\n"
        "2. Replace '$HOME `x`' with 'a/b & \\c' in `src/it's/a.txt`.\n"
        "3. Append the line `last` to `src/it's/a.txt`.\n"
    ).replace("`src/it's/a.txt`", '"src/its/a.txt"')
    carried_out(spec, tmp_path)
    assert (tmp_path / "src/its/a.txt").read_text() == "END_OF_FILE\na/b & \\c\nlast\n"
    assert [path.name for path in (tmp_path / "src/its").iterdir()] == ["a.txt"]


def test_a_replacement_of_what_is_not_there_fails(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("b\n")
    with pytest.raises(subprocess.CalledProcessError):
        carried_out("# Goal\n\nReplace 'a.c' with 'x' in a.txt.\n", tmp_path)
    assert (tmp_path / "a.txt").read_text() == "b\n"


def test_every_plan_can_be_read_by_the_engine() -> None:
    (step,) = specrunplan.read_plan(runplan.plan_run(f"{specrunplan.ASK}# Goal\n\nRun `sudo reboot`.\n"))
    assert (step.id, step.command, step.needs_approval) == ("step-1", "sudo reboot", True)
