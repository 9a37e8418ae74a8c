"""Finds tool calls in text as it streams. What may be one is held back until it is or is not; all else passes at once.

    <tool_call>…  <function=…  [TOOL_CALLS]…  <|python_tag|>…    anywhere but in code: that is what these marks are for
    a fenced block, or JSON at the start of a line                only where nothing follows it but more of the same: an
                                                                  answer that shows a call goes on to speak of it

In quoted code, fenced or within backticks, nothing is a call. The rules for code: CommonMark 0.31, 4.5 and 6.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import attrs

from agentd.providers.candidates import MARKS, Bare, Candidate, fenced, marked, own_block
from agentd.providers.leakedcalls import Leaked, NoCall, Tools

MAX_HELD = 256 * 1024  # characters: a call may hold a whole file
CODE_COLUMN = 4  # a line that is indented so far is code
AFTER_TEXT = 1_000_000
LONGEST_INFO = 100  # of a line that opens a block

LONGEST_MARK = max(map(len, MARKS))
FENCES = ("", "json", "tool_call", "tool_use", "tool")  # what the opening line of a block that is a call may say


@attrs.frozen
class Found:
    calls: tuple[Leaked, ...]
    form: str  # how they were written, for people; empty for what is the format


@attrs.frozen
class _Match:
    """A candidate that turned out to be calls."""

    text: str
    found: Found
    sure: bool


@attrs.define
class _Held:
    """What came since calls were found: dropped if nothing follows, else text after all."""

    texts: list[str] = attrs.field(factory=list)
    size: int = 0
    unsure: list[Found] = attrs.field(factory=list)  # what *texts* has of calls, if nothing follows

    def add(self, text: str) -> None:
        self.texts.append(text)
        self.size += len(text)


class Scanner:
    """feed() and close() give text and calls in their order. *own_fence*: what the opening line of blocks says that are
    calls for sure; *unmarked*: take other blocks and JSON for calls, too, where nothing follows."""

    def __init__(self, tools: Tools, *, own_fence: str = "", unmarked: bool = True) -> None:
        self._tools = tools
        self._own_fence = own_fence
        self._unmarked = unmarked
        self._text = ""  # from _at on it is not decided
        self._at = 0
        self._candidate: Candidate | None = None  # begins there
        self._candidate_fence = ""  # what opened it, if it is a block
        self._held: _Held | None = None
        self._fence = ""  # what opened the block of code that we are in
        self._inline = 0  # backticks that opened the code we are in, on this line
        self._column = 0  # spaces before this on its line; AFTER_TEXT if there is more

    def feed(self, text: str) -> Iterator[str | Found]:
        self._text += text
        yield from self._advance(final=False, whole=False)

    def close(self, *, whole: bool) -> Iterator[str | Found]:
        """What the end decides. *whole*: the text was not cut off, so that what is missing was left out."""
        yield from self._advance(final=True, whole=whole)
        held, self._held = self._held, None
        if held is not None:
            yield from held.unsure

    def release(self) -> str:
        """All that is held back, as text."""
        text = "".join(self._held.texts if self._held else ()) + self._text[self._at :]
        self._held, self._candidate, self._text, self._at = None, None, "", 0
        return text

    def _advance(self, *, final: bool, whole: bool) -> Iterator[str | Found]:
        passed: list[str] = []
        for step in self._steps(final, whole):
            if isinstance(step, str):
                passed += self._pass(step)
            elif not step.sure and self._held_size + len(step.text) <= MAX_HELD:
                self._hold(step.text).unsure.append(step.found)
            elif not step.sure:
                passed += self._pass(step.text)
            else:
                if passed:
                    yield "".join(passed)
                    passed = []
                if self._held is not None:
                    yield from self._held.unsure
                yield step.found
                self._held = _Held()
        if passed:
            yield "".join(passed)

    @property
    def _held_size(self) -> int:
        return 0 if self._held is None else self._held.size

    def _hold(self, text: str) -> _Held:
        self._held = self._held or _Held()
        self._held.add(text)
        self._column = 0  # for calls that a semicolon separates
        return self._held

    def _pass(self, text: str) -> list[str]:
        """What becomes of *text*, which is no call."""
        if self._held is None or not text:
            return [text] if text else []
        between = _WHITE if not self._held.unsure else _WHITE + ";,"
        if not text.strip(between) and self._held_size + len(text) <= MAX_HELD:
            self._hold(text)
            return []
        released, self._held = [*self._held.texts, text], None
        return released

    def _steps(self, final: bool, whole: bool) -> Iterator[str | _Match]:
        while self._at < len(self._text):
            enough = final or len(self._text) - self._at > MAX_HELD
            candidate = self._candidate
            step = self._decide(enough) if candidate is None else self._look(candidate, enough, whole and final)
            if step is None:
                break
            yield step
        self._text, self._at = self._text[self._at :], 0

    def _look(self, candidate: Candidate, final: bool, whole: bool) -> str | _Match | None:
        try:
            end = candidate.look(self._text[:MAX_HELD], final=final, whole=whole)
        except NoCall:
            self._candidate, self._fence = None, self._candidate_fence
            return self._line_end(candidate.opening) if self._fence else self._plain(candidate.opening)
        if end is None:
            return None
        self._candidate = None
        return _Match(self._plain(end), Found(tuple(candidate.calls), candidate.form), candidate.sure)

    def _begin(self, candidate: Candidate, fence: str = "") -> str:
        self._text, self._at = self._text[self._at :], 0
        self._candidate, self._candidate_fence = candidate, fence
        return ""

    # --- Where one may begin --------------------------------------------------------------------------------------

    def _decide(self, final: bool) -> str | None:
        """The next piece of text; "" if a candidate begins here, None if more has to come to tell."""
        char = self._text[self._at]
        if self._fence:
            return self._in_block(final)
        if char == "\n":
            self._inline = 0
            return self._line_end(1)
        if char in _WHITE:
            return self._indent(self._run(_SPACES))
        if char in "`~":
            return self._ticks(char, final)
        if not self._inline and char in "<[":
            mark = self._mark(final)
            if mark is None:
                return None
            if mark:
                return self._begin(marked(mark, self._tools))
        if not self._inline and char in "{[" and self._column < CODE_COLUMN and self._unmarked:
            return self._begin(Bare(self._tools))
        return self._plain(max(1, self._run(_PLAIN)))

    def _mark(self, final: bool) -> str | None:
        """The mark that is here; "" if there is none, None if more has to come to tell."""
        here = self._text[self._at : self._at + LONGEST_MARK]
        for mark in MARKS:
            if here.startswith(mark):
                return mark
            if mark.startswith(here) and not final:
                return None
        return ""

    def _ticks(self, char: str, final: bool) -> str | None:
        length = self._run(_TICKS[char])
        if self._at + length == len(self._text) and not final:
            return None
        if self._column < CODE_COLUMN and length >= 3:
            return self._block(char * length, final)
        if char == "`":
            self._inline = 0 if self._inline == length else self._inline or length
        return self._plain(length)

    def _block(self, fence: str, final: bool) -> str | None:
        """A block that opens here: a call, perhaps, or code."""
        rest = self._text[self._at : self._at + LONGEST_INFO]
        line, end, _ = rest.partition("\n")
        if not end and not final and len(rest) < LONGEST_INFO:
            return None
        info = line[len(fence) :].strip().lower()
        if fence[0] == "`" and "`" in info:  # it is code within a line
            self._inline = len(fence)
            return self._plain(len(fence))
        if not end:
            self._fence = fence
            return self._plain(len(fence))
        sure = bool(self._own_fence) and info == self._own_fence
        if not sure and not (self._unmarked and info in FENCES):
            self._fence = fence
            return self._line_end(len(line) + 1)
        begin = own_block if sure else fenced
        return self._begin(begin(fence, len(line) + 1, self._tools), fence)

    def _in_block(self, final: bool) -> str | None:
        if not self._column:
            line = _LINE_OF_TICKS.match(self._text, self._at)
            if line and line.end() == len(self._text) and not final:
                return None
            if line and line[1][:1] == self._fence[0] and len(line[1]) >= len(self._fence) and _ends_line(line):
                self._fence = ""
                return self._plain(line.end() - self._at)
        end = self._text.find("\n", self._at) + 1
        return self._line_end(end - self._at) if end else self._plain(len(self._text) - self._at)

    # --- Moving on ------------------------------------------------------------------------------------------------

    def _run(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self._text, self._at)
        return 0 if found is None else found.end() - self._at

    def _cut(self, length: int) -> str:
        self._at += length
        return self._text[self._at - length : self._at]

    def _plain(self, length: int) -> str:
        self._column = AFTER_TEXT
        return self._cut(length)

    def _indent(self, length: int) -> str:
        spaces = self._cut(length)
        self._column += sum(CODE_COLUMN if char == "\t" else 1 for char in spaces)
        return spaces

    def _line_end(self, length: int) -> str:
        self._column = 0
        return self._cut(length)


_WHITE = " \t\r\n"
_SPACES = re.compile(r"[ \t\r]+")
_PLAIN = re.compile(r"[^ \t\r\n`~<\[{]+")
_TICKS = {"`": re.compile("`+"), "~": re.compile("~+")}
_LINE_OF_TICKS = re.compile(r" {0,3}(`+|~+|)[ \t]*")


def _ends_line(line: re.Match[str]) -> bool:
    return line.string[line.end() : line.end() + 1] in ("", "\n", "\r")
