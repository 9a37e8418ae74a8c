"""How a daemon starts executors: what is the same for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs

from agentd.daemon.launch import executor_environment
from agentd.daemon.launchers import LOCAL, Launcher
from agentd.domain import Hello, Site
from agentd.providers.settings import Catalog
from agentd.sandbox.reexec import own_argv
from agentd.store.home import SessionDir
from agentd.wire.urlpolicy import UrlPolicy


@attrs.frozen
class Plan:
    """*words* follow `agentd executor --supervised --workspace-dir …`."""

    words: Sequence[str] = ()
    catalog: Catalog = attrs.field(factory=Catalog, repr=False)  # has keys
    launcher: Launcher = LOCAL
    ready_seconds: float = 30.0
    heartbeat_seconds: float = 5.0  # between two; an answer may take twice as long
    forks: bool = True  # off a fork server, where that is safe
    url_policy: str = UrlPolicy.LOCAL
    hook_secret: str = attrs.field(default="", repr=False)
    site: Site = attrs.field(factory=Site)
    values: Mapping[str, str] = attrs.field(factory=dict)  # for the launcher's template: mgr, run_dir, callback
    program: Callable[..., list[str]] = own_argv  # what runs `agentd` with some words
    inherited: Mapping[str, str] = attrs.field(factory=executor_environment, repr=False)

    def argv(self, workspace: Path) -> list[str]:
        return self.program("executor", *self.executor_words(workspace))

    def executor_words(self, workspace: Path) -> list[str]:
        return ["--supervised", "--workspace-dir", str(workspace), *self.words]

    def hello(self, session: SessionDir, epoch: int) -> Hello:
        providers = attrs.asdict(self.catalog) if self.catalog != Catalog() else {}
        return Hello(
            session.id,
            str(session.path),
            epoch=epoch,
            providers=providers,
            url_policy=self.url_policy,
            hook_secret=self.hook_secret,
            site=self.site,
        )

    def environment(self, session: SessionDir) -> dict[str, str]:
        """The whole of it. The data directory is named: an executor keeps its tools away from there."""
        return {**self.inherited, "AGENTD_DATA_DIR": str(session.path.parent.parent)}

    def launcher_values(self, session: SessionDir, epoch: int) -> dict[str, str]:
        return {**self.values, "session": session.id, "epoch": str(epoch)}
