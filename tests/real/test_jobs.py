"""`build.py real` itself, with a service that does as asked, and with one that does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.modelserver import PROTOCOLS, ProtocolName, Turn, call, model_server
from tests.real.jobs import ROOT

LOOK = Turn(calls=(call("Read", file_path="hello.py"),))
EDIT = Turn(calls=(call("Edit", file_path="hello.py", old_string="Hello", new_string="Goodbye"),))
REPLIES = (LOOK, Turn("It is at hello.py:1."), LOOK, EDIT, Turn("It says Goodbye now."), Turn("Hello by Goodbye."))


def real(pyz: Path, protocol: ProtocolName, *turns: Turn) -> subprocess.CompletedProcess[str]:
    with model_server(protocol, *turns) as server:
        words = (f"--{protocol}-base-url", server.base_url, "--timeout", "30", "--file", str(pyz))
        command = [sys.executable, "-m", "tests.real.jobs", *words]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_service_that_does_as_asked_is_told_so(pyz: Path, protocol: ProtocolName) -> None:
    done = real(pyz, protocol, *REPLIES)
    told = [line for line in done.stdout.splitlines() if "as asked" in line.lower()]
    assert told[:3] == ["as asked: a question", "as asked: an edit", "as asked: a follow-up"], done.stdout + done.stderr
    assert "tools: Read, Edit" in done.stdout


def test_a_service_that_says_nothing_of_use_is_told_so(pyz: Path) -> None:
    done = real(pyz, "openai")
    assert done.returncode == 1
    assert "NOT AS ASKED: an edit" in done.stdout
