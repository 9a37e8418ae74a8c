"""Running git on a repository that may be hostile: its configuration is written by whoever wrote its files.

No hook, no file system monitor, no prompt, no pager, no network. What a repository's attributes can still switch on
(filters, textconv) is kept out by scratch.py, which is how the working tree is read.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

import attrs
import trio
from trio.lowlevel import FdStream

from agentd.errors import GitFailed
from agentd.sandbox.child import PIPE, Child, open_child

SAFE = (
    "--no-pager",
    "--literal-pathspecs",
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "gc.auto=0"),
    *("-c", "maintenance.auto=false"),
)
INHERITED = ("PATH", "HOME", "XDG_CONFIG_HOME", "USER", "LOGNAME", "TMPDIR")
FIXED = {
    "LC_ALL": "C",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_ALLOW_PROTOCOL": "none",  # beats protocol.*.allow; a partial clone may name any command to fetch with
    "GIT_EDITOR": "false",
}
TIMEOUT_SECONDS = 60.0
OUTPUT_LIMIT = 64 << 20
ERROR_LIMIT = 4096
ERROR_LINES = 5
NOTHING: Mapping[str, str] = {}


@attrs.frozen
class Done:
    code: int
    stdout: bytes
    stderr: str  # its end


async def git(
    directory: Path,
    *args: str,
    input: bytes = b"",  # noqa: A002  # as subprocess calls it
    env: Mapping[str, str] = NOTHING,
    settings: Mapping[str, str] = NOTHING,
    ok: Collection[int] = (0,),
    seconds: float = TIMEOUT_SECONDS,
    pass_fds: Collection[int] = (),
) -> bytes:
    """What git prints. *env* is added to a minimal environment, *settings* to the configuration.

    Raises GitFailed: it did not end with a code in *ok*, printed more than 64 MiB, or took longer than *seconds*.
    """
    done = await run_git(directory, *args, input=input, env=env, settings=settings, seconds=seconds, pass_fds=pass_fds)
    if done.code not in ok:
        raise GitFailed(f"git {args[0]} failed: {done.stderr or f'exit code {done.code}'}")
    return done.stdout


async def run_git(
    directory: Path,
    *args: str,
    input: bytes = b"",  # noqa: A002
    env: Mapping[str, str] = NOTHING,
    settings: Mapping[str, str] = NOTHING,
    seconds: float = TIMEOUT_SECONDS,
    pass_fds: Collection[int] = (),
) -> Done:
    """git's exit code with what it printed. Raises GitFailed if it cannot be run, says too much, or takes too long."""
    try:
        with tempfile.TemporaryFile() as stdin:  # a file, so that no task has to feed a pipe
            stdin.write(input)
            stdin.seek(0)
            given = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
            async with open_child(
                ["git", *SAFE, *given, *args],
                cwd=directory,
                env=environment() | dict(env),
                stdin=stdin.fileno(),
                stdout=PIPE,
                stderr=PIPE,
                pass_fds=pass_fds,
            ) as child:
                with trio.fail_after(seconds):
                    return await _finish(child)
    except trio.TooSlowError:
        raise GitFailed(f"git {args[0]} took longer than {seconds:g} s") from None
    except OSError as exc:
        raise GitFailed(f"git could not be run in {directory}: {exc.strerror}") from exc


def environment() -> dict[str, str]:
    """No GIT_* of ours, which would lead git elsewhere; the user's own configuration counts."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ} | FIXED


async def unfiltered(directory: Path) -> dict[str, str]:
    """An environment in which git runs no filter of the repository's: those are commands, and attributes in its files
    say to what they are applied. For what reads or writes the working tree. Raises GitFailed."""
    told = await git(directory, "config", "-z", "--name-only", "--get-regexp", r"^filter\.", ok=(0, 1))
    drivers = sorted({os.fsdecode(name).rpartition(".")[0] for name in told.split(b"\0") if name})
    off = {"clean": "", "smudge": "", "process": "", "required": "false"}
    settings = [(f"{driver}.{key}", value) for driver in drivers for key, value in off.items()]
    # Not by -c, where a name ends at its first equals sign.
    env = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (name, value) in enumerate(settings):
        env |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return env


async def _finish(child: Child) -> Done:
    assert child.stdout is not None
    assert child.stderr is not None
    stdout, stderr = bytearray(), bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_collect, child.stdout, stdout)
        nursery.start_soon(_collect_end, child.stderr, stderr)
    code = await child.wait()
    if len(stdout) > OUTPUT_LIMIT:
        raise GitFailed(f"git printed more than {OUTPUT_LIMIT >> 20} MiB")
    lines = stderr.decode(errors="replace").strip().splitlines()
    return Done(code, bytes(stdout), "\n".join(lines[-ERROR_LINES:]))


async def _collect(stream: FdStream, into: bytearray) -> None:
    while len(into) <= OUTPUT_LIMIT and (chunk := await stream.receive_some()):
        into += chunk
    stream.close()  # if it has more to say, it ends by SIGPIPE


async def _collect_end(stream: FdStream, into: bytearray) -> None:
    while chunk := await stream.receive_some():
        into += chunk
        del into[:-ERROR_LIMIT]


async def repository_root(path: Path) -> Path | None:
    """The top of the working tree that *path* is in, be it a linked one or a submodule's. None when there is none:
    no repository, a bare one, or one that git does not trust because it belongs to another user."""
    done = await run_git(path, "rev-parse", "--show-toplevel")
    return Path(os.fsdecode(done.stdout.removesuffix(b"\n"))) if done.code == 0 else None
