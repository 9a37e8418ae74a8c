"""Runs every example of the seed documents against the built file: `python3 build.py walk`.

The walker and the documents are beside this repository, in ../shared/acceptance.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
WALKER = ROOT.parent / "shared" / "acceptance" / "walk.py"
PYZ = ROOT / "dist" / "agentd.pyz"
ALIASES = ",".join(f"{name}=builtin" for name in ("gpt-5", "gpt-5-mini", "sonnet", "haiku", "opus"))
Settings = Mapping[str, str]


def executor(repo: Path, scratch: Path) -> Settings:
    """As its document presumes; the next ones too."""
    return {"AUTH_TOKEN": "test-secret-token", "WORKSPACE_DIR": str(repo)}


def manager(repo: Path, scratch: Path) -> Settings:
    places = {"WORKTREE_BASE_DIR": str(scratch / "worktrees"), "AGENTD_DATA_DIR": str(scratch / "data")}
    return {"AUTH_TOKEN": "test-master-token", "POOL_SIZE": "4", **places}


def agent(repo: Path, scratch: Path) -> Settings:
    places = {"AGENTD_AGENT_WORKSPACE": str(repo), "AGENTD_DATA_DIR": str(scratch / "data")}
    return {"API_KEY": "your-api-key-here", **places}


def runs(repo: Path, scratch: Path) -> Settings:
    off = {"LISTEN_ADDR": "off", "AGENTD_AGENT_LISTEN": "off", "AGENTD_LOG_LEVEL": "warning"}
    places = {"HARNESS_LISTEN": "127.0.0.1:0", "HARNESS_DATA_DIR": str(scratch / "data")}
    return {"HARNESS_AUTH_TOKEN": "test-harness-token", **places, **off}


SEEDS: Mapping[str, Callable[[Path, Path], Settings]] = {  # verb and document
    "executor": executor,
    "manager": manager,
    "agent": agent,
    "runs": runs,
}
VERBS = {"runs": "serve"}  # where it is not called as its document


@contextmanager
def server(seed: str, settings: Settings) -> Iterator[str]:
    """The verb *seed* of the built file; its base URL."""
    env = {**os.environ, "MODEL_ALIASES": ALIASES, "LISTEN_ADDR": "127.0.0.1:0", **settings}
    command = [sys.executable, str(PYZ), VERBS.get(seed, seed)]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            for line in process.stdout:
                if found := re.search(r"listening on (http://\S+)", line):
                    yield found[1]
                    break
            else:
                sys.exit(f"walk: the {seed} did not start")
        finally:
            process.terminate()


def walk(seed: str, *, strict: bool) -> list[dict[str, Any]]:
    """The walker's results, one an example or rule. *strict*: what is proved only in part failed."""
    with tempfile.TemporaryDirectory(prefix="walk-") as scratch:
        repo, results = Path(scratch, "repo"), Path(scratch, "results.json")
        walker = [sys.executable, str(WALKER)]
        subprocess.run([*walker, "prepare-repo", "--repo", str(repo)], check=True, stdout=subprocess.DEVNULL)
        with server(seed, SEEDS[seed](repo, Path(scratch))) as base:
            command = [*walker, seed, "--base", base, "--repo", str(repo), "--json", str(results)]
            command += ["--strict"] if strict else []
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if not results.exists():
            sys.exit(f"walk: the walker gave up:\n{done.stdout}")
        found: list[dict[str, Any]] = json.loads(results.read_text())["results"]
        return found


def report(seed: str, results: list[dict[str, Any]]) -> bool:
    """Print what passed and what is wrong; whether nothing is."""
    failed = [each for each in results if each["verdict"] != "passed"]
    for each in results:
        print(f"FAILED   {each['key']}: {each['reason']}" if each in failed else f"ok       {each['key']}")
    print(f"walk: {seed}: {len(results) - len(failed)} passed, {len(failed)} failed")
    return bool(results) and not failed


def main() -> int:
    parser = argparse.ArgumentParser(prog="build.py walk")
    parser.add_argument("seed", nargs="?", choices=SEEDS, help="the document to walk; all of them if none is named")
    parser.add_argument("--strict", action="store_true", help="what is proved only in part is a failure too")
    asked = parser.parse_args()
    seeds = [asked.seed] if asked.seed else list(SEEDS)
    if not WALKER.exists():
        print(f"walk: {WALKER} is not there, so nothing is walked")
        return 0
    failed = [each for each in seeds if not report(each, walk(each, strict=asked.strict))]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
