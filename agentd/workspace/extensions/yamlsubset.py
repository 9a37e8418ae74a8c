"""The part of YAML that front matter is written in, read as PyYAML's safe_load reads it, or refused. No files here.

Understood: mappings and sequences, in block and in flow style; plain, single-quoted and double-quoted scalars, also
over several lines; literal and folded blocks; comments. What is left out says so, with its line and what to write
instead: anchors, aliases, tags, `? ` keys, several documents, a key twice. Nothing is guessed. It takes time in
proportion to the text, whose size its caller bounds.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, NoReturn

from agentd.workspace.extensions import yamlscalars

DEEPEST = 20  # levels of nesting
LONGEST_KEY = 1000  # characters; YAML has 1024
MOST_LINES = 20  # that are no YAML, and are taken as they stand

_UNPRINTABLE = re.compile("[^\t\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_DOCUMENT = re.compile(r"^(?:---|\.\.\.)(?=[ \t\n]|\Z)", re.MULTILINE)
_NOTHING = re.compile(r"(?: *(?:#[^\n]*)?\n)*+ *(?:#[^\n]*)?")  # blank lines, comments, and what indents the next line
_SPACES = re.compile(r" *")
_LINES = re.compile(r"[ \n]*")
_DASH = re.compile(r"-(?=[ \t\n]|\Z)")
_COLON = re.compile(r" *:(?=[ \t\n]|\Z)")
_FLOW_COLON = re.compile(r" *:")
_PLAIN_END = re.compile(r":(?=[ \t\n]|\Z)| #|[\t\n]|\Z")
_FLOW_PLAIN_END = re.compile(r":(?=[ \t\n,\[\]{}]|\Z)|[,?\[\]{}]| #|[\t\n]|\Z")
_SINGLE = re.compile(r"'((?:[^']++|'')*+)'")
_DOUBLE = re.compile(r'"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
_HEADER = re.compile(r"[|>]((?:[-+][1-9]?|[1-9][-+]?)?) *(?:(?<= )#[^\n]*)?(?:\n|\Z)")
_NO_PLAIN = frozenset(",[]{}#&*!|>'\"%@`")
_QUOTE_IT = "put the text in quotes"
_INDICATORS = {
    "&": ("an anchor (&) is not supported", "if it is text, put it in quotes"),
    "*": ("an alias (*) is not supported", "if it is text, put it in quotes"),
    "!": ("a tag (!) is not supported", "if it is text, put it in quotes"),
    "@": ("@ cannot begin a text", _QUOTE_IT),
    "`": ("` cannot begin a text", _QUOTE_IT),
    "%": ("% cannot begin a text", _QUOTE_IT),
    "?": ("a key that begins with ? is not supported", "write `key: value`"),
    "-": ("a list cannot begin on the line of its key", "begin each item on a line of its own"),
    ":": ("there is no key before the colon", "write `key: value`"),
    "|": ("a block cannot begin here", _QUOTE_IT),
    ">": ("a block cannot begin here", _QUOTE_IT),
    "\t": ("there is a tab where only spaces may be", "put spaces in its place"),
}


class NotUnderstood(Exception):
    """*line*: counted from 1. *what*: is wrong there. *remedy*: what to do about it."""

    def __init__(self, line: int, what: str, remedy: str) -> None:
        super().__init__(f"line {line}: {what}; {remedy}")
        self.line, self.what, self.remedy = line, what, remedy


def read_yaml(text: str, *, exact: Collection[str] | None = None) -> tuple[Any, list[NotUnderstood]]:
    """What *text* says, and what is wrong with it but does not matter. Raises NotUnderstood.

    *exact*: keys of the outermost mapping whose values have to be YAML; None: all of them. What another has on its own
    line, where that is no YAML (`description: Use it when: …`), is a text, as it stands.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    reader = _Reader(text, None if exact is None else frozenset(exact))
    for problem, what, remedy in (
        (_UNPRINTABLE.search(text), "there is a character that cannot be printed", "remove it"),
        (_DOCUMENT.search(text), "a second document begins, or the first one ends", "indent the line, or remove it"),
    ):
        if problem:
            reader.fail(what, remedy, problem.start())
    return reader.document(), reader.problems


