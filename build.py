#!/usr/bin/env python3
"""Build agentd: `python3 build.py` makes dist/agentd.pyz, one file that runs wherever Python 3.11 or later is.

    build.py                     fetch the locked dependencies, vendor, compile, zip
    build.py lock                renew the lock: the newest wheels that satisfy pyproject.toml
    build.py check               ruff and mypy
    build.py test [PYTEST ARGS]  build, check, and run the tests; `build.py test tests/wire -k chunked`
    build.py faults [--count N]  kill executors and the daemon at N random moments (200) and look at what is left
    build.py clients             install other people's programs that tests talk to it with; without them those skip
    build.py bench [NAMES]       measure, and print ratios; with --peers beside other servers, which it installs
    build.py walk [SEED]         run the seed documents' examples (executor, manager), where ../shared/acceptance is
    build.py scale [SCENARIOS]   run executors on a Slurm cluster that it brings up on this machine, as root
    build.py real --openai-base-url URL [--model NAME] | --anthropic-base-url URL
                                 have a real model service do a few jobs, and print what came out; keys are taken
                                 from OPENAI_API_KEY or ANTHROPIC_API_KEY in the environment

Only Python, pip and git are needed. Packages come from the index that pip is configured for, so mirrors and proxies
work as they do for pip; they are checked against the lock, so it does not matter who serves them. Without a network:
`python3 build.py --wheelhouse DIR`, where DIR holds the wheels that [tool.agentd.lock] in pyproject.toml names.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import marshal
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
OUTPUT = ROOT / "dist" / "agentd.pyz"
WHEELS = ROOT / ".cache" / "wheels"
VENV = ROOT / ".venv"
BASE_PYTHON: str = getattr(sys, "_base_executable", sys.executable)  # outside of any virtual environment
OLDEST = (3, 11)  # the oldest Python that agentd runs on
LARGEST = 3_300_000  # bytes of the finished file
SHEBANG = b"#!/usr/bin/env python3\n"
LOCK = "[tool.agentd.lock]\n"
BUNDLE = 192 << 10  # bytes of code that fill a bundle; larger ones are hardly smaller in sum, and slow to import one of
PYC_HEADER = 16  # bytes before the code of a .pyc, by PEP 552
FIRST = ("__main__", "agentd/__init__", "agentd/bundles")  # stay .pyc files: they run before bundles are of use
# Sources beside the code: an old Python reads the first, to be told so; the second is handed to a Python of its own.
READABLE = ("__main__.py", "agentd/sandbox/guard.py")
# Tests mostly wait, for processes, disks and clocks: so these run beside each other, and beside the rest.
BESIDE = (("build", "cli", "e2e"), ("daemon", "faults", "launchers"), ("engine", "sandbox", "tools"))
# Of what we vendor: nothing that runs imports it.
LEFT_OUT = re.compile(
    r"(^|/)(_?tests|testing|_tools|preconf|strategies)/|^cattr/|^idna/(__main__|cli|codec)\.py$|"
    r"^trio/(.*/)?(_io_windows|_generated_io_windows|_generated_windows_ffi|_windows_cffi|_windows_pipes|windows|"
    r"_wait_for_object)\.py$"
)


class BuildError(Exception):
    """What went wrong and what to do about it, for a person."""


def say(text: str) -> None:
    print(f"build.py: {text}", file=sys.stderr, flush=True)


# --- The lock -----------------------------------------------------------------------------------------------------


def project() -> dict[str, Any]:
    """pyproject.toml."""
    import tomllib  # new in 3.11: an older Python has to get as far as the message that says so

    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def write_lock() -> None:
    """Pin the newest pure-Python wheels that satisfy the project's dependencies."""
    if sys.version_info[:2] != OLDEST:  # pip evaluates what is needed below some version for the Python it runs in
        raise BuildError("`lock` wants Python {}.{}, the oldest that agentd runs on".format(*OLDEST))
    with tempfile.TemporaryDirectory() as scratch:
        anywhere = ["--only-binary=:all:", "--implementation=py", "--abi=none", "--platform=any"]
        pip("download", *anywhere, "--dest", scratch, *project()["project"]["dependencies"])
        lines = [f'"{wheel.name}" = "{sha256(wheel)}"\n' for wheel in sorted(Path(scratch).glob("*.whl"))]
    head, _, _ = (ROOT / "pyproject.toml").read_text().partition(LOCK)
    (ROOT / "pyproject.toml").write_text(head + LOCK + "".join(lines))
    say(f"locked {len(lines)} wheels; build, test, and commit pyproject.toml")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def name_and_version(wheel: str) -> tuple[str, str]:
    """Of a wheel's file name, or of what is installed, by its directory name. The name is normalised as in PEP 503."""
    name, version = wheel.removesuffix(".dist-info").split("-")[:2]
    return re.sub(r"[-_.]+", "-", name).lower(), version


