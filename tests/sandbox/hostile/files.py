"""Files outside the workspace: changed in every way that there is, and read where they are secrets."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
import threading
import time
from pathlib import Path

from tests.sandbox.hostile.program import E, place, tell

RACE_SECONDS = 0.5
GET_FLAGS, SET_FLAGS, NO_DUMP = 0x80086601, 0x40086602, 0x40


def write_outside() -> None:
    (place("OUT") / "new").write_text("x")


def append_outside() -> None:
    with (place("OUT") / "kept").open("a") as file:
        file.write("x")


def truncate_outside() -> None:
    os.truncate(place("OUT") / "kept", 0)


def remove_outside() -> None:
    (place("OUT") / "kept").unlink()


def rename_out() -> None:
    Path("mine").write_text("x")
    Path("mine").rename(place("OUT") / "mine")


def rename_in() -> None:
    (place("OUT") / "kept").rename("taken")


def make_directory_outside() -> None:
    (place("OUT") / "directory").mkdir()


def make_link_outside() -> None:
    (place("OUT") / "link").symlink_to("kept")


def make_pipe_outside() -> None:
    os.mkfifo(place("OUT") / "pipe")


def write_by_link() -> None:
    Path("link").symlink_to(place("OUT"))
    Path("link/new").write_text("x")


def write_by_proc_root() -> None:
    Path(f"/proc/self/root{E['OUT']}/new").write_text("x")


def write_by_dots() -> None:
    Path("../outside/new").write_text("x")


def write_by_new_hard_link() -> None:
    Path("hard").hardlink_to(place("OUT") / "kept")
    with Path("hard").open("a") as file:
        file.write("x")


def write_by_old_hard_link() -> None:
    with Path("linked").open("a") as file:
        file.write("x")


def write_in_a_race() -> None:
    """A name that is now a directory and now a link to outside."""
    Path("real").mkdir()
    Path("other").symlink_to(place("OUT"))
    ends = threading.Event()

    def swap() -> None:
        while not ends.is_set():
            for kind in ("real", "other"):
                with contextlib.suppress(OSError):
                    Path(kind).rename("name")
                    Path("name").rename(kind)

    threading.Thread(target=swap).start()
    until = time.monotonic() + RACE_SECONDS
    while time.monotonic() < until and not (place("OUT") / "new").exists():
        with contextlib.suppress(OSError):
            Path("name/new").write_text("x")
    ends.set()


def change_mode() -> None:
    (place("OUT") / "kept").chmod(0o777)


def change_owner() -> None:
    os.chown(place("OUT") / "kept", os.getuid(), os.getgid())  # seen by the time of the last change


def change_attribute() -> None:
    os.setxattr(place("OUT") / "kept", "user.attack", b"x")


def change_times() -> None:
    os.utime(place("OUT") / "kept", (0, 0))


def change_flags() -> None:
    descriptor = os.open(place("OUT") / "kept", os.O_RDONLY)
    flags = bytearray(struct.pack("l", 0))
    fcntl.ioctl(descriptor, GET_FLAGS, flags)
    fcntl.ioctl(descriptor, SET_FLAGS, struct.pack("l", struct.unpack("l", flags)[0] | NO_DUMP))
    os.utime(place("OUT") / "kept")


def write_etc() -> None:
    Path(f"/etc/{E['NAME']}").write_text("x")


def write_usr() -> None:
    Path(f"/usr/local/bin/{E['NAME']}").write_text("x")


def write_shell_startup() -> None:
    with (place("HOME") / ".bashrc").open("a") as file:
        file.write("true\n")


def write_git_settings() -> None:
    (place("HOME") / ".gitconfig").write_text("[core]\n\tpager = true\n")


def write_program_on_path() -> None:
    (place("HOME") / ".local/bin/git").write_text("#!/bin/sh\n")


def write_tmp_of_others() -> None:
    (place("SHARED") / "new").write_text("x")


def read_tmp_of_others() -> None:
    tell((place("SHARED") / "secret").read_bytes())


def read_shared_memory_file() -> None:
    tell(Path(f"/dev/shm/{E['NAME']}").read_bytes())


def read_ssh_key() -> None:
    tell((place("HOME") / ".ssh/id_ed25519").read_bytes())


def read_cloud_keys() -> None:
    tell((place("HOME") / ".aws/credentials").read_bytes())


def read_shell_history() -> None:
    tell((place("HOME") / ".bash_history").read_bytes())


def read_agentd_settings() -> None:
    tell((place("HOME") / ".config/agentd/config.toml").read_bytes())


def read_agentd_token() -> None:
    tell((place("STATE") / "token").read_bytes())


def read_log_of_other_session() -> None:
    tell((place("STATE") / "sessions/other/log.jsonl").read_bytes())


def read_secret_by_link() -> None:
    Path("link").symlink_to(place("HOME") / ".ssh")
    tell(Path("link/id_ed25519").read_bytes())


def read_secret_by_proc_root() -> None:
    tell(Path(f"/proc/self/root{E['HOME']}/.ssh/id_ed25519").read_bytes())


def read_secret_from_directory() -> None:
    """Started in a directory that an earlier command made a link to the secret's."""
    tell(Path("id_ed25519").read_bytes())


def read_secret_by_proc_cwd() -> None:
    tell(Path("/proc/self/cwd/../home/.ssh/id_ed25519").read_bytes())


def read_home() -> None:
    """What is in no list of secrets."""
    tell((place("HOME") / "notes").read_bytes())


def plant_setuid_program() -> None:
    shutil.copy("/bin/true", "program")
    Path("program").chmod(0o4755)


def plant_editor_settings() -> None:
    """Run by whoever opens the workspace with it."""
    Path(".vscode").mkdir()
    Path(".vscode/tasks.json").write_text('{"tasks": [{"command": "true", "runOptions": {"runOn": "folderOpen"}}]}')


def have_cleanup_remove() -> None:
    """Git's directory as a link to another: what agentd removes after a command is removed there."""
    Path(".git").rename("moved")
    Path(".git").symlink_to(place("OUT"))
