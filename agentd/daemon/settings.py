"""What can be set of the daemon: one table for `agentd serve`, `agentd manager` and `agentd config show`. No trio here.

The names of flags and variables are those of the APIs' own documents: contract manager.md §1, runs-and-chat.md §3.
"""

from __future__ import annotations

import logging
import math
import os
import shlex
import uuid
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path

import attrs

from agentd.config import Option, Settings, config_path, data_dir
from agentd.daemon.harness import load_harness
from agentd.daemon.keys import READABLE
from agentd.daemon.logs import FORMATS, LEVELS
from agentd.daemon.site import SITE, read_site
from agentd.domain import Site
from agentd.providers.settings import Catalog, read_catalog
from agentd.wire.hosts import LOOPBACK_NAMES
from agentd.wire.urlpolicy import UrlPolicy

OFF = "off"
WORKTREES = "worktrees"  # in the data directory
MAIN_ADDRESS, MANAGER_ADDRESS, AGENT_ADDRESS = "127.0.0.1:8787", "127.0.0.1:8080", "127.0.0.1:54000"
POOL_SIZE = MOST_EXECUTORS = max(8, 4 * (os.cpu_count() or 1))
FILE_TABLES = ("serve", "manager", "agent")

COMMON = {
    "config": Option("AGENTD_CONFIG"),
    "data-dir": Option("AGENTD_DATA_DIR", also="HARNESS_DATA_DIR"),
    "model-alias": Option("MODEL_ALIASES", many=True),
    "allowed-host": Option("AGENTD_ALLOWED_HOSTS", many=True, key="serve.allowed_hosts"),
    "log-format": Option("AGENTD_LOG_FORMAT", key="serve.log_format", default="text"),
    "log-level": Option("AGENTD_LOG_LEVEL", key="serve.log_level", default="info"),
}
EXECUTORS = {
    "executor-command": Option("EXECUTOR_COMMAND", key="manager.executor_command"),
    "executor-classpath": Option("EXECUTOR_CLASSPATH"),
}
IN_PLACE = {"max-executors": Option("AGENTD_MAX_EXECUTORS", key="serve.max_executors", default=str(MOST_EXECUTORS))}
MANAGER = {
    "auth-token": Option("AUTH_TOKEN", key="manager.auth_token", secret=True),
    "manager-id": Option("MANAGER_ID", key="manager.manager_id"),
    "pool-size": Option("POOL_SIZE", key="manager.pool_size"),
    "worktree-base-dir": Option("WORKTREE_BASE_DIR", key="manager.worktree_base_dir"),
    **EXECUTORS,
    "idle-timeout-seconds": Option("IDLE_TIMEOUT_SECONDS", key="manager.idle_timeout_seconds", default="900"),
    "eviction-interval-seconds": Option(
        "EVICTION_INTERVAL_SECONDS", key="manager.eviction_interval_seconds", default="60"
    ),
    "session-token-ttl-seconds": Option(
        "SESSION_TOKEN_TTL_SECONDS", key="manager.session_token_ttl_seconds", default="3600"
    ),
}
AGENT = {
    "agent-key": Option("API_KEY", many=True, key="agent.api_keys", secret=True),
    "agent-workspace": Option("AGENTD_AGENT_WORKSPACE", key="agent.workspace"),
    "url-policy": Option("AGENTD_URL_POLICY", key="agent.url_policy", default=UrlPolicy.LOCAL),
    "question-timeout": Option("AGENTD_QUESTION_TIMEOUT", key="agent.question_timeout", default="600"),
    "request-timeout": Option("AGENTD_REQUEST_TIMEOUT", key="agent.request_timeout", default=OFF),
    "hook-timeout": Option("AGENTD_HOOK_TIMEOUT", key="agent.hook_timeout_default", default="30"),
    "hook-secret": Option("AGENTD_HOOK_SECRET", key="agent.hook_secret", secret=True),
    "max-body-bytes": Option("AGENTD_MAX_BODY_BYTES", key="agent.max_body_bytes", default=str(32 << 20)),
    "default-max-turns": Option("AGENTD_DEFAULT_MAX_TURNS", key="agent.default_max_turns"),
    "agent-cors-origin": Option("AGENTD_AGENT_CORS_ORIGINS", many=True, key="agent.cors_origins"),
    "rate-limit": Option("AGENTD_RATE_LIMITS", many=True, key="agent.rate_limits"),
    "shutdown-grace": Option("AGENTD_SHUTDOWN_GRACE", key="agent.shutdown_grace", default="30"),
}
AGENT_OPTIONS = {
    "listen-addr": Option("LISTEN_ADDR", key="agent.listen", default=AGENT_ADDRESS),
    **AGENT,
    **IN_PLACE,
    **EXECUTORS,
    **SITE,
    **COMMON,
}
MANAGER_OPTIONS = {"listen-addr": Option("LISTEN_ADDR", key="manager.listen"), **MANAGER, **SITE, **COMMON}
SERVE_OPTIONS = {
    "listen": Option("HARNESS_LISTEN", key="serve.listen", default=MAIN_ADDRESS),
    "admin-token": Option("AGENTD_ADMIN_TOKEN", key="serve.admin_token", secret=True),
    "manager": Option("LISTEN_ADDR", key="manager.listen", default=MANAGER_ADDRESS),
    "runs": Option("AGENTD_RUNS", key="serve.runs", default="on"),
    "runs-token": Option("HARNESS_AUTH_TOKEN", key="serve.runs_token", secret=True),
    "cors-origin": Option("HARNESS_CORS_ORIGINS", many=True, key="serve.cors_origins"),
    "verify-command": Option("HARNESS_VERIFY_COMMANDS", many=True, key="serve.verify_commands"),
    "harness-config": Option("HARNESS_CONFIG"),
    "env-file": Option(),
    "agent": Option("AGENTD_AGENT_LISTEN", key="agent.listen", default=AGENT_ADDRESS),
    **MANAGER,
    **AGENT,
    **IN_PLACE,
    **SITE,
    **COMMON,
}

