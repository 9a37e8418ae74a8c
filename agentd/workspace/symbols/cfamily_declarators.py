"""What the declarators of a C or C++ head declare: `int *a, (*f)(int), g(void)` are two variables and a function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import attrs

from agentd.workspace.symbols.cfamily_items import Item, is_operator
from agentd.workspace.symbols.cfamily_words import MACRO, POINTERS, TRAILERS, TYPE_WORDS, Dialect
from agentd.workspace.symbols.tokens import LITERAL, WORD, Tokens

MAX_NESTED = 32  # parentheses around a name


class Declarator(NamedTuple):
    name: str
    place: int
    qualifiers: tuple[str, ...]  # of `A::B::f`
    is_absolute: bool  # `::A::f`
    is_callable: bool
    begin: int  # the place of its first token: behind the type that all declarators share


class Part(NamedTuple):
    """A declarator's items, from one comma to the next; those of the first also have the type."""

    items: Sequence[Item]
    stop: int  # the place behind


def parts_of(items: Sequence[Item], stop: int) -> list[Part]:
    parts, begin = [], 0
    for index, item in enumerate(items):
        if item.text == ",":
            parts.append(Part(items[begin:index], item.place))
            begin = index + 1
    parts.append(Part(items[begin:], stop))
    return parts


class _Name(NamedTuple):
    begin: int  # index of the first item of `A<int>::B::f`
    qualifiers: tuple[str, ...]
    is_absolute: bool


