"""What a simple command runs beside itself: the command of a wrapper, the code of a shell, what find executes.

A program that is not known here is taken for one that may run whatever its arguments say (Runs.loose), which matters
for what is denied, never for what is allowed. The rules: as for the tables in shelltables.py.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator

import attrs

from agentd.engine.shellgit import git_runs
from agentd.engine.shellruns import UNKNOWN_CODE, UNKNOWN_NAME, Runs, may_be_option, risky, skip_options
from agentd.engine.shelltables import INTERPRETERS, OPTIONS, PLAIN, SHELLS, UNKNOWN, WRAPPERS, Words, Wrapper
from agentd.engine.shellwords import DYNAMIC

_SED = re.compile(
    r"\s*(?:(?:[0-9$~,+!]|/(?:\\.|[^/\\])*/I?)*\s*"
    r"(?:[pdqDGghHxnN=]|s([/|#,@:!_])(?:\\.|(?!\1)[^\\])*\1(?:\\.|(?!\1)[^\\])*\1[gpiI0-9]*)?\s*(?:;|\n|\Z))+"
)
_SED_CODE = re.compile(r"-[nErsuz]*e|--expression")
_SED_OPTION = re.compile(
    r"-[nErsuz]*e?|-[nErsuz]*i(\.\w+)?|--(expression|quiet|silent|in-place|regexp-extended|null-data)"
)
MAX_SED = 500  # characters of a script
_AWK = re.compile(r"system|getline|[|>@\0]")
_FIND_WRITES = ("-delete", "-fls", "-fprint", "-fprint0", "-fprintf")
_SET = re.compile(r"[-+][aefhmnuvxE]+|[-+][aefhuvxE]*o|pipefail|errexit|nounset|xtrace|errtrace|noglob")


def runs(words: Words, stdin: str | None) -> Runs:
    """*words*: of one simple command, at least one. Never raises."""
    name = words[0]
    if DYNAMIC in name or not name.isascii():
        return Runs(doubt=UNKNOWN_NAME)
    program = name.rsplit("/", 1)[-1]
    found = _special(program, words, stdin)
    return found if program in PLAIN else attrs.evolve(found, loose=True)


def _special(program: str, words: Words, stdin: str | None) -> Runs:
    if handler := _HANDLERS.get(program):
        return handler(words)
    if program in SHELLS:
        return _shell(words, stdin)
    if program in WRAPPERS:
        return _wrapper(WRAPPERS[program], words)
    if program in UNKNOWN:
        return Runs(doubt=f"{program} runs what is not looked into")
    if (option := OPTIONS.get(program)) and risky(words[1:], *option):
        return Runs(doubt=f"options of {program} that make it run something else")
    for names, shorts, longs in INTERPRETERS:
        if names.fullmatch(program):
            return _interpreter(words, stdin, shorts, longs)
    return Runs()


def _wrapper(wrapper: Wrapper, words: Words) -> Runs:
    at = skip_options(words, 1, wrapper.shorts, wrapper.longs)
    if at is None or any(may_be_option(word) for word in words[at : at + wrapper.operands]):
        return Runs(doubt=f"options of {words[0]} that are not known")
    rest = words[at + wrapper.operands :]
    options = {char for word in words[1:at] if not word.startswith("--") for char in word[1:]}
    if words[0].endswith("command") and options & set("vV"):
        return Runs()  # only says what it would run
    if words[0].endswith("sudo") and (options & set("sie") or any(word.startswith("--") for word in words[1:at])):
        return Runs((rest,) if rest else (), doubt="sudo with a shell or an editor")
    if rest and rest[0] in ("-c", "--command") and wrapper.operands:  # flock
        return Runs(scripts=rest[1:2])
    assigned = []
    while not wrapper.transparent and rest and re.match(r"[A-Za-z_]\w*=", rest[0]):
        assigned.append(rest[0].partition("=")[0])
        rest = rest[1:]
    transparent = wrapper.transparent and bool(rest)
    return Runs((rest,) if rest else (), assigned=tuple(assigned), transparent=transparent)


def _env(words: Words) -> Runs:
    at = skip_options(words, 1, "uC", ("--unset", "--chdir"))
    if at is None or any("S" in word or word.startswith("--s") for word in words[1:at]):
        return Runs(doubt="env with options that are not looked into")
    at += words[at : at + 1] == ("-",)
    assigned = ["PATH"] if at > 1 else []  # -i and -u take away what a command may rely on
    while at < len(words) and "=" in words[at]:
        assigned.append(words[at].partition("=")[0])
        at += 1
    rest = words[at:]
    return Runs((rest,) if rest else (), assigned=tuple(assigned), transparent=bool(rest))


def _xargs(words: Words) -> Runs:
    at = skip_options(words, 1, "IEnPLsda", ("--replace", "--max-args", "--max-procs", "--delimiter", "--arg-file"))
    if at is None:
        return Runs(doubt="options of xargs that are not known")
    marks = {"{}"}
    for index, word in enumerate(words[1:at], 1):
        if word == "-I":
            marks.add(words[index + 1])
        elif word[:2] in ("-I", "-i") and len(word) > 2:
            marks.add(word[2:])
        elif word.startswith("--replace="):
            marks.add(word.partition("=")[2])
    inner = list(words[at:]) or ["echo"]
    for mark in filter(None, marks):
        inner = [word.replace(mark, DYNAMIC) for word in inner]
    return Runs(((*inner, DYNAMIC),), transparent=True)


def _find(words: Words) -> Runs:
    commands: list[Words] = []
    rest = iter(words[1:])
    doubt = ""
    for word in rest:
        if word in ("-exec", "-execdir", "-ok", "-okdir"):
            command = _until_end(rest)
            commands.append(command)
        elif word.startswith(_FIND_WRITES) or word.startswith(DYNAMIC) or (word[:1] == "-" and DYNAMIC in word[:5]):
            doubt = "find that writes or deletes, or with options that are not known"
    return Runs(tuple(filter(None, commands)), doubt=doubt)


def _until_end(rest: Iterator[str]) -> Words:
    found: list[str] = []
    for word in rest:
        if word == ";" or (word == "+" and found and found[-1] == DYNAMIC):
            break
        found.append(word.replace("{}", DYNAMIC))
    return tuple(found)


def _shell(words: Words, stdin: str | None) -> Runs:
    at, options = _shell_options(words)
    if at is None:
        return Runs(doubt=UNKNOWN_CODE)
    doubt = ""
    if words[0].rsplit("/", 1)[-1] not in ("sh", "bash", "dash", "ash") or set(options) - set("ceuxvol"):
        doubt = "a shell of another kind, or with unusual options"
    if "c" in options:
        return _code(words[at] if at < len(words) else DYNAMIC, doubt)
    if at < len(words) and "s" not in options and words[at] != "-":
        return Runs(doubt=_script(words[at]) or doubt)
    return _code(DYNAMIC if stdin is None else stdin, doubt)


def _shell_options(words: Words) -> tuple[int | None, str]:
    """Where the operands begin, and the letters of the options."""
    at, options = 1, ""
    while at < len(words) and (words[at][:1] in ("-", "+", DYNAMIC)) and words[at] != "-":
        word = words[at]
        if DYNAMIC in word:
            return None, options
        if word.startswith("--"):
            options += "l" if word in ("--login", "--norc", "--noprofile", "--posix") else "?"
        else:
            options += word[1:]
            at += word.count("o") + word.count("O")
        at += 1
    return at, options


def _code(text: str, doubt: str = "") -> Runs:
    if DYNAMIC in text:
        return Runs(scripts=(text,), doubt=UNKNOWN_CODE)
    return Runs(scripts=(text,), doubt=doubt, transparent=True)


def _eval(words: Words) -> Runs:
    return _code(" ".join(words[1 + (words[1:2] == ("--",)) :]))


def _trap(words: Words) -> Runs:
    at = 1 + (words[1:2] == ("--",))
    return _code(words[at]) if at < len(words) else Runs()


def _su(words: Words) -> Runs:
    scripts = tuple(after for word, after in itertools.pairwise(words) if word in ("-c", "--command"))
    return Runs(scripts=scripts, doubt="a command as another user")


def _watch(words: Words) -> Runs:
    at = skip_options(words, 1, "nq", ("--interval", "--equexit"))
    if at is None:
        return Runs(doubt="options of watch that are not known")
    text = " ".join(words[at:])
    return Runs(scripts=(text,), doubt=UNKNOWN_CODE if DYNAMIC in text else "")


def _source(words: Words) -> Runs:
    return Runs(doubt=_script("".join(words[1:2])))


def _script(word: str) -> str:
    """The doubt about a file with code."""
    if word.startswith(("/dev/", "/proc/")):  # it is there only while this runs
        return UNKNOWN_CODE
    return "a script whose name is not known" if may_be_option(word) else ""


def _interpreter(words: Words, stdin: str | None, shorts: str, longs: Words) -> Runs:
    inside = Runs(doubt=f"{words[0]} with code that is not looked into")
    for word in words[1:]:
        if word in ("--version", "-V", "--help", "-m") or (word == "-v" and len(words) == 2):
            return Runs()
        if doubt := _script(word):
            return Runs(doubt=doubt)
        if word in ("eval", "repl", "-e", "-c") or risky((word,), shorts, longs):
            return inside
        if word == "-" or not word.startswith("-"):
            break
    else:
        word = "-"
    return Runs() if word != "-" else Runs(doubt=UNKNOWN_CODE) if stdin in (None, DYNAMIC) else inside


def _deno(words: Words) -> Runs:
    return Runs(doubt="code in an argument" if words[1:2] in ((), ("eval",), ("repl",), (DYNAMIC,)) else "")


def _awk(words: Words) -> Runs:
    at = skip_options(words, 1, "Fv", ())
    if at is None or any(
        word.startswith("--") or word[:2] not in ("-F", "-v") for word in words[1:at] if word[:1] == "-"
    ):
        return Runs(doubt="awk with options that are not looked into")
    program = "".join(words[at : at + 1])
    return Runs(doubt="awk that may run or write something" if _AWK.search(program) else "")


def _sed(words: Words) -> Runs:
    scripts = [after for option, after in itertools.pairwise((*words, "")) if _SED_CODE.fullmatch(option)]
    options = [word for word in words[1:] if word.startswith(("-", DYNAMIC))]
    if not scripts:
        scripts = [word for word in words[1:] if word not in options][:1]
    odd = [word for word in options if not _SED_OPTION.fullmatch(word)]
    known = all(len(script) < MAX_SED and _SED.fullmatch(script) for script in scripts)
    return Runs(doubt="a sed script that is not understood" if odd or not known else "")


def _tar(words: Words) -> Runs:
    longs = (
        *("--to-command", "--checkpoint-action", "--use-compress-program", "--rsh-command", "--info-script"),
        *("--new-volume-script", "--rmt-command"),
    )
    bundled = words[1:2] and not words[1].startswith("-") and set(words[1]) & set("IF")
    doubtful = bundled or risky(words[1:], "IF", longs)
    return Runs(doubt="options of tar that make it run something else" if doubtful else "")


def _make(words: Words) -> Runs:
    odd = any(
        word.startswith(("SHELL=", ".SHELLFLAGS=", "MAKEFLAGS=", "/dev/", "-f-")) or word == "-" for word in words[1:]
    )
    return Runs(doubt="make with code in its arguments" if odd or risky(words[1:], "E", ("--eval",)) else "")


def _go(words: Words) -> Runs:
    odd = any(re.match(r"--?(exec|toolexec|vettool)\b", word) or may_be_option(word) for word in words[1:])
    return Runs(doubt="go with another program to run" if odd else "")


def _declare(words: Words) -> Runs:
    names = [word for word in words[1:] if not re.fullmatch(r"-[rxgp]+", word)]
    odd = any(not re.match(r"[A-Za-z_]\w*(\+?=|\Z)", name, re.ASCII) for name in names)
    return Runs(
        assigned=tuple(name.partition("=")[0].rstrip("+") for name in names if "=" in name),
        doubt="a declaration that is not understood" if odd else "",
    )


def _read(words: Words) -> Runs:
    names = tuple(word for word in words[1:] if not word.startswith("-"))
    odd = any("[" in name or DYNAMIC in name for name in names) or any(word.startswith("-a") for word in words)
    return Runs(assigned=names, doubt="variables that are not known" if odd else "")


def _printf(words: Words) -> Runs:
    return Runs(doubt="an assignment" if words[1:2] and (words[1].startswith("-v") or may_be_option(words[1])) else "")


def _test(words: Words) -> Runs:
    return Runs(doubt="a test that computes" if {"-v", "-R"} & set(words) else "")


def _set(words: Words) -> Runs:
    return Runs(doubt="" if all(map(_SET.fullmatch, words[1:])) else "shell options that are not known")


def _command(words: Words) -> Runs:
    return _wrapper(Wrapper(), words)


_HANDLERS: dict[str, Callable[[Words], Runs]] = {
    ".": _source,
    "[": _test,
    "awk": _awk,
    "command": _command,
    "declare": _declare,
    "deno": _deno,
    "env": _env,
    "eval": _eval,
    "export": _declare,
    "find": _find,
    "gawk": _awk,
    "getopts": _read,
    "git": git_runs,
    "gmake": _make,
    "go": _go,
    "local": _declare,
    "make": _make,
    "mawk": _awk,
    "nawk": _awk,
    "printf": _printf,
    "read": _read,
    "readonly": _declare,
    "runuser": _su,
    "script": _su,
    "sed": _sed,
    "set": _set,
    "source": _source,
    "su": _su,
    "tar": _tar,
    "test": _test,
    "trap": _trap,
    "typeset": _declare,
    "watch": _watch,
    "xargs": _xargs,
}
