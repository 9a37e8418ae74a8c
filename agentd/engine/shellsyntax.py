"""The simple commands in a shell script, wherever they stand: chains, pipes, groups, loops, substitutions, functions.

This is a reader of what *could* run, not a parser of what is right: a structure that no shell would take may be read,
as long as every command in it is found. What is not understood raises Unreadable or is told as a doubt; a doubt is
about what a script does, not about where its commands begin and end. The rules: POSIX XCU 2.9 and 2.10, bash's manual.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import attrs

from agentd.engine.shellwords import DYNAMIC, Unreadable, Word, Words, check_characters

MAX_COMMANDS = 1000

_SKIPPED = re.compile(r"(?:[ \t]|\\\n)+")
_COMMENT = re.compile(r"#[^\n]*")
_SEPARATOR = re.compile(r"&&|\|\||\|&|[;&|]")
_CASE_END = re.compile(r";;&|;&|;;")
_REDIRECTION = re.compile(r"([0-9]*)(<<<|<<-|<<|<&|<>|<(?!\()|&>>|&>|>>|>&|>\||>(?!\())")
_DESCRIPTOR = re.compile(r"[0-9]*-?")
_NAMED_DESCRIPTOR = re.compile(r"[0-9]+|\{[A-Za-z_]\w*(\[.*\])?\}|\{.*\0", re.DOTALL)
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(\[.*?\]|\0)?(\+?=)?", re.ASCII | re.DOTALL)
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_OPENING = {"if", "then", "else", "elif", "fi", "do", "done", "while", "until", "{", "}", "!"}
_EVALUATING = {"-eq", "-ne", "-lt", "-le", "-gt", "-ge", "-v", "-R"}  # in [[ ]]: take their operands for arithmetic


@attrs.frozen
class Command:
    """One simple command, quotes removed. A redirection alone is one too, without words."""

    words: tuple[str, ...]
    assigned: tuple[str, ...] = ()  # names of variables
    reads: tuple[str, ...] = ()  # files that redirections name
    writes: tuple[str, ...] = ()
    stdin: str | None = None  # the text of a here-document or here-string


@attrs.define
class _Building:
    words: list[str] = attrs.field(factory=list)
    assigned: list[str] = attrs.field(factory=list)
    reads: list[str] = attrs.field(factory=list)
    writes: list[str] = attrs.field(factory=list)
    stdin: str | None = None
    number: int = -1  # of the command that was made of it

    @property
    def begun(self) -> bool:
        return bool(self.words or self.assigned or self.reads or self.writes or self.stdin is not None)


@attrs.define
class Script:
    """What was found in a text. *doubts*: why what it does is not wholly known; empty if it is."""

    commands: list[Command] = attrs.field(factory=list)
    doubts: list[str] = attrs.field(factory=list)
    functions: set[str] = attrs.field(factory=set)
    whole: bool = True  # False: what comes after these commands could not be read


def read_script(text: str, depth: int = 0) -> Script:
    """Never raises; what cannot be read is a doubt, beside the commands that come before it."""
    script = Script()
    try:
        check_characters(text)
        reader = _Reader(text, depth, script)
        reader.commands_until("")
    except Unreadable as exc:
        script.doubts.append(str(exc))
        script.whole = False
    return script


class _Reader(Words):
    def __init__(self, text: str, depth: int, script: Script) -> None:
        super().__init__(text, depth, script.doubts.append)
        self._script = script
        self._bodies: list[Callable[[], None]] = []  # of here-documents: each reads its own, at the next newline

    def substitution(self) -> None:
        """Also of a subshell: from behind `(` to behind `)`."""
        self.deeper()
        bodies, waiting = self._bodies, self.waiting
        self._bodies, self.waiting = [], waiting or bool(bodies)
        self.commands_until(")")
        if self._bodies:
            raise Unreadable("a here-document without a body")
        self._bodies, self.waiting = bodies, waiting
        self.at += 1
        self.depth -= 1

    def script(self, text: str) -> None:
        self.deeper()
        _Reader(text, self.depth, self._script).commands_until("")
        self.depth -= 1

    def commands_until(self, end: str) -> None:
        """*end*: ")", "" for the end of the text, or "case" for that of a clause. It is left unread."""
        while True:
            self._blanks(over_lines=True)
            if self.at >= len(self.text):
                return self._end(end)
            if self.next_is(")"):
                if end == ")":
                    return None
                raise Unreadable("a parenthesis where none belongs")
            if end == "case" and (_CASE_END.match(self.text, self.at) or self._keyword("esac")):
                return None
            if found := _SEPARATOR.match(self.text, self.at):
                self.at = found.end()
            else:
                self._command()

    def _end(self, end: str) -> None:
        if end:
            raise Unreadable("it ends in the middle of something")
        if self._bodies:
            raise Unreadable("a here-document without a body")

    def _blanks(self, *, over_lines: bool = False) -> None:
        """Skip blanks and comments. Only called where a word could begin: there alone # starts a comment."""
        while self.at < len(self.text):
            if found := _SKIPPED.match(self.text, self.at) or _COMMENT.match(self.text, self.at):
                self.at = found.end()
            elif over_lines and self.next_is("\n"):
                self._newline()
            else:
                return

    def _newline(self) -> None:
        if self.waiting:
            raise Unreadable("a here-document begins in the middle of something else")
        self.at += 1
        bodies, self._bodies = self._bodies, []
        for read_body in bodies:
            read_body()

    def _keyword(self, name: str) -> bool:
        end = self.at + len(name)
        return self.next_is(name) and (end == len(self.text) or self.text[end] in " \t\n;&|()<>")

    def _expect(self, text: str) -> None:
        self._blanks()
        if not self.next_is(text):
            raise Unreadable(f"{text} is missing")
        self.at += len(text)

    def _need_word(self) -> Word:
        self._blanks()
        word = self.word()
        if word is None:
            raise Unreadable("a word is missing")
        return word

    def _command(self) -> None:
        if self.next_is("(("):
            self.doubt("arithmetic")
            self.at += 2
            self.arithmetic("'\"\\`{}#")
        elif self.next_is("("):
            self.at += 1
            self.substitution()
        else:
            self._simple()

    def _simple(self) -> None:
        building = _Building()
        while not self._at_end_of_command():
            if self._redirection(building):
                continue
            if self.next_is("("):
                return self._function(building)
            word = self._need_word()
            if not building.begun and word.plain and self._reserved(word.text):
                return None
            self._add(building, word)
        self._keep(building)
        return None

    def _at_end_of_command(self) -> bool:
        self._blanks()
        char = self.text[self.at : self.at + 1]
        return not char or char in "\n;|)" or (char == "&" and not self.next_is("&>"))

    def _add(self, building: _Building, word: Word) -> None:
        if self.text[self.at : self.at + 1] in ("<", ">") and _NAMED_DESCRIPTOR.fullmatch(word.text):
            raise Unreadable("a redirection to a descriptor of its own")
        found = None if building.words else _ASSIGNMENT.match(word.text)
        if not found or found.end() > word.bare:
            building.words.append(word.text)
        elif found[3]:
            self._assignment(building, found, word)
        elif found[2]:  # a[…]=x, of which the pattern in brackets has hidden the rest; or a pattern for a command
            self.doubt("a name that is a pattern, or an assignment to an element")
        else:
            building.words.append(word.text)

    def _assignment(self, building: _Building, found: re.Match[str], word: Word) -> None:
        building.assigned.append(found[1])
        if found[2]:
            self.doubt("an assignment to an element")
        if self.next_is("(") and found.end() == len(word.text):
            self.at += 1
            self._array()

    def _array(self) -> None:
        while True:
            self._blanks(over_lines=True)
            if self.next_is(")"):
                self.at += 1
                return
            if self._need_word().text.startswith("["):
                self.doubt("an assignment to an element")

    def _keep(self, building: _Building) -> None:
        building.number = len(self._script.commands)
        building.assigned += self.assigned
        self.assigned = []
        self._emit(
            Command(
                tuple(building.words),
                tuple(building.assigned),
                tuple(building.reads),
                tuple(building.writes),
                building.stdin,
            )
        )

    def _emit(self, command: Command) -> None:
        if len(self._script.commands) >= MAX_COMMANDS:
            raise Unreadable(f"it has more than {MAX_COMMANDS} commands")
        self._script.commands.append(command)

    def _function(self, building: _Building) -> None:
        self.at += 1
        self._expect(")")
        if len(building.words) != 1 or building != _Building(words=building.words):
            raise Unreadable("a parenthesis where none belongs")
        self._script.functions.add(building.words[0])

    # What follows a reserved word is read as the next command, with but a few exceptions.

    def _reserved(self, name: str) -> bool:
        if name in _OPENING:
            return True
        structure = {
            "for": self._for,
            "select": self._for,
            "case": self._case,
            "function": self._named_function,
            "coproc": self._coprocess,
            "time": self._time,
            "[[": self._condition,
        }.get(name)
        if structure:
            structure()
        elif name == "esac":
            raise Unreadable("esac without case")
        return structure is not None

    def _time(self) -> None:
        self._blanks()
        if self._keyword("-p"):
            self.at += 2

    def _coprocess(self) -> None:
        self.doubt("a coprocess")

    def _named_function(self) -> None:
        self._script.functions.add(self._need_word().text)
        self._blanks()
        if self.next_is("("):
            self.at += 1
            self._expect(")")

    def _for(self) -> None:
        self._blanks()
        if self.next_is("(("):
            return self._command()
        name = self._need_word().text
        if not _NAME.fullmatch(name):
            raise Unreadable("for without a name")
        self._emit(Command((), (name,)))
        self._blanks(over_lines=True)
        if self._keyword("in"):
            self.at += 2
            while not self._at_end_of_command():
                self._need_word()
        return None

    def _case(self) -> None:
        self._need_word()
        self._blanks(over_lines=True)
        self._expect("in")
        self.deeper()
        while True:
            self._blanks(over_lines=True)
            if self._keyword("esac"):
                self.at += 4
                self.depth -= 1
                return
            self._clause()

    def _clause(self) -> None:
        self.at += self.next_is("(")
        self._need_word()
        self._blanks()
        while self.next_is("|"):
            self.at += 1
            self._need_word()
            self._blanks()
        self._expect(")")
        self.commands_until("case")
        if found := _CASE_END.match(self.text, self.at):
            self.at = found.end()

    def _condition(self) -> None:
        words: list[str] = []
        while True:
            while self.text[self.at : self.at + 1] in tuple(" \t\n()|&<>"):
                announced = self.waiting or self._bodies
                if self.next_is("<(") or self.next_is(">(") or (announced and self.next_is("\n")):
                    raise Unreadable("something else in [[ ]]")
                self.at += 1
            word = None if self.next_is("#") else self.word()
            if word is None:
                raise Unreadable("[[ ]] that is not understood")
            if word.plain and word.text == "]]":
                break
            words.append(word.text)
        if _EVALUATING.intersection(words) or "=~" in words:
            self.doubt("[[ ]] that computes")
        self._emit(Command(("[[", *words), tuple(self.assigned)))
        self.assigned = []

    def _redirection(self, building: _Building) -> bool:
        found = _REDIRECTION.match(self.text, self.at)
        if not found:
            return False
        self.at = found.end()
        match found[2]:
            case "<<" | "<<-":
                self._here_document(building, tabs=found[2] == "<<-")
            case "<<<":
                building.stdin = self._need_word().text
            case "<&" | ">&":
                self._duplicate(building, found[2], self._need_word().text)
            case "<":
                building.reads.append(self._need_word().text)
            case "<>":
                target = self._need_word().text
                building.reads.append(target)
                building.writes.append(target)
            case _:
                building.writes.append(self._need_word().text)
        return True

    def _duplicate(self, building: _Building, operator: str, target: str) -> None:
        if _DESCRIPTOR.fullmatch(target):
            return
        if operator == "<&":
            raise Unreadable("a descriptor that is none")
        building.writes.append(target)

    def _here_document(self, building: _Building, *, tabs: bool) -> None:
        if self.waiting:
            raise Unreadable("a here-document inside another")
        self._blanks()
        start = self.at
        delimiter = self._need_word().text
        quoted = self.text[start : self.at] != delimiter
        if DYNAMIC in delimiter or "\n" in self.text[start : self.at] or any(char in delimiter for char in "$`\\"):
            raise Unreadable("a here-document that ends at something unusual")
        building.stdin = DYNAMIC
        self._bodies.append(lambda: self._read_body(building, delimiter, tabs, quoted))

    def _read_body(self, building: _Building, delimiter: str, tabs: bool, quoted: bool) -> None:
        lines: list[str] = []
        while True:
            if self.at >= len(self.text):
                raise Unreadable(f"nothing ends the here-document: {delimiter}")
            end = self.text.find("\n", self.at)
            line = self.text[self.at : end if end >= 0 else len(self.text)]
            self.at = end + 1 if end >= 0 else len(self.text)
            line = line.lstrip("\t") if tabs else line
            if line == delimiter:
                break
            lines.append(line)
        if lines and lines[-1].endswith("\\") and not quoted:
            raise Unreadable("a here-document whose end is continued")
        body = "".join(f"{line}\n" for line in lines)
        text = body if quoted else _Reader(body, self.depth, self._script).here_text()
        made = self._script.commands[building.number]
        self._script.commands[building.number] = attrs.evolve(made, stdin=text)
