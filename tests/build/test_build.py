"""build.py: what is in the file, that it is always the same file, and what is said when it cannot be made."""

from __future__ import annotations

import hashlib
import io
import marshal
import os
import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from types import CodeType

import pytest

import build

NOBODY_SERVES = {
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "PIP_FIND_LINKS": "",
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_RETRIES": "0",
}


def run_build(
    directory: Path, *args: str, python: Sequence[str] = (), env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [build.BASE_PYTHON, *python, str(directory / "build.py"), *args]
    return subprocess.run(command, env={**os.environ, **(env or {})}, cwd="/", capture_output=True, text=True)


@pytest.fixture
def source(pyz: Path, tmp_path: Path) -> Path:
    """What *pyz* was built from, at another place and without its wheels."""
    without = shutil.ignore_patterns("dist", ".cache")
    return shutil.copytree(pyz.parent.parent, tmp_path / "a longer path, with spaces", ignore=without)


@pytest.fixture
def wheelhouse(pyz: Path, tmp_path: Path) -> Path:
    """A directory with all that the lock names; building *pyz* has filled the cache."""
    return shutil.copytree(build.WHEELS, tmp_path / "wheels")


# --- The same bytes -----------------------------------------------------------------------------------------------


def test_the_same_source_gives_the_same_bytes_whoever_builds_it_and_where(
    pyz: Path, source: Path, wheelhouse: Path
) -> None:
    for file in source.rglob("*.py"):
        os.utime(file, (1, 1))
    around = {"TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "7", "LC_ALL": "C", "HOME": "/", "PYTHONOPTIMIZE": "2"}
    before = os.umask(0o077)
    try:
        done = run_build(source, "--wheelhouse", str(wheelhouse), env=around)
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stderr
    assert (source / "dist" / "agentd.pyz").read_bytes() == pyz.read_bytes()


def test_the_file_is_executable_and_its_sum_is_beside_it(pyz: Path) -> None:
    assert pyz.stat().st_mode & 0o777 == 0o755
    assert pyz.read_bytes().startswith(b"#!/usr/bin/env python3\nPK")
    digest = hashlib.sha256(pyz.read_bytes()).hexdigest()
    assert (pyz.parent / "SHA256SUMS").read_text() == f"{digest}  agentd.pyz\n"


# --- What is in it ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def contents(pyz: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(pyz) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def all_code(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from all_code(constant)


@pytest.fixture(scope="session")
def modules(contents: dict[str, bytes]) -> dict[str, CodeType]:
    """The code in the bundles, by the path of its source."""
    entries, index = marshal.loads(contents["modules.index"])
    bundles = [(zlib.decompress(contents[entry]), size) for entry, size in entries]
    assert all(len(bundle) == size for bundle, size in bundles)
    return {
        "/".join([*filter(None, package.split(".")), f"{name}.py"]): marshal.loads(bundles[number][0][begin:])
        for package, places in index.items()
        for name, (number, begin) in places.items()
    }


def test_every_module_is_there_compiled_and_packed_as_source(
    contents: dict[str, bytes], modules: dict[str, CodeType]
) -> None:
    with zipfile.ZipFile(io.BytesIO(contents["sources.zip"])) as packed:
        sources = set(packed.namelist())
    assert sources == set(modules)
    assert {"__main__.py", "agentd/__main__.py", "trio/__init__.py", "agentd/domain.py"} <= sources
    assert [name for name in contents if name.endswith(".py")] == ["__main__.py", "agentd/sandbox/guard.py"]


def test_bundles_hold_one_module_after_another_and_nothing_else(contents: dict[str, bytes]) -> None:
    entries, index = marshal.loads(contents["modules.index"])
    assert {name for name in contents if name.endswith(".bin")} == {entry for entry, _ in entries}
    places = sorted(place for package in index.values() for place in package.values())
    for number, (entry, size) in enumerate(entries):
        bundle = io.BytesIO(zlib.decompress(contents[entry]))
        for begin in [begin for within, begin in places if within == number]:
            assert bundle.tell() == begin
            marshal.load(bundle)
        assert bundle.tell() == size


def test_what_runs_before_there_are_bundles_is_compiled_and_never_checked_against_its_source(
    contents: dict[str, bytes], modules: dict[str, CodeType]
) -> None:
    hash_based_and_unchecked = (1).to_bytes(4, "little")
    alone = {name: data for name, data in contents.items() if name.endswith(".pyc")}
    assert set(alone) == {"__main__.pyc", "agentd/__init__.pyc", "agentd/bundles.pyc"}
    for name, data in alone.items():
        assert data[:8] == MAGIC_NUMBER + hash_based_and_unchecked
        assert marshal.loads(data[16:]) == modules[name.removesuffix("c")]


def test_traces_name_files_within_the_archive(modules: dict[str, CodeType]) -> None:
    for name, code in modules.items():
        assert {each.co_filename for each in all_code(code)} == {f"agentd.pyz/{name}"}


def test_licences_of_all_that_is_inside_are_inside(contents: dict[str, bytes]) -> None:
    packages = {build.name_and_version(wheel) for wheel in build.project()["tool"]["agentd"]["lock"]}
    metadata = {name.split("/")[0] for name in contents if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)}
    licences = {name.split("/")[0] for name in contents if re.search(r"(?i)\.dist-info/.*(licen[cs]e|copying)", name)}
    assert {build.name_and_version(name) for name in metadata} == packages
    assert licences == metadata
    assert "MIT" in contents["LICENSE"].decode()


def test_no_tests_and_nothing_that_is_not_python_are_vendored(contents: dict[str, bytes]) -> None:
    assert not [
        name
        for name in contents
        if re.search(r"(^|/)(_?tests|testing|_tools)/|\.(so|pyd|pyi)$|py\.typed|__pycache__", name)
    ]


def test_a_file_that_has_grown_too_large_is_refused(pyz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "OUTPUT", tmp_path / "agentd.pyz")
    monkeypatch.setattr(build, "LARGEST", 1_000_000)
    with pytest.raises(build.BuildError, match="1,000,000 is what we allow ourselves"):
        build.build()


# --- The lock and where wheels come from --------------------------------------------------------------------------


def test_every_dependency_is_locked() -> None:
    locked = {build.name_and_version(wheel)[0] for wheel in build.project()["tool"]["agentd"]["lock"]}
    assert {re.split(r"[<>=~!]", named)[0] for named in build.project()["project"]["dependencies"]} <= locked


def test_with_a_wheelhouse_neither_network_nor_pip_is_needed(source: Path, wheelhouse: Path) -> None:
    no_site_packages = ("-I", "-S")
    done = run_build(source, "--wheelhouse", str(wheelhouse), python=no_site_packages)
    assert done.returncode == 0, done.stderr


def test_a_wheel_with_another_hash_is_refused_by_name(wheelhouse: Path) -> None:
    name = next(name for name in build.project()["tool"]["agentd"]["lock"] if name.startswith("trio-"))
    (wheelhouse / name).write_bytes(b"not what was locked")
    with pytest.raises(build.BuildError, match=rf"{name}: its SHA-256 is {'.' * 64}, the lock says {'.' * 64}"):
        build.fetch_wheels(wheelhouse)


def test_every_wheel_that_a_wheelhouse_lacks_is_named(wheelhouse: Path) -> None:
    for wheel in wheelhouse.glob("t*"):
        wheel.unlink()
    with pytest.raises(build.BuildError) as caught:
        build.fetch_wheels(wheelhouse)
    assert re.findall(r"(\w+)-[\d.]+-py3-none-any.whl: not there", str(caught.value)) == [
        "trio",
        "trio_websocket",
        "typing_extensions",
    ]


def test_without_a_network_the_way_to_build_offline_is_told(source: Path) -> None:
    done = run_build(source, env=NOBODY_SERVES)
    assert done.returncode == 1
    assert "pip failed. It said:" in done.stderr
    assert "python3 build.py --wheelhouse DIR" in done.stderr
    assert "trio_websocket" in done.stderr


def test_without_pip_the_ways_to_go_on_are_told(source: Path) -> None:
    done = run_build(source, python=("-I", "-S"))
    assert done.returncode == 1
    assert "has no pip" in done.stderr
    assert "apt install python3-pip" in done.stderr
    assert "--wheelhouse DIR" in done.stderr


def test_a_wheel_that_is_damaged_in_the_cache_is_fetched_again(source: Path, wheelhouse: Path) -> None:
    cached = shutil.copytree(wheelhouse, source / ".cache" / "wheels")
    next(cached.glob("h11*")).write_bytes(b"half a whe")
    done = run_build(source, env={**NOBODY_SERVES, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheelhouse)})
    assert done.returncode == 0, done.stderr