class _Reader:
    """Methods that read leave it behind what they have read."""

    def __init__(self, text: str, exact: frozenset[str] | None) -> None:
        self.problems: list[NotUnderstood] = []
        self._text = text
        self._exact = exact
        self._at = 0
        self._depth = 0

    def document(self) -> Any:
        self._to_next()
        value = self._block(-1) if self._at < len(self._text) else None
        self._to_next()
        if self._at < len(self._text):
            self._unexpected()
        return value

    # --- Where it is ----------------------------------------------------------------------------------------------

    def fail(self, what: str, remedy: str, at: int | None = None) -> NoReturn:
        raise NotUnderstood(self._text.count("\n", 0, self._at if at is None else at) + 1, what, remedy)

    def _unexpected(self) -> NoReturn:
        """Behind a value is something that belongs to nothing."""
        if self._ahead() == ":":
            self.fail("there is `: ` in a text without quotes", _QUOTE_IT)
        if self._ahead() == "\t":
            self.fail(*_INDICATORS["\t"])
        self.fail("this belongs to nothing before it", "check how the lines are indented, and what is in quotes")

    def _ahead(self) -> str:
        """The next character; "" at the end."""
        return self._text[self._at : self._at + 1]

    def _column(self) -> int:
        return self._at - self._text.rfind("\n", 0, self._at) - 1

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        match = pattern.match(self._text, self._at)
        if match:
            self._at = match.end()
        return match is not None

    def _here(self, pattern: re.Pattern[str]) -> str:
        """What of *pattern* is here, if only nothing. It is not read yet."""
        match = pattern.match(self._text, self._at)
        return match[0] if match else ""

    def _to_next(self) -> None:
        """Go to what comes next, on whatever line. In its column it then stands."""
        if self._ahead() == "#" and self._text[self._at - 1 : self._at] not in ("", " ", "\n"):
            self.fail("a comment needs a space before its #", _QUOTE_IT)
        self._skip(_NOTHING)
        if self._ahead() == "\t":
            self.fail(*_INDICATORS["\t"])

    def _on_this_line(self) -> bool:
        """Go to what comes next; whether it is on the same line."""
        begin = self._at
        self._to_next()
        return self._at < len(self._text) and self._text.find("\n", begin, self._at) < 0

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            self.fail(f"it is nested more than {DEEPEST} levels deep", "make it flatter")

    # --- Block style ----------------------------------------------------------------------------------------------

    def _block(self, parent: int) -> Any:
        """What begins here, the first on its line but for dashes, in a column right of *parent*, its parent's."""
        column = self._column()
        if _DASH.match(self._text, self._at):
            return self._sequence(column)
        begin = self._at
        if self._ahead() not in "[{|>":
            quoted = self._ahead() in "'\""
            key = self._quoted() if quoted else self._first_of_plain(_PLAIN_END)
            if self._text.find("\n", begin, self._at) < 0 and self._skip(_COLON):
                return self._mapping(column, begin, key if quoted else self._value_of(key))
            self._at = begin  # a quoted text is read twice then, at most
        return self._inline(parent)

    def _mapping(self, column: int, begin: int, key: Any) -> dict[Any, Any]:
        """A mapping whose keys are in *column*. The first *key*, and its colon, have just been read."""
        self._deeper()
        found: dict[Any, Any] = {}
        while True:
            self._check_key(found, key, begin)
            exactly = self._exact is None or key in self._exact or column > 0 or self._depth > 1
            found[key] = self._value(column) if exactly else self._value_or_line(key)
            self._to_next()
            if self._at == len(self._text) or (here := self._column()) < column:
                self._depth -= 1
                return found
            if here > column:
                self._unexpected()
            begin, key = self._at, self._key()

    def _key(self) -> Any:
        begin = self._at
        if _DASH.match(self._text, begin):
            self.fail("there is a list item where a key has to be", "check how the lines are indented")
        if self._ahead() in "[{|>":
            self.fail("there is no key here", "write `key: value`")
        quoted = self._ahead() in "'\""
        key = self._quoted() if quoted else self._first_of_plain(_PLAIN_END)
        if self._text.find("\n", begin, self._at) >= 0 or not self._skip(_COLON):
            self.fail("there is no `: ` behind the key", "write `key: value`, or indent what belongs to the line above")
        return key if quoted else self._value_of(key)

    def _check_key(self, found: dict[Any, Any], key: Any, begin: int) -> None:
        if self._at - begin > LONGEST_KEY:
            self.fail(f"a key is longer than {LONGEST_KEY} characters", "make it shorter")
        if key in found:
            self.fail(f"the key {key!r:.80} is there twice", "remove one of them")

    def _value(self, column: int) -> Any:
        """What stands behind a key in *column*."""
        if self._on_this_line():
            if _DASH.match(self._text, self._at):
                self.fail(*_INDICATORS["-"])
            value = self._inline(column)
            if self._skip(_COLON):
                self._at -= 1
                self._unexpected()
            return value
        if self._at == len(self._text) or (here := self._column()) < column:
            return None
        if here == column:  # a list may be in the column of its key
            return self._sequence(column) if _DASH.match(self._text, self._at) else None
        return self._block(column)

    def _value_or_line(self, key: Any) -> Any:
        """The same of a key in the first column; or all of its line, if it is no YAML and nothing is indented below."""
        begin, depth = self._at, self._depth
        try:
            value = self._value(0)
            self._to_next()
            if self._at < len(self._text) and self._column() > 0:
                self._unexpected()
            return value
        except NotUnderstood as problem:
            end = self._text.find("\n", begin)
            end = len(self._text) if end < 0 else end
            alone = self._text[begin:end].strip() and self._text[end + 1 : end + 2] not in (" ", "\t")
            if not alone or len(self.problems) == MOST_LINES:
                raise
            line, remedy = self._text.count("\n", 0, begin) + 1, f"{problem.remedy}. The {key} is taken as it stands"
            self.problems.append(NotUnderstood(line, problem.what, remedy))
            self._at, self._depth = end, depth
            return self._text[begin:end].strip()

    def _sequence(self, column: int) -> list[Any]:
        """A list whose dashes are in *column*."""
        self._deeper()
        found = []
        while self._skip(_DASH):
            if self._on_this_line() or (self._at < len(self._text) and self._column() > column):
                found.append(self._block(column))
            else:
                found.append(None)
            self._to_next()
            if self._at == len(self._text) or (here := self._column()) < column:
                break
            if here > column:
                self._unexpected()
        self._depth -= 1
        return found

    def _inline(self, parent: int) -> Any:
        """One value that is no mapping and no list in block style. *parent*: the column that its lines are right of."""
        ahead = self._ahead()
        if ahead in "|>":
            return self._block_scalar(parent)
        if ahead in "[{":
            return self._flow()
        if ahead in "'\"":
            return self._quoted()
        return self._value_of(self._plain(_PLAIN_END, parent + 1))

    def _block_scalar(self, parent: int) -> str:
        match = _HEADER.match(self._text, self._at)
        if match is None:
            self.fail("there is something behind | or > that does not belong there", "begin the text on the next line")
        folded = self._ahead() == ">"
        self._at = match.end()
        least = max(1, parent + 1)
        explicit = match[1].strip("+-")
        blank = self._here(_LINES).split("\n")
        indent = least + int(explicit) - 1 if explicit else max(least, *map(len, blank))
        return self._block_lines(indent, folded, match[1].strip("123456789"))

    def _block_lines(self, indent: int, folded: bool, chomping: str) -> str:
        chunks: list[str] = []
        line_break = ""
        breaks = self._blank_lines(indent)
        while self._column() == indent and self._at < len(self._text):
            end = self._text.find("\n", self._at)
            line = self._text[self._at : end if end >= 0 else len(self._text)]
            chunks += (breaks, line)
            self._at += len(line) + (end >= 0)
            line_break = "\n" if end >= 0 else ""
            breaks = self._blank_lines(indent)
            if self._column() != indent or self._at == len(self._text):
                break
            if folded and line_break and line[:1] not in (" ", "\t") and self._ahead() not in " \t":
                chunks.append("" if breaks else " ")
            else:
                chunks.append(line_break)
        if chomping != "-":
            chunks.append(line_break)
        return "".join([*chunks, breaks]) if chomping == "+" else "".join(chunks)

    def _blank_lines(self, indent: int) -> str:
        """Skip lines that are blank up to column *indent*, and that of the next; a line break for each of them."""
        breaks = 0
        while True:
            self._at += min(len(self._here(_SPACES)), indent)
            if self._ahead() != "\n":
                return "\n" * breaks
            breaks += 1
            self._at += 1

    # --- Flow style -----------------------------------------------------------------------------------------------

    def _flow(self) -> Any:
        self._deeper()
        value = self._flow_sequence() if self._ahead() == "[" else self._flow_mapping()
        self._depth -= 1
        return value

    def _flow_sequence(self) -> list[Any]:
        found = []
        self._at += 1
        self._to_next()
        while self._ahead() != "]":
            found.append(self._flow_value())
            self._flow_comma("]")
        self._at += 1
        return found

    def _flow_mapping(self) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        self._at += 1
        self._to_next()
        while self._ahead() != "}":
            begin = self._at
            if self._ahead() in "[{":
                self.fail("a key is a list or a mapping", "write a text")
            key = self._flow_value()
            if colon := self._text.find("\n", begin, self._at) < 0 and self._skip(_FLOW_COLON):
                self._to_next()
            self._check_key(found, key, begin)
            found[key] = self._flow_value() if colon and self._ahead() not in ",}" else None
            self._flow_comma("}")
        self._at += 1
        return found

    def _flow_comma(self, closing: str) -> None:
        self._to_next()
        if self._ahead() == ",":
            self._at += 1
            self._to_next()
        elif self._ahead() != closing:
            self.fail(f"a `,` or `{closing}` is missing", "add it, or, if it is one text, put all of it in quotes")

    def _flow_value(self) -> Any:
        ahead = self._ahead()
        if ahead in ("[", "{"):
            return self._flow()
        if ahead in ("'", '"'):
            return self._quoted()
        return self._value_of(self._plain(_FLOW_PLAIN_END, 0))

    # --- Scalars --------------------------------------------------------------------------------------------------

    def _value_of(self, text: str) -> Any:
        try:
            return yamlscalars.plain_value(text)
        except (ValueError, OverflowError):
            self.fail(f"`{text:.40}` looks like a number, a date or a sign of YAML's, and is none of use", _QUOTE_IT)

    def _quoted(self) -> str:
        single = self._ahead() == "'"
        match = (_SINGLE if single else _DOUBLE).match(self._text, self._at)
        if match is None:
            self.fail("a quote is never closed", "close it, or put the whole text in quotes of the other kind")
        try:
            value = (yamlscalars.single_quoted if single else yamlscalars.double_quoted)(match[1])
        except ValueError as exc:
            self.fail(f"the text in double quotes {exc}", "use single quotes, or write `\\\\` for one backslash")
        self._at = match.end()
        return value

    def _plain(self, until: re.Pattern[str], indent: int) -> str:
        """A text without quotes, that goes on on lines indented by at least *indent*."""
        lines = [self._first_of_plain(until)]
        while True:
            gap = self._here(_LINES)
            breaks, end = gap.count("\n"), self._at + len(gap)
            ahead = self._text[end : end + 1]
            if not breaks or ahead in ("", "#", "\t") or end - self._text.rfind("\n", 0, end) - 1 < indent:
                return "".join(lines)
            before, self._at = self._at, end
            if not (line := self._line_of_plain(until)):
                self._at = before
                return "".join(lines)
            lines += ("\n" * (breaks - 1) or " ", line)

    def _first_of_plain(self, until: re.Pattern[str]) -> str:
        """What of such a text is on its first line."""
        ahead, following = self._ahead(), self._text[self._at + 1 : self._at + 2]
        in_flow = until is _FLOW_PLAIN_END
        if not ahead:
            self.fail("it ends where something has to follow", "close what is open")
        is_sign = ahead in "-?:" and (following in ("", " ", "\t", "\n") or (in_flow and ahead != "-"))
        if ahead in _NO_PLAIN or is_sign:
            self.fail(*_INDICATORS.get(ahead, (f"{ahead} cannot begin a text", _QUOTE_IT)))
        return self._line_of_plain(until)

    def _line_of_plain(self, until: re.Pattern[str]) -> str:
        end = until.search(self._text, self._at)
        assert end is not None
        line = self._text[self._at : end.start()].rstrip(" ")
        self._at += len(line)
        return line
