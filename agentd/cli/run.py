"""`agentd run`: one job in a repository, shown live. It starts an executor of its own and is its only client."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, TypeVar

import attrs
import trio

from agentd.cli.help import page, show
from agentd.cli.permission import ask_person
from agentd.cli.terminal import DIM, RED, Screen
from agentd.config import Option, Settings, data_dir, read_settings
from agentd.daemon.launch import Launched, executor_environment, launch
from agentd.daemon.site import SITE, read_site
from agentd.domain import (
    TASK_MODES,
    Hello,
    JobSpec,
    JobState,
    Limits,
    McpServer,
    Mode,
    Models,
    PermissionMode,
    Record,
    Site,
    ToolPolicy,
)
from agentd.errors import AgentdError, ExecutorFailed, InvalidSetting, SessionNotFound, only_cause
from agentd.providers.settings import Catalog, read_catalog
from agentd.sandbox.child import Child
from agentd.sandbox.fork import fork
from agentd.sandbox.reexec import own_argv
from agentd.store.home import Home, SessionDir
from agentd.wire.client import Client, connect
from agentd.wire.failure import HttpFailed
from agentd.wire.messages import to_json
from agentd.wire.typed import NotJson, parse

OPTIONS = {
    "repo": Option(),
    "mode": Option(),
    "model": Option("AGENTD_MODEL"),
    "fallback-model": Option(),
    "model-alias": Option("MODEL_ALIASES", many=True),
    "permission-mode": Option(),
    "max-turns": Option(),
    "max-budget-usd": Option(),
    "timeout": Option(),
    "auto-commit": Option(switch=True),
    "setting-sources": Option(),
    "mcp-config": Option(many=True),
    **SITE,
    "resume": Option(),
    "json": Option(switch=True),
    "config": Option("AGENTD_CONFIG"),
    "data-dir": Option(),
    "help": Option(switch=True),
}

DONE, FAILED, USAGE_ERROR, NO_MODEL, REFUSED, LIMIT, CANCELLED = 0, 1, 2, 3, 4, 5, 130
EXIT_OF_CODE = {"MODEL_UNAVAILABLE": NO_MODEL, "TIME_LIMIT": LIMIT}
EXIT_OF_STOP = {"max_turns_reached": LIMIT, "max_budget_reached": LIMIT, "llm_error": NO_MODEL}
ASK_SECONDS = 3600.0  # how long a prompt on the terminal stays open
READY_SECONDS = 20.0
DEATH_SECONDS = 5.0  # for the reason of an executor's death to be known, once its connection has broken
REFUSED_TEXT = (
    "A permission was needed and nobody could be asked. --permission-mode acceptEdits allows edits, "
    "--permission-mode bypassPermissions everything; on a terminal you are asked."
)
Source = Literal["project", "user"]
SOURCES: tuple[Source, ...] = ("project", "user")
DIFF_LINES = 2000  # shown; the rest is in the repository
NUMBERS = TypeVar("NUMBERS", int, float)
WORD = TypeVar("WORD", bound=StrEnum)


@attrs.frozen
class Order:
    """What the command line asks for."""

    repo: Path
    data_dir: Path
    spec: JobSpec | None  # None: only go on with what a session was waiting for
    resume: str | None
    aliases: dict[str, str]
    catalog: Catalog
    site: Site
    as_json: bool
    attended: bool  # somebody is at the terminal, who can be asked


def main(argv: list[str]) -> int:
    """The exit code."""
    if any(word in ("-h", "--help") for word in argv):
        show(page("run"))
        return DONE
    try:
        order = read_order(read_settings(OPTIONS, argv, os.environ, words=True))
        session = open_session(order)
        return trio.run(run, order, session, fork_executor(order))
    except (InvalidSetting, SessionNotFound) as exc:
        print(f"agentd run: {exc}\n`agentd help run` shows how it is used", file=sys.stderr)
        return USAGE_ERROR
    except AgentdError as exc:
        print(f"agentd run: {exc}", file=sys.stderr)
        return FAILED


# --- The command line ---------------------------------------------------------------------------------------------


def read_order(settings: Settings) -> Order:
    """Raises InvalidSetting."""
    repo = Path(settings.text("repo") or ".").resolve()
    if not repo.is_dir():
        raise InvalidSetting(f"--repo: {repo} is not a directory")
    resume = settings.text("resume")
    attended = sys.stdin.isatty() and sys.stderr.isatty() and not settings.switch("json")
    prompt = read_prompt(settings.words)
    if not prompt and resume is None:
        raise InvalidSetting('say what to do: agentd run "WHAT TO DO"')
    catalog, spec = read_catalog(settings.read_file(), os.environ), None
    if prompt:
        spec = read_spec(settings, prompt, attended=attended)
    return Order(
        repo=repo,
        data_dir=data_dir(settings.text("data-dir"), os.environ),
        spec=spec,
        resume=resume,
        aliases=settings.aliases("model-alias"),
        catalog=catalog,
        site=_site(settings, spec, catalog),
        as_json=settings.switch("json"),
        attended=attended,
    )


def _site(settings: Settings, spec: JobSpec | None, catalog: Catalog) -> Site:
    """Raises InvalidSetting."""
    site = read_site(settings)
    if not site.offline:
        return site
    from agentd.daemon.contacts import go_offline

    named = spec.servers if spec is not None and spec.servers is not None else {}
    reachable = go_offline(attrs.evolve(site, servers={**site.servers, **named}), catalog, os.environ).reachable
    return attrs.evolve(site, reachable=reachable)


def read_prompt(words: list[str]) -> str:
    if words == ["-"]:
        return sys.stdin.read().strip()
    if len(words) > 1:
        raise InvalidSetting("the task is one argument: put it in quotes")
    return words[0].strip() if words else ""


def read_spec(settings: Settings, prompt: str, *, attended: bool) -> JobSpec:
    model = settings.text("model")
    permission_mode = _one_of(settings, "permission-mode", PermissionMode, PermissionMode.DEFAULT)
    return JobSpec(
        mode=_mode(settings),
        prompt=prompt,
        models=Models(model, model, model, settings.text("fallback-model")),
        tools=ToolPolicy(permission_mode=permission_mode, ask_seconds=ASK_SECONDS if attended else 0.0),
        limits=Limits(
            turns=_positive(settings, "max-turns", int),
            usd=_positive(settings, "max-budget-usd", float),
            seconds=_positive(settings, "timeout", float),
        ),
        auto_commit=settings.switch("auto-commit"),
        servers=_servers(settings.many("mcp-config")),
        sources=_sources(settings),
    )


def _sources(settings: Settings) -> tuple[Source, ...]:
    words = {word.strip() for text in settings.many("setting-sources") for word in text.split(",") if word.strip()}
    if wrong := words - {"project", "user"}:
        raise InvalidSetting(f"--setting-sources: {', '.join(sorted(wrong))} is neither project nor user")
    return tuple(source for source in SOURCES if source in words)


def _servers(names: Sequence[str]) -> dict[str, McpServer] | None:
    """Those of JSON files, beside what is configured; variables are filled from the environment."""
    if not names:
        return None
    from agentd.tools.mcp.config import read_servers, servers_in

    servers: dict[str, McpServer] = {}
    for name in names:
        try:
            document = parse(Path(name).expanduser().read_bytes())
        except OSError as exc:
            raise InvalidSetting(f"--mcp-config: {name}: {exc.strerror}") from exc
        except NotJson as exc:
            raise InvalidSetting(f"--mcp-config: {name}: {exc.reason}") from exc
        servers |= read_servers(servers_in(document), env=os.environ)
    return servers


def _mode(settings: Settings) -> Mode:
    mode = _one_of(settings, "mode", Mode, Mode.ASK)
    if mode not in TASK_MODES:
        raise InvalidSetting(f"--mode: {mode} is none of {', '.join(TASK_MODES)}")
    return mode


def _one_of(settings: Settings, name: str, kind: type[WORD], default: WORD) -> WORD:
    word = settings.text(name)
    try:
        return kind(word) if word else default
    except ValueError:
        raise InvalidSetting(f"--{name}: {word} is none of {', '.join(kind)}") from None


def _positive(settings: Settings, name: str, kind: type[NUMBERS]) -> NUMBERS | None:
    text = settings.text(name)
    if text is None:
        return None
    try:
        number = kind(text)
    except ValueError:
        number = kind(0)
    if not 0 < number < float("inf"):
        raise InvalidSetting(f"--{name}: {text} is not a number above 0")
    return number


# --- The job ------------------------------------------------------------------------------------------------------


def open_session(order: Order) -> SessionDir:
    home = Home(order.data_dir)
    return home.session(order.resume) if order.resume else home.create_session("run", order.repo, "agentd run")


def executor_words(order: Order) -> list[str]:
    aliases = [word for name, model in order.aliases.items() for word in ("--model-alias", f"{name}={model}")]
    return ["--supervised", "--workspace-dir", str(order.repo), *aliases]


def fork_executor(order: Order) -> Child | None:
    """An executor that waits for its hello; None where forking is not safe. Before there is an event loop."""
    if sys.platform != "linux":
        return None
    from agentd.cli import executor

    return fork(lambda: executor.main(executor_words(order)), executor_environment())


async def run(order: Order, session: SessionDir, forked: Child | None) -> int:
    """Have an executor do the job, show it, and end it. The exit code. Raises AgentdError."""
    screen = Screen(sys.stdout, sys.stderr, live=sys.stderr.isatty(), stream=sys.stdout.isatty())
    argv = own_argv("executor", *executor_words(order))
    catalog = order.catalog
    providers = attrs.asdict(catalog) if catalog != Catalog() else {}
    hello = Hello(session.id, str(session.path), providers=providers, site=order.site)
    try:
        async with launch(argv, hello, ready_seconds=READY_SECONDS, forked=forked) as executor:
            client = await connect(executor.address)
            return await Watch(order, session, executor, client, screen).follow()
    except Exception as exc:
        raise only_cause(exc) from None


@attrs.define
class Watch:
    """Follows one job from outside, by the records its executor writes."""

    order: Order
    session: SessionDir
    executor: Launched
    client: Client
    screen: Screen
    job: str = ""
    refused: bool = False  # a permission was needed, and nobody is there to ask
    interrupts: int = 0

    async def follow(self) -> int:
        """The exit code. Raises AgentdError."""
        code = CANCELLED  # when a second Ctrl-C leaves at once
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._heed_signals, nursery.cancel_scope)
            nursery.start_soon(self._tick)
            after = await self._submit()
            try:
                code = self._conclude(await self._show_until_the_end(after, nursery))
            except HttpFailed as exc:
                with trio.move_on_after(DEATH_SECONDS):
                    reason = await self.executor.wait_dead()
                    raise ExecutorFailed(f"the executor died: {reason}\n{self._how_to_go_on()}") from exc
                raise
            nursery.cancel_scope.cancel()
        return code

    async def _show_until_the_end(self, after: int, nursery: trio.Nursery) -> Mapping[str, Any]:
        """The data of the job's last record."""
        async with self.client.open_stream("GET", f"/_/log?after={after}", headers=self._headers) as stream:
            async for line in stream.lines():
                record = Record(**json.loads(line))
                self._show(record, line)
                if record.type == "ask.opened" and self.order.attended:
                    nursery.start_soon(self._ask, record)
                elif record.type == "ask.settled" and record.data["by"] == "timeout" and not self.order.attended:
                    self.refused = True
                    await self._post(f"/_/jobs/{self.job}/cancel")
                elif record.type == "job.finished" and record.job == self.job:
                    return record.data
        raise HttpFailed("network", "the executor ended its log before the job")

    async def _submit(self) -> int:
        """Hand the job over; the position in the log after which its records are."""
        health = json.loads((await self.client.request("GET", "/_/health", headers=self._headers)).body)
        if self.order.spec is not None:
            self.job = (await self._post("/_/jobs", self.order.spec))["job"]
            return int(health["position"])
        if health["job"] is None:
            raise InvalidSetting(f"session {self.session.id} waits for nothing; say what to do next")
        self.job = health["job"]
        return 0

    async def _post(self, path: str, value: object = None) -> Any:
        body = to_json(value) if value is not None else b""
        answer = await self.client.request("POST", path, headers=self._headers, body=body)
        told = json.loads(answer.body)
        if answer.status >= 400:
            raise ExecutorFailed(told["message"])
        return told

    @property
    def _headers(self) -> list[tuple[str, str]]:
        return [("Authorization", f"Bearer {self.executor.token}")]

    def _show(self, record: Record, line: bytes) -> None:
        if self.order.as_json:
            print(line.decode(), flush=True)
        elif record.job == self.job:
            self.screen.show(record)

    async def _ask(self, record: Record) -> None:
        decision = await ask_person(self.screen, record.data)
        await self._post(f"/_/asks/{record.data['id']}", {"decision": decision, "by": "terminal"})

    async def _heed_signals(self, leave: trio.CancelScope) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                self.interrupts += 1
                if self.interrupts > 1 or not self.job:
                    leave.cancel()
                self.screen.status("cancelling; Ctrl-C again leaves at once")
                await self._post(f"/_/jobs/{self.job}/cancel")

    async def _tick(self) -> None:
        while True:
            await trio.sleep(1)
            self.screen.tick()

    def _conclude(self, finished: Mapping[str, Any]) -> int:
        """Show what came of it. The exit code."""
        if not self.order.as_json:
            self._show_changes(finished["diff"])
            if self.refused:
                self.screen.line(REFUSED_TEXT, RED)
            self.screen.line(self._how_to_go_on(), DIM)
        if self.refused:
            return REFUSED
        if self.interrupts:
            return CANCELLED
        code = EXIT_OF_STOP.get(finished["stop_reason"])
        if finished["outcome"] == JobState.COMPLETED:
            return code or DONE
        return code or EXIT_OF_CODE.get(finished["error"]["code"] if finished["error"] else "", FAILED)

    def _show_changes(self, diff: Mapping[str, Any] | None) -> None:
        if diff is None or not diff["files"]:
            return
        lines = self.session.blobs.get(diff["sha256"]).decode(errors="replace").splitlines()
        self.screen.diff(lines[:DIFF_LINES])
        if len(lines) > DIFF_LINES:
            self.screen.line(f"… {len(lines) - DIFF_LINES} more lines of changes", DIM)

    def _how_to_go_on(self) -> str:
        return f'agentd run --resume {self.session.id} "…" goes on from here'
