"""The launch contract between two real processes: hello, ready, leash, death."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import attrs
import pytest
import trio

import agentd
from agentd.daemon import launch as launch_module
from agentd.daemon.launch import Launched, launch
from agentd.domain import PROTOCOL, Hello
from agentd.errors import ExecutorFailed
from agentd.sandbox.leash import starttime

ENV = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(Path(agentd.__path__[0]).parent)}

GOOD = """
import json, os, sys, trio
from agentd.sandbox.leash import read_hello, ready_line, watch_leash
hello = read_hello()
print("a banner of the site\\n{\\"not\\": \\"ready\\"}\\n[1]", flush=True)
print("warming up", file=sys.stderr, flush=True)
sys.stdout.buffer.write(ready_line(hello, "unix:/somewhere", "bwrap"))
sys.stdout.flush()
told = repr((hello.token, hello.session, hello.epoch, hello.providers))
open(os.path.join(hello.session_dir, "hello"), "w").write(told)
open(os.path.join(hello.session_dir, "seen"), "wb").write(
    open("/proc/self/cmdline", "rb").read() + open("/proc/self/environ", "rb").read())
trio.run(watch_leash)
open(os.path.join(hello.session_dir, "left"), "w").write("by the leash")
"""


@pytest.fixture
def hello(tmp_path: Path) -> Hello:
    return Hello("a-session", str(tmp_path), providers={"openai": {"key": "sk-secret"}})


def python(script: str) -> list[str]:
    return [sys.executable, "-c", script]


async def fail_to_launch(argv: list[str], hello: Hello, seconds: float = 30, **more: object) -> str:
    with pytest.raises(ExecutorFailed) as caught:
        async with launch(argv, hello, ready_seconds=seconds, env=ENV):
            pytest.fail("it was launched")
    return str(caught.value)


def is_alive(pid: int) -> bool:
    return starttime(pid) != 0 and " Z " not in Path(f"/proc/{pid}/stat").read_text()


async def test_it_is_ready_when_it_says_so_whatever_was_printed_before(hello: Hello) -> None:
    async with launch(python(GOOD), hello, ready_seconds=30, env=ENV) as executor:
        assert executor.address == "unix:/somewhere"
        assert executor.ready.sandbox == "bwrap"
        assert executor.ready.protocol == PROTOCOL
        assert executor.ready.starttime == starttime(executor.pid) > 0
        assert len(executor.ready.boot_id) == 36


async def test_leaving_ends_it_by_the_leash(hello: Hello, tmp_path: Path) -> None:
    async with launch(python(GOOD), hello, ready_seconds=30, env=ENV) as executor:
        assert is_alive(executor.pid)
    assert not is_alive(executor.pid)
    assert (tmp_path / "left").read_text() == "by the leash"
    assert not (tmp_path / "nonce").exists()


async def test_secrets_are_in_the_hello_line_and_in_neither_argv_nor_environment(
    hello: Hello, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("PYTHONPATH", ENV["PYTHONPATH"])
    script = f"import sys; sys.path.insert(0, {ENV['PYTHONPATH']!r})\n{GOOD}"
    async with launch(python(script), hello, ready_seconds=30) as executor:
        pass
    told = (tmp_path / "hello").read_text()
    assert told == repr((executor.token, "a-session", 1, {"openai": {"key": "sk-secret"}}))
    seen = (tmp_path / "seen").read_bytes()
    assert b"sk-secret" not in seen
    assert executor.token.encode() not in seen
    assert len(executor.token) >= 32
    assert executor.token not in repr(executor)


async def test_what_ignores_the_leash_is_terminated_then_killed(hello: Hello, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch_module, "LEASH_SECONDS", 0.05)
    monkeypatch.setattr(launch_module, "TERM_SECONDS", 0.05)
    stubborn = GOOD.replace("trio.run(watch_leash)", "import signal; signal.signal(15, signal.SIG_IGN); signal.pause()")
    async with launch(python(stubborn), hello, ready_seconds=30, env=ENV) as executor:
        pass
    assert await executor.wait_dead() == "killed by SIGKILL\n  warming up"


async def test_it_is_ended_when_the_block_is_cancelled(hello: Hello) -> None:
    with trio.CancelScope() as scope:
        async with launch(python(GOOD), hello, ready_seconds=30, env=ENV) as executor:
            scope.cancel()
            await trio.sleep_forever()
    assert not is_alive(executor.pid)


async def test_what_the_block_raises_comes_out_as_it_is(hello: Hello) -> None:
    with pytest.raises(KeyError):
        async with launch(python(GOOD), hello, ready_seconds=30, env=ENV):
            raise KeyError("mine")


async def death(executor: Launched) -> str:
    with trio.fail_after(30):
        return await executor.wait_dead()


async def test_its_death_is_noticed_with_its_last_words(hello: Hello) -> None:
    dying = GOOD.replace("trio.run(watch_leash)", "sys.stdin.close(); sys.exit('out of paper')")
    async with launch(python(dying), hello, ready_seconds=30, env=ENV) as executor:
        assert await death(executor) == "exit code 1\n  warming up\n  out of paper"


async def test_a_kill_is_noticed(hello: Hello) -> None:
    async with launch(python(GOOD), hello, ready_seconds=30, env=ENV) as executor:
        os.kill(executor.pid, signal.SIGKILL)
        assert (await death(executor)).startswith("killed by SIGKILL")


async def test_the_end_of_its_stdout_is_its_death_though_a_launcher_lives_on(hello: Hello) -> None:
    silent = GOOD.replace("trio.run(watch_leash)", "os.close(1); trio.run(watch_leash)")
    async with launch(python(silent), hello, ready_seconds=30, env=ENV) as executor:
        assert (await death(executor)).startswith("its standard output ended")


async def test_a_death_before_it_is_ready_says_what_stderr_said(hello: Hello) -> None:
    text = await fail_to_launch(["sh", "-c", "echo no such partition >&2; exit 3"], hello)
    assert text == "the executor did not start: exit code 3\n  no such partition"


async def test_a_program_that_is_not_there_says_so(hello: Hello) -> None:
    text = await fail_to_launch(["/no/such/program"], hello)
    assert text == "/no/such/program could not be started: No such file or directory"


async def test_one_that_is_never_ready_is_given_up(hello: Hello) -> None:
    text = await fail_to_launch(["sh", "-c", "echo queued >&2; cat; sleep 1000"], hello, seconds=0.3)
    assert text == "the executor was not ready within 0.3 s\n  queued"


async def test_another_protocol_is_refused_with_what_to_do(hello: Hello) -> None:
    text = await fail_to_launch(
        python(GOOD.replace("import json", "import agentd.sandbox.leash as l; l.PROTOCOL = 99; import json")), hello
    )
    assert "speaks protocol 99" in text
    assert "the same agentd.pyz" in text


async def test_an_executor_that_sees_other_files_is_refused(hello: Hello, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    away = GOOD.replace("hello = read_hello()", "hello = read_hello(); open(hello.nonce_file, 'w').write('another')")
    text = await fail_to_launch(python(away), hello)
    assert f"does not see the same {tmp_path}" in text


async def test_a_ready_line_that_says_too_little_is_refused(hello: Hello) -> None:
    text = await fail_to_launch(["sh", "-c", f'echo \'{{"ready": {{"protocol": {PROTOCOL}}}}}\'; cat'], hello)
    assert "does not say what it has to: required, but missing @ $.address" in text


async def test_megabytes_of_noise_are_skipped(hello: Hello) -> None:
    noisy = GOOD.replace(
        'print("a banner', 'print("x" * 3_000_000); sys.stderr.write("y" * 3_000_000 + "\\n"); print("a banner'
    )
    async with launch(python(noisy), hello, ready_seconds=30, env=ENV) as executor:
        assert executor.address == "unix:/somewhere"


DAEMON = """
import sys, trio
from agentd.daemon.launch import launch
from agentd.domain import Hello
async def main():
    async with launch([sys.executable, "-c", sys.argv[1]], Hello("s", sys.argv[2]), ready_seconds=30,
                      env={"PATH": sys.argv[3], "PYTHONPATH": sys.argv[4]}) as executor:
        print(executor.pid, flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "too busy to notice its leash"])
