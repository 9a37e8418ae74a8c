"""The words that declarations of C and C++ are made of."""

from __future__ import annotations

import re

import attrs


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ACCESS = _words("public private protected signals Q_SIGNALS")
SLOTS = _words("slots Q_SLOTS")
TYPE_WORDS = _words(
    "auto bool char char8_t char16_t char32_t double float int long short signed unsigned void wchar_t _Bool"
)
TRAILERS = _words("const volatile override final sealed try mutable")  # behind a parameter list
CLASS_TRAILERS = _words("final sealed abstract")  # behind the name of a class
ATTRIBUTES = _words(
    "__attribute__ __attribute __declspec alignas _Alignas asm __asm__ __asm noexcept throw explicit __extension__ "
    "export _Pragma __pragma"
)
TYPE_CALLS = _words("decltype typeof __typeof__ __typeof _Atomic _BitInt __underlying_type typeof_unqual")
POINTERS = frozenset("*&^")
MACRO = re.compile(r"_*[A-Z][A-Z0-9_]+")
ATTRIBUTE_MACRO = re.compile(r"[A-Z_]*(?:PACK|ALIGN|ATTR)\w*|__(?:packed|aligned)\w*")
EXPORT_MACRO = re.compile(r"[A-Z0-9_]*(?:API|EXPORT|DECL|VISIBLE|DLL)[A-Z0-9_]*")
RESTARTS = _words("class enum extern inline namespace static struct template typedef union using")
"""Where one of them is the very start of a line, no bracket and no initialiser is open that was meant to be."""


@attrs.frozen
class Dialect:
    type_keys: frozenset[str]
    specifiers: frozenset[str]  # they come with a type and are none
    keywords: frozenset[str]  # nothing has one of them as its name
    cpp: bool


CLASS_KEYS = _words("class struct union")
_TYPE_KEYS = CLASS_KEYS | {"enum"}
_SPECIFIERS = _words(
    "const consteval constexpr constinit explicit extern friend inline mutable register restrict static thread_local "
    "typedef typename virtual volatile _Thread_local _Noreturn __inline __inline__ __restrict __restrict__ __const "
    "__volatile__ __forceinline __thread"
)
_STATEMENTS = _words(
    "if else for while do switch case default return goto break continue sizeof throw catch new delete"
)
CPP_ONLY = _words(
    "class operator template namespace using try friend new delete explicit typename catch throw export noexcept "
    "requires virtual mutable"
)
CPP = Dialect(
    _TYPE_KEYS,
    _SPECIFIERS,
    TYPE_WORDS | _SPECIFIERS | _TYPE_KEYS | _STATEMENTS | _words("operator template namespace using try"),
    cpp=True,
)
C = Dialect(_TYPE_KEYS - CPP_ONLY, _SPECIFIERS - CPP_ONLY, CPP.keywords - CPP_ONLY, cpp=False)
