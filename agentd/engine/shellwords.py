"""Words of a shell command line: what they say once quotes and backslashes are gone. Nothing is expanded or run here.

What only a running shell knows (a variable, what a substitution prints, which files a pattern names) is DYNAMIC in a
word. Where shells differ about what a text means it is Unreadable: better no answer than one of two. The rules: POSIX
XCU 2.2 to 2.6, and the bash manual for what it adds.
"""

from __future__ import annotations

import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

DYNAMIC = "\0"  # stands for any text, none as well, and outside quotes for any number of words
GLOB = DYNAMIC + "\x0f"  # that part of a file's name which a pattern leaves open: no slash is in it
MAX_COMMAND = 128 * 1024  # characters; Linux takes no longer argument, so no longer command could be started
MAX_DEPTH = 24  # of what is inside one another: substitutions, scripts in arguments, wrappers

# Stand-ins for the unquoted characters that make one word many. A command line that has control characters is refused.
_OPEN_BRACKET, _CLOSE_BRACKET, _OPEN_BRACE, _CLOSE_BRACE = "\x02", "\x03", "\x04", "\x05"
_MARKS = {"[": _OPEN_BRACKET, "]": _CLOSE_BRACKET, "{": _OPEN_BRACE, "}": _CLOSE_BRACE}
_MARK = re.compile("[\x02-\x05]")
_UNMARK = {ord(mark): char for char, mark in _MARKS.items()}

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_HIDDEN = {"Zs", "Zl", "Zp", "Cf", "Cc", "Cs", "Co", "Cn"}  # what looks like a blank, or like nothing
_PLAIN = re.compile(r"[^\s'\"\\$`;&|<>(){}\[\]*?]+")
_IN_QUOTES = re.compile(r"[^\"\\$`]+")
_IN_HEREDOC = re.compile(r"[^\\$`]+")
_VARIABLE = re.compile(r"\$(?:[A-Za-z_]\w*|[0-9@*#?$!_-])", re.ASCII)
_PARAMETER = re.compile(r"\$\{#?(?:([A-Za-z_]\w*)|[0-9]+|[@*#?$!-])(\[(?:[@*]|[0-9]+)\])?(?=[}:+=?#%/^,-])", re.ASCII)
_OPERATOR = re.compile(r":?[-+=?]|[#%^,/]")
_IN_PARAMETER = re.compile(r"[^'\"\\$`{}<>\n]+")
_NUMERIC = re.compile(r"[0-9+\-*/%<>=!&|^~?:, \t\n]+")


class Unreadable(Exception):
    """The text says what could not be made out."""


class Word(NamedTuple):
    text: str
    bare: int  # how many characters at its beginning are outside quotes

    @property
    def plain(self) -> bool:
        """Whether it was written as it is: only such a word can be a reserved one."""
        return self.bare == len(self.text) and DYNAMIC not in self.text


def check_characters(text: str) -> None:
    """Raises Unreadable for a text that is too long, or that a person could not see as it is."""
    if len(text) > MAX_COMMAND:
        raise Unreadable(f"it is longer than {MAX_COMMAND} characters")
    if _CONTROL.search(text):
        raise Unreadable("it has control characters in it")
    if not text.isascii():
        for char in set(text):
            if ord(char) > 126 and unicodedata.category(char) in _HIDDEN:
                raise Unreadable(f"it has a character in it that cannot be seen: U+{ord(char):04X}")


