"""Chart text as filed -> chart text as written, with an offset map back to the file.

In: the text of one source entry. Out: :class:`Cleaned`. Charts that passed through a spreadsheet end in search
keywords, in `nan` or in a site's notice, all glued on without a separator, and have commas where lines ended.
A model that reads the keywords parrots them, so they go; a sentence of the chart must never go with them.

Charts exported from a record system come as RTF or HTML, whole or in part, or with control characters where a letter
was lost: they become the text that a reader saw.

Must hold: every character of the result is the file's, or stands for what is known to have stood there (a newline for a
comma or a tag, `<` for `&lt;`, U+FFFD for a lost character); every segment is verbatim; cleaning its own result changes
nothing.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass

from chartdistill.records.control_characters import control_edits
from chartdistill.records.edits import Edit, Segment, apply_edits
from chartdistill.records.markup import markup_edits
from chartdistill.records.rtf import rtf_edits


@dataclass(frozen=True)
class Cleaned:
    """What cleaning made of one chart."""

    text: str
    segments: tuple[Segment, ...]
    """The parts of `text` taken over verbatim, in order, none overlapping."""
    removed: tuple[str, ...]
    """Codes of what was done, in a fixed order: see `CODES`."""


CODES = (
    "rtf",
    "markup",
    "control_characters",
    "boilerplate",
    "nan",
    "keyword_tail",
    "line_breaks",
    "carriage_returns",
    "outer_space",
)
"""Everything `Cleaned.removed` can name."""

_SECTIONS = """
allergy / immunology; autopsy; bariatrics; cardiovascular / pulmonary; chiropractic; consult - history and phy.;
cosmetic / plastic surgery; dentistry; dermatology; diets and nutritions; discharge summary; emergency room reports;
endocrinology; ent - otolaryngology; gastroenterology; general medicine; hematology - oncology;
hospice - palliative care; ime-qme-work comp etc.; lab medicine - pathology; letters; nephrology; neurology;
neurosurgery; obstetrics / gynecology; office notes; ophthalmology; orthopedic; pain management;
pediatrics - neonatal; physical medicine - rehab; podiatry; psychiatry / psychology; radiology; rheumatology;
sleep medicine; soap / chart / progress notes; speech - language; surgery; urology
"""
_SECTION = "|".join(re.escape(" ".join(name.split())) for name in sorted(_SECTIONS.split(";"), key=len, reverse=True))
# Glued to what ended the chart. Not to a letter (`microsurgery, ...`) nor after a space (`plastic surgery, ...`).
_NAMED_TAIL = re.compile(rf"(?:(?<=[.!?)])|(?<=[.!?)],)|(?<=[.!?] ,))(?:{_SECTION})(?=,|\Z)")
_UNSURE_TAIL = re.compile(rf"(?<=[a-z0-9)%][.!?])[a-z]|(?:(?<=[\d:])|(?<=,,))(?:{_SECTION}),")
_MIN_UNSURE_ENTRIES = 5
"""Keywords a list must have to count as a tail where its start is no proof: no known section, or after a colon."""
_MAX_TAIL = 3000
"""Characters from the end within which tails are looked for; the longest seen have about 700."""
_MAX_ENTRY_WORDS = 9

_NOTICE = re.compile(
    r"NOTE[\s,:]*.{0,80}?\btranscription\s+sample\s+reports?.{0,1500}\Z"
    r"|(?<=[a-z.,])NOTE[,:]*\Z",  # the notice, cut off right after its first word
    re.DOTALL,
)
_AFTER_HEADING = re.compile(r"(?<=:)( ?),+(?=( ?)(\d+[.)]\s)?)")
_LOST_BREAK = re.compile(
    r"(?<=[.!?;)]),+(?=\S)"  # a sentence ended, and no space follows the comma
    r"|,{2,}"
    r"|,(?=[A-Z][a-z])"
    r"|, ?(?=[A-Z][A-Z /&()\-]{2,60}:)"  # a heading in capitals
    r"|(?<!\d),(?=\d{1,2}[.)]\s)"  # the next entry of a numbered list
    r"|(?<=\d),(?=\d{1,2}\.\s+[A-Z])"
)
_EDGE = string.whitespace + "\u00a0\ufeff,"


def clean(original: str) -> Cleaned:
    """Cut what was glued on and put lost line breaks back.

    Line breaks are only put back in texts that have none: where lines survived, a comma is a comma. Never raises.
    """
    text = original
    segments: tuple[Segment, ...] = ((0, 0, len(original)),) if original else ()
    removed: set[str] = set()
    # Each step deletes characters or turns some into others that no step looks for, so this ends: on charts, after two
    # to four steps.
    while (step := _next_step(text)) is not None:
        code, edits = step
        text, segments = apply_edits(text, segments, edits)
        removed.add(code)
    return Cleaned(text, segments, tuple(code for code in CODES if code in removed))


def _next_step(text: str) -> tuple[str, list[Edit]] | None:
    """The next thing to do, with its code; None when the text is clean."""
    for code, found in (("rtf", rtf_edits), ("markup", markup_edits), ("control_characters", control_edits)):
        if edits := found(text):
            return code, edits
    for code, start in (("boilerplate", _notice(text)), ("nan", _nan(text)), ("keyword_tail", _tail(text))):
        if start is not None:
            return code, [(start, len(text), "")]
    begin, end = len(text) - len(text.lstrip(_EDGE)), len(text.rstrip(_EDGE))
    if begin or end < len(text):
        lost = "," in text[:begin] or "," in text[end:]
        return "line_breaks" if lost else "outer_space", [(0, begin, ""), (max(begin, end), len(text), "")]
    returns: list[Edit] = [
        (match.start(), match.end(), "" if match[1] else "\n") for match in re.finditer(r"\r(?=(\n)?)", text)
    ]
    if returns:
        return "carriage_returns", returns
    breaks = [] if "\n" in text else _lost_breaks(text)
    return ("line_breaks", breaks) if breaks else None


def _notice(text: str) -> int | None:
    base = max(0, len(text) - _MAX_TAIL)
    match = _NOTICE.search(text, base)
    return match.start() if match else None


def _nan(text: str) -> int | None:
    """Where the `nan`s at the end begin: a missing value that a spreadsheet wrote out."""
    start, end = None, len(text)
    while text.endswith("nan", 0, end) and not text[max(0, end - 4) : end - 3].isalpha():
        start = end = end - 3
        while end and text[end - 1] in _EDGE:
            end -= 1
    return start


def _tail(text: str) -> int | None:
    """Where the keyword tail begins."""
    base = max(0, len(text) - _MAX_TAIL)
    for match in _NAMED_TAIL.finditer(text, base):
        if _num_keywords(text[match.end() :]) is not None:
            return match.start()
    for match in _UNSURE_TAIL.finditer(text, base):
        count = _num_keywords(text[match.start() :])
        if count is not None and count >= _MIN_UNSURE_ENTRIES:
            return match.start()
    return None


def _num_keywords(text: str) -> int | None:
    """How many keywords this list has; None when it is not a list of keywords: prose has capitals and full stops."""
    if any(char.isupper() for char in text) or "\n" in text or text.rstrip(" ,").endswith((".", ":", "?")):
        return None
    entries = [entry for entry in text.split(",") if entry.strip()]
    if any(len(entry.split()) > _MAX_ENTRY_WORDS for entry in entries):
        return None
    return len(entries)


def _lost_breaks(text: str) -> list[Edit]:
    edits: dict[int, Edit] = {}
    for match in _AFTER_HEADING.finditer(text):
        # `HEADING:, text` stood on one line; `HEADING:,Text` and `HEADING:, 1. Text` did not.
        comma, (before, after, number) = match.start() + len(match[1]), match.groups("")
        same_line = (before or after) and not number
        edits[comma] = (comma, match.end(), "") if same_line else (comma, match.end() + len(after), "\n")
    for match in _LOST_BREAK.finditer(text):
        edits.setdefault(match.start(), (match.start(), match.end(), "\n"))
    ordered = sorted(edits.values())
    return [edit for before, edit in zip([(-1, -1, ""), *ordered], ordered, strict=False) if edit[0] >= before[1]]
