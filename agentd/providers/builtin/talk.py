"""What needs no repository: sums, and what was said earlier in the conversation. Pure."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Sequence

MAX_DIGITS = 15  # of any number on the way: beyond that nobody asks in passing
QUOTED_CHARS = 200

_NUMBER = r"-?\d{1,12}(?:\.\d{1,6})?"
_SUM = re.compile(
    r"(?:please\s+)?(?:what(?:'s| is)|how much is|calculate|compute|add up)?\s*"
    rf"(?P<sum>{_NUMBER}(?:[\s().]*(?:[-+*/x×÷]|plus|minus|times|multiplied by|divided by)[\s(]*{_NUMBER}[\s)]*)+)"
    r"\s*[?=.!]*(?:\s+(?:answer|reply|just|only|be)\b[^?]{0,80})?$",
    re.IGNORECASE,
)
_WORDS = {
    "plus": "+",
    "minus": "-",
    "times": "*",
    "multiplied by": "*",
    "divided by": "/",
    "x": "*",
    "×": "*",
    "÷": "/",
}
_THAT = r"(?:that|this|the|my)(?: same)? (?:number|result|value)|it"
_CHANGE = re.compile(
    rf"(?:please\s+)?(?:(?P<verb>multiply|divide) (?:{_THAT}) by (?P<by>{_NUMBER})"
    rf"|add (?P<plus>{_NUMBER}) to (?:{_THAT})|subtract (?P<minus>{_NUMBER}) from (?:{_THAT})"
    rf"|(?P<double>double|halve) (?:{_THAT}))\s*[.?!]*$",
    re.IGNORECASE,
)
_REMEMBER = re.compile(
    r"(?:please\s+)?remember\s+(?:(?:this|the following|my)(?:\s+\w+){0,2}\s*:|that\b)\s*(?P<what>[^\n]{1,200}?)[.!]*$",
    re.IGNORECASE,
)
_RECALL = re.compile(
    r"(?:what|which)\b[^\n]{0,60}\b(?:did i (?:just )?(?:tell|ask|want|say)|(?:have i|i have) (?:told|said)|"
    r"(?:should|were) you (?:to )?remember|do you remember)\b[^\n]{0,60}[?.!]*$",
    re.IGNORECASE,
)
_OPERATORS: dict[type[ast.AST], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def small_talk(text: str, before: Sequence[str]) -> str | None:
    """An answer that needs no tool; None where this is something else. *before*: what the person said earlier."""
    text = " ".join(text.split())
    if found := _SUM.match(text):
        return _summed(found["sum"])
    if found := _CHANGE.match(text):
        return _changed(found, before)
    if found := _REMEMBER.match(text):
        return f"I will: {found['what']}. It stays in this conversation."
    return _recalled(before) if _RECALL.match(text) else None


def _summed(words: str) -> str | None:
    sign = re.compile("|".join(map(re.escape, _WORDS)), re.IGNORECASE)
    text = sign.sub(lambda word: _WORDS[word[0].lower()], words.strip(" .?="))
    try:
        value = _value(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError):
        return None
    except ZeroDivisionError:
        return "That has no value: it divides by zero."
    return f"{words.strip(' .?=')} = {_shown(value)}."


def _value(node: ast.AST) -> float:
    """Raises ValueError for what is no sum, ZeroDivisionError."""
    match node:
        case ast.Constant(value=int() | float() as number):
            value: float = number
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            value = -_value(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            value = _OPERATORS[type(op)](_value(left), _value(right))
        case _:
            raise ValueError("no sum")
    if abs(value) >= 10**MAX_DIGITS:
        raise ValueError("too large")
    return value


def _shown(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:.6g}"


def _changed(found: re.Match[str], before: Sequence[str]) -> str:
    numbers = [number for said in before for number in re.findall(rf"(?<![\w.]){_NUMBER}(?![\w])", said)]
    if not numbers:
        return "No number was named in this conversation before."
    sign, other = _change(found)
    return _summed(f"{numbers[-1]} {sign} {other}") or "That number is too large for me."


def _change(found: re.Match[str]) -> tuple[str, str]:
    if found["verb"]:
        return ("*" if found["verb"].lower() == "multiply" else "/"), found["by"]
    if found["double"]:
        return ("*" if found["double"].lower() == "double" else "/"), "2"
    return ("+", found["plus"]) if found["plus"] else ("-", found["minus"])


def _recalled(before: Sequence[str]) -> str:
    told = [found["what"] for said in before if (found := _REMEMBER.match(" ".join(said.split())))]
    if told:
        return f"You told me to remember {', and '.join(told)}."
    if before:
        last = " ".join(before[-1].split())[:QUOTED_CHARS]
        return f'You told me nothing to remember. The last thing you said before this is: "{last}"'
    return "This is the first thing that you say in this conversation."