def test_a_wheel_that_is_not_pure_python_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    lock = {"orjson-3.11.4-cp311-cp311-manylinux_2_17_x86_64.whl": "0" * 64}
    monkeypatch.setattr(build, "project", lambda: {"tool": {"agentd": {"lock": lock}}})
    with pytest.raises(build.BuildError, match=r"orjson.* is not pure Python"):
        build.fetch_wheels(None)


def test_compiled_code_in_a_wheel_that_calls_itself_pure_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "sly-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("sly/fast.so", b"\x7fELF")
    with pytest.raises(build.BuildError, match=r"sly/fast\.so"):
        build.vendor(wheel, tmp_path / "tree")


def test_two_wheels_with_one_file_are_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with zipfile.ZipFile(tmp_path / f"{name}-1.0-py3-none-any.whl", "w") as archive:
            archive.writestr("shared/module.py", f"name = {name!r}")
    build.vendor(tmp_path / "one-1.0-py3-none-any.whl", tmp_path / "tree")
    with pytest.raises(build.BuildError, match=r"two-1\.0.* holds shared/module\.py"):
        build.vendor(tmp_path / "two-1.0-py3-none-any.whl", tmp_path / "tree")


# --- The command line ---------------------------------------------------------------------------------------------


def test_help_teaches_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        build.main(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for verb in set(build.VERBS) - {"build"}:
        assert f"build.py {verb} " in shown


def test_an_old_python_is_told_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(build, "OLDEST", (9, 1))
    assert build.main([]) == 1
    assert "agentd needs Python 9.1 or later" in capsys.readouterr().err


def test_the_first_step_that_fails_ends_the_run_and_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    steps = {
        "first": [sys.executable, "-c", "print('one')"],
        "second": [sys.executable, "-c", "raise SystemExit(3)"],
        "third": [sys.executable, "-c", "print('three')"],
    }
    with pytest.raises(build.BuildError, match=r"^FAILED: second \(exit code 3\)$"):
        build.run_steps(steps)
    assert capfd.readouterr().out == "one\n"


def test_what_is_installed_is_not_installed_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    version = "python{}.{}".format(*sys.version_info)
    site_packages = tmp_path / "lib" / version / "site-packages"
    tools = [tuple(tool.split("==")) for tool in build.project()["dependency-groups"]["dev"]]
    for name, version in [*map(build.name_and_version, build.project()["tool"]["agentd"]["lock"]), *tools]:
        (site_packages / f"{name.replace('-', '_')}-{version}.dist-info").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    monkeypatch.setattr(build, "VENV", tmp_path)
    monkeypatch.setattr(build, "pip", lambda *args: pytest.fail(f"pip {args}"))
    assert build.development_python(None) == str(tmp_path / "bin" / "python")


def test_a_venv_of_another_python_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    monkeypatch.setattr(build, "VENV", tmp_path)
    with pytest.raises(build.BuildError, match="remove it, or use the Python that made it"):
        build.development_python(None)
