"""What C# source defines, up to C# 12. The rules: the C# language specification, chapters 6.5 and 14 to 21.

Scopes are namespaces and enclosing types. Properties, events, enum members and the parameters of a record are fields,
indexers are methods named `this[]`, aliases (`using Id = System.Guid;`) are types. An explicit implementation has the
name behind its last dot. Top-level statements and the functions among them are code, and code is not looked into.

Of `#if` branches all are read that leave as many brackets open as they found, else the first one alone.
"""

from __future__ import annotations

import re
from bisect import bisect_left

import attrs

from agentd.workspace.symbols.members import DEEPEST, STATEMENTS, Body, Head, Lead, Members, words
from agentd.workspace.symbols.model import Definition, Kind, one_line
from agentd.workspace.symbols.tokens import CLOSING, LITERAL, OPENING, WORD, Lexis, Tokens, pair_brackets, tokenize


def _raw_string(quotes: int) -> str:
    fewer = f'"{{1,{quotes - 1}}}(?!")'
    return f'"{{{quotes}}}(?!")[^"]*+(?:{fewer}[^"]*+)*+(?:"{{{quotes},}}|\\Z)'


COMMENTS = (r"//[^\n]*", r"/\*.*?(?:\*/|\Z)", r"#[^\n]*")
LITERALS = (
    r'@"[^"]*+(?:""[^"]*+)*+(?:"|\Z)',
    *(_raw_string(quotes) for quotes in (3, 4, 5, 6)),
    r'"(?:[^"\\\n]++|\\[^\n])*+"?',
    r"'(?:\\[^\n][^'\n]{0,9}|[^'\\\n]{1,2})'",
)
LEXIS = Lexis(comments=COMMENTS, literals=LITERALS, word=r"@?[^\W\d]\w*")
TYPES = {
    "class": Kind.CLASS,
    "struct": Kind.CLASS,
    "record": Kind.CLASS,
    "interface": Kind.INTERFACE,
    "enum": Kind.ENUM,
}


def scan(text: str, path: str) -> list[Definition]:
    text = text.removeprefix("\ufeff")
    tokens = tokenize(without_interpolation(text), LEXIS)
    tokens.text = text
    directives = [(start, end) for start, end in tokens.comments if text[start] == "#"]
    if directives:
        choose_branches(tokens, directives)
    return _CSharp(tokens).walk()


