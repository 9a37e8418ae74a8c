"""The built file, in the places where people put it. One real process a test."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import agentd
from agentd import __version__, config

Run = Callable[..., subprocess.CompletedProcess[str]]
Require = Callable[[str], str]

VERSION = f"agentd {__version__}\n"


def python_of(version: str) -> str:
    """Where that Python is; the test skips where it is not, on any machine: no system brings them all."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = [*pyenv.glob(f"versions/{version}.*/bin/python{version}"), shutil.which(f"python{version}")]
    if found[0] is None:
        pytest.skip(f"needs Python {version}")
    return str(found[0])


@pytest.mark.parametrize("flags", [[], ["-I"], ["-I", "-S"], ["-O"], ["-W", "error"]], ids=" ".join)
def test_it_runs_under_any_flags_of_python(flags: list[str], pyz: Path, run: Run) -> None:
    done = run("python3", *flags, pyz, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, VERSION, "")


def test_it_runs_as_a_program_of_its_own(pyz: Path, run: Run) -> None:
    assert run(pyz, "--version").stdout == VERSION


def test_it_runs_from_a_path_with_spaces_and_from_a_read_only_directory(pyz: Path, run: Run, tmp_path: Path) -> None:
    directory = tmp_path / "a directory with spaces"
    directory.mkdir()
    copy = shutil.copy(pyz, directory)
    directory.chmod(0o555)
    done = run("python3", copy, "--version")
    directory.chmod(0o755)
    assert (done.stdout, done.stderr) == (VERSION, "")
    assert [path.name for path in directory.iterdir()] == ["agentd.pyz"]


def test_it_runs_under_a_tight_umask_and_without_a_home(pyz: Path, run: Run) -> None:
    done = run("python3", pyz, "help", env={"HOME": "/nonexistent"}, umask=0o077)
    assert (done.returncode, done.stderr) == (0, "")


def test_it_runs_without_a_network(pyz: Path, run: Run, require: Require) -> None:
    done = run(require("unshare"), "--user", "--net", "python3", pyz, "help", "run")
    if "unshare failed" in done.stderr:
        pytest.skip("needs user namespaces")
    assert done.stdout.startswith("agentd run\n")


OTHERS = pytest.mark.parametrize("version", ["3.12", "3.13"])


@OTHERS
def test_another_python_than_the_builder_unpacks_the_sources_once(
    version: str, pyz: Path, run: Run, tmp_path: Path
) -> None:
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = run(python_of(version), "-W", "error", pyz, "doctor", env=env)
    assert f"python       {version}" in done.stdout
    [unpacked] = (tmp_path / "cache" / "agentd").iterdir()
    made = (unpacked / "agentd" / "domain.py").stat().st_ctime_ns
    assert run(python_of(version), pyz, "--version", env=env).stdout == VERSION
    assert (unpacked / "agentd" / "domain.py").stat().st_ctime_ns == made
    imported = run(python_of(version), "-W", "error", "-c", IMPORT_ALL, unpacked)
    assert (imported.returncode, imported.stderr) == (0, "")


@OTHERS
def test_sources_that_others_can_write_to_are_not_run(version: str, pyz: Path, run: Run, tmp_path: Path) -> None:
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    assert run(python_of(version), pyz, "--version", env=env).stdout == VERSION
    [unpacked] = (tmp_path / "cache" / "agentd").iterdir()
    unpacked.chmod(0o777)
    (unpacked / "agentd" / "__init__.py").write_text("raise SystemExit('taken over')")
    assert run(python_of(version), pyz, "--version", env=env).stdout == VERSION
    (tmp_path / "tmp" / f"agentd-{os.getuid()}").chmod(0o777)
    refused = run(python_of(version), pyz, "--version", env=env)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "is not a directory that only you can write to" in refused.stderr


