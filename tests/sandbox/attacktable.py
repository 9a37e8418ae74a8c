"""What each attack gets: what `agentd help sandbox` claims has to be this, and the other way round.

`.` it is stopped; `W` it works; `!` it works, which is to be mended or told in the manual; `m` whether it works depends
on the machine: its kernel, its limits, its file systems.
In each pair of columns the first is of an ordinary user, the second of root. In the last pair nothing is in force but
the kernel: there root shows that an attack can work.
"""

from __future__ import annotations

from collections.abc import Iterator

from agentd.sandbox.policy import SandboxLevel

TABLE = """
                                       bwrap  unshare landlock none
files:
append_outside                         . .    . .    . .    W W
change_attribute                       . .    . .    W W    m m
change_flags                           . .    . .    . .    m m
change_mode                            . .    . .    W W    W W
change_owner                           . .    . .    W W    W W
change_times                           . .    . .    W W    W W
have_cleanup_remove                    . .    . .    . .    . .
make_directory_outside                 . .    . .    . .    W W
make_link_outside                      . .    . .    . .    W W
make_pipe_outside                      . .    . .    . .    W W
plant_editor_settings                  W W    W W    W W    W W
plant_setuid_program                   . .    . .    . .    W W
read_agentd_settings                   . .    . .    . .    W W
read_agentd_token                      . .    . .    . .    W W
read_cloud_keys                        . .    . .    . .    W W
read_home                              W W    W W    W W    W W
read_log_of_other_session              . .    . .    . .    W W
read_secret_by_link                    . .    . .    . .    W W
read_secret_by_proc_cwd                . .    . .    . .    W W
read_secret_by_proc_root               . .    . .    . .    W W
read_secret_from_directory             . .    . .    . .    W W
read_shared_memory_file                . .    . .    . .    W W
read_shell_history                     . .    . .    . .    W W
read_ssh_key                           . .    . .    . .    W W
read_tmp_of_others                     . .    . .    . .    W W
remove_outside                         . .    . .    . .    W W
rename_in                              . .    . .    . .    W W
rename_out                             . .    . .    . .    W W
truncate_outside                       . .    . .    . .    W W
write_by_dots                          . .    . .    . .    W W
write_by_link                          . .    . .    . .    W W
write_by_new_hard_link                 . .    . .    . .    W W
write_by_old_hard_link                 W W    W W    W W    W W
write_by_proc_root                     . .    . .    . .    W W
write_etc                              . .    . .    . .    . W
write_git_settings                     . .    . .    . .    W W
write_in_a_race                        . .    . .    . .    W W
write_outside                          . .    . .    . .    W W
write_program_on_path                  . .    . .    . .    W W
write_shell_startup                    . .    . .    . .    W W
write_tmp_of_others                    . .    . .    . .    W W
write_usr                              . .    . .    . .    . W
repositories:
deeply_nested_settings                 W W    W W    W W    W W
nested_settings                        . .    . .    W W    W W
new_bare_repository                    W W    W W    W W    W W
new_repository                         W W    W W    W W    W W
new_submodule                          W W    W W    W W    W W
repository_above                       . .    . .    W W    W W
repository_attributes                  . .    . .    W W    W W
repository_common_directory            . .    . .    . .    W W
repository_file                        . .    . .    W W    W W
repository_hooks                       . .    . .    W W    W W
repository_hooks_moved                 . .    . .    W W    W W
repository_index_as_link               . .    . .    . .    W W
repository_log_as_link                 . .    . .    . .    W W
repository_log_as_link_among_many      . .    . .    . .    W W
repository_moved                       . .    . .    W W    W W
repository_own_settings                . .    . .    . .    W W
repository_settings                    . .    . .    W W    W W
submodule_file                         . .    . .    W W    W W
submodule_moved                        . .    . .    W W    W W
submodule_settings                     . .    . .    W W    W W
worktree_attributes                    . .    . .    . .    W W
worktree_back_link                     . .    . .    W W    W W
worktree_common_directory              . .    . .    W W    W W
worktree_file_replaced                 . .    . .    W W    W W
worktree_file_rewritten                . .    . .    W W    W W
worktree_hooks                         . .    . .    . .    W W
worktree_index_as_link                 . .    . .    . .    W W
worktree_log_as_link                   . .    . .    . .    W W
worktree_message_as_link               . .    . .    . .    W W
worktree_objects_removed               W W    W W    W W    W W
worktree_other_branch                  W W    W W    W W    W W
worktree_own_settings                  . .    . .    . .    W W
worktree_settings                      . .    . .    . .    W W
worktree_settings_by_git               . .    . .    . .    W W
worktree_settings_by_rename            . .    . .    . .    W W
processes:
change_limits                          . .    . .    . .    W W
change_oom_score                       . .    . .    . .    W W
change_priority                        . .    . .    . .    W W
dump_core                              . .    . .    . .    m m
exceed_file_size                       . .    . .    . .    W W
exceed_memory                          . .    . .    . .    W W
exceed_open_files                      . .    . .    . .    W W
exceed_processes                       . W    . W    . W    W W
exceed_processor_time                  . .    . .    . .    W W
inherit                                . .    . .    . .    W W
keyring                                . .    . .    . .    m m
message_queue                          . .    . .    . .    m m
read_by_descriptor                     . .    . .    . .    W W
read_by_directory                      . .    . .    . .    W W
read_by_root                           . .    . .    . .    W W
read_command_line                      . .    . .    W W    W W
read_environment                       . .    . .    . .    W W
read_environment_of_ancestors          . .    . .    . .    W W
read_environment_of_executor           . .    . .    . .    W W
read_memory                            . .    . .    . .    m W
read_memory_file                       . .    . .    . .    W W
shared_memory                          . .    . .    . .    W W
signal_by_descriptor                   . .    . .    . .    W W
signal_by_owner                        . .    . .    . .    W W
signal_process                         . .    . .    . .    W W
stay                                   . .    . .    . .    W W
stay_without_guard                     . .    . .    . .    W W
take_descriptor                        . .    . .    . .    m W
trace                                  . .    . .    . .    m W
type_into_terminal                     . .    . .    . .    m m
type_into_terminal_by_long_number      . .    . .    . .    m m
write_to_other_terminal                . .    . .    . .    W W
write_to_terminal                      . .    . .    . .    W W
network:
abstract                               . .    . .    . .    W W
abstract_where_network_is_allowed      . .    . .    . .    W W
exotic                                 . .    . .    . .    m m
listen                                 . .    . .    . .    W W
packet                                 . .    . .    . .    m m
tcp                                    . .    . .    . .    W W
tcp6                                   . .    . .    . .    m m
tcp_fast_open                          . .    . .    . .    m m
udp                                    . .    . .    . .    W W
unix_elsewhere                         . .    . .    . .    W W
unix_made_later                        . .    . .    . .    W W
unix_made_meanwhile                    W W    W W    . .    W W
unix_of_executor                       . .    . .    . .    W W
unix_renamed                           W W    W W    . .    W W
kernel:
accounting                             . .    . .    . .    m m
bpf                                    . .    . .    . .    m m
capabilities                           . .    . .    . .    . W
change_root                            . .    . .    . .    . W
enter_namespace                        . .    . .    . .    . W
io_uring                               . .    . .    . .    m m
kernel_log                             . .    . .    . .    m m
leave_cgroup                           . .    . .    . .    m m
load_kernel                            . .    . .    . .    m m
load_module                            . .    . .    . .    m m
make_cgroup                            . .    . .    . .    m m
make_device                            . .    . .    . .    . W
mount                                  . .    . .    . .    m m
mount_by_descriptor                    . .    . .    . .    . W
open_by_handle                         . .    . .    . .    m m
open_devices                           . .    . .    . .    m m
open_kernel_settings                   . .    . .    . .    . W
open_release_agent                     . .    . .    . .    m m
open_sysfs                             . .    . .    . .    m m
open_sysrq                             . .    . .    . .    m m
other_system_calls                     . .    . .    . .    m m
page_faults                            . .    . .    . .    m m
performance_events                     . .    . .    . .    m m
pivot_root                             . .    . .    . .    . W
read_after_unmount                     . .    . .    . .    W W
remove_module                          . .    . .    . .    m m
restart                                . .    . .    . .    m m
set_clock                              . .    . .    . .    m m
set_host_name                          . .    . .    . .    . W
setuid_program                         . .    . .    . .    m m
swap                                   . .    . .    . .    m m
user_namespace                         . .    . .    . .    m m
user_namespace_by_clone                . .    . .    . .    m m
write_after_remount                    . .    . .    . .    W W
"""
COLUMNS = tuple((level, user) for level in SandboxLevel for user in ("user", "root"))