class _CSharp(Members):
    MODIFIERS = words(
        "public private protected internal static readonly const volatile virtual override abstract sealed new extern"
        " unsafe async partial event fixed ref required file scoped implicit explicit"
    )
    ACCESS = frozenset({"public", "private", "protected", "internal"})
    HEADLESS = frozenset({"this", "operator"})

    def attributes(self, place: int) -> int:
        while self.texts[place] == "[":
            place = self.skip(place)
        return place

    def declaration(self, place: int) -> int:
        texts = self.texts
        if texts[place] == "[" and texts[place + 1] in ("assembly", "module") and texts[place + 2] == ":":
            return self.skip(place)
        lead = self.lead(place)
        place = self.modifiers(lead.start)
        token = texts[place]
        if token == "delegate" and texts[place + 1] != "*":
            return self._delegate(lead, place + 1)
        name = self._type_name(place)
        if name is not None:
            return self.type_(TYPES[token], name, lead, components=token == "record")
        if self.bodies[-1].owner:
            return self._member(lead, place)
        if token == "namespace":
            return self._namespace(place)
        if token == "using" or (token == "global" and texts[place + 1] == "using"):
            return self._using(lead, place + (token == "global"))
        return self.statement(place)

    # --- In namespaces --------------------------------------------------------------------------------------------

    def _namespace(self, place: int) -> int:
        name, place = self.dotted(place + 1)
        outer = self.bodies[-1]
        body = Body(f"{outer.scope}.{name}" if outer.scope else name, outer.end)
        if self.texts[place] == "{" and len(self.bodies) > DEEPEST:
            return self.skip(place)
        if self.texts[place] == "{":
            self.bodies.append(attrs.evolve(body, end=self.closing(place)))
        elif self.texts[place] == ";":
            self.bodies[-1] = body
        return place + 1

    def _using(self, lead: Lead, place: int) -> int:
        name = place + 1 + (self.texts[place + 1] == "unsafe")
        if self.kinds[name] != WORD or self.texts[name + 1] != "=":
            return self.statement(place)
        stop = self.to_semicolon(name)
        self.define(Kind.TYPE, name, lead, stop - (self.texts[stop] != ";"), self.code(lead.start, stop))
        return stop

    def _type_name(self, place: int) -> int | None:
        """The place of the name, if a type is declared here."""
        texts = self.texts
        if texts[place] not in TYPES:
            return None
        name = place + 1 + (texts[place] == "record" and texts[place + 1] in ("class", "struct"))
        return name if self.kinds[name] == WORD else None

    def _delegate(self, lead: Lead, place: int) -> int:
        head = self.head(self.modifiers(place))
        if head.name < 0 or self.texts[head.stop] != "(":
            return self.statement(head.stop)
        return self.method(Kind.TYPE, lead, head.name, self.tail(self.skip(head.stop)))

    # --- In types -------------------------------------------------------------------------------------------------

    def _member(self, lead: Lead, place: int) -> int:
        if self.texts[place] == "~" and self.kinds[place + 1] == WORD:
            return self.method(Kind.METHOD, lead, place + 1, self.tail(place + 2), f"~{self.texts[place + 1]}")
        head = self.head(place)
        name, stop = head.name, self.texts[head.stop]
        if name < 0 or self.texts[place] in STATEMENTS or self.texts[name] in STATEMENTS:
            return self.statement(head.stop)
        if head.stop == name:
            return self._indexer(lead, name) if self.texts[name] == "this" else self._operator(lead, name)
        if stop == "(":
            return self._method(lead, head)
        if head.typed and stop in ("{", "=>"):
            return self._property(lead, head)
        if head.typed and stop in ("=", ",", ";"):
            return self.fields(lead, head)
        return self.statement(head.stop)

    def _method(self, lead: Lead, head: Head) -> int:
        if not head.typed and self.texts[head.name] != self.bodies[-1].owner:
            return self.statement(head.stop)
        behind = self.skip(head.stop)
        return self.method(Kind.METHOD, lead, head.name, self.tail(behind), shown=self._base_call(behind))

    def _base_call(self, place: int) -> int:
        """The place of what a constructor calls first, which is no part of its signature; -1: nothing."""
        return place if self.texts[place] == ":" else -1

    def _property(self, lead: Lead, head: Head) -> int:
        """Or an event with accessors. Those without a body are a part of its signature."""
        last = self.body_end(head.stop)
        accessors = self.texts[head.stop : last + 1]
        shown = last + 1 if accessors[0] == "{" and not {"{", "=>"} & set(accessors[1:]) else head.stop
        if self.texts[last + 1] == "=":
            stop = self.to_semicolon(last + 1)
            last = stop - (self.texts[stop] != ";")
        self.define(Kind.FIELD, head.name, lead, last, self.code(lead.start, shown))
        return last + 1

    def _indexer(self, lead: Lead, name: int) -> int:
        return self.method(Kind.METHOD, lead, name, self.tail(name + 1), "this[]")

    def _operator(self, lead: Lead, name: int) -> int:
        """Named by its sign, or by the type that it converts to, which may be a tuple."""
        place, called = name + 1, "operator"
        while self.kinds[place] != LITERAL and self.texts[place] not in ("{", "}", ";", ""):
            behind = self.skip(place)
            if self.kinds[place] == WORD:
                called += f" {self.texts[place]}"
            elif self.texts[place] == "<" and self.kinds[place - 1] == WORD and place > name + 1:
                _, behind = self.type_arguments(place)
            elif self.texts[place] == "(" and self.texts[behind] != "(":
                return self.method(Kind.METHOD, lead, name, self.tail(behind), one_line(called))
            else:
                called += self.code(place, behind)
            place = behind
        return self.statement(place)


# --- Interpolated strings -----------------------------------------------------------------------------------------

OPEN = r'(?<!\$)\$++"{3,}|\$@?"|@\$"'
IN_CODE = re.compile(f"({OPEN})|{'|'.join(COMMENTS + LITERALS)}", re.DOTALL)
IN_HOLE = re.compile(f"({OPEN})|{'|'.join(COMMENTS[:2] + LITERALS)}|([{{}}]|;(?=[ \\t\\r]*\\n))", re.DOTALL)
IN_STRING = {
    "plain": re.compile(r'\\.|"|\n|\{+', re.DOTALL),
    "verbatim": re.compile(r'""|"|\{+'),
    "raw": re.compile(r'"+|\{+'),
}


@attrs.define
class _Interpolated:
    """A string that is open, and where its holes are."""

    style: str
    quotes: int  # that end it
    braces: int  # that begin a hole
    depth: int = 0  # of braces in the hole that is open; 0: the text is in the string itself

    @classmethod
    def opened_by(cls, mark: str) -> _Interpolated:
        quotes = mark.count('"')
        style = "raw" if quotes > 2 else "verbatim" if "@" in mark else "plain"
        return cls(style, quotes, mark.count("$"))

    def ended_by(self, found: str) -> bool:
        return found == "\n" or (found[0] == '"' and (len(found) >= self.quotes and found != '""'))

    def opens_hole(self, found: str) -> bool:
        """In raw strings, more braces than begin a hole are text; in others, two of them are text."""
        return found[0] == "{" and (len(found) >= self.braces if self.style == "raw" else len(found) % 2 == 1)


