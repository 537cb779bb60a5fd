"""HTML and XML taken for text -> the text that a reader saw.

In: any text. Out: the edits that take tags out, put lines where tags made them, and turn references (`&lt;`) into their
characters; none for plain text. Charts are full of `<` that is no markup ("Hgb <7", "O2 <90%", "<NAME>"), so a tag
counts as one only where the text has its counterpart, and the whole as markup only where something proves it. HTML
parsers take any `<x ...>` for a tag and tell no offsets, hence the tokeniser here; names and references are those of
https://html.spec.whatwg.org (the standard library has the table of references).
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html.entities import name2codepoint

from chartdistill.records.edits import Edit
from chartdistill.records.symbol_font import in_symbol_font

_TAG = re.compile(
    r"<(?P<close>/?)(?P<name>[A-Za-z][\w:.-]*+)(?P<rest>(?:\s(?:[^<>\"']|\"[^\"<]*+\"|'[^'<]*+')*+)?/?)>"
    r"|<!(?:(?i:doctype|element|entity|attlist)\b|\[)[^<>]*+>|<\?[A-Za-z][^<>]*+(?<=\?)>"
)
"""No part of a tag holds `<`, so all tries together read a text once."""
_BRACKET = re.compile(r"<!--|<!\[CDATA\[|<(?=[A-Za-z/!?])")
_ATTRIBUTE = re.compile(r"\s[\w:.-]+\s*=")
_SYMBOL = re.compile(r"\b(?:face|font-family)\b[^;]{0,40}\bsymbol\b", re.IGNORECASE)
_BREAKS = frozenset(
    "address article aside blockquote body br caption dd details div dl dt fieldset figure footer form h1 h2 h3 h4 h5 "
    "h6 header hr html li main nav ol option p pre section select table tbody tfoot thead title tr ul".split()
)
_CELLS = frozenset(("td", "th"))
_LINE_ENDS = frozenset(("br", "hr"))
_AT_NEWLINE = re.compile(r"[ \t]*(?:\r\n?|\n)")
_NEXT_CELL = re.compile(r"\s*<t[dh]\b", re.IGNORECASE)
_UNPAIRED = frozenset(
    "area base body br col dd dt hr html img input li link meta option p tbody td tfoot th thead tr wbr".split()
)
"""Elements that HTML leaves without an end tag."""
_PROOFS = frozenset(("html", "body", "br"))
"""One of these is enough to know HTML by."""
_PROOFS_IF_MANY = frozenset(("p", "li", "tr", "td", "th", "dt", "dd"))
"""Two of these are: one may be a slip."""
_INLINE = frozenset(
    "a abbr acronym b big bdo cite code center del em font i img input ins kbd label mark q s samp small span strike "
    "strong sub sup tt u var".split()
)
_UNSEEN = frozenset(("script", "style", "head", "xml", "template"))
_STRUCK = frozenset(("del", "s", "strike"))
STRUCK_OUT = ("[struck out: ", "]")
"""What stands around words that a reader saw crossed out: without it a stopped drug would read as a current one."""
_BOX = re.compile(r"\btype\s*=\s*[\"']?(?:checkbox|radio)\b", re.IGNORECASE)
_TICKED = re.compile(r"\schecked\b", re.IGNORECASE)
_QUOTED = re.compile(r"\"[^\"]*+\"|'[^']*+'")
BOXES = ("[ ]", "[x]")
"""What stands for a box of a form, empty and ticked: without it all that the form offers would read as said."""
_REFERENCE = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|(?P<name>[A-Za-z][A-Za-z0-9]{1,31}));")
_OPEN_REFERENCE = re.compile(r"&(?:nbsp|lt|gt|amp|quot)(?![A-Za-z;=])")
_PLAIN_NAMES = frozenset((*name2codepoint, "apos"))
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class _Tag:
    """Something in angle brackets."""

    start: int
    end: int
    name: str
    """Lower case; empty for comments, declarations and instructions."""
    closes: bool = False
    rest: str = ""
    """What stands behind the name."""

    @property
    def has_attributes(self) -> bool:
        return self.rest.endswith("/") or _ATTRIBUTE.search(self.rest) is not None


def markup_edits(text: str) -> list[Edit]:
    """The edits that make plain text of markup, in order; empty where there is none."""
    tags = _without_unseen(_proven(list(_brackets(text)))) if "<" in text else []
    if not tags and "&" not in text:
        return []
    return _Conversion(text, tags).edits()


def _brackets(text: str) -> Iterator[_Tag]:
    position = 0
    ends = {"<!--": "-->", "<![CDATA[": "]]>"}
    for begin in _BRACKET.finditer(text):
        start = begin.start()
        if start < position:
            continue
        if end_mark := ends.get(begin[0]):
            end = text.find(end_mark, begin.end())
            if end < 0:
                del ends[begin[0]]  # so that a text is searched once only for what it does not have
                continue
            position = end + 3
            if end_mark == "-->":
                yield _Tag(start, position, "")
            else:  # its text is text
                yield from (_Tag(start, begin.end(), ""), _Tag(end, position, ""))
        elif match := _TAG.match(text, start):
            position = match.end()
            yield _Tag(start, position, (match["name"] or "").lower(), bool(match["close"]), match["rest"] or "")


def _proven(tags: Sequence[_Tag]) -> list[_Tag]:
    """Those that are tags; none where nothing proves that the text is markup."""
    opened: dict[str, int] = {}
    paired: set[str] = set()
    for tag in tags:
        if not tag.closes:
            opened[tag.name] = opened.get(tag.name, 0) + 1
        elif tag.name in opened:
            paired.add(tag.name)
    known = _BREAKS | _CELLS | _INLINE | _UNPAIRED | _UNSEEN
    is_markup = (
        bool(paired - _STRUCK)
        or bool(opened.keys() & _PROOFS)
        or sum(opened.get(name, 0) for name in _PROOFS_IF_MANY) > 1
        or any(tag.has_attributes and tag.name in known for tag in tags)
        or any(not tag.name or _is_left_over(tag, known) for tag in tags)
    )
    if not is_markup:
        return []
    loose = _UNPAIRED | paired
    return [tag for tag in tags if not tag.name or tag.name in loose or tag.has_attributes or _is_left_over(tag, known)]


def _is_left_over(tag: _Tag, known: frozenset[str]) -> bool:
    """An end tag of HTML whose beginning was cut off."""
    return tag.closes and tag.name in known and tag.name not in _STRUCK


def _without_unseen(tags: Sequence[_Tag]) -> list[_Tag]:
    """Elements that no reader saw (scripts, styles, the head), each as one tag with all that is in it."""
    ends: dict[str, list[int]] = {}
    for tag in tags:
        if tag.closes and tag.name in _UNSEEN:
            ends.setdefault(tag.name, []).append(tag.end)
    found: list[_Tag] = []
    position = 0
    for tag in tags:
        if tag.start < position:
            continue
        if tag.name in _UNSEEN and not tag.closes and not tag.rest.endswith("/"):
            end = next((end for end in ends.get(tag.name, ()) if end > tag.end), tag.end)
            tag = _Tag(tag.start, end, "")
        found.append(tag)
        position = tag.end
    return found


def power(before: str, first: str) -> str:
    """What tells a raised number from the digits before it: 10 to the third is no 103."""
    return "^" if before.isdigit() and (first.isdigit() or first in "+-−") and first else ""


class _Conversion:
    """Tags and the text between them -> edits."""

    def __init__(self, text: str, tags: Sequence[_Tag]) -> None:
        self._text = text
        self._tags = tags
        names = {tag.name for tag in tags}
        self._is_strewn = self._has_stray_breaks()
        """Whether a plain note has a few tags of lines in it: its newlines stay lines."""
        self._has_lines = bool(names & _BREAKS) and not self._is_strewn
        """Whether tags make the lines: newlines in the file are then only spaces."""
        self._is_xml = text.lstrip()[:1] == "<" and not names & (_BREAKS | _INLINE | _CELLS)
        """Whether elements are fields of a document, each on its own line, rather than marks within a sentence."""
        uses = Counter((tag.name, tag.closes) for tag in tags if tag.name in _STRUCK)
        self._struck = {name for name in _STRUCK if uses[name, True] == uses[name, False]}
        self._edits: list[Edit] = []

    def _has_stray_breaks(self) -> bool:
        """Whether lines are made by `<br>`, `<hr>` and end tags without a beginning alone, and by fewer of them than by
        newlines of their own: in HTML that is one element of lines after another these are where a tag is."""
        making = [tag for tag in self._tags if tag.name in _BREAKS]
        if not making or any(not tag.closes and tag.name not in _LINE_ENDS for tag in making):
            return False
        newlines = self._text.count("\n") + self._text.count("\r") - self._text.count("\r\n")
        return newlines - sum(_AT_NEWLINE.match(self._text, tag.end) is not None for tag in making) > len(making)

    def edits(self) -> list[Edit]:
        """All of them, in order, disjoint."""
        position, in_pre, after_break, symbols = 0, 0, True, False
        for run in self._runs():
            breaks = self._breaks(run[0])
            self._text_edits(position, run[0].start, symbols)
            self._space_edits(position, run[0].start, after_break, breaks, in_pre > 0)
            self._edits.append((run[0].start, run[-1].end, self._instead(run)))
            in_pre = max(0, in_pre + sum(-1 if tag.closes else 1 for tag in run if tag.name == "pre"))
            position, after_break = run[-1].end, breaks
            symbols = not run[-1].closes and _SYMBOL.search(run[-1].rest) is not None
        self._text_edits(position, len(self._text), symbols)
        self._space_edits(position, len(self._text), after_break, True, in_pre > 0)
        return sorted(self._edits)

    def _runs(self) -> Iterator[list[_Tag]]:
        """Tags with nothing but space between them, as one, so that ten ends of boxes are not ten empty lines."""
        run: list[_Tag] = []
        for tag in self._tags:
            if run and not (self._breaks(tag) and self._breaks(run[-1]) and self._is_space(run[-1].end, tag.start)):
                yield run
                run = []
            run.append(tag)
        if run:
            yield run

    def _breaks(self, tag: _Tag) -> bool:
        return tag.name in _BREAKS or (self._is_xml and bool(tag.name))

    def _is_space(self, start: int, end: int) -> bool:
        return start == end or self._text[start:end].isspace()

    def _instead(self, run: Sequence[_Tag]) -> str:
        """What stands in the place of a run of tags."""
        if self._breaks(run[0]):
            names = [tag.name for tag in run]
            heading = any(re.fullmatch("h[1-6]", tag.name) and not tag.closes for tag in run)
            paragraphs = any(tag.name == "p" and tag.closes for tag in run) and "p" in names[1:]
            return "\n\n" if heading or paragraphs or names.count("br") > 1 else "\n"
        if run[0].name in _CELLS:
            return "\t" if run[0].closes and _NEXT_CELL.match(self._text, run[0].end) else ""
        if run[0].name == "input" and _BOX.search(run[0].rest):
            box = BOXES[_TICKED.search(_QUOTED.sub("", run[0].rest)) is not None]
            return box if self._text[run[0].end : run[0].end + 1].isspace() else f"{box} "
        if run[0].name in self._struck:
            return STRUCK_OUT[run[0].closes]
        if run[0].name == "sup" and not run[0].closes:
            return power(self._text[max(0, run[0].start - 1) : run[0].start], self._text[run[0].end : run[0].end + 1])
        return ""

    def _text_edits(self, start: int, end: int, symbols: bool) -> None:
        """Characters between two tags that stand for others."""
        references = list(self._references(start, end))
        if not symbols:
            self._edits += references
            return
        shown = {first: (last, character) for first, last, character in references}
        while start < end:
            last, character = shown.get(start, (start + 1, self._text[start]))
            seen = "".join(map(in_symbol_font, character))
            if seen != self._text[start:last]:
                self._edits.append((start, last, seen))
            start = last

    def _space_edits(self, start: int, end: int, after_break: bool, before_break: bool, as_written: bool) -> None:
        """Newlines between two tags, where they are only spaces."""
        if self._is_strewn and after_break and start and (end_of_line := _AT_NEWLINE.match(self._text, start, end)):
            self._edits.append((start, end_of_line.end(), ""))  # of the line that the tag ended
        if not self._has_lines or as_written:
            return
        for space in _SPACE.finditer(self._text, start, end):
            if (after_break and space.start() == start) or (before_break and space.end() == end):
                self._edits.append((space.start(), space.end(), ""))
            elif "\n" in space[0] or "\r" in space[0]:
                self._edits.append((space.start(), space.end(), " "))

    def _references(self, start: int, end: int) -> Iterator[Edit]:
        if self._text.find("&", start, end) < 0:
            return
        for match in _REFERENCE.finditer(self._text, start, end):
            if self._tags or match["name"] is None or match["name"] in _PLAIN_NAMES:
                character = html.unescape(match[0])
                if character != match[0]:
                    yield match.start(), match.end(), " " if character == "\xa0" else character
        if self._tags:
            for match in _OPEN_REFERENCE.finditer(self._text, start, end):
                yield match.start(), match.end(), html.unescape(match[0] + ";").replace("\xa0", " ")
