"""What single values of YAML are: plain words and numbers, quoted text. The rules: YAML 1.1 as PyYAML reads it."""

from __future__ import annotations

import re
from typing import Any

LONGEST_NUMBER = 300  # characters: reading a number takes time that grows with their square

_WORDS: dict[str, bool | None] = {
    **{form: True for word in ("yes", "true", "on") for form in (word, word.title(), word.upper())},
    **{form: False for word in ("no", "false", "off") for form in (word, word.title(), word.upper())},
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
}
_FLOAT = re.compile(
    r"[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
    r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_INTEGER = re.compile(
    r"[-+]?0b[01_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+"
)
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_TIME = re.compile(
    r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})(?:[Tt]|[ \t]+)([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]*))?"
    r"(?:[ \t]*(?:(Z)|([-+])([0-9]{1,2})(?::([0-9]{2}))?))?"
)
_ESCAPES = dict(zip('0abt\tnvfre "\\/N_LP', '\0\a\b\t\t\n\v\f\r\x1b "\\/\x85\xa0\u2028\u2029', strict=True))
# Runs of blanks are taken whole: a pattern that could begin within one would look at it again from each of its blanks.
_BREAK = re.compile(r"[ \t]*+(\n[ \t\n]*+)|[ \t]++")
_SPECIAL_IN_DOUBLE = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(\n[ \t\n]*+)|(.))|[ \t]*+(\n[ \t\n]*+)|[ \t]++"
)


def plain_value(text: str) -> Any:
    """What *text*, without quotes, is: a text, or true, false, null, a number, a date or a time. Raises ValueError for
    what looks like one of those and is none."""
    if text in _WORDS:
        return _WORDS[text]
    if text in ("<<", "="):
        raise ValueError("has a meaning in YAML that is not supported")
    if text[0] not in "-+.0123456789":
        return text
    if len(text) > LONGEST_NUMBER and not text.strip("-+.:_0123456789abcdefABCDEFx"):
        raise ValueError("is too long for a number")
    if _FLOAT.fullmatch(text):
        return _float(text.replace("_", "").lower())
    if _INTEGER.fullmatch(text):
        return _integer(text.replace("_", ""))
    if (match := _DATE.fullmatch(text)) or (match := _TIME.fullmatch(text)):
        return _moment(match)
    return text


def _float(text: str) -> float:
    sign = -1 if text[0] == "-" else 1
    text = text.lstrip("+-")
    if text in (".inf", ".nan"):
        return sign * float(text[1:])
    return sign * (_in_sixties([float(part) for part in text.split(":")]) if ":" in text else float(text))


def _integer(text: str) -> int:
    sign = -1 if text[0] == "-" else 1
    text = text.lstrip("+-")
    if ":" in text:
        return int(sign * _in_sixties([int(part) for part in text.split(":")]))
    if text == "0" or text[0] != "0":
        return sign * int(text)
    bases = {"0b": 2, "0x": 16}
    return sign * int(text[2:] if text[:2] in bases else text, bases.get(text[:2], 8))


def _in_sixties(digits: list[Any]) -> Any:
    """Hours, minutes and seconds as one number. Added up from the smallest, as PyYAML does: floats depend on it."""
    value, base = 0 * digits[0], 1
    for digit in reversed(digits):
        value += digit * base
        base *= 60
    return value


def _moment(match: re.Match[str]) -> Any:
    import datetime  # for the few files that have one

    groups = match.groups()
    year, month, day = map(int, groups[:3])
    if len(groups) == 3:
        return datetime.date(year, month, day)
    hour, minute, second = map(int, groups[3:6])
    fraction, utc, sign, hours, minutes = groups[6:]
    zone = datetime.UTC if utc else None
    if sign:
        offset = datetime.timedelta(hours=int(hours), minutes=int(minutes or 0))
        zone = datetime.timezone(-offset if sign == "-" else offset)
    microsecond = int((fraction or "")[:6].ljust(6, "0"))
    return datetime.datetime(year, month, day, hour, minute, second, microsecond, zone)


def single_quoted(inner: str) -> str:
    """What stands between single quotes: line breaks folded, `''` one quote."""
    if "\n" in inner:
        inner = _BREAK.sub(lambda match: _folded(match[1]) if match[1] else match[0], inner)
    return inner.replace("''", "'")


def double_quoted(inner: str) -> str:
    """What stands between double quotes: escapes replaced, line breaks folded. Raises ValueError."""
    return _SPECIAL_IN_DOUBLE.sub(_special, inner) if "\\" in inner or "\n" in inner else inner


def _special(match: re.Match[str]) -> str:
    two, four, eight, skipped, escaped, line_break = match.groups()
    if line_break:
        return _folded(line_break)
    if skipped:
        return "\n" * (skipped.count("\n") - 1)
    if escaped:
        if escaped not in _ESCAPES:
            raise ValueError(f"has `\\{escaped}` in it, which is no escape")
        return _ESCAPES[escaped]
    if code := two or four or eight:
        return _character(int(code, 16))
    return match[0]


def _character(code: int) -> str:
    if 0xD800 <= code <= 0xDFFF or code > 0x10FFFF:
        raise ValueError("has an escape in it of what is no character")
    return chr(code)


def _folded(line_break: str) -> str:
    return "\n" * (line_break.count("\n") - 1) or " "