def test_the_executor_dies_when_the_daemon_is_killed(busy: bool, tmp_path: Path) -> None:
    script = GOOD.replace("trio.run(watch_leash)", "while True: pass") if busy else GOOD
    argv = [*python(DAEMON), script, str(tmp_path), ENV["PATH"], ENV["PYTHONPATH"]]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=ENV) as daemon:
        assert daemon.stdout is not None
        executor = int(daemon.stdout.readline())
        assert is_alive(executor)
        daemon.kill()
    deadline = time.monotonic() + 2
    while is_alive(executor) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_alive(executor)


@pytest.mark.parametrize("said", [b"", b"\n", b"{}\n", b'{"session": "s"', b"x" * 3_000_000])
def test_without_a_whole_hello_an_executor_does_not_start(said: bytes) -> None:
    script = "from agentd.sandbox.leash import *\ntry: read_hello()\nexcept ExecutorFailed as e: sys.exit(str(e))"
    done = subprocess.run(python(script), input=said, env=ENV, capture_output=True)
    assert done.returncode == 1
    assert b"hello line" in done.stderr


def test_an_executor_whose_parent_is_another_does_not_start(hello: Hello) -> None:
    script = "from agentd.sandbox.leash import *\ntry: read_hello()\nexcept ExecutorFailed as e: sys.exit(str(e))"
    line = json_line(attrs.evolve(hello, parent=1))
    done = subprocess.run(python(script), input=line, env=ENV, capture_output=True)
    assert b"the process that started this executor is dead" in done.stderr


def json_line(hello: Hello) -> bytes:
    import json

    return json.dumps(attrs.asdict(hello)).encode() + b"\n"