@attrs.frozen
class Declarators:
    tokens: Tokens
    dialect: Dialect
    class_name: str  # of the class around, whose constructors have no type; "" outside of one
    has_body: bool  # the head ends with a brace

    def read(self, items: Sequence[Item], *, typed: bool = False) -> Declarator | None:
        """*typed* says that a type comes before these items."""
        base = 0  # behind macros that look like calls
        for index, item in enumerate(items):
            if item.text == "(":
                if self._is_macro(items, base, index, typed=typed):
                    base = index + 1
                elif self._is_attribute_before(items, index):
                    continue
                elif index:
                    return self._before_parenthesis(items, base, index, typed=typed)
                else:
                    return self._nested(item.place, item.place, is_typed=typed)
            elif item.text in ("=", "[", "{", ":"):
                return self._variable(items, base, index, typed=typed)
        return self._variable(items, base, len(items), typed=typed)

    def tag(self, items: Sequence[Item]) -> Declarator | None:
        """The name that a class has, of what stands between its key and its bases; None if it is anonymous."""
        at = len(items) - 1
        while at >= 0 and items[at].text in ("<", "("):
            at -= 2 if items[at].text == "(" else 1  # an attribute macro, or template arguments
        return self._declarator(items, at, is_callable=False) if self._is_name(items, at) else None

    def _is_macro(self, items: Sequence[Item], base: int, index: int, *, typed: bool) -> bool:
        """`Q_PROPERTY(...)` with no type before it and a declaration behind it."""
        if index + 1 >= len(items) or not self._is_name(items, index - 1):
            return False
        behind, name = items[index + 1].text, self._qualified(items, index - 1)
        text = items[index - 1].text
        if name.qualifiers or text == self.class_name or not text.isidentifier():
            return False
        if self._is_pointed(items[index].place):
            return False
        is_declaration = behind in ("::", "*") or behind.startswith("~") or behind[0].isalpha() or behind[0] == "_"
        if not is_declaration or behind in TRAILERS:
            return False
        types = [
            item for item in items[base : name.begin] if not (MACRO.fullmatch(text) and MACRO.fullmatch(item.text))
        ]
        return not self._is_typed(types, typed=typed)

    def _is_attribute_before(self, items: Sequence[Item], index: int) -> bool:
        """`static void PRINTF_LIKE(1, 2) die(...)`"""
        if len(items) < index + 3 or not index or items[index + 2].text != "(":
            return False
        behind = items[index + 1].text
        is_function = self._is_name(items, index + 1) and not MACRO.fullmatch(behind) and behind not in TRAILERS
        return is_function and MACRO.fullmatch(items[index - 1].text) is not None

    def _before_parenthesis(self, items: Sequence[Item], base: int, index: int, *, typed: bool) -> Declarator | None:
        place, before = items[index].place, items[index - 1].text
        if is_operator(before) or before.startswith("~"):
            return self._callable(items, index - 1)
        is_typed = self._is_typed(items[base:index], typed=typed)
        if self._is_inner(items, index):
            return self._nested(place, self._pointers_before(items, index), is_typed=is_typed)
        at = index - 2 if before == "<" else index - 1
        if not self._is_name(items, at):
            return None
        is_double = self.tokens.partner.get(place + 1) == self.tokens.partner[place] - 1 > place + 1
        if (is_double or MACRO.fullmatch(items[at].text)) and self._follows_name(items, base, at, typed=typed):
            if is_double:  # int f OF((int));
                return self._callable(items, at - 1)
            return self._variable(items, base, at, typed=typed)  # int size GUARDED_BY(mutex);
        if self.tokens.kinds[place + 1] == LITERAL:
            return self._variable(items, base, at + 1, typed=typed)
        return self._callable(items, at) if self._may_be_function(items, base, at, index, typed=typed) else None

    def _is_inner(self, items: Sequence[Item], index: int) -> bool:
        """Is it `(*name)` or `(name)` behind a type, rather than parameters behind a name?"""
        before, place = items[index - 1].text, items[index].place
        if self._is_pointed(place) or before in POINTERS or before in TYPE_WORDS:
            return True
        behind = items[index + 1].text if index + 1 < len(items) else ""
        is_single = self.tokens.partner[place] == place + 2 and self.tokens.kinds[place + 1] == WORD
        return is_single and behind == "(" and self.tokens.texts[place + 1] not in TYPE_WORDS

    def _is_pointed(self, place: int) -> bool:
        """Does the parenthesis begin like `(*`, `(Class::*` or `(WINAPI *`?"""
        texts, stop, at = self.tokens.texts, self.tokens.partner[place], place + 1
        if texts[at] in POINTERS:
            return True
        while at + 2 < stop and self.tokens.kinds[at] == WORD and texts[at + 1] == "::":
            at += 2
        if texts[at] == "*":
            return True
        is_convention = (
            at == place + 1
            and self.tokens.kinds[at] == WORD
            and (texts[at].startswith("__") or MACRO.fullmatch(texts[at]) is not None)
        )
        return is_convention and texts[at + 1] == "*" and texts[stop + 1 : stop + 2] == ["("]

    def _may_be_function(self, items: Sequence[Item], base: int, at: int, index: int, *, typed: bool) -> bool:
        name = self._qualified(items, at)
        if name.qualifiers:
            return True
        behind = items[index + 1].text if index + 1 < len(items) else ""
        if self._is_typed(items[base : name.begin], typed=typed):
            return True
        if items[at].text == self.class_name:
            return True
        if behind == "->":
            return False  # a deduction guide
        if MACRO.fullmatch(items[at].text):
            return False
        if base and (not self.class_name or self._shares_line(items[base - 1].place, items[at].place)):
            return True  # EXPORT(int) f(void);
        return self.has_body

    def _follows_name(self, items: Sequence[Item], base: int, at: int, *, typed: bool) -> bool:
        """Do a type and a name come before, so that this is no name but a macro?"""
        if at < 2 or not self._is_name(items, at - 1):
            return False
        begin = self._qualified(items, at - 1).begin
        types = [item for item in items[base:begin] if not MACRO.fullmatch(item.text)]
        return self._is_typed(types, typed=typed)

    def _shares_line(self, opening: int, place: int) -> bool:
        closed = self.tokens.partner[opening]
        return "\n" not in self.tokens.text[self.tokens.starts[closed] : self.tokens.starts[place]]

    def _callable(self, items: Sequence[Item], at: int) -> Declarator:
        return self._declarator(items, at, is_callable=True)

    def _variable(self, items: Sequence[Item], base: int, index: int, *, typed: bool) -> Declarator | None:
        at = index - 1
        if at > 0 and items[at].text == "<":
            at -= 1  # a variable template's specialisation
        if at < 0 or not self._is_name(items, at):
            return None
        name = self._qualified(items, at)
        is_macro_type = base == name.begin and base and self._shares_line(items[base - 1].place, items[at].place)
        if not is_macro_type and not self._is_typed(items[base : name.begin], typed=typed):
            return None
        return self._declarator(items, at, is_callable=False)

    def _declarator(self, items: Sequence[Item], at: int, *, is_callable: bool) -> Declarator:
        name = self._qualified(items, at)
        begin = self._pointers_before(items, name.begin)
        return Declarator(items[at].text, items[at].place, name.qualifiers, name.is_absolute, is_callable, begin)

    def _pointers_before(self, items: Sequence[Item], index: int) -> int:
        """The place where a declarator begins: with the pointers before its name."""
        begin = index
        while index and (items[index - 1].text in POINTERS or items[index - 1].text in ("const", "volatile")):
            index -= 1
            begin = index if items[index].text in POINTERS else begin
        return items[begin].place

    def _is_name(self, items: Sequence[Item], index: int) -> bool:
        if index < 0:
            return False
        item = items[index]
        if item.text.startswith("~") or is_operator(item.text):
            return True
        return self.tokens.kinds[item.place] == WORD and item.text != "<" and item.text not in self.dialect.keywords

    def _qualified(self, items: Sequence[Item], at: int) -> _Name:
        qualifiers: list[str] = []
        while at >= 1 and items[at - 1].text == "::":
            owner = at - 3 if at >= 3 and items[at - 2].text == "<" else at - 2
            if not self._is_name(items, owner):
                return _Name(at - 1, tuple(reversed(qualifiers)), True)
            qualifiers.append(items[owner].text)
            at = owner
        return _Name(at, tuple(reversed(qualifiers)), False)

    def _is_typed(self, items: Sequence[Item], *, typed: bool) -> bool:
        return typed or any(
            self.tokens.kinds[item.place] == WORD
            and item.text not in self.dialect.specifiers
            and item.text not in self.dialect.type_keys
            for item in items
        )

    def _nested(self, place: int, begin: int, *, is_typed: bool) -> Declarator | None:
        """Of `(*signal(int))(int)`, the name inside of the parentheses."""
        texts, kinds = self.tokens.texts, self.tokens.kinds
        stop, at, is_pointer, qualifiers = self.tokens.partner[place], place + 1, False, list[str]()
        for _ in range(MAX_NESTED):
            if at >= stop or not is_typed:
                return None
            if texts[at] == "(" or texts[at] in POINTERS:
                is_pointer = texts[at] != "("
                at += 1
            elif kinds[at] != WORD:
                return None
            elif texts[at + 1] == "::":
                qualifiers.append(texts[at])
                at += 2
                if texts[at] == "*":
                    qualifiers.clear()
            elif texts[at] in self.dialect.specifiers or kinds[at + 1] == WORD or texts[at + 1] in POINTERS:
                at += 1
            else:
                break
        else:
            return None
        is_callable = texts[at + 1] == "(" or (not is_pointer and texts[at + 1 : at + 3] == [")", "("])
        return Declarator(texts[at], at, tuple(qualifiers), False, is_callable, begin)
