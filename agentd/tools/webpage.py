"""What an answer of a web server says as text: which kinds there are, and in which encoding they are written.

The rules: WHATWG Encoding (labels; what says ISO-8859-1 means windows-1252) and HTML, 13.2.3 (a byte order mark counts
before the header, the header before a meta element).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable

import attrs

from agentd.tools.htmltext import to_text
from agentd.workspace.text import sniff

META_BYTES = 4096  # of a page in which its encoding is looked for

_HTML = frozenset({"text/html", "application/xhtml+xml"})
_TEXT = re.compile(
    r"text/.*|.*[+/](json|xml|yaml|x-yaml|toml|javascript|x-javascript|ecmascript|x-ndjson|jsonl|x-sh|sql|graphql"
    r"|x-httpd-php|x-python|x-tex|rtf|x-www-form-urlencoded)"
)
_UNTOLD = frozenset({"", "application/octet-stream", "binary/octet-stream", "application/unknown"})
_LOOKS_LIKE_HTML = re.compile(rb"\s*(<!--.*?-->\s*)?<(!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)

# Codecs of the web, by the names that Python gives them; the others of Python are no encodings of text, or can be made
# to take for ever.
_CODEC = re.compile(
    r"utf-8|utf-16-[bl]e|cp125[0-8]|cp866|cp874|cp932|cp949|iso8859-([2-8]|1[03456])|koi8-[ru]|mac-(roman|cyrillic)"
    r"|gb18030|big5hkscs|euc_jp|iso2022_jp"
)
_MEANT = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "utf-16": "utf-16-le",
}


@attrs.frozen
class Readable:
    """*title* is that of a page; other text has none."""

    text: str
    title: str = ""


def media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def may_be_text(content_type: str) -> bool:
    """By its name; an unknown or missing one has to be looked into."""
    kind = media_type(content_type)
    return kind in _UNTOLD or kind in _HTML or _TEXT.fullmatch(kind) is not None


def read(
    body: bytes, content_type: str, url: str, *, is_cut: bool = False, check: Callable[[], None] = lambda: None
) -> Readable | None:
    """None if it is no text. *is_cut*: the body goes on. *check* is called now and then; what it raises ends all."""
    kind = media_type(content_type)
    is_html = kind in _HTML or (kind in _UNTOLD and _LOOKS_LIKE_HTML.match(body[:META_BYTES]) is not None)
    text = decode(body, content_type, is_html=is_html, is_cut=is_cut)
    if text is None:
        return None
    if not is_html:
        return Readable(text)
    page = to_text(text, url, check)
    return Readable(page.text, page.title)


def decode(body: bytes, content_type: str, *, is_html: bool = False, is_cut: bool = False) -> str | None:
    """None for what is no text."""
    encoding = sniff(body)
    if encoding is not None and encoding.bom:
        return body[len(encoding.bom) :].decode(encoding.codec, "replace")
    if codec := _codec(content_type) or (_codec_of_meta(body) if is_html else ""):
        return body.decode(codec, "replace")
    if encoding is None:
        return None
    try:
        return body.decode()
    except UnicodeDecodeError as exc:
        is_cut = is_cut and "end of data" in exc.reason  # in the middle of its last character
        return body.decode("utf-8" if is_cut else "cp1252", "replace")


def _codec(text: str) -> str:
    """The codec for the charset that *text* names; "" if it names none that is known."""
    found = _CHARSET.search(text)
    try:
        name = codecs.lookup(found[1]).name if found else ""
    except LookupError:
        return ""
    name = _MEANT.get(name, name)
    return name if _CODEC.fullmatch(name) else ""


def _codec_of_meta(body: bytes) -> str:
    codec = _codec(body[:META_BYTES].decode("latin-1"))
    return "utf-8" if codec.startswith("utf-16") else codec  # or it could not have been read there