logger = logging.getLogger(__name__)


def load_serve(settings: Settings, env: Mapping[str, str]) -> Settings:
    """load(), and the defaults of `agentd serve`: nothing has to be set for that. Raises InvalidSetting."""
    load(settings, env)
    load_harness(settings)
    settings.defaults["pool-size"] = str(POOL_SIZE)
    settings.defaults["worktree-base-dir"] = str(data_directory(settings) / WORKTREES)
    return settings


def worktree_base(settings: Settings) -> Path:
    """Where it is set, else where `agentd serve` has it. Raises InvalidSetting."""
    text = settings.text("worktree-base-dir")
    return Path(text).expanduser().absolute() if text else data_directory(settings) / WORKTREES


def load(settings: Settings, env: Mapping[str, str]) -> Settings:
    """Add the configuration file, and the places that depend on the environment. Raises InvalidSetting."""
    settings.defaults["data-dir"] = str(data_dir(None, env))
    if (path := config_path(settings.text("config"), env)) is not None:
        settings.defaults["config"] = str(path)
    settings.read_file()
    for table in FILE_TABLES:
        settings.file.table(table).only(*keys_of(table))
    return settings


def keys_of(table: str) -> list[str]:
    """Of the configuration file."""
    keys = (option.key.split(".") for option in SERVE_OPTIONS.values() if option.key)
    return [key for place, key in keys if place == table]


def data_directory(settings: Settings) -> Path:
    return Path(settings.required("data-dir")).expanduser().absolute()


def load_services(settings: Settings, env: Mapping[str, str]) -> Catalog:
    """Language model services. Raises InvalidSetting."""
    return read_catalog(settings.file, env)


# --- Values -------------------------------------------------------------------------------------------------------


def count(settings: Settings, name: str) -> int:
    """1 or more. Raises InvalidSetting."""
    text = settings.required(name)
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) > 0):
        raise settings.misfit(name, f"{text} is not a whole number above 0")
    return int(text)


def seconds(settings: Settings, name: str) -> float:
    """Above 0, fractions too. Of what is none the default is taken, with a warning: the manager contract, §1."""
    value, default = _seconds(settings.required(name)), float(settings.defaults[name])
    if value is not None:
        return value
    problem = f"{settings.required(name)} is not a number above 0; {default:g} is used"
    logger.warning("%s", settings.misfit(name, problem))
    return default


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < math.inf else None


def log_settings(settings: Settings) -> tuple[str, str]:
    """Format and level. Raises InvalidSetting."""
    return settings.one_of("log-format", *FORMATS), settings.one_of("log-level", *LEVELS)


def hosts(settings: Settings) -> list[str]:
    return listed(settings, "allowed-host")


def listed(settings: Settings, name: str) -> list[str]:
    """Of a setting that has one or more, with commas, in each of its texts."""
    return [each.strip() for text in settings.many(name) for each in text.split(",") if each.strip()]


# --- Addresses ----------------------------------------------------------------------------------------------------


@attrs.frozen
class Address:
    """Where to listen: *path* of a unix socket, or *host* and *port*."""

    host: str = ""
    port: int = 0
    path: Path | None = None

    @property
    def is_open_to_others(self) -> bool:
        """Whether other machines can reach it."""
        return self.path is None and not is_loopback(self.host)


def address(settings: Settings, name: str) -> Address:
    """`host:port`, `[v6]:port` or `unix:/path`; of the main listener also a bare host. Raises InvalidSetting."""
    text = settings.required(name)
    if text.startswith("unix:/"):
        return Address(path=Path(text.removeprefix("unix:")))
    if name == "listen" and (":" not in text or text.endswith("]")):
        text += f":{MAIN_ADDRESS.rpartition(':')[2]}"
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not bare or (":" in bare and bare == host) or not (port.isascii() and port.isdecimal() and int(port) < 65536):
        raise settings.misfit(name, f"{text} is neither host:port nor unix:/path")
    return Address(bare, int(port))


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() in LOOPBACK_NAMES or host.lower().endswith(".localhost")


