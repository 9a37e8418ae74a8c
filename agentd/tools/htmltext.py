"""A web page as text that is good to read: headings, paragraphs, lists, links, tables and code, in Markdown's manner.

What a reader does not see is left out: scripts, styles, forms' choices, hidden elements. It takes any text for HTML and
never fails. `check` is called now and then, and what it raises ends the work: a large page takes seconds.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from time import monotonic
from urllib.parse import urljoin

import attrs

MAX_CHARACTERS = 1_000_000  # of the text; the rest of the page is not looked at
MAX_LINK = 500  # characters of a URL; longer ones are left out
MAX_TAIL = 4096  # characters of a tag or comment without end; html.parser takes a time that is square to it
MAX_DEPTH = 8  # of lists and quotations in one another that is shown
CHECK_SECONDS = 0.05

_UNSEEN = frozenset(
    {"script", "style", "noscript", "template", "svg", "iframe", "object", "select", "datalist", "math"}
)
_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
)
_BLOCK = re.compile(
    "address|article|aside|blockquote|body|caption|dd|details|dialog|div|dl|dt|fieldset|figcaption|figure|footer|form"
    "|h[1-6]|header|hr|li|main|menu|nav|ol|p|pre|section|summary|table|tbody|tfoot|thead|tr|ul"
)
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f]")
_BREAK = "\v"  # a line break within a paragraph; texts have none of these left
_SPACES = re.compile(r"[ \t\r\n\f]+")
_AROUND_BREAK = re.compile(f" *{_BREAK} *")

Attributes = list[tuple[str, str | None]]
Given = dict[str, str | None]


@attrs.frozen
class Page:
    title: str
    text: str


def to_text(html: str, url: str, check: Callable[[], None] = lambda: None) -> Page:
    """*url*: where the page is from; its links are relative to that."""
    reader = _Reader(url, check)
    try:
        reader.feed(f"{html}\n")  # or a text whose end might be half a reference is held back whole
        if len(reader.rawdata) <= MAX_TAIL:
            reader.close()
    except _Enough:
        pass
    return Page(_collapse("".join(reader.title)).replace("\n", " ")[:300], reader.finish())


class _Enough(Exception):
    """The text is as long as it may be."""


@attrs.define
class _List:
    ordered: bool
    count: int = 0


@attrs.define
class _Link:
    start: int  # index in the pieces of the paragraph
    url: str


class _Reader(HTMLParser):
    def __init__(self, url: str, check: Callable[[], None]) -> None:
        super().__init__(convert_charrefs=True)
        self.title: list[str] = []
        self._base = url
        self._check = check
        self._next_check = 0.0
        self._left = MAX_CHARACTERS
        self._done: list[tuple[str, str]] = []  # kind and text of each block; items and rows stand close together
        self._pieces: list[str] = []  # of the paragraph that is being read
        self._is_blank = True  # there is nothing to see in them
        self._marker = ""  # of the list item or heading that it begins
        self._lists: list[_List] = []
        self._link: _Link | None = None
        self._quotes = 0
        self._pre = 0
        self._in_title = False
        self._has_title = False  # further ones are not the page's
        self._unseen = ("", 0)  # a tag whose content is left out, and how many of its name are open

    # --- What the parser calls

    def handle_starttag(self, tag: str, attributes: Attributes) -> None:
        self._step()
        given = dict(attributes)
        name, depth = self._unseen
        if depth:
            self._unseen = (name, depth + (tag == name))
        elif tag in _UNSEEN or (tag not in _VOID and _is_hidden(given)):
            self._unseen = (tag, 1)
        else:
            if _BLOCK.fullmatch(tag):
                self._flush()
            if tag in _OPEN:
                _OPEN[tag](self, given)

    def handle_endtag(self, tag: str) -> None:
        self._step()
        name, depth = self._unseen
        if depth:
            self._unseen = (name, depth - (tag == name))
            return
        if _BLOCK.fullmatch(tag):
            self._flush("row" if tag == "tr" else "")
        if tag in _CLOSE:
            _CLOSE[tag](self)

    def handle_data(self, data: str) -> None:
        self._step()
        if self._unseen[1]:
            return
        data = _CONTROLS.sub("", data)
        if self._in_title:
            self.title.append(data * (not self._has_title))
            self._count(len(data))
        else:
            self._add(data.replace("\n", _BREAK) if self._pre else data)

    # --- Tags

    def open_heading(self, level: int) -> None:
        self._marker = "#" * level + " "

    def open_list(self, ordered: bool) -> None:
        self._lists.append(_List(ordered))

    def close_list(self) -> None:
        del self._lists[-1:]

    def open_item(self) -> None:
        if not self._lists:
            self.open_list(ordered=False)
        innermost = self._lists[-1]
        innermost.count += 1
        self._marker = f"{innermost.count}. " if innermost.ordered else "- "

    def open_cell(self) -> None:
        if not self._is_blank:
            self._add(" | ")

    def open_code(self) -> None:
        self._pre += 1

    def close_code(self) -> None:
        self._pre = max(0, self._pre - 1)

    def open_quotation(self) -> None:
        self._quotes += 1

    def close_quotation(self) -> None:
        self._quotes = max(0, self._quotes - 1)

    def open_title(self) -> None:
        self._in_title = True

    def close_title(self) -> None:
        self._in_title = False
        self._has_title = bool(self.title)

    def open_link(self, given: Given) -> None:
        self.close_link()
        self._link = _Link(len(self._pieces), self._target(given.get("href")))

    def close_link(self) -> None:
        link, self._link = self._link, None
        if link is None or not link.url or self._pre:
            return
        raw = "".join(self._pieces[link.start :])
        if label := _collapse(raw).replace("\n", " "):
            before, after = raw[:1].isspace() * " ", raw[-1:].isspace() * " "
            self._pieces[link.start :] = [f"{before}[{label}]({link.url}){after}"]
            self._count(len(link.url) + len("[]()"))

    def show_image(self, given: Given) -> None:
        if described := _CONTROLS.sub("", given.get("alt") or "").strip():
            self._add(f"[image: {described}]")

    def break_line(self) -> None:
        self._pieces.append(_BREAK)
        self._count(1)

    def draw_line(self) -> None:
        self._put("---")

    def set_base(self, given: Given) -> None:
        self._base = self._target(given.get("href")) or self._base

    def _target(self, reference: str | None) -> str:
        """The URL that *reference* means; "" for one that leads nowhere else, or that nobody can fetch."""
        reference = (reference or "").strip()
        if not reference or reference.startswith("#"):
            return ""
        try:
            url = urljoin(self._base, reference)
        except ValueError:
            return ""
        usable = (
            url.startswith(("http://", "https://")) and len(url) <= MAX_LINK and url.isprintable() and " " not in url
        )
        return url if usable else ""

    # --- Text

    def _add(self, text: str) -> None:
        self._pieces.append(text)
        self._is_blank = self._is_blank and not text.strip()
        self._count(len(text))

    def _flush(self, kind: str = "") -> None:
        """End the paragraph."""
        link = self._link
        self.close_link()
        raw, self._pieces, self._is_blank = "".join(self._pieces), [], True
        self._link = link and _Link(0, link.url)  # a link may go round several paragraphs
        if text := _fenced(raw.replace(_BREAK, "\n")) if self._pre else _collapse(raw):
            self._put(text, kind)

    def _put(self, text: str, kind: str = "") -> None:
        depth = min(len(self._lists), MAX_DEPTH)
        is_item = bool(depth and self._marker)
        first, further = "  " * (depth - is_item), "  " * depth
        quote = "> " * min(self._quotes, MAX_DEPTH)
        whole = quote + first + self._marker + text.replace("\n", f"\n{quote}{further}")
        self._marker = ""
        self._done.append(("item" if is_item else kind, whole))
        self._count(len(whole) - len(text) + 2)  # what sets it apart, too

    def finish(self) -> str:
        self._left = sys.maxsize
        self._flush()
        parts: list[str] = []
        before = ""
        for kind, text in self._done:
            parts.append("" if not parts else "\n" if kind and kind == before else "\n\n")
            parts.append(text)
            before = kind
        return "".join(parts)

    def _count(self, characters: int) -> None:
        self._left -= characters
        if self._left < 0:
            raise _Enough

    def _step(self) -> None:
        if (now := monotonic()) >= self._next_check:
            self._next_check = now + CHECK_SECONDS
            self._check()


def _plain(method: Callable[[_Reader], None]) -> Callable[[_Reader, Given], None]:
    return lambda reader, _: method(reader)


_OPEN: dict[str, Callable[[_Reader, Given], None]] = {
    **{f"h{level}": lambda reader, _, level=level: reader.open_heading(level) for level in range(1, 7)},  # type: ignore[misc]
    "ul": lambda reader, _: reader.open_list(ordered=False),
    "menu": lambda reader, _: reader.open_list(ordered=False),
    "ol": lambda reader, _: reader.open_list(ordered=True),
    "li": _plain(_Reader.open_item),
    "td": _plain(_Reader.open_cell),
    "th": _plain(_Reader.open_cell),
    "pre": _plain(_Reader.open_code),
    "blockquote": _plain(_Reader.open_quotation),
    "title": _plain(_Reader.open_title),
    "br": _plain(_Reader.break_line),
    "hr": _plain(_Reader.draw_line),
    "a": _Reader.open_link,
    "img": _Reader.show_image,
    "base": _Reader.set_base,
}
_CLOSE: dict[str, Callable[[_Reader], None]] = {
    "ul": _Reader.close_list,
    "menu": _Reader.close_list,
    "ol": _Reader.close_list,
    "pre": _Reader.close_code,
    "blockquote": _Reader.close_quotation,
    "title": _Reader.close_title,
    "a": _Reader.close_link,
}


def _is_hidden(given: Given) -> bool:
    return "hidden" in given or _HIDDEN.search((given.get("style") or "").lower()) is not None


def _collapse(text: str) -> str:
    """White space as a browser shows it."""
    return _AROUND_BREAK.sub(_BREAK, _SPACES.sub(" ", text)).strip(f" {_BREAK}").replace(_BREAK, "\n")


def _fenced(code: str) -> str:
    fence = "```"
    while fence in code:
        fence += "`"
    code = code.strip("\n").rstrip()
    return f"{fence}\n{code}\n{fence}" if code else ""