# --- Fetching -----------------------------------------------------------------------------------------------------


def pip(*args: str) -> None:
    """Run pip with the user's configuration of it. Raises BuildError with what it said."""
    python = sys.executable
    if not importlib.util.find_spec("pip"):
        if sys.prefix == sys.base_prefix:
            raise BuildError(
                f"{python} has no pip. Install it (Debian: apt install python3-pip; else: python3 -m ensurepip), "
                "or build without it: python3 build.py --wheelhouse DIR"
            )
        python = BASE_PYTHON  # .venv has no pip of its own
    command = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", *args]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise BuildError(f"pip failed. It said:\n{done.stdout.strip()}")


def fetch_wheels(wheelhouse: Path | None) -> list[Path]:
    """The wheels of the lock, each with the right hash, from *wheelhouse*, else the cache, else the package index."""
    lock: dict[str, str] = project()["tool"]["agentd"]["lock"]
    for name in lock:
        if not re.search(r"-(py2\.)?py3-none-any\.whl$", name):
            raise BuildError(f"{name} in the lock is not pure Python, so it cannot be part of agentd.pyz")
    directory = wheelhouse or WHEELS
    if wheelhouse is None and list(unusable(directory, lock)):
        download(lock)
    if problems := "\n".join(f"  {name}: {problem}" for name, problem in unusable(directory, lock)):
        raise BuildError(f"the locked wheels are not all in {directory}:\n{problems}")
    return [directory / name for name in lock]


