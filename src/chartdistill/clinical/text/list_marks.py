"""What stands behind an entry of a list or form, or in its box: "(Discontinued)", "- not taking", ": No", "[ ]".

In: one mention. Out: what its marks say. Must hold: pure; a mark belongs to the entry right before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from chartdistill.clinical.text.sections import Mention

_SUBJECT = r"(?:(?:patient|pt|has\s+been|was|is|now|currently)\s+){0,2}"
_NO_CONDITION = r"(?!\s+(?:if|unless|for\s+(?:an?\s+)?(?:sbp|dbp|s?bp|map|hr|rr|inr|systolic|heart|pulse|sedation))\b)"
_ENDS_THERE = r"(?=\s*(?:$|[.,;)\]\n]))"


def _tag(words: str) -> re.Pattern[str]:
    """Words that stand behind an entry, after its dose and a bracket, dash, arrow, colon or comma."""
    return re.compile(
        rf"^(?:\s+[\w./%'-]+){{0,9}}?\s*(?:[(\[]|[-\u2013\u2014:]\s|,|->|\u2192)\s*{_SUBJECT}(?:{words})(?!\w){_NO_CONDITION}",
        re.IGNORECASE,
    )


_TAGS: tuple[tuple[Literal["stopped", "held", "tried"], re.Pattern[str]], ...] = (
    (
        "stopped",
        _tag(
            r"discontinued|stopped|d/?c'?e?d|d/?c|not\s+taking|no\s+longer\s+taking|inactive"
            rf"|(?:stop|discontinue){_ENDS_THERE}"
        ),
    ),
    ("held", _tag(r"on\s+hold|held|holding|hold")),
    ("tried", _tag(r"completed|finished|(?:course|treatment|therapy)\s+(?:done|finished|completed?)|expired")),
)
"""What medication lists put behind an entry: "(Discontinued)", "- not taking", ", d/c 3/4", "-> stop"."""
_DENIED_AFTER = re.compile(
    r"^\s*\(\s?[-\u2013]\s?\)|^\s*[:(\[\u2013?-]\s*(?:no|n|none|nil|denie[sd]|negative|absent|never(?:\s+(?:used|taken|had))?"
    r"|not\s+(?:present|used|taken|given|prescribed|applicable))(?=\s*(?:[.,;)\]\n]|$))|^\s*,\s*which\s+(?:was|were|is)\s+(?:negative|ruled\s+out"
    r"|excluded)\b",
    re.IGNORECASE,
)
"""A form's answer: "Warfarin: No", "asthma - none", "epilepsy (no)", "Seizures? No"; and "tested for X, which was
negative"."""
_BOX = re.compile(r"\[\s*[xX\u2713\u2714]?\s*\]|[\u2610\u25a1\u2611\u2612]")
_LEADS = re.compile(r"[\s*\u2022-]*|[^:]*:\s*")
_EMPTY_BOX = re.compile(r"(?:\[\s*\]|[\u2610\u25a1])\s*")


def tags(after: str) -> Iterator[Literal["stopped", "held", "tried"]]:
    """What the words behind an entry say became of it."""
    return (cue for cue, pattern in _TAGS if pattern.search(after))


def answered_no(mention: Mention) -> bool:
    """Whether a form answers an entry with no, or leaves its box empty."""
    return _DENIED_AFTER.search(mention.told_after) is not None or _unticked(mention)


def _unticked(mention: Mention) -> bool:
    """Whether the box of an entry is empty: "[ ] asthma [x] gout"; also where boxes stand behind their entries."""
    before, after = mention.told_before, mention.told_after
    first = _BOX.search(before)
    if first is not None and _LEADS.fullmatch(before[: first.start()]):
        last = list(_BOX.finditer(before))[-1]
        return last.end() == len(before.rstrip()) and _EMPTY_BOX.fullmatch(last.group()) is not None
    return _EMPTY_BOX.match(after.lstrip()) is not None