def _rows() -> Iterator[tuple[str, list[str]]]:
    for line in TABLE.strip("\n").splitlines()[1:]:
        name, *cells = line.split()
        if cells:  # else it is a heading
            yield name, cells


CELLS = {name: dict(zip(COLUMNS, cells, strict=True)) for name, cells in _rows()}


def _named(*beginnings: str) -> tuple[str, ...]:
    return tuple(name for name in CELLS if name.startswith(beginnings) and name not in TOLD)


# What works at every level, or for root, with what the text of the help page says of it.
TOLD = {
    "plant_editor_settings": "an editor's settings",
    "new_repository": "a repository that was not there before",
    "new_bare_repository": "a repository that was not there before",
    "new_submodule": "a repository that was not there before",
    "deeply_nested_settings": "deeper down than is looked",
    "write_by_old_hard_link": "through a hard link that was in the workspace before",
    "worktree_objects_removed": "objects, branches and logs of the",
    "worktree_other_branch": "objects, branches and logs of the",
    "read_home": "everything but secrets",
    "exceed_processes": "the kernel does not apply that to root",
}
# The rows of its table, with the attacks that each is about.
CLAIMS = {
    "writing elsewhere, also by links": (
        *_named("write_", "append_", "truncate_", "remove_outside", "rename_", "make_directory_outside", "make_link"),
        *_named("make_pipe", "plant_setuid", "have_cleanup", "worktree_log", "worktree_index", "worktree_message"),
        *_named("repository_log", "repository_index", "change_oom"),
    ),
    "hooks, configuration and .git files of git": (
        *_named("worktree_settings", "worktree_own", "worktree_hooks", "worktree_attributes", "worktree_file"),
        *_named("worktree_common", "worktree_back", "repository_hooks", "repository_settings", "repository_own"),
        *_named("repository_common", "repository_attributes", "repository_moved", "repository_file"),
        *_named("repository_above", "submodule_", "nested_"),
    ),
    "reading secrets": (
        *_named("read_ssh", "read_cloud", "read_shell", "read_agentd", "read_log", "read_secret", "inherit"),
        *_named("read_after_unmount", "open_by_handle"),
    ),
    "modes, owners and times of files elsewhere": (
        *_named("change_mode", "change_owner", "change_attribute", "change_times", "change_flags"),
    ),
    "environment and memory of other processes": (
        *_named("read_environment", "read_memory", "read_by_", "take_descriptor", "change_limits", "change_priority"),
    ),
    "seeing that other processes are there": _named("read_command_line"),
    "signals to other processes": _named("signal_"),
    "TCP and UDP": (*_named("tcp", "udp", "listen", "packet"),),
    "unix sockets": _named("unix_"),
    "abstract unix sockets, with all network": _named("abstract"),
    "temporary files, shared memory of others": (*_named("read_tmp", "read_shared", "shared_", "message_"),),
    "mounts, namespaces, devices, capabilities": (
        *_named("mount", "change_root", "pivot_root", "user_namespace", "enter_namespace", "make_device", "open_"),
        *_named("make_cgroup", "leave_cgroup", "capabilities", "setuid_program", "load_", "remove_module"),
        *_named("restart", "accounting", "swap", "set_", "kernel_log", "exotic"),
    ),
    "ptrace, keyctl, bpf, io_uring, TIOCSTI": (
        *_named("trace", "keyring", "bpf", "io_uring", "type_into", "page_faults", "performance", "other_system"),
    ),
    "what a command leaves running": _named("stay"),
}
LIMITS = (*_named("exceed_", "dump_core"),)  # told in the text, as numbers
