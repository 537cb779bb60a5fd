"""The form of report.html: for screen readers and keyboards, folded, one word for one thing."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

from report_page import page_of
from report_run import write_run

VOID = {"meta", "br", "img", "input", "hr", "link"}


class Outline(HTMLParser):
    """Where elements stand: what is open around each table, box and heading, and the attributes they have."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.seen: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs), [name for name, _ in self.open]))
        if tag not in VOID:
            self.open.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop()[0] != tag:
            pass


def test_the_page_is_built_for_screen_readers_and_keyboards(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path), include_text=True)
    outline = Outline(page)
    tables = page.count("<table")
    assert tables > 10
    assert page.count("<caption>") == tables, "each table says what it is"
    assert len(re.findall(r"<tr[^>]*><th scope=\"row\">", page)) == page.count("<tr") - tables, "each row has a head"
    boxes = [attrs for tag, attrs, _ in outline.seen if attrs.get("class") in ("scroll", "chart")]
    assert all(box["tabindex"] == "0" and box["role"] == "group" and box["aria-label"] for box in boxes)
    assert [tag for tag, _, _ in outline.seen if tag in ("header", "nav", "main")] == ["header", "nav", "main"]
    assert not any("main" not in around for tag, _, around in outline.seen if tag in ("table", "article", "figure"))
    ids = [attrs["id"] for _, attrs, _ in outline.seen if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {attrs["href"] for tag, attrs, _ in outline.seen if tag == "a"}
    assert targets <= {f"#{name}" for name in ids}, "no link leads nowhere"


def test_all_but_summary_run_and_examples_is_folded(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path), include_text=True)
    ids = re.findall(r'<section id="([a-z]+)"', page)
    assert ids[:3] == ["summary", "run", "examples"]
    outline = Outline(page)
    shown = {"summary", "run"}
    opened = [attrs for tag, attrs, _ in outline.seen if tag == "details" and "open" in attrs]
    assert not opened
    for name in set(ids) - shown - {"examples"}:
        assert re.search(rf'<section id="{name}" aria-label="[^"]+">\s*<details>\s*<summary>', page)


def test_gate_means_one_thing(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path))
    words = re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.S).lower()
    assert "trust gate" not in words
    assert set(re.findall(r"gates?\b.{0,10}", words)) <= {
        match for match in re.findall(r"gates?\b.{0,10}", words) if match.startswith(("gate question", "gates:"))
    }
