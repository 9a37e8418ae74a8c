"""HTML as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.tools.htmltext import MAX_CHARACTERS, to_text

URL = "http://a.test/dir/page"


def text(html: str) -> str:
    return to_text(html, URL).text


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("", ""),
        ("just text", "just text"),
        ("R&D", "R&D"),
        ("a < b &amp;&lt;&#x41;&eacute;", "a < b &<Aé"),
        ("<p>one\n  two</p><p>three", "one two\n\nthree"),
        ("<div><div>a</div>b</div>c", "a\n\nb\n\nc"),
        ("a<br>b<br/> c", "a\nb\nc"),
        ("a <b>b</b><i> c</i>", "a b c"),
        ("<h1>A</h1><h3>B <em>c</em></h3>text", "# A\n\n### B c\n\ntext"),
        ("<ul><li>a<li>b</ul>", "- a\n- b"),
        ("<ol><li>a</li><li><p>b</p></li></ol>c", "1. a\n2. b\n\nc"),
        ("<ul><li>a<ol><li>b</ol></li><li>c</ul>", "- a\n  1. b\n- c"),
        ("<li>a", "- a"),
        ("<ul><li><p>a</p><p>b</p></ul>", "- a\n\n  b"),
        ("<pre>\n if x:\n   <b>y</b>\n\n</pre>z", "```\n if x:\n   y\n```\n\nz"),
        ("<pre>```</pre>", "````\n```\n````"),
        ("<li><pre>a\nb</pre>", "- ```\n  a\n  b\n  ```"),
        ("<blockquote><p>a<br>b</p>c</blockquote>d", "> a\n> b\n\n> c\n\nd"),
        ("<table><tr><th>a<th>b</tr><tr><td>1</td><td>2</td></tr></table>", "a | b\n1 | 2"),
        ("a<hr>b", "a\n\n---\n\nb"),
        ("<img src=x alt=' a cat '><img alt=''>", "[image: a cat]"),
        ("a\x00\x07b\x0bc", "abc"),
        ("<unknown>a</unknown></nothing>b", "ab"),
    ],
)
def test_what_a_reader_sees(html: str, expected: str) -> None:
    assert text(html) == expected


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ('<a href="/b">text</a>', "[text](http://a.test/b)"),
        ('<a href="b?c#d">a <b>b</b></a>.', "[a b](http://a.test/dir/b?c#d)."),
        ('x<a href="//b.test/"> y </a>z', "x [y](http://b.test/) z"),
        ('<a href="#top">top</a>', "top"),
        ("<a>text</a> <a href>b</a>", "text b"),
        ('<a href="javascript:alert(1)">text</a>', "text"),
        ('<a href="mailto:a@b.test">text</a>', "text"),
        ('<a href="http://[">text</a>', "text"),
        ('<a href="a b">text</a>', "text"),
        ('<a href="/b"></a>', ""),
        ('<a href="/b"><img alt="logo"></a>', "[[image: logo]](http://a.test/b)"),
        ('<a href="/b">one<a href="/c">two</a>', "[one](http://a.test/b)[two](http://a.test/c)"),
        ('<a href="/b"><h2>Head</h2><p>text</p></a>', "## [Head](http://a.test/b)\n\n[text](http://a.test/b)"),
        ('<base href="https://b.test/x/"><a href="y">text</a>', "[text](https://b.test/x/y)"),
        (f'<a href="/{"x" * 600}">text</a>', "text"),
        ('<pre><a href="/b">text</a></pre>', "```\ntext\n```"),
    ],
)
def test_links_lead_where_a_browser_would_go(html: str, expected: str) -> None:
    assert text(html) == expected


@pytest.mark.parametrize(
    "html",
    [
        "<script>var a = '<p>no</p>'</script>",
        "<style>p { no }</style>",
        "<noscript><p>no</p></noscript>",
        "<template><p>no</p></template>",
        "<svg><title>no</title><text>no</text></svg>",
        "<select><option>no</option></select>",
        "<!-- no -->",
        "<!doctype html>",
        "<?php no ?>",
        "<div hidden>no<div>no</div>no</div>",
        "<p style='color: red; DISPLAY : none'>no</p>",
        "<span style='visibility:hidden'>no</span>",
        "<input value='no' hidden>",
    ],
)
def test_what_a_reader_does_not_see_is_left_out(html: str) -> None:
    assert text(f"before {html} after").split() == ["before", "after"]


def test_the_title_is_told_apart() -> None:
    page = to_text("<head><title> A\n page &amp; more </title></head><title>b</title>text", URL)
    assert (page.title, page.text) == ("A page & more", "text")
    assert to_text("<svg><title>no</title></svg>", URL).title == ""


@pytest.mark.parametrize(
    "html",
    [
        "<!--" * 200_000,
        "<a " * 300_000,
        "</a b" * 200_000,
        "<![CDATA[" * 100_000,
        "<p " * 200_000 + ">",
        '<a href="' * 100_000,
        "<ul><li>" * 50_000,
        "<td>" * 100_000,
        "<a href=x>" * 50_000,
        "<blockquote>" * 50_000 + "x",
    ],
)
def test_a_page_that_is_made_to_take_long_does_not(html: str) -> None:
    steps = 0

    def check() -> None:
        nonlocal steps
        steps += 1

    to_text(html, URL, check)
    assert steps < 600  # of 50 ms: what is square to the length takes many thousands


def test_a_page_can_be_given_up_on() -> None:
    class Enough(Exception):
        pass

    def check() -> None:
        raise Enough

    with pytest.raises(Enough):
        to_text("<p>a", URL, check)


def test_text_has_an_end() -> None:
    link = "<a href='/%s'>y</a> " % ("z" * 480)
    assert 0 < len(text(link * 10_000)) < MAX_CHARACTERS + 500  # the last piece is whole
    assert len(text("<p>" + "x" * 1000) * 3000) > 0


@given(st.text(max_size=200))
def test_any_text_is_a_page(html: str) -> None:
    page = to_text(html, URL)
    assert page.text == page.text.strip("\n")


TAGS = [
    "<p>",
    "</p>",
    "<ul>",
    "<li>",
    "</ul>",
    "<pre>",
    "</pre>",
    "<td>",
    "</tr>",
    "</div>",
    "<script>",
    "</script>",
    "<h1>",
    "<br>",
    "<!--",
    "-->",
    "text",
]


@given(st.lists(st.sampled_from([*TAGS, " ", "<a href=x>", "</a>", "<div hidden>"])))
def test_tags_may_come_in_any_order(tags: list[str]) -> None:
    to_text("".join(tags), URL)
