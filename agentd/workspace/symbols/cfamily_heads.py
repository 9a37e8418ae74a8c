"""The head of a C or C++ declaration: its tokens up to `;` or to the body, flat, with what says nothing taken out.

In a head a whole bracket or template argument list is one item, an operator or a destructor is one item, and
attributes, template headers and constraints are none at all. What remains is short and can be matched by position.
"""

from __future__ import annotations

from collections.abc import Callable

from agentd.workspace.symbols.cfamily_items import Angles, Head, Item, is_linkage, is_operator, type_key
from agentd.workspace.symbols.cfamily_words import (
    ACCESS,
    ATTRIBUTES,
    CPP_ONLY,
    MACRO,
    RESTARTS,
    SLOTS,
    TRAILERS,
    TYPE_CALLS,
    TYPE_WORDS,
    Dialect,
)
from agentd.workspace.symbols.tokens import LITERAL, OPENING, WORD, Tokens

MAX_MACROS = 8  # before a declaration
MAX_OPERATOR = 40  # tokens of an operator's name
MAX_OLD_STYLE = 32  # parameters declared behind the parameter list


class HeadReader:
    """Reads one head; made anew for each.

    *limit* is the place of the `}` that ends the scope, *tail* says that a type's definition comes before the head.
    """

    def __init__(
        self, tokens: Tokens, angles: Angles, start: int, limit: int, dialect: Dialect, *, tail: bool = False
    ) -> None:
        self._tokens, self._texts, self._angles = tokens, tokens.texts, angles
        self._start, self._place, self._limit, self._dialect = start, start, limit, dialect
        self._items: list[Item] = []
        self._until, self._is_tail = "", tail
        self._signature_stop: int | None = None
        self._is_template = self._is_instantiation = self._has_parameters = False
        self._has_type_key = self._is_namespace = False

    def read(self) -> Head:
        texts, kinds = self._texts, self._tokens.kinds
        while self._place < self._limit and not self._until:
            text = texts[self._place]
            step = _STEPS.get(text)
            if step is not None and (self._dialect.cpp or text not in CPP_ONLY):
                step(self)
            else:
                is_string = kinds[self._place] == LITERAL and text.endswith('"')
                self._items.append(Item('"' if is_string else text, self._place))
                self._place += 1
        stop = self._signature_stop or self._place
        return Head(self._start, self._items, self._place, self._until, stop, self._is_instantiation)

    def _text(self, offset: int) -> str:
        at = self._place + offset
        return self._texts[at] if 0 <= at < self._limit else ""

    def _last(self, index: int = -1) -> str:
        return self._items[index].text if len(self._items) >= -index else ""

    def _is_word(self, place: int) -> bool:
        return place < self._limit and self._tokens.kinds[place] == WORD

    def _push(self, text: str, behind: int) -> None:
        self._items.append(Item(text, self._place))
        self._place = behind

    def _skip(self) -> None:
        """Go behind a token or a whole bracket; a bracket that is not closed in this scope is a token."""
        closed = self._tokens.partner.get(self._place, self._place) if self._text(0) in OPENING else self._place
        self._place = closed + 1 if closed < self._limit else self._place + 1

    def _skip_parenthesis(self) -> None:
        if self._text(0) == "(":
            self._skip()

    def _plain(self) -> None:
        self._push(self._text(0), self._place + 1)

    # What each token that matters does

    def _type_key(self) -> None:
        self._drop_macros()
        self._has_type_key = True
        self._plain()

    def _namespace(self) -> None:
        self._drop_macros()
        self._is_namespace = True
        self._plain()

    def _begin(self) -> None:
        self._drop_macros()
        self._plain()

    def _drop_macros(self) -> None:
        """Macros such as BEGIN_NAMESPACE on lines of their own are no part of what follows them."""
        items = self._items
        if not items or len(items) > MAX_MACROS or not self._tokens.parted(self._place):
            return
        if all(item.text == "(" or MACRO.fullmatch(item.text) for item in items):
            self._restart()

    def _restart(self) -> None:
        self._items.clear()
        self._start = self._place
        self._is_template = self._has_parameters = self._has_type_key = self._is_namespace = False

    def _end(self) -> None:
        old_style = self._old_style_body()
        if old_style is None:
            self._until = self._text(0)
        else:
            self._until, self._place = "{", old_style

    def _bracket(self) -> None:
        text = self._text(0)
        closed = self._tokens.partner.get(self._place, self._place)
        if closed >= self._limit or self._texts[closed] != OPENING[text]:
            closed = self._close_early()
        if text == "[" and self._text(1) == "[":
            self._place = closed + 1
        else:
            self._has_parameters = self._has_parameters or text == "("
            self._push(text, closed + 1)

    def _close_early(self) -> int:
        """What is never closed ends before the next brace or semicolon: the rest must not drown in it."""
        at = self._place + 1
        while at < self._limit and self._texts[at] not in ("{", "}", ";"):
            at += 1
        self._tokens.partner[self._place] = at - 1
        return at - 1

    def _angle(self) -> None:
        closed = None
        if self._items and (self._is_word(self._place - 1) or is_operator(self._last())):
            closed = self._angles.close(self._place, self._limit)
        self._push("<", self._place + 1 if closed is None else closed + 1)

    def _initialiser(self) -> None:
        self._plain()
        while self._place < self._limit:
            text = self._text(0)
            if text in (",", ";", "}") or (text in RESTARTS and self._tokens.begins_line(self._place)):
                return
            closed = None
            if text == "<" and self._is_word(self._place - 1):
                closed = self._angles.close(self._place, self._limit, in_expression=True)
            if closed is None:
                self._skip()
            else:
                self._place = closed + 1

    def _colon(self) -> None:
        label = -2 if self._last() in SLOTS else -1
        if self._dialect.cpp and self._last(label) in ACCESS and self._last(label - 1) not in TYPE_WORDS:
            self._place += 1
            self._restart()
            return
        if self._has_parameters and self._signature_stop is None and not self._begins_type():
            self._signature_stop = self._place
        self._plain()

    def _comma(self) -> None:
        if self._signature_stop is None:
            self._has_parameters = False  # `int f(void), g{1};`
        self._plain()

    def _tilde(self) -> None:
        if self._is_word(self._place + 1) and self._text(2) == "(":
            self._push("~" + self._text(1), self._place + 2)
        else:
            self._plain()

    def _operator(self) -> None:
        at = self._place + 1
        if self._text(1) == "(" and self._text(2) == ")":
            at += 2
        name = "operator" + "".join(self._texts[self._place + 1 : at])
        limit = min(self._limit, at + MAX_OPERATOR)
        while at < limit and self._texts[at] not in ("(", ";", "{", "}"):
            text = self._texts[at]
            if self._tokens.kinds[at] == LITERAL and text != '""':
                break
            closed = None
            if text == "<" and self._is_word(at - 1) and at - 1 > self._place:  # std::vector<int>, but not operator<
                closed = self._angles.close(at, self._limit)
            elif self._is_word(at) and (name[-1].isalnum() or name[-1] in "_*&"):
                text = " " + text
            name += "" if closed is not None else "." if text == "::" else text
            at = at + 1 if closed is None else closed + 1
        self._push(name, at)

    def _template(self) -> None:
        if self._text(1) != "<":
            self._is_instantiation = self._is_instantiation or self._last() != "::"
            self._place += 1
            return
        self._drop_macros()
        closed = self._angles.close(self._place + 1, self._limit)
        self._is_template = True
        self._place = self._place + 2 if closed is None else closed + 1

    def _requires(self) -> None:
        if not (self._is_template or self._has_parameters):
            self._plain()  # a name, where the word is not reserved
            return
        while True:
            self._place += 1  # behind `requires`, `&&`, `||`
            self._constraint()
            if self._text(0) + self._text(1) not in ("&&", "||"):
                return
            self._place += 1

    def _constraint(self) -> None:
        while self._text(0) == "!":
            self._place += 1
        if self._text(0) == "requires":
            self._place += 1
            self._skip_parenthesis()
            self._skip()
        elif self._text(0) == "(":
            self._skip()
        else:
            self._constraint_name()

    def _constraint_name(self) -> None:
        self._place += self._text(0) == "::"
        while self._is_word(self._place):
            self._place += 1
            if self._text(0) == "<" and (closed := self._angles.close(self._place, self._limit)) is not None:
                self._place = closed + 1
            if self._text(0) != "::":
                return
            self._place += 1

    def _attribute(self) -> None:
        self._place += 1
        self._skip_parenthesis()

    def _type_call(self) -> None:
        if self._text(1) == "(":
            self._push("auto", self._place + 1)
            self._skip_parenthesis()
        else:
            self._plain()

    # What a brace is

    def _brace(self) -> None:
        if self._is_body():
            self._until = "{"
            return
        self._items.append(Item("{", self._place))
        self._skip()

    def _is_body(self) -> bool:
        last = self._last()
        if self._signature_stop is not None:
            return not (last == "<" or (self._is_word(self._place - 1) and last not in TRAILERS))
        if (
            len(self._items) < 2 - self._is_tail
            or self._has_parameters
            or self._is_namespace
            or is_linkage(self._items)
        ):
            return True
        return self._begins_type()

    def _begins_type(self) -> bool:
        return self._has_type_key and type_key(self._items, self._dialect) is not None

    def _old_style_body(self) -> int | None:
        """Of `int f(a, b) int a; char *b; {`, met at the first `;`: the place of the brace."""
        at = next((index for index, item in enumerate(self._items) if item.text == "("), None)
        if at is None or len(self._items) < at + 3 or self._text(0) != ";":
            return None
        open_place = self._items[at].place
        names = self._texts[open_place + 1 : self._tokens.partner[open_place]]
        if (
            not names
            or any(not name.isidentifier() or name in self._dialect.keywords for name in names[::2])
            or set(names[1::2]) - {","}
        ):
            return None
        brace = self._behind_declarations(min(len(names), MAX_OLD_STYLE))
        if brace is not None:
            self._signature_stop = self._items[at + 1].place
            del self._items[at + 1 :]
        return brace

    def _behind_declarations(self, count: int) -> int | None:
        at = self._place
        for _ in range(count):
            at += 1
            if at >= self._limit:
                return None
            if self._texts[at] == "{":
                return at
            while at < self._limit and self._texts[at] not in (";", "{", "}", "=", ":"):
                at = self._tokens.skip(at)
            if at >= self._limit or self._texts[at] != ";":
                return None
        return None


Step = Callable[[HeadReader], None]
_STEPS: dict[str, Step] = {
    ";": HeadReader._end,
    "}": HeadReader._end,
    "{": HeadReader._brace,
    "(": HeadReader._bracket,
    "[": HeadReader._bracket,
    "<": HeadReader._angle,
    "=": HeadReader._initialiser,
    ":": HeadReader._colon,
    ",": HeadReader._comma,
    "~": HeadReader._tilde,
    "operator": HeadReader._operator,
    "template": HeadReader._template,
    "requires": HeadReader._requires,
    "namespace": HeadReader._namespace,
    "using": HeadReader._begin,
    "typedef": HeadReader._begin,
    **dict.fromkeys(("class", "struct", "union", "enum"), HeadReader._type_key),
    **dict.fromkeys(ATTRIBUTES, HeadReader._attribute),
    **dict.fromkeys(TYPE_CALLS, HeadReader._type_call),
}