def without_interpolation(text: str) -> str:
    """The text with a verbatim string of spaces for each interpolated one: these hold code, which holds strings.

    Everything stays where it is, line ends in the strings too.
    """
    if not re.search(OPEN, text):
        return text
    pieces: list[str] = []
    done = place = 0
    while match := IN_CODE.search(text, place):
        place = match.end()
        if match[1]:
            place = _end_of_interpolated(text, match)
            held = re.sub(r"[^\n]", " ", text[match.start() + 2 : place - 1])
            pieces += text[done : match.start()], f'@"{held}"' if place - match.start() > 2 else '""'
            done = place
    return "".join((*pieces, text[done:]))


def _end_of_interpolated(text: str, opening: re.Match[str]) -> int:
    """The offset behind a string: of its quotes, or of what shows that somebody has not written them yet.

    That is the end of a line in the string, or a `;` at the end of a line in a hole: `{x:0.0;none}` is a format.
    """
    strings = [_Interpolated.opened_by(opening[0])]
    place = opening.end()
    while strings:
        string = strings[-1]
        match = (IN_HOLE if string.depth else IN_STRING[string.style]).search(text, place)
        if match is None:
            return len(text)
        place = match.end()
        if not string.depth:
            if string.ended_by(match[0]):
                strings.pop()
                place -= match[0] == "\n"
            elif string.opens_hole(match[0]):
                string.depth = 1
        elif match[1]:
            strings.append(_Interpolated.opened_by(match[1]))
        elif match[2] == "{":
            string.depth += 1
        elif match[2] == ";" and string.depth == 1:
            return place - 1
        elif match[2] == "}":
            string.depth -= 1
            place += (string.braces - 1) * (not string.depth)
    return place


# --- Conditional compilation --------------------------------------------------------------------------------------


@attrs.define
class _Branch:
    """A branch of `#if`, the one that is being read."""

    pieces: int  # how many there were before it
    depth: int  # of brackets before it
    dead: bool
    tried: bool = False  # another one has been kept
    settled: bool = False  # and no other can be: it left brackets open, or closed some


def choose_branches(tokens: Tokens, directives: list[tuple[int, int]]) -> None:
    """Leave the tokens of those branches that can stand one behind the other."""
    reader = _Branches(tokens)
    for start, end in directives:
        words = tokens.text[start + 1 : end].split()
        if words and words[0] in ("if", "elif", "else", "endif"):
            reader.directive(bisect_left(tokens.starts, start), words[0], words[1:] == ["false"])
    pieces = reader.all_pieces()
    if sum(stop - start for start, stop in pieces) < len(tokens):
        for name in ("texts", "starts", "kinds"):
            column = getattr(tokens, name)
            setattr(tokens, name, [each for start, stop in pieces for each in column[start:stop]])
        tokens.partner.clear()
        pair_brackets(tokens)


@attrs.define
class _Branches:
    tokens: Tokens
    pieces: list[tuple[int, int]] = attrs.field(factory=list)  # ranges of places that are kept
    open_ones: list[_Branch] = attrs.field(factory=list)
    depth: int = 0
    place: int = 0

    def directive(self, place: int, word: str, never: bool) -> None:
        self._read_to(place)
        if word == "if":
            self.open_ones.append(_Branch(len(self.pieces), self.depth, dead=never))
        elif self.open_ones:
            branch = self.open_ones.pop()
            self._end(branch)
            if word != "endif":
                dead = never or branch.settled
                self.open_ones.append(_Branch(len(self.pieces), self.depth, dead, branch.tried, branch.settled))

    def all_pieces(self) -> list[tuple[int, int]]:
        self._read_to(len(self.tokens))
        return self.pieces

    def _read_to(self, place: int) -> None:
        piece = self.tokens.texts[self.place : place]
        self.depth += sum((token in OPENING) - (token in CLOSING) for token in piece)
        self.pieces.append((self.place, place))
        self.place = place

    def _end(self, branch: _Branch) -> None:
        changed = self.depth != branch.depth
        if branch.dead or (changed and branch.tried):
            del self.pieces[branch.pieces :]
            self.depth = branch.depth
        else:
            branch.tried, branch.settled = True, branch.settled or changed
