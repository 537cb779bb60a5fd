"""Where in a chart a thing is mentioned: its section, sentence and clause.

In: chart text. Out: :class:`Outline` and :class:`Mention`s with character offsets. Shared by the filters that ask what
a chart says *about* an item (`kind`, `status`, `false_none`); the cues they look for are in `context.py`.

Must hold: pure; sentences and clauses never overlap; every offset points into the text as given.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from chartdistill.clinical.text.grounding import occurrences

_MARKED = r"(?:#{1,6}[ \t]+)?[*_]{0,3}"
"""Before a heading in Markdown: "## Allergies", "**Medications:**"."""
_HEADING = re.compile(
    rf"(?:(?:^|\n)[ \t]*{_MARKED}(?:\d{{1,2}}[.)]\s*)?"
    r"(?P<line>[A-Z][A-Za-z0-9 ,/&()'\-]{0,60}?"  # any case, on its own line
    r"|(?:(?:home|current|discharge|past|family|social|medical|surgical|drug|known)[ \t]+){0,2}"  # lower case, if known
    r"(?:allergies|medications?|meds|history|hx|diagnos[ie]s|assessment|impression|plan|prognosis))"
    r"|(?<=[.!?]\s)(?P<inline>[A-Z][A-Z0-9 /&()'\-]{2,60}?|(?:Current |Home |Drug )?(?:[Aa]llergies"
    r"|[Mm]edications|[Mm]eds)"
    r"|Impression|Assessment|Plan|Diagnos[ei]s|Family [Hh]istory"
    r"|Recommendations))(?:[ \t]*\([^()\n]{1,40}\))?[ \t]*[*_]{0,3}:(?!\d)[*_]{0,3}"
)
_LONE_HEADING = re.compile(
    rf"(?:^|\n)[ \t]*{_MARKED}(?P<line>[A-Z][A-Z /&()'\-]{{3,50}}|(?:(?:Home|Current|Present|Active|Discharge|Admission"
    r"|Outpatient|Inpatient|Drug|Medication|Past|Family|Social|Medical|Surgical|Known|Final"
    r"|Discontinued|Stopped|Held|Other)[ \t]+){0,3}"
    r"(?i:allerg(?:ies|y)|intolerances|medications?|meds|medicines|history|diagnos[ie]s|assessment|impression|plan"
    r"|labs|laboratory(?:[ \t]+data)?|recommendations|prognosis|procedures?))[*_]{0,3}[ \t]*(?=\n)"
)
_SENTENCE_END = re.compile(
    r"(?<!\bDr)(?<!\bMr)(?<!\bMs)(?<!\bMrs)(?<!\bvs)(?<!\bSt)(?:[.!]|\?(?!\s*(?:No|Yes|Never|None|Denie[sd]|[NY])\b))[\"')\]]*\s+(?=[A-Z0-9\"(#_])|\n+"
)
_CLAUSE_END = re.compile(
    r";|\s+-{1,2}\s+|,?\s+\b(?:but(?!\s+also)|however|although|though|whereas|while|except|then|therefore|so that)\b"
    r"|,\s+(?=(?:agree|accept|prefer|opt|elect)(?:s|ed|ing|red|ring|ted|ting)?\b|would\s+(?:like|rather)\b)"
    r"|,\s+(?=so\s+(?!\w+\s+(?:is|as)\b))|,\s+(?=(?:and|or|which|who|he|she|we|i|it|they|the patient"
    r"|with(?!\s+or\b))\b)"
    r"|,?\s+\band\s+(?=(?:then\s+|will\s+|we\s+|was\s+|to\s+)?(?:try|start|begin|begun|initiate|continue|resume|stop"
    r"|stopped|discontinue|hold|held|add|added|switch|switched|change|increase|decrease|reduce|use|take|give|gave|placed)"
    r"\w*\b)",
    re.IGNORECASE,
)
_SHORT_ENTRY = re.compile(
    r"\s*(?:\d{1,2}[.)]|[-*•])?\s*\S+(?:\s+\S+){0,4}\s*|\s*[^\s.;:()]+(?:\s+[^\s.;:()]+){0,3}\s*(?:\([^()]*\)|[-\u2013:]\s[^.;]*)\s*"
)
_MARKED_ENTRY = re.compile(r"\s*(?:\d{1,2}[.)]|[-*•])\s")
_PROSE = re.compile(
    r"\b(?:he|she|we|i|patient|is|was|were|are|has|had|have|takes?|denies|will|should)\b", re.IGNORECASE
)
_MAX_REACH = 300
"""Characters on each side of a mention that can be its clause: text without full stops must not take forever."""
_MAX_TOLD = 600
"""The same of its whole sentence."""
_MAX_BELOW = 1000
_MAX_MENTIONS = 200
_NUMBERED = re.compile(r"\d{1,2}[.)]$")


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a chart: `text` is `chart[start:end]`."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Mention:
    """One place where a chart names a thing."""

    start: int
    end: int
    before: str
    """The clause up to the mention."""
    after: str
    """The clause after the mention."""
    sentence: Span
    heading: str
    """Heading of the section, in lower case; empty before the first one."""
    below: str
    """What stands between the heading and the mention."""

    @property
    def listed(self) -> bool:
        """Whether the mention stands in the heading's own line, or in a list of entries under it.

        Entries are short, or begin with a list mark. What comes after that, or after a sentence with a verb, is often
        about something else, where a chart has lost its line breaks.
        """
        *entries, last = self.below.lstrip().split("\n")
        if not all(_SHORT_ENTRY.fullmatch(entry) or _MARKED_ENTRY.match(entry) for entry in entries):
            return False
        if re.search(r"[a-z][.!?]\s", last):
            return False
        return re.search(r"\)[.!?]\s", last) is None or _PROSE.search(last) is None  # "Penicillin (hives). Codeine"

    @property
    def told_before(self) -> str:
        """The sentence up to the mention, whatever clauses it has; of a long one the part beside the mention."""
        return self.sentence.text[: max(0, self.start - self.sentence.start)][-_MAX_TOLD:]

    @property
    def told_after(self) -> str:
        """The sentence, or list entry, after the mention; of a long one the part beside the mention."""
        return self.sentence.text[max(0, self.end - self.sentence.start) :][:_MAX_TOLD]

    @property
    def clause(self) -> str:
        """The clause, with the mention replaced by `_`."""
        return f"{self.before}_{self.after}"


class Outline:
    """Sections and sentences of one chart."""

    def __init__(self, text: str) -> None:
        self.text = text
        found = {
            (match.start("line") if match["line"] else match.start("inline"), match.end()): match[match.lastgroup or 0]
            for match in _HEADING.finditer(text)
        }
        found.update(
            {(match.start("line"), match.end("line")): match["line"] for match in _LONE_HEADING.finditer(text)}
        )
        self.headings = [
            (start, end, " ".join(name.casefold().split())) for (start, end), name in sorted(found.items())
        ]
        self._heading_starts = [start for start, _, _ in self.headings]
        self.sentences = list(self._cut())
        self._sentence_starts = [sentence.start for sentence in self.sentences]

    def in_heading(self, position: int) -> bool:
        """Whether a position is part of a heading, or of the title: the first line, when it is no sentence."""
        index = bisect_right(self._heading_starts, position) - 1
        if index >= 0:  # what stands behind a heading is no title: "Plan: CBC, BMP" as the first line
            return position < self.headings[index][1]
        return bool(self.sentences) and position < self.sentences[0].end and not _is_prose(self.sentences[0].text)

    def sentence_at(self, position: int) -> Span:
        """The sentence a position stands in."""
        return self.sentences[max(0, bisect_right(self._sentence_starts, position) - 1)]

    def section(self, pattern: re.Pattern[str]) -> Iterator[Span]:
        """The text under each heading that the pattern matches."""
        for number, (_, end, name) in enumerate(self.headings):
            if pattern.search(name):
                stop = self.headings[number + 1][0] if number + 1 < len(self.headings) else len(self.text)
                yield Span(end, stop, self.text[end:stop])

    def mention(self, start: int, end: int) -> Mention:
        """The mention at `text[start:end]`, with its clause."""
        sentence = self.sentence_at(start)
        low = max(sentence.start, start - _MAX_REACH)
        high = min(max(sentence.end, end), end + _MAX_REACH)
        for match in _CLAUSE_END.finditer(self.text, low, high):
            if match.end() <= start:
                low = match.end()
            elif match.start() >= end:
                high = match.start()
                break
        index = bisect_right(self._heading_starts, start) - 1
        _, below, heading = self.headings[index] if index >= 0 else (0, 0, "")
        return Mention(
            start,
            end,
            self.text[low:start],
            self.text[end:high],
            sentence,
            heading,
            self.text[below : min(start, below + _MAX_BELOW)],
        )

    def mentions(self, names: Iterable[str]) -> list[Mention]:
        """Where one of the names stands as whole words, in order, none inside another: the first 200 places."""
        spans = sorted({span for name in names for span in occurrences(name, self.text)}, key=lambda s: (s[0], -s[1]))
        found: list[Mention] = []
        for start, end in spans:
            if not found or start >= found[-1].end:
                found.append(self.mention(start, end))
            if len(found) == _MAX_MENTIONS:
                break
        return found

    def _cut(self) -> Iterator[Span]:
        start = 0
        for match in _SENTENCE_END.finditer(self.text):
            piece = self.text[start : match.end()]
            if _NUMBERED.fullmatch(piece.strip()):  # "1. Albuterol": the number belongs to what follows
                continue
            if piece.strip():
                yield Span(start, match.end(), piece)
            start = match.end()
        if self.text[start:].strip():
            yield Span(start, len(self.text), self.text[start:])


_NEW_ENTRY = re.compile(
    r"\s*(?:[-*\u2022\u2610\u25a1\u2611\u2612#]|\(?\d{1,2}[.)]\s|\[[ xX]?\]|[A-Z][\w ,/&()'-]{0,40}:)"
)
_COLUMNS = range(50, 121)
"""Lengths of the longest line in charts that were wrapped to a width."""
_LEAST_WRAPPED = 2
"""Lines that go on in lower case where a line was full, before a chart counts as wrapped."""


def unwrapped(text: str) -> str:
    """The text with a space for each line end at which a sentence was only wrapped to a width, so that offsets stay.

    Told by this: the next word had no room in the line. A line that ends a sentence, or comes before an entry of a list
    or a heading, ends all the same; and what begins in lower case is no paragraph, but may be a list.
    """
    lines = text.split("\n")
    width = max((len(line) for line in lines if len(line.split()) > 4), default=0)
    if width not in _COLUMNS:
        return text
    wrapped: set[int] = set()
    in_paragraph = not _begins_low(lines[0])
    for at in range(1, len(lines)):
        if in_paragraph and _goes_on(lines[at - 1].rstrip(), lines[at], width):
            wrapped.add(at)
        else:
            in_paragraph = not _begins_low(lines[at])
    if sum(_begins_low(lines[at]) for at in wrapped) < _LEAST_WRAPPED:
        return text
    return "".join((" " if at in wrapped else "\n") * (at > 0) + line for at, line in enumerate(lines))


def _begins_low(line: str) -> bool:
    return line.lstrip()[:1].islower()


def _goes_on(before: str, line: str, width: int) -> bool:
    first = line.split(maxsplit=1)[:1]
    full = bool(first) and len(before) + 1 + len(first[0]) > width
    return full and not before.endswith((".", ":", ";", "!", "?", ")")) and _NEW_ENTRY.match(line) is None


@lru_cache(maxsize=8)
def outline(text: str) -> Outline:
    """The outline of a chart, wrapped lines as one; the last few are remembered, since several filters ask about the
    same chart."""
    return Outline(unwrapped(text))


def _is_prose(text: str) -> bool:
    """Whether the first line is a sentence; a title ends without a mark."""
    return text.rstrip().endswith((".", "!", "?", ";", ","))
