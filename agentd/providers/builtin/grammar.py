"""The sentences that spell out a step. One that is not wholly understood is not understood at all: half of an
instruction is not carried out.

Patterns see masked text (literals.py), so a quoted name or text is one short mask. A bare path has a dot or a slash in
it, or follows the word "file". Texts are taken literally: there are no escape sequences.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

import attrs

from agentd.providers.builtin.literals import MASK, Masked


@attrs.frozen
class Run:
    command: str


@attrs.frozen
class Create:
    path: str
    content: str


@attrs.frozen
class CreateEmpty:
    """A new file of which nothing else is said: one that is there stays as it is."""

    path: str


@attrs.frozen
class Replace:
    """Every occurrence: who writes "replace A with B" without a word about which, means them all."""

    path: str
    old: str
    new: str


@attrs.frozen
class EditLines:
    """One place in a file: *old* lines, and *new* ones to take their place. No *old*: at the end of the file."""

    path: str
    old: tuple[str, ...]
    new: tuple[str, ...]


@attrs.frozen
class ApplyDiff:
    diff: str


@attrs.frozen
class ChangeTree:
    """A change that no file tool can make, as the command that makes it: a file deleted or moved, a directory made."""

    command: str


@attrs.frozen
class Show:
    path: str


@attrs.frozen
class ListFiles:
    path: str


@attrs.frozen
class Say:
    text: str


Edit = Create | CreateEmpty | Replace | EditLines | ApplyDiff | ChangeTree
Step = Run | Edit | Show | ListFiles | Say


@attrs.frozen
class Found:
    """Steps that a directive spells out, and where it ends in the masked text."""

    steps: tuple[Step, ...]
    end: int


Builder = Callable[[re.Match[str], Masked], tuple[Step, ...]]

# Atomic: a name is taken whole or not at all. "Delete the file x.txt if …" must not find an end behind "x".
_LIKE_A_PATH = r"(?>(?:[\w~@+\-]*[./])+[\w~@+\-]*(?<=[\w/~]))"
_ANY_NAME = r"(?>(?!(?:in|at|for|to|with|that|containing|which|and|or|from|of)\b)[\w.~/@+\-]*[\w/~])"
_ARTICLE = r"(?:(?:a|an|the|my|our|this)\s+)?(?:(?:new|empty|text)\s+)*"
_CONDITION = r"(?:if|unless|when|whenever|but|only|except|until|while|in case|provided|without|so that)\b"
_ADVERB = (
    r"\s+(?:please|for me|now|once|in (?:the|this) (?:repository|repo|workspace|shell|terminal|sandbox|project))\b"
)
_REPORT = r"(?:,?\s+and(?:\s+then)?|,?\s+then)\s+(?:please\s+)?(?:tell|show|report|give|print|paste|quote)\b[^.;\n]*"
# After a directive: what changes nothing in it, then the end of its sentence or of its clause.
_STOP = rf"\s*$|\s*[.!](?:\s|$)|\s*[;\n]|,?\s+(?:and|then)\s+(?!{_CONDITION})|,\s+(?!{_CONDITION})"
_END = rf"(?:{_ADVERB})*(?:{_REPORT})?(?={_STOP})"


def _path(name: str = "path") -> str:
    named = r"(?:(?:named|called|at)\s+)?"
    return (
        rf"{_ARTICLE}(?:(?:file\s+{named}(?P<{name}_file>{MASK}|{_ANY_NAME}))"
        rf"|(?:{named}(?P<{name}_bare>{MASK}|{_LIKE_A_PATH})))"
    )


def _path_of(match: re.Match[str], masked: Masked, name: str = "path") -> str:
    return masked.value(match[f"{name}_file"] or match[f"{name}_bare"])


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


_OF = r"(?:(?:all|every|each|any)\s+)?(?:(?:the\s+)?(?:occurrences?|instances?|uses?|text|string|words?)\s+(?:of\s+)?)*"
_WORD = r"(?>(?!(?:the|it|them|this|that|all|every|tabs|spaces)\b)[^\s,;]+)"
_TWO_TEXTS = rf"{_OF}(?P<old>{MASK})\s+(?:with|by|to|into)\s+{_OF}(?P<new>{MASK})"
_TWO_WORDS = rf"{_OF}(?P<old>{_WORD})\s+(?:with|by)\s+(?P<new>{_WORD})"
_WHERE = rf"(?:\s+everywhere)?\s+(?:in|inside|within|of)\s+{_path()}"
_AND_PATHS = rf"(?P<more>(?:(?:\s*,\s*|\s+and\s+)(?:in\s+)?(?:{MASK}|{_LIKE_A_PATH}))*)"
_LINE = r"(?:(?:the\s+)?(?:following\s+)?(?:lines?|text)\s*:?\s*)?"
_SHELL = r"(?:(?:the|this|these|following|shell|bash|both)\s+)*(?:commands?\s*)?:?\s*"


def _run(match: re.Match[str], masked: Masked) -> tuple[Step, ...]:
    return tuple(Run(masked.value(each).strip()) for each in re.findall(MASK, match["commands"]))


def _replace(match: re.Match[str], masked: Masked) -> tuple[Step, ...]:
    more = re.findall(rf"{MASK}|{_LIKE_A_PATH}", match["more"]) if "more" in match.re.groupindex else []
    paths = [_path_of(match, masked), *map(masked.value, more)]
    return tuple(Replace(path, masked.value(match["old"]), masked.value(match["new"])) for path in paths)


def _insert(match: re.Match[str], masked: Masked) -> tuple[Step, ...]:
    added, anchor = (_lines(masked.value(match[name])) for name in ("new", "old"))
    before = match["where"].lower() in ("before", "above")
    return (EditLines(_path_of(match, masked), anchor, added + anchor if before else anchor + added),)


def _append(match: re.Match[str], masked: Masked) -> tuple[Step, ...]:
    return (EditLines(_path_of(match, masked), (), _lines(masked.value(match["new"]))),)


def _remove_line(match: re.Match[str], masked: Masked) -> tuple[Step, ...]:
    return (EditLines(_path_of(match, masked), _lines(masked.value(match["old"])), ()),)


def _remove_text(match: re.Match[str], masked: Masked) -> tuple[Step, ...]:
    return (Replace(_path_of(match, masked), masked.value(match["old"]), ""),)


def _shell(program: str, *names: str) -> Builder:
    """A step that no file tool can do, as the command that does it. A quoted name alone may be of anything."""

    def build(match: re.Match[str], masked: Masked) -> tuple[Step, ...]:
        from shlex import quote

        paths = [_path_of(match, masked, name) for name in names]
        is_file = match["path_file"] or re.search("[./]", paths[0])
        return (ChangeTree(" ".join([program, "--", *map(quote, paths)])),) if is_file else ()

    return build


def _move(match: re.Match[str], masked: Masked) -> tuple[Step, ...]:
    """mv -n leaves the one where the other is in its place, and says nothing of it."""
    from shlex import quote

    there = quote(f"{_path_of(match, masked, 'to')} is there already")
    still = f"if test -e {quote(_path_of(match, masked))}; then echo {there} >&2; false; fi"
    moved = _shell("mv -n", "path", "to")(match, masked)
    return tuple(ChangeTree(f"{step.command} && {still}") for step in moved if isinstance(step, ChangeTree))


def _create_empty(match: re.Match[str], masked: Masked) -> tuple[Step, ...]:
    """Only where it says "file", or "empty": "Create app.py" leaves out what would be in it."""
    said = match["path_file"] or re.search(r"\bempty\b|^touch\b", match[0], re.IGNORECASE)
    return (CreateEmpty(_path_of(match, masked)),) if said else ()


def _write(match: re.Match[str], masked: Masked) -> tuple[Step, ...]:
    return (Create(_path_of(match, masked), masked.value(match["new"])),)


def _show(match: re.Match[str], masked: Masked) -> tuple[Step, ...]:
    return (Show(_path_of(match, masked)),)


def _list(match: re.Match[str], masked: Masked) -> tuple[Step, ...]:
    return (ListFiles(masked.value(match["dir"] or ".")),)


def _say(match: re.Match[str], masked: Masked) -> tuple[Step, ...]:
    return (Say(masked.value(match["new"])),)


_HERE = (
    r"(?:(?:the|this)\s+)?(?:current|working|this|root)?\s*(?:directory|folder|repository|repo|workspace|project)|here"
)
_SOME_COMMANDS = rf"(?P<commands>{MASK}(?:(?:\s*,\s*(?:and\s+)?(?:then\s+)?|\s+and\s+(?:then\s+)?|\s+){MASK})*)"


@functools.cache
def _closed(verbs: str, rest: str) -> re.Pattern[str]:
    """Compiled when a clause begins with the verb: most tasks need few of these patterns, questions none."""
    return re.compile(rf"(?:{verbs.replace(' ', '|')})\s+{rest}{_END}", re.IGNORECASE)


# Verbs, what follows, and what is meant. Where a sentence fits two, the narrower comes first.
_CLOSED: tuple[tuple[str, str, Builder], ...] = (
    ("run execute invoke", rf"{_SHELL}{_SOME_COMMANDS}", _run),
    ("replace change substitute rename", rf"{_TWO_TEXTS}{_WHERE}{_AND_PATHS}", _replace),
    ("replace substitute", rf"{_TWO_WORDS}{_WHERE}{_AND_PATHS}", _replace),
    ("in", rf"{_path()},?\s+(?:please\s+)?(?:replace|change|substitute|rename)\s+{_TWO_TEXTS}", _replace),
    (
        "insert add put",
        rf"{_LINE}(?P<new>{MASK})\s+(?:right\s+|directly\s+)?(?P<where>after|before|below|above)"
        rf"\s+{_LINE}(?P<old>{MASK})\s+(?:in|of|to)\s+{_path()}",
        _insert,
    ),
    ("append add", rf"{_LINE}(?P<new>{MASK})\s+(?:to|at)\s+(?:the\s+end\s+of\s+)?{_path()}", _append),
    ("append", rf"(?P<new>[^\s{MASK[0]}][^\n]*?)\s+to\s+(?:the\s+end\s+of\s+)?{_path()}", _append),
    ("append", rf"(?:to\s+)?{_path()}\s*:?\s*{_LINE}(?P<new>{MASK})", _append),
    ("remove delete erase", rf"the\s+lines?\s+(?P<old>{MASK})\s+(?:from|in)\s+{_path()}", _remove_line),
    ("remove delete erase", rf"{_OF}(?P<old>{MASK})\s+(?:from|in)\s+{_path()}", _remove_text),
    ("delete remove", _path(), _shell("rm", "path")),
    ("move rename", rf"{_path('path')}\s+(?:to|as|into)\s+{_path('to')}", _move),
    (
        "create make",
        rf"(?:a|the)\s+(?:new\s+)?(?:directory|folder)\s+(?:(?:named|called)\s+)?"
        rf"(?P<path_file>{MASK}|{_ANY_NAME})(?P<path_bare>)",
        _shell("mkdir -p", "path"),
    ),
    ("create make add touch", _path(), _create_empty),
    ("write save put", rf"{_LINE}(?P<new>{MASK})\s+(?:in|to|into)\s+{_path()}", _write),
    ("read show print display cat open", rf"(?:me\s+)?(?:the\s+)?(?:contents?\s+of\s+)?{_path()}", _show),
    (
        "list",
        rf"(?:all\s+)?(?:the\s+)?(?:files|contents?)?(?:\s*(?:in|of|under|inside))?\s+"
        rf"(?:(?:{_HERE})|{_ARTICLE}(?:(?:directory|folder)\s+)?(?P<dir>{MASK}|{_LIKE_A_PATH}))",
        _list,
    ),
    ("say", rf"(?:exactly\s+)?(?P<new>{MASK}|hello|hi)", _say),
)

_NOUN = r"(?P<noun>contents?|text|lines?|data|code|body)"
_WITH = (
    rf",?\s+(?:and\s+)?(?:with|containing|that\s+contains|which\s+contains|holding|that\s+says|saying|whose)\s*"
    rf"(?:exactly\s+)?(?:(?:the|this|these|following|exact)\s+)*(?:{_NOUN}\b)?(?:\s+(?:in|inside)\s+it)?(?:\s+is)?"
)
_DESCRIBES = _pattern(r"\s*(?:of|from|that|which|about|for|to|describing|explaining|with)\b")  # not itself a text
_OPEN_CREATE = _pattern(rf"(?:create|write|make|add|save)\s+{_path()}(?:{_WITH}\s*(?P<colon>:)?|\s*(?P<only>:))")
_OPEN_WRITE = _pattern(
    rf"(?:write|save|put)\s+(?:the\s+)?following\s+(?:\w+\s+)?(?:in|to|into)\s+{_path()}(?P<colon>:)"
)
_OPEN_APPEND = _pattern(
    rf"(?:append|add)\s+(?:(?:the\s+)?following\s+(?:\w+\s+)?)?(?:to|at)\s+(?:the\s+end\s+of\s+)?{_path()}"
    rf"(?:{_WITH})?\s*(?P<colon>:)"
)
_OPEN_RUN = _pattern(r"(?:run|execute)\s+(?:(?:the|this|following|shell|bash)\s+)*command\s*:[ \t]*(?P<command>[^\n]+)")
_CHAIN = _pattern(r"\s*(?:;|[.,]?\s+(?:and\s+)?then\b,?|\.\s+(?:next|finally|afterwards|after that)\b,?)\s+")
_REPLY = _pattern(
    r"(?:reply|respond|answer)(?:\s+to\s+(?:this|me))?\s+(?:with\s+)?(?:exactly|only|just)"
    r"(?:\s+with)?(?:\s+(?:this|the\s+following|the\s+words?|the\s+text))*"
)


def directive_at(masked: Masked, start: int) -> Found | None:
    """The directive that begins at *start*, a place where a clause begins."""
    word = re.compile(r"[A-Za-z]+").match(masked.text, start)
    verb = word[0].lower() if word else ""
    if (said := _reply_at(masked, start)) or (written := _content_at(masked, start)):
        return said or written
    for verbs, rest, build in _CLOSED:
        match = _closed(verbs, rest).match(masked.text, start) if verb in verbs.split() else None
        if match and (steps := build(match, masked)):
            return Found(steps, match.end())
    if match := _OPEN_RUN.match(masked.text, start):
        return Found((Run(masked.restore(match["command"]).strip()),), match.end())
    return None


def _reply_at(masked: Masked, start: int) -> Found | None:
    """ "Reply with exactly: …", to the end of the text; without the colon, a quoted text."""
    match = _REPLY.match(masked.text, start)
    if match is None:
        return None
    if rest := re.compile(r"\s*:\s*(.*)", re.DOTALL).match(masked.text, match.end()):
        return Found((Say(masked.restore(rest[1])),), rest.end())
    quoted = re.compile(rf"\s+({MASK})\s*[.!]?\s*$").match(masked.text, match.end())
    return Found((Say(masked.value(quoted[1])),), quoted.end()) if quoted else None


def _content_at(masked: Masked, start: int) -> Found | None:
    """A directive whose last part is a text: quoted, fenced, or all that follows."""
    for pattern, step in ((_OPEN_CREATE, _created), (_OPEN_WRITE, _created), (_OPEN_APPEND, _appended)):
        match = pattern.match(masked.text, start)
        if match is None:
            continue
        groups = match.groupdict()
        noun = (groups.get("noun") or "").lower()
        announced = bool(groups.get("colon") or groups.get("only") or noun in ("content", "contents", "text"))
        if content := _content(masked, match.end(), announced):
            return Found((step(_path_of(match, masked), content[0]),), content[1])
    return None


def _created(path: str, content: str) -> Step:
    return Create(path, content)


def _appended(path: str, content: str) -> Step:
    return EditLines(path, (), _lines(content))


def _content(masked: Masked, start: int, announced: bool) -> tuple[str, int] | None:
    """The text at *start* and its end. Unquoted, it has to be announced: with a colon, or as "the content"."""
    if quoted := re.compile(rf"\s*({MASK}){_END}", re.IGNORECASE).match(masked.text, start):
        return masked.value(quoted[1]), quoted.end()
    rest = masked.text[start:]
    if not announced or not rest.strip() or (not masked.text[:start].endswith(":") and _DESCRIBES.match(rest)):
        return None
    end = len(masked.text)
    if not re.match(r"[ \t]*\n", rest):
        for chain in _CHAIN.finditer(masked.text, start):
            if directive_at(masked, chain.end()):
                end = chain.start()
                break
    content = masked.restore(masked.text[start:end].lstrip(" \t").removeprefix("\n"))
    return content + ("\n" if "\n" in content and not content.endswith("\n") else ""), end


def _lines(text: str) -> tuple[str, ...]:
    return tuple(text.removesuffix("\n").split("\n"))
