"""Text that begins like a tool call, as it grows: is it one, and where does it end? leakscan.py says where to look.

    <tool_call>…</tool_call>    <function=name>…</function>    to the end tag
    ```json … ```                                              to the end of the block
    [TOOL_CALLS]…   <|python_tag|>…                            to the end of the reply
    {…}   […]                                                  to the last bracket

Whatever is missing at the end of the reply may be missing, if the reply was not cut off there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from agentd.providers.leakedcalls import (
    Leaked,
    NoCall,
    Tools,
    may_be_json_call,
    read_broken,
    read_function,
    read_json,
    read_mistral,
)
from agentd.providers.lenientjson import Unterminated

TOOL_CALL, FUNCTION, MISTRAL, PYTHON = "<tool_call>", "<function=", "[TOOL_CALLS]", "<|python_tag|>"
MARKS = (TOOL_CALL, FUNCTION, MISTRAL, PYTHON)

LOOK = 300  # characters that show whether something begins like a call
TAG_CHARS = len("</tool_call>")  # the longest that ends with a trigger of ">"
MAX_TRIES = 50  # ends that turn out to be within a string

Read = Callable[[str, bool], list[Leaked]]  # a text, and whether it is all there; raises Unterminated, NoCall
MayBe = Callable[[str], bool]  # whether a text that begins like this can become a call


class Candidate(Protocol):
    form: str  # for people
    opening: int  # characters that are just text if it is no call
    sure: bool  # a call wherever it is; else only if nothing follows
    calls: list[Leaked]  # once it has ended

    def look(self, text: str, *, final: bool, whole: bool) -> int | None:
        """Where it ends in *text*, which begins with it and has grown since the last look; None if not yet. *final*: it
        grows no more; *whole*: nor was it cut off. Raises NoCall."""


class Closed:
    """Ends with what *closing* matches, which is looked for when a *trigger* has come. *start*: of what is read.
    *broken* reads what *read* finds to be no call, where it has to be one."""

    def __init__(
        self,
        form: str,
        opening: int,
        closing: re.Pattern[str],
        trigger: str,
        may_be: MayBe,
        read: Read,
        *,
        start: int | None = None,
        sure: bool = True,
        broken: Callable[[str], list[Leaked]] | None = None,
    ) -> None:
        self.form = form
        self.opening = opening
        self.sure = sure
        self.calls: list[Leaked] = []
        self._start = opening if start is None else start
        self._seen = self._from = opening
        self._closing = closing
        self._trigger = trigger
        self._may_be = may_be
        self._read = read
        self._broken = broken
        self._tries = 0

    def look(self, text: str, *, final: bool, whole: bool) -> int | None:
        if not self._may_be(text[self._start : self._start + LOOK]):
            raise NoCall
        if final or self._trigger in text[self._seen :]:
            while found := self._closing.search(f"{text}\n" if final else text, self._from):
                if self._ends(text[self._start : found.start()]):
                    return found.end()
                self._from = found.end()
            # What closes may have begun already: on this line, or so many characters ago.
            self._from = max(self._from, len(text) - TAG_CHARS if self._trigger == ">" else text.rfind("\n") + 1)
        self._seen = len(text)
        if not final:
            return None
        self._read_rest(text[self._start :], whole)
        return len(text)

    def _ends(self, text: str) -> bool:
        self._tries += 1
        if self._tries > MAX_TRIES:
            raise NoCall
        try:
            self.calls = self._read(text, True)
        except Unterminated:
            return False  # this end is within a string
        except NoCall:
            if self._broken is None:
                raise
            self.calls = self._broken(text)
        return True

    def _read_rest(self, text: str, whole: bool) -> None:
        try:
            self.calls = _read_all(self._read, text, whole)
        except NoCall:
            if self._broken is None or not whole:
                raise
            self.calls = self._broken(text)


class Last:
    """Ends with the reply."""

    def __init__(self, form: str, start: int, may_be: MayBe, read: Read) -> None:
        self.form = form
        self.opening = self._start = start
        self.sure = True
        self.calls: list[Leaked] = []
        self._may_be = may_be
        self._read = read

    def look(self, text: str, *, final: bool, whole: bool) -> int | None:
        if not self._may_be(text[self._start : self._start + LOOK]):
            raise NoCall
        if not final:
            return None
        self.calls = _read_all(self._read, text[self._start :], whole)
        return len(text)


class Bare:
    """JSON that nothing marks as a call."""

    def __init__(self, tools: Tools) -> None:
        self.form = "bare JSON"
        self.opening = 1
        self.sure = False
        self.calls: list[Leaked] = []
        self._tools = tools
        self._at = 0  # up to here brackets have been counted
        self._depth = 0
        self._quote = ""

    def look(self, text: str, *, final: bool, whole: bool) -> int | None:
        if not may_be_json_call(text[:LOOK], self._tools):
            raise NoCall
        end = self._end(text)
        if end is None and not final:
            return None
        self.opening = end or 1  # nothing within it is looked at then
        self.calls = _read_all(self._read, text[:end], whole or end is not None)
        return end or len(text)

    def _read(self, text: str, all_there: bool) -> list[Leaked]:
        return read_json(text, self._tools, marked=False, all_there=all_there)

    def _end(self, text: str) -> int | None:
        while self._at < len(text):
            found = _TOKENS[self._quote].search(text, self._at)
            if found is None:
                self._at = len(text)
                break
            if found[0] == "\\" and found.end() == len(text):
                self._at = found.start()  # what it escapes has not come yet
                break
            self._at = found.end() + (found[0] == "\\")
            self._count(found[0])
            if not self._depth:
                return self._at
        return None

    def _count(self, token: str) -> None:
        if token in "{[":
            self._depth += 1
        elif token in "}]":
            self._depth -= 1
        elif token != "\\":
            self._quote = "" if self._quote else token


def marked(mark: str, tools: Tools) -> Candidate:
    """What begins with one of MARKS."""
    if mark == TOOL_CALL:
        return Closed(mark, len(mark), _TOOL_CALL_END, ">", _may_be_tool_call, _tool_call_reader(tools))
    if mark == FUNCTION:
        return Closed(
            f"{mark}…>",
            len(mark),
            _FUNCTION_END,
            ">",
            lambda text: _may_be_function(text, tools),
            lambda text, all_there: read_function(text, tools, all_there=all_there),
            start=0,
        )
    if mark == MISTRAL:
        return Last(
            mark,
            len(mark),
            lambda text: _MAY_BE_MISTRAL.match(text) is not None,
            lambda text, all_there: read_mistral(text, tools, all_there=all_there),
        )
    return Last(mark, len(mark), lambda text: text.lstrip()[:1] in _JSON, _json_reader(tools))


def fenced(fence: str, start: int, tools: Tools) -> Candidate:
    """A block of code that *fence* opened, whose first line begins at *start*."""
    read = _json_reader(tools, marked=False)
    may_be: MayBe = lambda text: may_be_json_call(text, tools)  # noqa: E731
    return Closed("a fenced block", start, _block_end(fence), "\n", may_be, read, sure=False)


def own_block(fence: str, start: int, tools: Tools) -> Candidate:
    """The same of a block that is marked as a call: it is one whatever is in it."""
    return Closed("", start, _block_end(fence), "\n", lambda _: True, _json_reader(tools), broken=read_broken)


def _read_all(read: Read, text: str, all_there: bool) -> list[Leaked]:
    try:
        return read(text, all_there)
    except Unterminated as exc:
        raise NoCall from exc


def _json_reader(tools: Tools, *, marked: bool = True) -> Read:
    return lambda text, all_there: read_json(text, tools, marked=marked, all_there=all_there)


def _tool_call_reader(tools: Tools) -> Read:
    def read(text: str, all_there: bool) -> list[Leaked]:
        if text.lstrip().startswith(FUNCTION):
            return read_function(text.lstrip(), tools, all_there=all_there)
        return read_json(text, tools, marked=True, all_there=all_there)

    return read


def _block_end(fence: str) -> re.Pattern[str]:
    return re.compile(rf"^ {{0,3}}{fence[0]}{{{len(fence)},}}[ \t]*(?=\n)", re.MULTILINE)


def _may_be_tool_call(text: str) -> bool:
    text = text.lstrip()
    return text[:1] in _JSON or FUNCTION.startswith(text[: len(FUNCTION)])


def _may_be_function(text: str, tools: Tools) -> bool:
    name, bracket, _ = text.removeprefix(FUNCTION).partition(">")
    return name in tools if bracket else len(name) < LOOK // 2


_JSON = ("", "{", "[")
_TOKENS = {quote: re.compile(rf"[{quote}\\]") for quote in ('"', "'")} | {"": re.compile(r"[\"'{}\[\]]")}
_TOOL_CALL_END = re.compile(r"</tool_call>")
_FUNCTION_END = re.compile(r"</function>")
_MAY_BE_MISTRAL = re.compile(r"\s*([\w.:-]{1,128}\s*[\[{]|[\w.:-]{0,128}\Z|[\[{])")
