"""What a git command line runs: aliases and settings given with it, subcommands that take commands. The rules: git(1).

A subcommand that is not git's own may be an alias, which can be anything: that is a doubt.
"""

from __future__ import annotations

from agentd.engine.shellruns import Runs, may_be_option, risky
from agentd.engine.shellwords import DYNAMIC

Words = tuple[str, ...]

_NAMES = """
add am annotate apply archive bisect blame branch bundle cat-file check-attr check-ignore check-mailmap
check-ref-format checkout checkout-index cherry cherry-pick clean clone column commit commit-graph commit-tree
config count-objects describe diff diff-files diff-index diff-tree fetch fmt-merge-msg for-each-ref format-patch
fsck gc grep hash-object index-pack init interpret-trailers log ls-files ls-remote ls-tree mailinfo mailsplit
merge merge-base merge-file merge-index merge-tree mktag mktree multi-pack-index mv name-rev notes pack-objects
pack-redundant pack-refs patch-id prune prune-packed pull push range-diff read-tree rebase reflog remote repack
replace request-pull rerere reset restore rev-list rev-parse revert rm send-pack shortlog show show-branch
show-index show-ref sparse-checkout stage stash status stripspace submodule switch symbolic-ref tag unpack-file
unpack-objects update-index update-ref update-server-info var verify-commit verify-pack verify-tag version
whatchanged worktree write-tree
"""
SUBCOMMANDS = frozenset(_NAMES.split())
_QUIET = {"--no-pager", "-P", "--no-optional-locks", "--literal-pathspecs", "--no-replace-objects"}
_VALUED = {"-C", "-c", "--git-dir", "--work-tree", "--namespace", "--config-env", "--attr-source"}
_HARMLESS = ("user.", "color.", "advice.", "core.quotepath=", "init.defaultbranch=")
_REMOTE = ("u", ("--upload-pack", "--receive-pack", "--exec", "--config"))
_SHOWING = ("", ("--ext-diff", "--textconv", "--output"))
_RISKY = {  # options that make them run or write something else
    "archive": ("o", ("--exec", "--output", "--remote")),
    "bisect": ("", ()),
    "clone": ("cu", (*_REMOTE[1], "--template")),
    "diff": _SHOWING,
    "fetch": _REMOTE,
    "format-patch": ("o", (*_SHOWING[1], "--output-directory")),
    "grep": ("O", ("--open-files-in-pager", "--textconv")),
    "init": ("", ("--template",)),
    "log": _SHOWING,
    "ls-remote": _REMOTE,
    "pull": ("", _REMOTE[1]),
    "push": ("", _REMOTE[1]),
    "rebase": ("x", ("--exec",)),
    "send-pack": _REMOTE,
    "show": _SHOWING,
    "submodule": ("", ()),
    "whatchanged": _SHOWING,
}
_READS_CONFIG = {"--get", "--get-all", "--get-regexp", "--get-urlmatch", "--list", "-l", "get", "list"}


def git_runs(words: Words) -> Runs:
    at, scripts, doubt = _global_options(words)
    if at is None:
        return Runs(scripts=tuple(scripts), doubt="options of git that are not known")
    rest = words[at:]
    if not rest:
        return Runs(scripts=tuple(scripts), doubt=doubt)
    doubt = doubt or _doubt(rest[0], rest[1:])
    commands = ((words[0], *rest),) if at > 1 else ()  # as it is without them: a rule for `git push` is about it
    quiet = at > 1 and all(word in _QUIET for word in words[1:at])
    return Runs(commands, (*scripts, *(_scripts(rest) if doubt else ())), doubt=doubt, transparent=quiet)


def _global_options(words: Words) -> tuple[int | None, list[str], str]:
    """Where the subcommand is, code in aliases, and a doubt."""
    at, scripts, doubt = 1, list[str](), ""
    while at < len(words) and words[at].startswith(("-", DYNAMIC)):
        word = words[at]
        if may_be_option(word):
            return None, scripts, ""
        value = "".join(words[at + 1 : at + 2]) if word in _VALUED else ""
        if word == "-c":
            doubt = doubt or (
                "" if value.lower().startswith(_HARMLESS) else "git with a setting that may run something"
            )
            scripts += _alias(value)
        elif word not in _QUIET and word not in ("-C", "--version", "--help", "--bare"):
            doubt = doubt or "git with options that change what it runs"
        at += 1 + (word in _VALUED)
    return at, scripts, doubt


def _alias(setting: str) -> list[str]:
    key, _, value = setting.partition("=")
    if value.startswith("!"):
        return [value[1:]]
    return [f"git {value}"] if key.lower().startswith("alias.") else []


def _doubt(subcommand: str, rest: Words) -> str:
    if subcommand not in SUBCOMMANDS:
        return "a git command that may be an alias"
    if subcommand == "config" and not _READS_CONFIG & set(rest):
        return "git settings that may run something"
    if subcommand in ("submodule", "bisect") and {"foreach", "run"} & set(rest):
        return f"git {subcommand} that runs something"
    if subcommand in _RISKY and risky(rest, *_RISKY[subcommand]):
        return f"options of git {subcommand} that make it run or write something else"
    return "a transport that runs something" if any("ext::" in word for word in rest) else ""


def _scripts(rest: Words) -> list[str]:
    """Commands in the arguments of a subcommand."""
    arguments = rest[1:]
    if rest[0] in ("submodule", "bisect"):
        at = next((at for at, word in enumerate(arguments) if word in ("foreach", "run")), None)
        return [] if at is None else [" ".join(word for word in arguments[at + 1 :] if word != "--recursive")]
    if rest[0] in ("rebase", "difftool", "filter-branch", "config"):
        return [word.removeprefix("--exec=").removeprefix("!") for word in arguments if word[:1] != "-" or "=" in word]
    return []
