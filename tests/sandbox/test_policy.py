"""What a policy says, as values: secrets, rules about paths, what git runs, which calls are filtered, what is told."""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.sandbox import landlock, rules, seccomp
from agentd.sandbox.explain import explain, terms
from agentd.sandbox.gitfiles import clean, git_files
from agentd.sandbox.policy import Limits, Network, Policy, Proxy, SandboxLevel, reachable, secrets
from agentd.sandbox.rules import Access, Rule, rules_of

WORKSPACE = Path("/srv/space")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that no rule about temporary ones is for."""
    monkeypatch.setattr(rules, "FRESH", (Path("/run"),))
    return tmp_path.resolve()


def access(policy: Policy, *paths: Path) -> list[Access]:
    made = rules_of(policy)
    return [made.nearest(path).access for path in paths]


# --- Rules about paths --------------------------------------------------------------------------------------------


def test_the_rule_of_the_deepest_directory_holds(place: Path) -> None:
    space, inner = place / "hidden" / "space", place / "hidden" / "space" / "state"
    inner.mkdir(parents=True)
    policy = Policy(space, hidden=(place / "hidden", inner))
    assert access(policy, place, place / "hidden", space / "file", inner / "log") == [
        Access.READ,
        Access.HIDE,
        Access.WRITE,
        Access.HIDE,
    ]


def test_directories_on_the_way_to_a_rule_in_a_writable_one_cannot_be_moved(place: Path) -> None:
    secret = place / "home" / ".config" / "gcloud"
    secret.mkdir(parents=True)
    made = rules_of(Policy(place / "home", hidden=(secret,)))
    assert Rule(secret.parent, Access.WRITE) in made.each


def test_parents_come_before_what_is_below_them(place: Path) -> None:
    (place / "a" / "b").mkdir(parents=True)
    made = rules_of(Policy(place, writable=(place / "a",), hidden=(place / "a" / "b",)))
    depths = [rule.depth for rule in made.each]
    assert depths == sorted(depths)
    assert made.each[0].path == Path("/")


def test_what_is_not_there_has_no_rule(place: Path) -> None:
    made = rules_of(Policy(place, writable=(place / "gone",), hidden=(place / "gone",)))
    assert place / "gone" not in [rule.path for rule in made.each]


def test_a_proxy_is_there_under_a_name_of_its_own(place: Path) -> None:
    made = rules_of(Policy(place, network=Proxy(place / "proxy.sock")))
    assert Rule(rules.PROXY_SOCKET, Access.READ, place / "proxy.sock") in made.each


def test_the_resolver_is_there_where_the_network_is(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = place / "run" / "resolv.conf"
    resolver.parent.mkdir()
    resolver.write_text("nameserver 127.0.0.53\n")
    monkeypatch.setattr(rules, "FRESH", (resolver.parent,))
    monkeypatch.setattr(rules, "RESOLVER", resolver)
    (place / "space").mkdir()
    assert Rule(resolver, Access.READ, resolver) in rules_of(Policy(place / "space", network=Network.ALL)).each
    assert Rule(resolver, Access.READ, resolver) not in rules_of(Policy(place / "space")).each


# --- Secrets ------------------------------------------------------------------------------------------------------


def test_secrets_are_those_that_are_there(place: Path) -> None:
    (place / ".ssh").mkdir()
    (place / ".npmrc").write_text("token")
    (place / "xdg" / "gh").mkdir(parents=True)
    found = secrets({"HOME": str(place), "XDG_CONFIG_HOME": str(place / "xdg")})
    assert {path for path in found if path.is_relative_to(place)} == {
        place / ".ssh",
        place / ".npmrc",
        place / "xdg" / "gh",
    }


def test_a_secret_that_is_a_link_is_hidden_where_it_is(place: Path) -> None:
    (place / "vault").mkdir()
    (place / ".aws").symlink_to("vault")
    assert place / "vault" in secrets({"HOME": str(place)})


def test_a_secret_that_is_allowed_by_its_name_is_none(place: Path) -> None:
    (place / ".aws").mkdir()
    assert place / ".aws" not in secrets({"HOME": str(place)}, allowed=[place / ".aws"])


def test_a_directory_that_lets_nobody_pass_is_out_of_reach(place: Path) -> None:
    closed = place / "closed"
    closed.mkdir()
    assert reachable(closed / "file")
    closed.chmod(0o600)
    assert not reachable(closed / "file")
    assert not reachable(place / "gone" / "file")


# --- git ----------------------------------------------------------------------------------------------------------


def make_repository(path: Path) -> Path:
    for name in ("objects", "refs", "hooks", "info"):
        (path / ".git" / name).mkdir(parents=True)
    (path / ".git" / "config").touch()
    return path


def make_worktree(place: Path) -> tuple[Path, Path]:
    repo, tree = make_repository(place / "repo"), place / "tree"
    admin = repo / ".git" / "worktrees" / "tree"
    admin.mkdir(parents=True)
    tree.mkdir()
    (tree / ".git").write_text(f"gitdir: {admin}\n")
    (admin / "gitdir").write_text(f"{tree}/.git\n")
    (admin / "commondir").write_text("../..\n")
    return tree, admin


def test_a_worktree_writes_its_own_files_and_what_commits_share(place: Path) -> None:
    tree, admin = make_worktree(place)
    git = place / "repo" / ".git"
    found = git_files(tree, ())
    assert set(found.writable) == {admin, git / "objects", git / "refs"}
    assert set(found.protected) == {tree / ".git", admin / "gitdir", admin / "commondir"}
    assert found.planted == (admin / "config.worktree",)


def test_a_git_file_is_not_believed_without_an_answer(place: Path) -> None:
    tree, admin = make_worktree(place)
    (admin / "gitdir").write_text(f"{place}/other/.git\n")
    assert git_files(tree, ()).writable == ()
    (tree / ".git").write_text("gitdir: /etc\n")
    assert git_files(tree, ()).writable == ()


def test_a_git_file_that_is_a_pipe_makes_nobody_wait(place: Path) -> None:
    os.mkfifo(place / ".git")
    assert git_files(place, ()).writable == ()


def test_the_repository_above_a_workspace_is_its(place: Path) -> None:
    make_repository(place)
    (place / "deep" / "down").mkdir(parents=True)
    found = git_files(place / "deep" / "down", ())
    assert found.writable == (place / ".git",)
    assert place / ".git" / "hooks" in found.protected


def test_a_link_in_the_place_of_git_is_left_alone(place: Path) -> None:
    make_repository(place / "other")
    (place / "space").mkdir()
    (place / "space" / ".git").symlink_to(place / "other" / ".git")
    found = git_files(place / "space", ())
    assert (found.writable, found.protected) == ((), ())


def test_links_that_were_made_in_a_git_directory_are_removed_and_not_followed(place: Path) -> None:
    git = make_repository(place / "space") / ".git"
    (git / "logs").mkdir()
    (git / "old").symlink_to(place)
    found = git_files(place / "space", ())
    for path in (git / "index", git / "logs" / "HEAD"):
        path.symlink_to(place / "outside")
    (place / "outside").touch()
    (git / "commondir").write_text("evil")
    clean(found)
    assert sorted(path.name for path in git.iterdir()) == ["config", "hooks", "info", "logs", "objects", "old", "refs"]
    assert list((git / "logs").iterdir()) == []
    assert (place / "outside").exists()


def test_nothing_is_removed_behind_a_link_that_was_put_in_the_way(place: Path) -> None:
    git = make_repository(place / "space") / ".git"
    found = git_files(place / "space", ())
    git.rename(place / "space" / "moved")
    (place / "other").mkdir()
    (place / "other" / "commondir").touch()
    git.symlink_to(place / "other")
    clean(found)
    assert (place / "other" / "commondir").exists()


@pytest.mark.parametrize("name", ["../other", "link/sub"])
def test_no_submodule_is_looked_for_outside(place: Path, name: str) -> None:
    make_repository(place / "space")
    make_repository(place / "other")
    make_repository(place / "elsewhere" / "sub")
    (place / "space" / "link").symlink_to(place / "elsewhere")
    (place / "space" / ".gitmodules").write_text(f'[submodule "x"]\n\tpath = {name}\n')
    found = git_files(place / "space", ())
    assert all(path.is_relative_to(place / "space") for path in found.writable + found.protected)


# --- Landlock -----------------------------------------------------------------------------------------------------


def test_landlock_alone_reads_the_neighbours_of_what_is_hidden(place: Path) -> None:
    for name in ("space", "secret", "open"):
        (place / name).mkdir()
    made = rules_of(Policy(place / "space", hidden=(place / "secret",)))
    allowed = set(landlock.readable(made))
    assert str(place / "open") in allowed
    assert not {str(place / "secret"), str(place), "/"} & allowed


def test_landlock_alone_reads_all_where_nothing_is_hidden(place: Path) -> None:
    assert {"/usr", "/etc", str(place)} <= set(landlock.readable(rules_of(Policy(place))))


@pytest.mark.parametrize(("abi", "size", "net"), [(1, 8, 0), (3, 8, 0), (4, 16, 3), (5, 16, 3), (6, 24, 3), (7, 24, 3)])
def test_landlock_is_asked_for_what_its_version_knows(place: Path, abi: int, size: int, net: int) -> None:
    policy = Policy(place)
    told = landlock.order(abi, rules_of(policy), policy, alone=True)
    assert told is not None
    assert (told["size"], told["net"], bool(told["scoped"])) == (size, net, abi >= 6)


# --- System calls -------------------------------------------------------------------------------------------------


def run_filter(code: bytes, number: int, arch: int, arguments: tuple[int, ...] = ()) -> int:
    """What the kernel would make of one call: its return value, by an interpreter of what of BPF is used."""
    data = struct.pack("=iIQ6Q", number, arch, 0, *(arguments + (0,) * 6)[:6])
    program = list(struct.iter_unpack("=HBBI", code))
    at, loaded = 0, 0
    while True:
        op, when_true, when_false, operand = program[at]
        at += 1
        if op == seccomp.RETURN:
            return int(operand)
        if op == seccomp.LOAD:
            (loaded,) = struct.unpack_from("=I", data, operand)
            continue
        tests = {seccomp.EQUAL: loaded == operand, seccomp.AT_LEAST: loaded >= operand}
        at += when_true if tests.get(op, bool(loaded & operand)) else when_false


@pytest.mark.parametrize("machine", seccomp.MACHINES)
def test_each_denied_call_fails_and_others_pass(machine: str) -> None:
    column, arch = seccomp.MACHINES[machine]
    code = seccomp.make_filter(machine=machine)
    assert code is not None
    denied = {call[column] for call in seccomp.DENIED.values()} - {None}
    calls = (seccomp.CLONE, seccomp.CLONE3, seccomp.UNSHARE, seccomp.IOCTL, seccomp.OPENAT2)
    special = {call[column] for call in (*calls, *seccomp.MODES.values())}
    sockets = {seccomp.SOCKET[column], seccomp.SOCKETPAIR[column]}
    for number in set(range(470)) - special - sockets:
        expected = seccomp.FAIL | errno.EPERM if number in denied else seccomp.ALLOW
        assert run_filter(code, number, arch) == expected, number


@pytest.mark.parametrize(
    ("number", "arguments", "denied"),
    [
        (90, (0, 0o4755), True),
        (90, (0, 0o755), False),
        (257, (0, 0, os.O_CREAT, 0o4755), True),
        (257, (0, 0, 0, 0o4755), False),  # it makes no file: that is no mode
        (268, (0, 0, 0o2755), True),
    ],
)
def test_no_program_is_made_that_runs_as_its_owner(number: int, arguments: tuple[int, ...], denied: bool) -> None:
    code = seccomp.make_filter(machine="x86_64")
    assert code is not None
    answer = run_filter(code, number, 0xC000003E, arguments)
    assert answer == (seccomp.FAIL | errno.EPERM if denied else seccomp.ALLOW)


@pytest.mark.parametrize(("pid", "shared", "denied"), [(0, False, False), (7, False, True), (7, True, False)])
def test_limits_of_other_processes_are_theirs_where_all_are_seen(pid: int, shared: bool, denied: bool) -> None:
    code = seccomp.make_filter(shared=shared, machine="x86_64")
    assert code is not None
    answer = run_filter(code, 302, 0xC000003E, (pid,))
    assert answer == (seccomp.FAIL | errno.EPERM if denied else seccomp.ALLOW)


@given(st.integers(0, (1 << 64) - 1), st.sampled_from(sorted(seccomp.MACHINES)))
def test_no_namespace_is_made_whatever_else_is_asked_for(flags: int, machine: str) -> None:
    column, arch = seccomp.MACHINES[machine]
    code = seccomp.make_filter(machine=machine)
    assert code is not None
    for call, bits in ((seccomp.CLONE, seccomp.NAMESPACES), (seccomp.UNSHARE, seccomp.NAMESPACES | seccomp.NEWTIME)):
        expected = seccomp.FAIL | errno.EPERM if flags & bits else seccomp.ALLOW
        assert run_filter(code, call[column], arch, (flags,)) == expected


@pytest.mark.parametrize(
    ("families", "family", "allowed"), [(None, 2, True), (None, 40, False), ((), 1, False), ((2,), 1, False)]
)
def test_sockets_are_of_the_families_that_are_allowed(
    families: tuple[int, ...] | None, family: int, allowed: bool
) -> None:
    code = seccomp.make_filter(*([] if families is None else [families]), machine="x86_64")
    assert code is not None
    answer = run_filter(code, 41, 0xC000003E, (family,))
    assert answer == (seccomp.ALLOW if allowed else seccomp.FAIL | errno.EAFNOSUPPORT)


def test_programs_of_another_processor_end_and_x32_fails() -> None:
    code = seccomp.make_filter(machine="x86_64")
    assert code is not None
    assert run_filter(code, 1, 0x40000003) == seccomp.KILL
    assert run_filter(code, seccomp.X32 + 1, 0xC000003E) == seccomp.FAIL | errno.ENOSYS


def test_an_unknown_machine_has_no_filter() -> None:
    assert seccomp.make_filter(machine="riscv64") is None


# --- What is told -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        "touch: cannot touch '/x': Read-only file system",
        "mkdir: Permission denied",
        "npm ERR! EROFS",
        "curl: (6) Could not resolve host: pypi.org",
        "ConnectionRefusedError: [Errno 111] Connection refused",
    ],
)
def test_a_command_that_seems_denied_is_told_what_the_sandbox_forbids(said: str) -> None:
    (line,) = explain(Policy(WORKSPACE), SandboxLevel.BWRAP, 1, said)
    assert line.startswith(
        f"Commands run in a sandbox: they can write only below {WORKSPACE}, /tmp, not to git's hooks"
    )
    assert "have no network" in line


@pytest.mark.parametrize("said", ["1 test failed", "", "fatal: not a git repository"])
def test_a_command_that_failed_for_another_reason_is_told_nothing(said: str) -> None:
    assert explain(Policy(WORKSPACE), SandboxLevel.BWRAP, 1, said) == []


def test_with_the_network_a_refused_connection_is_not_the_sandboxs() -> None:
    policy = Policy(WORKSPACE, network=Network.ALL)
    assert explain(policy, SandboxLevel.BWRAP, 7, "curl: (7) Failed to connect to x: Connection refused") == []


@pytest.mark.parametrize(
    ("code", "said", "limit"),
    [(152, "", "14,400 seconds"), (153, "", "68,719,476,736 bytes"), (1, "EMFILE", "65,536 open files")],
)
def test_a_limit_that_is_met_is_named(code: int, said: str, limit: str) -> None:
    (line,) = explain(Policy(WORKSPACE), SandboxLevel.BWRAP, code, said)
    assert limit in line


def test_a_limit_that_is_none_is_not_named() -> None:
    assert explain(Policy(WORKSPACE, limits=Limits(data=None)), SandboxLevel.BWRAP, 1, "MemoryError") == []


@pytest.mark.parametrize(
    ("network", "words"),
    [(Network.NONE, "have no network"), (Network.ALL, "have the network"), (Proxy(Path("/p")), "reach only the hosts")],
)
def test_the_terms_name_the_network(network: Network | Proxy, words: str) -> None:
    assert words in terms(Policy(WORKSPACE, network=network), SandboxLevel.BWRAP)