class Words(ABC):
    """Reads words at a place in a text. What reads commands (shellsyntax.py) is built on it, and reads those that
    stand inside words."""

    def __init__(self, text: str, depth: int, doubt: Callable[[str], None]) -> None:
        self.text, self.at, self.depth = text, 0, depth
        self.doubt = doubt  # is told what could be read, but not what it does
        self.assigned: list[str] = []  # by ${name:=value}
        self.waiting = False  # a here-document has been announced: the next newline matters

    @abstractmethod
    def substitution(self) -> None:
        """Read the commands from here to the parenthesis that closes, and go behind it."""

    @abstractmethod
    def script(self, text: str) -> None:
        """Read *text*, which was inside backquotes."""

    def next_is(self, text: str) -> bool:
        return self.text.startswith(text, self.at)

    def word(self) -> Word | None:
        """The word that starts here; None if none does."""
        out: list[str] = []
        start, bare = self.at, -1
        while self.at < len(self.text):
            if found := _PLAIN.match(self.text, self.at):
                out.append(found[0])
                self.at = found.end()
                continue
            if bare < 0 and self.text[self.at] in "'\"\\$`" and not self.next_is("\\\n"):
                bare = sum(map(len, out))
            if not self._piece(out):
                break
        if self.at == start:
            return None
        raw = "".join(out)
        return Word(_many(raw), len(raw) if bare < 0 else bare)

    def _piece(self, out: list[str]) -> bool:
        """One quoted or special part of a word. False: the word ends here."""
        char = self.text[self.at]
        match char:
            case "'":
                out.append(self._single())
            case '"':
                self._double(out)
            case "\\":
                self._backslash(out)
            case "$":
                out.append(self.dollar(in_quotes=False))
            case "`":
                self.backquotes(in_quotes=False)
                out.append(DYNAMIC)
            case "<" | ">" if self.next_is(char + "("):
                self._process()
                out.append(f"/dev/fd/{DYNAMIC}")
            case "*" | "?" | "[" | "]" | "{" | "}":
                out.append(_MARKS.get(char, GLOB))
                self.at += 1
            case _:
                return False
        return True

    def _process(self) -> None:
        self.at += 2
        self.substitution()

    def _backslash(self, out: list[str]) -> None:
        char = self.text[self.at + 1 : self.at + 2]
        if not char:
            raise Unreadable("it ends with a backslash")
        if char != "\n":  # that one continues the line: neither is there
            out.append(char)
        self.at += 2

    def _single(self) -> str:
        return self.upto("'", self.at + 1)

    def upto(self, end: str, start: int) -> str:
        """The text from *start* to *end*, with which it closes; go behind it."""
        close = self.text.find(end, start)
        if close < 0:
            raise Unreadable(f"nothing closes {end}")
        self.at = close + 1
        return self.over_lines(self.text[start:close])

    def over_lines(self, text: str) -> str:
        if self.waiting and "\n" in text:
            raise Unreadable("a here-document begins in the middle of something else")
        return text

    def _double(self, out: list[str]) -> None:
        self.at += 1
        while not self.next_is('"'):
            if found := _IN_QUOTES.match(self.text, self.at):
                out.append(self.over_lines(found[0]))
                self.at = found.end()
            elif self.at >= len(self.text):
                raise Unreadable('nothing closes "')
            else:
                out.append(self.expansion('$`"\\\n'))
        self.at += 1

    def expansion(self, escapable: str) -> str:
        """What stands here in double quotes or a here-document: $, a backquote, or a backslash."""
        match self.text[self.at]:
            case "$":
                return self.dollar(in_quotes=True)
            case "`":
                self.backquotes(in_quotes=True)
                return DYNAMIC
        escaped = self.text[self.at + 1 : self.at + 2]
        if not escaped or escaped not in escapable:
            self.at += 1
            return "\\"
        self.at += 2
        return "" if escaped == "\n" else escaped

    def here_text(self) -> str:
        """The whole text as the body of a here-document, in which expansions happen."""
        out: list[str] = []
        while self.at < len(self.text):
            if found := _IN_HEREDOC.match(self.text, self.at):
                out.append(found[0])
                self.at = found.end()
            else:
                out.append(self.expansion("$`\\\n"))
        return "".join(out)

    def dollar(self, *, in_quotes: bool) -> str:
        following = self.text[self.at + 1 : self.at + 2]
        match following:
            case "(":
                self._parenthesis()
            case "{":
                self._parameter()
            case "'" if not in_quotes:
                return self._ansi()
            case '"' if not in_quotes:
                self.at += 1
                self._double([])  # a translation may say anything
            case "[" | "\\":
                raise Unreadable(f"${following.strip()} is read in different ways by different shells")
            case _ if found := _VARIABLE.match(self.text, self.at):
                self.at = found.end()
            case _:
                self.at += 1
                return "$"
        return DYNAMIC

    def _ansi(self) -> str:
        """$'…': where a backslash is in it what it says is not looked into."""
        inside = self.upto("'", self.at + 2)
        if (len(inside) - len(inside.rstrip("\\"))) % 2:  # bash reads on, a plain sh does not
            raise Unreadable("a quote in $'…' ends it in one shell, but not in another")
        return DYNAMIC if "\\" in inside else inside

    def backquotes(self, *, in_quotes: bool) -> None:
        start = self.at + 1
        found = re.compile(r"(?:[^`\\]|\\.)*`", re.DOTALL).match(self.text, start)
        if not found:
            raise Unreadable("nothing closes `")
        inside = self.over_lines(found[0][:-1])
        if in_quotes and '\\"' in inside:
            raise Unreadable("quotes in backquotes in quotes")
        self.at = found.end()
        self.script(re.sub(r"\\([\\$`])", r"\1", inside))

    def _parenthesis(self) -> None:
        if self.next_is("$(("):
            self.at += 3
            self.arithmetic()
        else:
            self.at += 2
            self.substitution()

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("it is nested too deeply")

    def arithmetic(self, refused: str = "'\"\\`{}#;") -> None:
        """From behind `((` to behind `))`. A name in it may hold text that is a command: a[$(…)]."""
        self.deeper()
        opened = 0
        while not (opened == 0 and self.next_is("))")):
            if found := _NUMERIC.match(self.text, self.at):
                self.over_lines(found[0])
                self.at = found.end()
                continue
            char = self.text[self.at : self.at + 1]
            opened += (char == "(") - (char == ")")
            if not char or char in refused or opened < 0:
                raise Unreadable("arithmetic that is none")
            if char == "$":
                self.dollar(in_quotes=True)
            else:
                self.at += 1
            if char not in "()":
                self.doubt("arithmetic with names in it")
        self.at += 2
        self.depth -= 1

    def _parameter(self) -> None:
        """${…}. What could run something, or be read in two ways, is not read."""
        found = _PARAMETER.match(self.text, self.at)
        if not found:
            raise Unreadable("${…} of a kind that is not looked into")
        self.at = found.end()
        if not self.next_is("}"):
            self._parameter_operator(found[1] or "")
        self.at += 1

    def _parameter_operator(self, name: str) -> None:
        self.deeper()
        operator = _OPERATOR.match(self.text, self.at)
        if not operator:
            self.doubt("arithmetic in ${…}")
        elif operator[0].endswith("="):
            self.assigned.append(name)
        while not self.next_is("}"):
            if found := _IN_PARAMETER.match(self.text, self.at):
                self.at = found.end()
            elif self.next_is("$"):
                self.dollar(in_quotes=True)
            elif self.next_is("`"):
                self.backquotes(in_quotes=True)
            else:
                raise Unreadable("quotes or the like in ${…}")
        self.depth -= 1


def _many(raw: str) -> str:
    """Brackets and braces outside quotes: what makes a pattern or several words is DYNAMIC from there on."""
    if not _MARK.search(raw):
        return raw
    for opening, closing in ((_OPEN_BRACE, _CLOSE_BRACE), (_OPEN_BRACKET, _CLOSE_BRACKET)):
        start, end = raw.find(opening), raw.rfind(closing)
        inside = raw[start:end]
        if 0 <= start < end and (opening == _OPEN_BRACKET or "," in inside or ".." in inside):
            raw = raw[:start] + (GLOB if opening == _OPEN_BRACKET else DYNAMIC)
    return raw.translate(_UNMARK)
