"""The jobs that a coding agent is for, done by a real model service; what came of each is printed.

    build.py real --openai-base-url http://127.0.0.1:8080/v1 --model NAME
    build.py real --anthropic-base-url https://api.anthropic.com

A question with tools, an edit, a follow-up in the same session, one that is cancelled, and one after that. The exit
code is 0 if all did what was asked. Keys are taken from the environment alone: OPENAI_API_KEY or ANTHROPIC_API_KEY. It
costs what some dozen calls of a few thousand tokens cost.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

ROOT = Path(__file__).resolve().parents[2]
HELLO = 'def greet(name):\n    return f"Hello, {name}"\n\n\nprint(greet("world"))\n'
CODE = ("--mode", "code", "--permission-mode", "bypassPermissions")
SERVICES = ("OPENAI", "ANTHROPIC", "XAI", "GOOGLE", "OLLAMA")  # their variables would name other services


@attrs.frozen
class Did:
    """One `agentd run`: its records, and how long it took."""

    records: list[dict[str, Any]]
    exit_code: int
    seconds: float

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [record["data"] for record in self.records if record["type"] == kind]

    @property
    def result(self) -> str:
        return str(self.finished.get("result") or (self.finished.get("error") or {}).get("message") or "")

    @property
    def finished(self) -> dict[str, Any]:
        return (self.all("job.finished") or [{}])[-1]

    def lines(self) -> Iterator[str]:
        calls = [f"{each['name']}{'' if each['ok'] else ' (failed)'}" for each in self.all("tool.finished")]
        usage = self.all("usage")
        total = {name: sum(each[name] for each in usage) for name in ("input_tokens", "output_tokens", "cached_tokens")}
        sent, same = (sum(each[name] or 0 for each in usage[1:]) for name in ("request_bytes", "prefix_bytes"))
        yield f"{self.finished.get('outcome', 'no end')} in {self.seconds:.1f} s, exit code {self.exit_code}"
        yield f"tools: {', '.join(calls) or 'none'}"
        yield "tokens: {input_tokens} in, {cached_tokens} of them cached, {output_tokens} out".format(**total)
        yield (
            f"replies: {len(usage)}, in {sum(each['calls'] for each in usage)} calls; "
            f"{sum(each['salvaged'] for each in usage)} tool calls read from text; "
            f"first word after {', '.join(str(each['first_ms']) for each in usage) or '-'} ms; "
            f"{same / sent if sent else 1:.0%} of what was sent again began as before"
        )
        yield from (f"{each['level']}: {each['text']}" for each in self.all("notice"))
        yield f"said: {' '.join(self.result.split())[:600]}"


@attrs.frozen
class Service:
    """What `agentd run` needs to work with a service, in a repository of its own."""

    pyz: Path
    repo: Path
    data: Path
    env: dict[str, str]
    model: tuple[str, ...]
    seconds: float

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, str(self.pyz), "run", "--json", "--repo", str(self.repo)]
        argv += ["--data-dir", str(self.data), "--timeout", str(self.seconds), *self.model, *words]
        return subprocess.Popen(argv, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)

    def do(self, *words: str, until: Callable[[dict[str, Any]], bool] | None = None) -> Did:
        """The whole job; or until a record for which *until* holds, at which Ctrl-C is pressed."""
        began, records = time.monotonic(), []
        with self.start(*words) as process:
            assert process.stdout is not None
            for line in process.stdout:
                records.append(json.loads(line))
                if until is not None and until(records[-1]):
                    process.send_signal(signal.SIGINT)
                    until = None
        return Did(records, process.returncode, time.monotonic() - began)

    def resume(self, *words: str) -> Did:
        newest = max((self.data / "sessions").iterdir(), key=lambda path: (path / "log.ndjson").stat().st_mtime)
        return self.do("--resume", newest.name, *words)


def jobs(service: Service) -> Iterator[tuple[str, Did, bool]]:
    """What was asked, what came of it, and whether that is right."""
    hello = service.repo / "hello.py"
    did = service.do("Which file defines the function greet, and what does it return? Look, and give path:line.")
    yield "a question", did, did.exit_code == 0 and "hello.py" in did.result and bool(did.all("tool.finished"))
    did = service.do(*CODE, "In hello.py, make greet() say Goodbye in the place of Hello. Then run `python3 hello.py`.")
    yield "an edit", did, did.exit_code == 0 and "Goodbye, {name}" in hello.read_text()
    did = service.resume("Which word did you replace, and by which? Answer in one short sentence.")
    yield "a follow-up", did, did.exit_code == 0 and "goodbye" in did.result.lower()
    did = service.do(
        "Read hello.py. Then explain every line of it at great length.",
        until=lambda record: record["type"] in ("text.delta", "thinking.delta", "tool.started"),
    )
    yield "one that is cancelled", did, did.exit_code == 130 and did.finished.get("outcome") == "cancelled"
    did = service.resume("Never mind. Reply with the one word: pong")
    yield "one after that", did, did.exit_code == 0 and "pong" in did.result.lower()


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="build.py real", description=__doc__, formatter_class=as_written)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--openai-base-url", metavar="URL", help="speaks Chat Completions; its path ends in /v1")
    which.add_argument("--anthropic-base-url", metavar="URL", help="speaks Messages, at URL/v1/messages")
    parser.add_argument("--model", metavar="NAME", help="the service's name for it (the first that it lists)")
    parser.add_argument("--timeout", type=float, default=900.0, metavar="SECONDS", help="for each job (900)")
    built = ROOT / "dist" / "agentd.pyz"
    parser.add_argument("--file", type=Path, default=built, metavar="PYZ", help="what to try (dist/agentd.pyz)")
    return parser.parse_args(argv)


def environment(variable: str, url: str) -> dict[str, str]:
    others = tuple(f"{service}_" for service in SERVICES if service != variable)
    kept = {name: value for name, value in os.environ.items() if not name.startswith((*others, "AGENTD_"))}
    return {**kept, f"{variable}_BASE_URL": url}


def make_repository(path: Path) -> None:
    path.mkdir()
    (path / "hello.py").write_text(HELLO)
    author = ("-c", "user.name=real", "-c", "user.email=real@example.invalid")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "One file"]):
        subprocess.run(["git", *author, *words], cwd=path, check=True)


def main(argv: Sequence[str] | None = None) -> int:
    options = parse(argv)
    name = "openai" if options.openai_base_url else "anthropic"
    model = ("--model", f"{name}/{options.model}") if options.model else ()
    env = environment(name.upper(), options.openai_base_url or options.anthropic_base_url)
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        repo, data = Path(scratch, "repo"), Path(scratch, "data")
        make_repository(repo)
        for what, did, right in jobs(Service(options.file, repo, data, env, model, options.timeout)):
            failed += not right
            print("\n    ".join([f"{'as asked' if right else 'NOT AS ASKED'}: {what}", *did.lines()]), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
