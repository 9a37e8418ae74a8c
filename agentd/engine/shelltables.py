"""Tables of programs: which run the command in their arguments, take code, or never run what they are given.

The rules: the programs' own manuals, of GNU, util-linux, busybox and bash.
"""

from __future__ import annotations

import re

import attrs

Words = tuple[str, ...]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


@attrs.frozen
class Wrapper:
    """A program that runs the command in its arguments."""

    shorts: str = ""  # options with a value
    longs: Words = ()
    operands: int = 0  # before the command
    transparent: bool = True  # nothing but that command happens


WRAPPERS = {
    "builtin": Wrapper(),
    "busybox": Wrapper(),
    "caffeinate": Wrapper("tw"),
    "chroot": Wrapper("", ("--userspec", "--groups"), 1, transparent=False),
    "chrt": Wrapper("TPD", (), 1),
    "doas": Wrapper("uC", transparent=False),
    "exec": Wrapper("a"),
    "flock": Wrapper("wE", ("--timeout", "--wait", "--conflict-exit-code"), 1, transparent=False),
    "ionice": Wrapper("cnpPu", ("--class", "--classdata")),
    "ltrace": Wrapper("aAeDFlnopsuwx", transparent=False),
    "nice": Wrapper("n", ("--adjustment",)),
    "nohup": Wrapper(),
    "pkexec": Wrapper("", ("--user",), transparent=False),
    "setsid": Wrapper(),
    "stdbuf": Wrapper("ioe", ("--input", "--output", "--error")),
    "strace": Wrapper("abeEIoOpPsSuUX", transparent=False),
    "sudo": Wrapper(
        "ugphCrtTURDc",
        ("--user", "--group", "--prompt", "--host", "--close-from", "--role", "--type", "--chroot", "--chdir"),
        transparent=False,
    ),
    "taskset": Wrapper("", (), 1),
    "time": Wrapper("fo", ("--format", "--output"), transparent=False),
    "timeout": Wrapper("ks", ("--kill-after", "--signal"), 1),
    "toybox": Wrapper(),
    "unbuffer": Wrapper(),
}
# Variables whose value is a command, or code, that programs run.
RUNNING_VARIABLE = re.compile(
    r"(\w+_)?(PAGER|EDITOR|VISUAL|BROWSER|COMMAND|SSH|ASKPASS|OPENER)|ENV|BASH_ENV|BASH_FUNC\w*|PS4|LD_(PRELOAD|AUDIT)"
    r"|DYLD_INSERT_LIBRARIES|GIT_(EXTERNAL_DIFF|EXEC_PATH|CONFIG\w*)|PERL5OPT|RUBYOPT|NODE_OPTIONS|PYTHONSTARTUP|GLOBIGNORE"
)
SHELLS = _names("sh bash dash ash ksh mksh zsh")
INTERPRETERS = (  # of their name: options that take code
    (re.compile(r"i?python[0-9.]*|pypy[0-9.]*"), "c", ()),
    (re.compile(r"perl[0-9.]*"), "eE", ()),
    (re.compile(r"(ruby|irb|jruby)[0-9.]*"), "e", ()),
    (re.compile(r"node|nodejs|bun|tsx|ts-node"), "ep", ("--eval", "--print")),
    (re.compile(r"php[0-9.]*"), "rBRE", ("--run", "--process-begin", "--process-code", "--process-end")),
    (
        re.compile(r"lua(jit)?[0-9.]*|julia|Rscript|R|osascript|groovy|elixir|scala|tclsh[0-9.]*|wish"),
        "eEp",
        ("--eval",),
    ),
)
UNKNOWN = _names(  # what they run is told in ways that are not looked into
    "csh tcsh fish nu elvish xonsh pwsh powershell alias unalias enable hash complete compgen compopt bind fc shopt "
    "let unset mapfile readarray vi vim nvim view ex ed emacs nano pico less more most gdb lldb expect at batch "
    "crontab parallel entr tmux screen socat nc ncat netcat telnet psql mysql mariadb sqlite3 ftp sftp gnuplot"
)
OPTIONS: dict[str, tuple[str, Words]] = {  # those that make the program run something else
    "cargo": ("", ("--config",)),
    "cc": ("B", ("-wrapper", "-fplugin", "-specs")),
    "curl": ("K", ("--config",)),
    "fd": ("xX", ("--exec", "--exec-batch")),
    "fdfind": ("xX", ("--exec", "--exec-batch")),
    "gcc": ("B", ("-wrapper", "-fplugin", "-specs")),
    "hg": ("", ("--config",)),
    "make": ("", ("--eval",)),
    "man": ("PH", ("--pager", "--html")),
    "npm": ("", ("--script-shell", "--node-options")),
    "rg": ("", ("--pre", "--hostname-bin")),
    "rsync": ("e", ("--rsh", "--rsync-path")),
    "scp": ("SoD", ()),
    "sort": ("", ("--compress-program",)),
    "split": ("", ("--filter",)),
    "svn": ("", ("--editor-cmd", "--config-option", "--diff-cmd", "--diff3-cmd")),
    "wget": ("e", ("--execute", "--use-askpass")),
    "zip": ("T", ("--unzip-command",)),
}
PLAIN = _names(  # never run what their arguments say, but for what the handlers in shellprograms.py find
    ". : [ [[ awk basename break cat cd chgrp chmod chown cksum cmp comm continue cp curl cut date dd declare df diff "
    "dirname du echo egrep exit export expr false fgrep file find fmt fold gawk getopts git grep groups gunzip gzip "
    "head hostname id join jq kill link ln local ls mawk md5sum mkdir mktemp mv nawk nl od paste popd printenv "
    "printf pushd pwd read readlink readonly realpath return rg rm rmdir sed seq set sha1sum sha256sum shift shred "
    "sleep sort source split stat sum sync tac tail tar tee test touch tr tree true truncate tsort tty type typeset "
    "umask uname unexpand uniq unlink unzip wait wc wget whereis which who whoami xxd yes zip"
)