# --- Executors ----------------------------------------------------------------------------------------------------


@attrs.frozen
class ExecutorSettings:
    """How executors are started."""

    command: tuple[str, ...] = ()  # that is an executor; empty: this program
    template: str = ""  # that starts one; empty: nothing does
    words: tuple[str, ...] = ()  # that every executor is told on its command line
    url_policy: UrlPolicy = UrlPolicy.LOCAL
    hook_secret: str = attrs.field(default="", repr=False)
    site: Site = attrs.field(factory=Site)


def executor_settings(settings: Settings, *, hooks: bool) -> ExecutorSettings:
    """*hooks*: whether there is a face whose jobs may have them. Raises InvalidSetting."""
    if settings.text("executor-classpath"):
        logger.warning("--executor-classpath (EXECUTOR_CLASSPATH) belongs to another program; it is ignored")
    command, template = executor_command(settings)
    aliases = settings.aliases("model-alias")
    words = ("--model-alias", ",".join(f"{name}={model}" for name, model in aliases.items())) if aliases else ()
    made = ExecutorSettings(command, template, words, site=read_site(settings))
    if not hooks:
        return made
    return attrs.evolve(made, url_policy=url_policy(settings), hook_secret=settings.text("hook-secret") or "")


def url_policy(settings: Settings) -> UrlPolicy:
    """Raises InvalidSetting."""
    return UrlPolicy(settings.one_of("url-policy", *UrlPolicy))


# --- The agent API ------------------------------------------------------------------------------------------------


def agent_keys(settings: Settings) -> list[str]:
    """Those that are given; empty: one is to be made. Raises InvalidSetting."""
    keys = settings.many("agent-key")
    if not all(READABLE.fullmatch(key) for key in keys):
        raise settings.misfit("agent-key", "a key is one word of ASCII")
    return keys


def rate_limits(settings: Settings, kinds: Sequence[str]) -> dict[str, int]:
    """Requests a minute by kind, where there is a limit. Raises InvalidSetting."""
    limits = {}
    for text in listed(settings, "rate-limit"):
        kind, _, number = (part.strip() for part in text.partition("="))
        if kind not in kinds or not (number.isascii() and number.isdecimal() and len(number) < 10 and int(number)):
            raise settings.misfit("rate-limit", f"{text} is not KIND=N, where KIND is {' or '.join(kinds)}")
        limits[kind] = int(number)
    return limits


def agent_workspace(settings: Settings) -> Path:
    """Where queries work that do not say; the current directory if that is not set. Raises InvalidSetting."""
    path = Path(settings.text("agent-workspace") or ".").expanduser().absolute()
    if not path.is_dir():
        raise settings.misfit("agent-workspace", f"{path} is no directory")
    return path


def seconds_or_off(settings: Settings, name: str) -> float | None:
    """None: it is off. Raises InvalidSetting."""
    text = settings.required(name)
    if text in (OFF, "0"):
        return None
    if (value := _seconds(text)) is None:
        raise settings.misfit(name, f"{text} is neither a number above 0 nor {OFF}")
    return value


# --- The manager --------------------------------------------------------------------------------------------------


@attrs.frozen
class ManagerSettings:
    """Those of one session manager. The contract, §1."""

    id: str
    pool_size: int
    worktree_base: Path
    idle_seconds: float
    eviction_seconds: float
    token_seconds: float


def manager_settings(settings: Settings) -> ManagerSettings:
    """Raises InvalidSetting."""
    return ManagerSettings(
        id=manager_id(settings),
        pool_size=count(settings, "pool-size"),
        worktree_base=Path(settings.required("worktree-base-dir")).expanduser().absolute(),
        idle_seconds=seconds(settings, "idle-timeout-seconds"),
        eviction_seconds=seconds(settings, "eviction-interval-seconds"),
        token_seconds=seconds(settings, "session-token-ttl-seconds"),
    )


def manager_id(settings: Settings) -> str:
    text = settings.text("manager-id")
    try:
        return str(uuid.UUID(text)) if text else str(uuid.uuid4())
    except ValueError:
        raise settings.misfit("manager-id", f"{text} is not a UUID") from None


def executor_command(settings: Settings) -> tuple[tuple[str, ...], str]:
    """The words of a program that is an executor, or a launcher's template: that has {argv} or {cmd} in it."""
    text = settings.text("executor-command") or ""
    if "{argv}" in text or "{cmd}" in text:
        return (), text
    try:
        return tuple(shlex.split(text)), ""
    except ValueError as exc:
        raise settings.misfit("executor-command", f"{exc}: {text}") from exc


def refuse_open(settings: Settings, name: str, token: str) -> Address:
    """The address *name*, which others may reach only if there is a token. Raises InvalidSetting."""
    found = address(settings, name)
    if found.is_open_to_others and not token:
        raise settings.misfit(name, f"{found.host} can be reached by others, which needs a token; or use 127.0.0.1")
    return found