@pytest.mark.parametrize("version", ["3.6", "3.8", "3.10"])
def test_a_python_that_is_too_old_is_told_so(version: str, pyz: Path, run: Run) -> None:
    done = run(python_of(version), pyz, "--version")
    assert done.returncode == 1
    assert done.stderr.startswith("agentd needs Python 3.11 or later; this is 3.")


IMPORT_ALL = """
import importlib.metadata, sys
pyz = sys.argv[1]
sys.path.insert(0, pyz)
import agentd  # first: it makes the others importable
import attrs, cattrs, h11, trio, trio_websocket, wsproto
for module in (attrs, cattrs, h11, trio, trio_websocket, wsproto, agentd):
    assert module.__file__.startswith(pyz + "/"), module
print(importlib.metadata.version("trio"))
"""


def test_the_libraries_come_from_within_the_file_with_their_metadata(pyz: Path, run: Run) -> None:
    done = run("python3", "-I", "-S", "-W", "error", "-c", IMPORT_ALL, pyz)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("0.")


WALK = """
import importlib, pkgutil, sys
sys.path.insert(0, sys.argv[1])
import agentd
for module in pkgutil.walk_packages(agentd.__path__, "agentd."):
    if not module.name.endswith(".__main__"):
        found = importlib.import_module(module.name)
        assert module.ispkg == hasattr(found, "__path__") == found.__spec__.loader.is_package(module.name)
    print(module.name)
"""


def test_all_modules_are_listed_and_can_be_imported(pyz: Path, run: Run) -> None:
    done = run("python3", "-I", "-S", "-W", "error", "-c", WALK, pyz)
    assert (done.returncode, done.stderr) == (0, "")
    here = Path(agentd.__path__[0])
    listed = {path.relative_to(here.parent).with_suffix("").as_posix() for path in here.rglob("*.py")}
    names = {name.removesuffix("/__init__").replace("/", ".") for name in listed} - {"agentd"}
    assert sorted(done.stdout.split()) == sorted(names)


READ = """
import sys
sys.path.insert(0, sys.argv[1])
import agentd, agentd.faces.dashboard, agentd.workspace.symbols
from importlib.resources import files
print(files(agentd).joinpath("help", "run.md").read_text().splitlines()[0])
print(any(file.name == "index.html" for file in files(agentd.faces.dashboard).joinpath("static").iterdir()))
print(any(file.name.endswith(".bin") for file in files(agentd.workspace.symbols).iterdir()))
"""


def test_data_beside_modules_can_be_read(pyz: Path, run: Run) -> None:
    done = run("python3", "-I", "-S", "-W", "error", "-c", READ, pyz)
    assert (done.stdout.split("\n"), done.stderr) == (["# agentd run", "True", "True", ""], "")


ABSENT = """
import sys
sys.path.insert(0, sys.argv[1])
import agentd
for name in ("agentd.nothing", "agentd.wire.nothing", "nothing_at_all"):
    try:
        __import__(name)
    except ModuleNotFoundError as exc:
        print(exc.name)
"""


def test_a_module_that_is_not_there_is_not_found(pyz: Path, run: Run) -> None:
    done = run("python3", "-I", "-S", "-W", "error", "-c", ABSENT, pyz)
    assert done.stdout.split() == ["agentd.nothing", "agentd.wire.nothing", "nothing_at_all"]


FAIL = """
import sys, traceback
sys.path.insert(0, sys.argv[1])
from agentd.config import parse_aliases
try:
    parse_aliases(["no pair"])
except Exception:
    traceback.print_exc()
"""


def test_a_trace_names_the_lines_of_what_is_inside(pyz: Path, run: Run) -> None:
    done = run("python3", "-I", "-c", FAIL, pyz)
    [number] = re.findall(r'File "agentd.pyz/agentd/config.py", line (\d+), in parse_aliases', done.stderr)
    assert "raise InvalidSetting(" in Path(config.__file__).read_text().splitlines()[int(number) - 1]
