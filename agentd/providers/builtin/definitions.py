"""What a line of code defines, in any of the usual languages, by the shape of the line alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from agentd.providers.builtin.outputs import Line

_MODIFIERS = (
    r"(?:(?:export|default|pub(?:\([a-z]+\))?|public|private|protected|internal|static|final|abstract|async|virtual|override|"
    r"open|sealed|inline|extern|unsafe|const|declare|data|case|suspend|readonly|synchronized|native|partial)\s+)"
)
_KEYWORDS = (
    r"(?:def|class|func|function|fn|struct|enum|trait|interface|type|record|module|namespace|object|impl|protocol|union|"
    r"macro_rules!|#\s*define|sub|fun|proc)"
)
_NAMED = re.compile(rf"\s*{_MODIFIERS}*{_KEYWORDS}\s+(?:\([^)]*\)\s*)?[*&]?(?P<name>[A-Za-z_$][\w$]*)")
_ARROW = re.compile(r"\s*(?:export\s+)?(?:const|let|var|val)\s+(?P<name>[\w$]+)\s*(?::[^=]+)?=")
_METHOD = re.compile(rf"\s*{_MODIFIERS}+(?:<[^>]+>\s*)?(?:[\w<>\[\],.?]+\s+)*?(?P<name>\w+)\s*\(")  # Java, C#
_C_FUNCTION = re.compile(r"[A-Za-z_][\w\s*&:<>,]*?[\s*&](?P<name>~?[A-Za-z_][\w:]*)\s*\([^;]*$")
_JS_METHOD = re.compile(
    r"\s+(?:(?:async|static|get|set)\s+)*(?!(?:if|for|while|switch|catch|function|return|await)\b)(?P<name>[\w$]+)"
    r"\s*\([^)]*\)\s*(?::[^{]+)?\{"
)
_CONSTANT = re.compile(
    rf"\s*{_MODIFIERS}*(?:(?:let|var|val|#\s*define|[\w<>\[\]]+)\s+)?(?P<name>_?[A-Z][A-Z0-9_]{{2,}})\s*(?::[^=]+)?"
    r"(?::?=(?!=)|\s(?=\d))"
)
_ASSIGNED = re.compile(r"(?P<name>[A-Za-z_]\w*)\s*(?::[^=]+)?=(?!=)")  # at the left margin
_FIELD = re.compile(
    rf"\s+(?:self\.(?P<own>[a-z_]\w*)\s*(?::[^=]+)?=(?!=)|(?P<annotated>[a-z_]\w*)\s*:\s*[^=#]+(?:=.*)?$"
    rf"|{_MODIFIERS}+[\w<>\[\],.? ]+\s(?P<typed>\w+)\s*(?:;|=(?!=)))"
)
_IMPORT = re.compile(r"\s*(?:from\s+\S+\s+import|import|#\s*include|use|using|require|package)\b")
_BY_SUFFIX = {
    **dict.fromkeys((".java", ".cs", ".kt", ".scala", ".swift"), (_METHOD,)),
    **dict.fromkeys((".c", ".h", ".cc", ".cpp", ".hpp", ".cxx", ".m"), (_C_FUNCTION,)),
    **dict.fromkeys((".js", ".jsx", ".ts", ".tsx", ".mjs", ".cjs", ".vue"), (_ARROW, _JS_METHOD)),
}

# For Grep: every line that could define something; defined_name() then decides.
OUTLINE = (
    rf"^\s*(?:[\w()]+\s+){{0,4}}{_KEYWORDS}\s|^\s*(?:public|private|protected|internal|static)\s.*\("
    r"|^\s*(?:export\s+)?const\s"
)
C_OUTLINE = r"^[A-Za-z_][\w *&:<>,]*\([^;]*$|^(?:struct|enum|union|class|namespace|#\s*define|typedef)\s"
FIELDS = (
    r"^\s+self\.\w+\s*(?::[^=]+)?=[^=]|^\s+[a-z_]\w*\s*:\s*[A-Za-z][^=#(]*(?:=.*)?$"
    r"|^\s+(?:public|private|protected|internal|static|final|readonly|val|var)\s[^()]*[;=]"
)
CONSTANTS = r"^\s*(?:[\w#]+\s+){0,4}_?[A-Z][A-Z0-9_]{2,}\s*(?::[^=]+)?(?:=[^=]|\s\d)"


def outline_pattern(path: str) -> str:
    return C_OUTLINE if _suffix(path) in (".c", ".h", ".cc", ".cpp", ".hpp", ".cxx") else OUTLINE


def defined_name(text: str, path: str = "") -> str | None:
    """The name that a line defines: of a type, a function, a method, a constant or a variable of a module."""
    for shape in (_NAMED, *_BY_SUFFIX.get(_suffix(path), ()), _CONSTANT, _ASSIGNED):
        if found := shape.match(text):
            return str(found["name"])
    return None


def is_scope(text: str, path: str = "") -> bool:
    """Whether a line begins something that other lines are inside of."""
    return any(shape.match(text) for shape in (_NAMED, *_BY_SUFFIX.get(_suffix(path), ())))


def is_import(text: str) -> bool:
    return bool(_IMPORT.match(text))


def constant_name(text: str) -> str | None:
    found = _CONSTANT.match(text)
    return found["name"] if found else None


def definition_pattern(name: str) -> str:
    """For Grep: lines that may well define *name*."""
    word = re.escape(name)
    return rf"(?:{_KEYWORDS}|const|let|var|val)\s+(?:\([^)]*\)\s*)?[*&]?{word}\b|^\s*{word}\s*(?::[^=]+)?=[^=]"


def field_name(text: str, path: str = "") -> str | None:
    """The field of a class that a line declares or sets."""
    found = _FIELD.match(text)
    return (found["own"] or found["annotated"] or found["typed"]) if found else None


def enclosing(number: int, text: str, outline: Sequence[Line], path: str) -> Line | None:
    """The definition that a line is inside of, or is: the nearest before it that is indented less."""
    indent = len(text) - len(text.lstrip())
    for line in reversed(outline):
        own = len(line.text) - len(line.text.lstrip())
        if (line.number == number or (line.number < number and own < indent)) and is_scope(line.text, path):
            return line
    return None


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()
