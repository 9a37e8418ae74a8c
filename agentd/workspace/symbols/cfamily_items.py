"""A head of a C or C++ declaration as a flat list of items: what they are, and which of them say what is declared."""

from __future__ import annotations

from typing import NamedTuple

import attrs

from agentd.workspace.symbols.cfamily_words import MACRO, POINTERS, Dialect
from agentd.workspace.symbols.tokens import OPENING, Tokens


class Item(NamedTuple):
    text: str  # of the token; an opening bracket stands for the whole bracket, `"` for a string
    place: int  # of its (first) token


@attrs.define
class Head:
    start: int  # place of its first token
    items: list[Item]
    stop: int  # place of what ends it
    until: str  # that token: "{" of a body, ";", "}" or "" at the end of the text
    signature_stop: int  # the place behind the declaration itself, before initialisers of a constructor
    is_instantiation: bool = False

    def has(self, text: str) -> bool:
        return any(item.text == text for item in self.items)


@attrs.define
class Angles:
    """Finds the end of template arguments, which only the parser of a compiler can really tell from comparisons."""

    tokens: Tokens
    _dead: tuple[int, int] = (0, 0)  # from here to there nothing closes a `<`

    def close(self, place: int, limit: int, *, in_expression: bool = False) -> int | None:
        """The place of the `>` that belongs to the `<` at *place*."""
        if self._dead[0] <= place < self._dead[1]:
            return None
        texts, depth, last, at = self.tokens.texts, 0, None, place
        while at < limit:
            text = texts[at]
            if text == "<":
                if texts[at + 1 : at + 2] == ["<"]:
                    at += 1  # a shift
                else:
                    depth += 1
            elif text == ">":
                depth, last = depth - 1, at
                if depth == 0:
                    return at
            elif text in (";", "}") or (in_expression and text in ("=", "?")):
                break
            at = self.tokens.skip(at) if text in OPENING else at + 1
        if last is None or in_expression:
            self._dead = (place, at)
            return None
        return last  # `bool Small = N < 3>`: one of them was a comparison


def is_linkage(items: list[Item]) -> bool:
    """`extern "C"`"""
    return len(items) >= 2 and items[-1].text == '"' and items[-2].text == "extern"


def is_operator(text: str) -> bool:
    return text.startswith("operator") and not text.isidentifier()


def type_key(items: list[Item], dialect: Dialect) -> int | None:
    """Where in a head that ends with a brace the word is that makes it a type's; None if it is a function's."""
    key = next((index for index, item in enumerate(items) if item.text in dialect.type_keys), None)
    if key is None:
        return None
    for index in range(key + 1, len(items)):
        text = items[index].text
        if text == ":":
            return key
        if text in POINTERS or is_operator(text) or text == "=":
            return None
        if text == "(" and index > key + 2 and not MACRO.fullmatch(items[index - 1].text):
            return None  # `struct point make(...)`, but neither `struct API(x) point` nor `struct point PACKED(4)`
    return key
