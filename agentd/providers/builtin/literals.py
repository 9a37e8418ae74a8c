"""What a person quotes, set aside: sentences can then be taken apart without looking into code, names and texts."""

from __future__ import annotations

import re
from typing import Literal as OneOf

import attrs

# A literal is masked as its number between two characters that no text uses; if one does, they are masked themselves.
_OPEN, _CLOSE = "\ue000", "\ue001"
MASK = rf"{_OPEN}\d+{_CLOSE}"

_DIFF_LINE = r"(?:@@|[ +\-\\]|diff |index |new file|deleted file|old mode|new mode|similarity |rename |copy )"
_DIFF = (
    r"^(?:diff --git [^\n]*\n(?:(?!--- )[^\n]+\n)*)?--- [^\n]+\n\+\+\+ [^\n]+\n@@"
    rf"(?:[^\n]*(?:\n(?={_DIFF_LINE})|\n(?=\n+{_DIFF_LINE}))|\n(?=\n*{_DIFF_LINE}))*[^\n]*"
)
_FENCE = (
    r"^(?P<indent>[ \t]*)(?P<mark>`{3,}(?!`)|~{3,}(?!~))(?P<info>[^\n]*)\n(?P<fenced>(?:.*?\n)??)[ \t]*(?P=mark)[ \t]*$"
)
_QUOTED = (
    r"``(?!`)(?P<double_code>.+?)``(?!`)",
    r"`(?P<code>[^`]+)`",
    r'(?<!\w)"(?P<double>[^"]*)"(?!\w)',
    r"(?<!\w)'(?P<single>(?:(?!\n\n).)*?)'(?!\w)",  # no apostrophe: that has a letter on both sides
    r"“(?P<curly>[^”]*)”",
    "\u2018(?P<curly_single>[^\u2019]*)\u2019(?!\\w)",
)
_LITERAL = re.compile(
    rf"(?P<diff>{_DIFF})|{_FENCE}|{'|'.join(_QUOTED)}|(?P<stray>[{_OPEN}{_CLOSE}])", re.MULTILINE | re.DOTALL
)


@attrs.frozen
class Literal:
    raw: str  # as it stands, with its quotes
    value: str
    kind: OneOf["diff", "fence", "quote"]
    info: str = ""  # of a fence: what stands behind its opening mark


@attrs.frozen
class Masked:
    """A text with its literals masked."""

    text: str
    literals: tuple[Literal, ...]

    def literal(self, mask: str) -> Literal:
        return self.literals[int(mask.strip()[1:-1])]

    def value(self, piece: str) -> str:
        """What a piece of the text says: the inside of a literal, or the piece as it is."""
        return self.literal(piece).value if re.fullmatch(rf"\s*{MASK}\s*", piece) else self.restore(piece)

    def restore(self, piece: str) -> str:
        return re.sub(MASK, lambda mask: self.literal(mask[0]).raw, piece)


def mask(text: str) -> Masked:
    literals: list[Literal] = []

    def put_aside(match: re.Match[str]) -> str:
        literals.append(_literal(match))
        return f"{_OPEN}{len(literals) - 1}{_CLOSE}"

    return Masked(_LITERAL.sub(put_aside, text), tuple(literals))


def _literal(match: re.Match[str]) -> Literal:
    raw = match[0]
    if match["diff"] is not None:
        return Literal(raw, raw, "diff")
    if match["fenced"] is not None:
        body = (
            re.sub(rf"^{match['indent']}", "", match["fenced"], flags=re.MULTILINE)
            if match["indent"]
            else match["fenced"]
        )
        kind: OneOf["diff", "fence"] = "diff" if re.search(_DIFF, body, re.MULTILINE) else "fence"
        return Literal(raw, body, kind, match["info"].strip())
    value = next((found for name in _QUOTE_NAMES if (found := match[name]) is not None), raw)
    return Literal(raw, value, "quote")


_QUOTE_NAMES = ("double_code", "code", "double", "single", "curly", "curly_single")