def unusable(directory: Path, lock: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each locked wheel that *directory* does not have, with what is wrong."""
    for name, digest in lock.items():
        if not (directory / name).is_file():
            yield name, "not there"
        elif sha256(directory / name) != digest:
            yield name, f"its SHA-256 is {sha256(directory / name)}, the lock says {digest}"


def download(lock: Mapping[str, str]) -> None:
    say(f"fetching {len(lock)} locked wheels into {WHEELS.relative_to(ROOT)}")
    WHEELS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        requirements = Path(scratch, "requirements.txt")
        pins = ("{}=={} --hash=sha256:{}\n".format(*name_and_version(name), digest) for name, digest in lock.items())
        requirements.write_text("".join(pins))
        try:
            pip("download", "--no-deps", "--only-binary=:all:", "--dest", str(WHEELS), "-r", str(requirements))
        except BuildError as exc:
            instead = f"DIR holds what another machine's build leaves in {WHEELS.relative_to(ROOT)}:"
            names = "\n  ".join([instead, *lock])
            raise BuildError(f"{exc}\nWithout a network: python3 build.py --wheelhouse DIR, where {names}") from exc


# --- Packing ------------------------------------------------------------------------------------------------------


def build(wheelhouse: Path | None = None) -> None:
    """Make dist/agentd.pyz and SHA256SUMS. The same source and the same Python give the same bytes."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch)
        for wheel in fetch_wheels(wheelhouse):
            vendor(wheel, tree)
        shutil.copytree(ROOT / "agentd", tree / "agentd", ignore=shutil.ignore_patterns("__pycache__", ".*"))
        shutil.copy(ROOT / "agentd" / "__main__.py", tree / "__main__.py")
        shutil.copy(ROOT / "LICENSE", tree / "LICENSE")
        (tree / "NOTICE").write_text(NOTICE)
        strip_and_compile(tree)
        pack_sources(tree)
        bundle_modules(tree)
        OUTPUT.parent.mkdir(exist_ok=True)
        pack(tree, OUTPUT)
    size = OUTPUT.stat().st_size
    if size > LARGEST:
        raise BuildError(f"{OUTPUT.name} has {size:,} bytes; {LARGEST:,} is what we allow ourselves")
    (OUTPUT.parent / "SHA256SUMS").write_text(f"{sha256(OUTPUT)}  {OUTPUT.name}\n")
    say(f"{OUTPUT.relative_to(ROOT)}: {size:,} bytes")


def vendor(wheel: Path, tree: Path) -> None:
    """Unpack what runs, its licence, and the metadata: trio-websocket asks importlib.metadata for trio's version."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            parts = name.split("/")
            if name.endswith((".so", ".pyd")) or parts[0].endswith(".data"):
                raise BuildError(f"{wheel.name} holds {name}, so it is not pure Python")
            is_metadata = parts[0].endswith(".dist-info")
            if is_metadata and not (parts[1] == "METADATA" or re.search("(?i)licen[cs]e|copying|notice", name)):
                continue
            if not is_metadata and (not name.endswith(".py") or LEFT_OUT.search(name)):
                continue
            if (tree / name).exists():
                raise BuildError(f"{wheel.name} holds {name}, and so does another wheel")
            archive.extract(name, tree)
            if is_metadata and parts[1] == "METADATA":
                head, _, _ = (tree / name).read_bytes().partition(b"\n\n")  # what follows is for people
                (tree / name).write_bytes(head + b"\n")


STRIP_AND_COMPILE = """
import ast, importlib.util, io, marshal, pathlib, sys, tokenize

def strip(source):
    lines = source.splitlines()  # of bytes: columns of ast count them too
    for token in tokenize.tokenize(io.BytesIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1].decode()[:column].rstrip().encode()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if ast.get_docstring(node, clean=False) is not None:
                text = node.body[0]
                first, last = text.lineno - 1, text.end_lineno - 1
                after = lines[last][text.end_col_offset :]
                lines[first] = lines[first][: text.col_offset] + (b"pass" if len(node.body) == 1 else b"")
                lines[first + 1 : last + 1] = [b""] * (last - first)
                lines[last] += after
    return b"\\n".join(line if line.strip() else b"" for line in lines) + b"\\n"

tree, shown = pathlib.Path(sys.argv[1]), sys.argv[2]
for path in sorted(tree.rglob("*.py")):
    source = strip(path.read_bytes())
    path.write_bytes(source)
    module = ast.parse(source)
    for node in ast.walk(module):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not node.decorator_list:
            node.returns = None
            for argument in ast.walk(node.args):
                if isinstance(argument, ast.arg):
                    argument.annotation = None
    code = compile(module, f"{shown}/{path.relative_to(tree).as_posix()}", "exec", dont_inherit=True, optimize=0)
    head = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + importlib.util.source_hash(source)
    path.with_suffix(".pyc").write_bytes(head + marshal.dumps(code))
"""
NOTICE = """\
agentd and the packages beside it, each under its own licence, which is here. Comments and docstrings were taken out of
every .py file; the rest of each line is where it was.
"""


def strip_and_compile(tree: Path) -> None:
    """Put a .pyc beside every .py: it halves the start. Another Python than this one ignores it.

    PEP 552, unchecked hash. Docstrings and comments are left out, the columns of every instruction, which a traceback
    underlines, and what functions say of their types, unless a decorator may want to know: together a third of the file
    and megabytes of every process. Line numbers and asserts stay.
    """
    # In a fresh, isolated process: what marshal writes depends on what else the process holds.
    bare = (sys.executable, "-I", "-S", "-X", "no_debug_ranges")
    if subprocess.run([*bare, "-c", STRIP_AND_COMPILE, str(tree), OUTPUT.name]).returncode:
        raise BuildError("the sources do not compile")


def pack_sources(tree: Path) -> None:
    """All .py in one entry, where they are compressed together; agentd/__main__.py unpacks them for another Python."""
    with zipfile.ZipFile(tree / "sources.zip", "w") as archive:
        for path in sorted(tree.rglob("*.py")):
            archive.writestr(entry_of(path.relative_to(tree).as_posix()), path.read_bytes(), zipfile.ZIP_STORED)
            if path.relative_to(tree).as_posix() not in READABLE:
                path.unlink()
    (tree / "sources.id").write_text(sha256(tree / "sources.zip")[:16])


def bundle_modules(tree: Path) -> None:
    """Put the code of all modules into bundles, with an index: agentd/bundles.py imports from them.

    A directory of ours has bundles of its own, since what is imported together is mostly near; other people's packages
    share theirs.
    """
    bundles: list[tuple[str, bytearray]] = []
    last: dict[str, int] = {}  # bundle of a directory
    index: dict[str, dict[str, tuple[int, int]]] = {}
    for path in sorted(tree.rglob("*.pyc")):
        *parents, name = path.relative_to(tree).with_suffix("").parts
        directory = "".join(f"{parent}/" for parent in parents) if parents[:1] == ["agentd"] else ""
        if directory not in last or len(bundles[last[directory]][1]) >= BUNDLE:
            last[directory] = len(bundles)
            bundles.append((f"{directory}{len(bundles)}.bin", bytearray()))
        number = last[directory]
        index.setdefault(".".join(parents), {})[name] = number, len(bundles[number][1])
        bundles[number][1].extend(path.read_bytes()[PYC_HEADER:])
        if "/".join([*parents, name]) not in FIRST:
            path.unlink()
    for entry, code in bundles:
        (tree / entry).write_bytes(zlib.compress(code, 9))
    sizes = [(entry, len(code)) for entry, code in bundles]
    # In version 2 of the format nothing depends on how often this process refers to an object.
    (tree / "modules.index").write_bytes(marshal.dumps((sizes, index), 2))


def entry_of(name: str) -> zipfile.ZipInfo:
    """Of a file that anybody may read, dated 1980, the zero of the format."""
    entry = zipfile.ZipInfo(name)
    entry.external_attr = 0o100644 << 16
    return entry


def pack(tree: Path, output: Path) -> None:
    """An executable zip of *tree* in which nothing depends on when, where and by whom it was made."""
    names = sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file())
    partial = output.with_suffix(".partial")
    with partial.open("wb") as file:
        file.write(SHEBANG)
        with zipfile.ZipFile(file, "w") as archive:
            for name in names:
                data = (tree / name).read_bytes()
                method = zipfile.ZIP_STORED if name.endswith(".bin") else zipfile.ZIP_DEFLATED
                archive.writestr(entry_of(name), data, method, compresslevel=9)
    partial.chmod(0o755)
    partial.replace(output)


# --- Checking -----------------------------------------------------------------------------------------------------


def development_python(wheelhouse: Path | None) -> str:
    """The Python of .venv, with the locked and the development set in it. Does nothing where they are installed."""
    python, version = VENV / "bin" / "python", "python{}.{}".format(*sys.version_info)
    site_packages = VENV / "lib" / version / "site-packages"
    if python.exists() and not site_packages.exists():
        raise BuildError(f".venv was not made by {version}: remove it, or use the Python that made it")
    installed = {name_and_version(path.name) for path in site_packages.glob("*.dist-info")}
    lock, tools = project()["tool"]["agentd"]["lock"], project()["dependency-groups"]["dev"]
    wanted = {name_and_version(name) for name in lock} | {tuple(tool.split("==")) for tool in tools}
    if python.exists() and wanted <= installed:
        return str(python)
    say("installing the development set into .venv")
    if not python.exists():
        import venv

        venv.create(VENV, symlinks=True)  # without a pip of its own: Debian's Python has none to give
    pip("--python", str(python), "install", *map(str, fetch_wheels(wheelhouse)), *tools)
    return str(python)


def scratch_environment(packages: Sequence[str]) -> Path:
    """Where an environment of *packages* is, or would be: they and what they need stay out of .venv."""
    name = hashlib.sha256("\n".join(packages).encode()).hexdigest()[:8]
    return ROOT / ".cache" / f"peers-{name}"


def install_scratch(packages: Sequence[str]) -> Path:
    """Make the environment of *packages* if need be."""
    directory = scratch_environment(packages)
    if not (directory / "complete").exists():
        say(f"installing {', '.join(packages)} into {directory.relative_to(ROOT)}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(directory)], check=True)
        pip("--python", str(directory / "bin" / "python"), "install", *packages)
        (directory / "complete").touch()
    return directory


def clients() -> list[str]:
    """Other people's programs that tests talk to agentd with."""
    names: list[str] = project()["dependency-groups"]["clients"]
    return names


def install_mcp_servers() -> Path:
    """Other people's MCP servers and clients: those in Python below `v`, those for node in `node_modules`."""
    in_python, for_node = project()["dependency-groups"]["mcp"], project()["tool"]["agentd"]["npm"]
    directory = ROOT / ".cache" / "mcp-servers"
    complete, wanted = directory / "complete", "\n".join([*in_python, *for_node])
    if not complete.exists() or complete.read_text() != wanted:
        npm = shutil.which("npm")
        if npm is None:
            raise BuildError("npm is not installed, and two of the MCP servers come from it")
        say(f"installing {', '.join([*in_python, *for_node])} into {directory.relative_to(ROOT)}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(directory / "v")], check=True)
        pip("--python", str(directory / "v" / "bin" / "python"), "install", *in_python)
        quiet = ("--silent", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts")
        subprocess.run([npm, "install", "--prefix", str(directory), *quiet, *for_node], check=True)
        complete.write_text(wanted)
    return directory


def install_clients(_: Path | None, __: list[str]) -> None:
    print(install_scratch(clients()))
    print(install_mcp_servers())


def run_steps(steps: Mapping[str, Sequence[str]], env: Mapping[str, str] = os.environ) -> None:
    """Run commands in turn, in the project's directory. Raises BuildError at the first that fails."""
    began = time.monotonic()
    for name, command in steps.items():
        say(name)
        status = subprocess.run(command, cwd=ROOT, env=env).returncode
        if status:
            raise BuildError(f"FAILED: {name} (exit code {status})")
    say(f"passed: {', '.join(steps)}, in {time.monotonic() - began:.0f} s")


def checks(python: str) -> dict[str, list[str]]:
    return {
        "ruff check": [python, "-m", "ruff", "check", "--quiet"],
        "ruff format": [python, "-m", "ruff", "format", "--check", "--quiet"],
        "mypy": [python, "-m", "mypy", "--no-error-summary"],
    }


def check(wheelhouse: Path | None, _: list[str]) -> None:
    run_steps(checks(development_python(wheelhouse)))


def test(wheelhouse: Path | None, args: list[str]) -> None:
    python = development_python(wheelhouse)
    build(wheelhouse)
    run_steps(checks(python))
    if args:
        run_steps({"pytest": [python, "-m", "pytest", *args]})
    else:
        test_all([python, "-m", "pytest"])


def test_all(pytest: list[str]) -> None:
    """All tests, in some processes. Raises BuildError when one fails."""
    began = time.monotonic()
    beside = [[f"tests/{name}" for name in names] for names in BESIDE]
    say(f"pytest, beside it {', '.join(path for paths in beside for path in paths)}")
    pytest = [*pytest, "--durations=15"]
    with ExitStack() as stack:
        others = [stack.enter_context(in_background([*pytest, *paths])) for paths in beside]
        ignored = (f"--ignore={path}" for paths in beside for path in paths)
        codes = [subprocess.run([*pytest, *ignored], cwd=ROOT).returncode, *(finish() for finish in others)]
    if any(codes):
        raise BuildError(f"FAILED: pytest (exit codes {', '.join(map(str, codes))})")
    say(f"passed: pytest, in {time.monotonic() - began:.0f} s")


@contextmanager
def in_background(command: Sequence[str]) -> Iterator[Callable[[], int]]:
    """Started now. What is yielded waits for its end, shows what it printed, and tells its exit code."""
    with tempfile.TemporaryFile() as told, subprocess.Popen(command, cwd=ROOT, stdout=told, stderr=told) as process:

        def finish() -> int:
            code = process.wait()
            told.seek(0)
            sys.stdout.flush()
            shutil.copyfileobj(told, sys.stdout.buffer)
            sys.stdout.buffer.flush()
            return code

        yield finish


def faults(wheelhouse: Path | None, args: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="build.py faults")
    parser.add_argument("--count", type=int, default=200, metavar="N")
    count = parser.parse_args(args).count
    python = development_python(wheelhouse)
    run_steps({"faults": [python, "-m", "pytest", "tests/faults"]}, {**os.environ, "AGENTD_FAULTS": str(count)})


def bench(wheelhouse: Path | None, args: list[str]) -> None:
    python = development_python(wheelhouse)
    build(wheelhouse)
    run_steps({"bench": [python, "-m", "tests.bench.table", *args]})


def walk(wheelhouse: Path | None, args: list[str]) -> None:
    python = development_python(wheelhouse)
    build(wheelhouse)
    run_steps({"walk": [python, "-m", "tests.e2e.walk", *args]})


def real(wheelhouse: Path | None, args: list[str]) -> None:
    python = development_python(wheelhouse)
    build(wheelhouse)
    run_steps({"real": [python, "-m", "tests.real.jobs", *args]})


def scale(wheelhouse: Path | None, args: list[str]) -> None:
    python = development_python(wheelhouse)
    build(wheelhouse)
    run_steps({"scale": [python, "-m", "tests.scale.run", *args]})


# --- The command line ---------------------------------------------------------------------------------------------

VERBS: dict[str, Callable[[Path | None, list[str]], None]] = {
    "build": lambda wheelhouse, _: build(wheelhouse),
    "lock": lambda _, __: write_lock(),
    "check": check,
    "test": test,
    "faults": faults,
    "clients": install_clients,
    "bench": bench,
    "walk": walk,
    "real": real,
    "scale": scale,
}


def main(argv: list[str]) -> int:
    if sys.version_info < OLDEST:
        say("agentd needs Python {}.{} or later; this is {}".format(*OLDEST, sys.version.split()[0]))
        return 1
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="build.py", description=__doc__, formatter_class=as_written)
    parser.add_argument("--wheelhouse", type=Path, metavar="DIR", help="take the locked wheels from there")
    parser.add_argument("verb", nargs="?", default="build", choices=VERBS, help="what to do (build)")
    parser.add_argument("args", nargs=argparse.REMAINDER, help="passed on to it")
    options = parser.parse_args(argv)
    try:
        VERBS[options.verb](options.wheelhouse, options.args)
    except BuildError as exc:
        say(str(exc))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
