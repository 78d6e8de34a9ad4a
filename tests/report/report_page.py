"""A report as its reader's browser sees it: parsed and checked."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

from edgekit.comparison import Comparison
from edgekit.report.html import comparison_to_html

VOID = {"meta", "br", "wbr", "img", "input", "hr", "link"}
HOSTILE = "<script>alert('x')</script>\"&$\\frac{1}$ {{ 7*7 }}"


class Page(HTMLParser):
    """Tags balanced, ids unique, references answered, text collected."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.ids: Counter[str] = Counter()
        self.links: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.parts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == [], self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.note(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.note(tag, attrs)

    def note(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            self.attributes.append((tag, name, value or ""))
            if name == "id":
                self.ids[value or ""] += 1
            if name in ("href", "xlink:href"):
                self.links.add(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.parts))


def checked(comparison: Comparison) -> Page:
    html = comparison_to_html(comparison)
    page = Page(html)
    namespaces = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert set(re.findall(r"https?://[^\"' )<]+", html)) <= namespaces
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert not {"script", "img", "link", "iframe", "object", "image"} & set(page.tags)
    assert not any(name == "src" or name.startswith("on") for _, name, _ in page.attributes)
    assert [id_ for id_, count in page.ids.items() if count > 1] == []
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert {used for used in re.findall(r"url\(#([^)]+)\)", html)} <= set(page.ids)
    # None of the colours that stand for CSS variables is left over.
    assert "#0102" not in html
    return page
