"""Doses as data: a number with its unit, however it is spelled, and which of them belong to a mention of a drug.

In: text. Out: :class:`Dose`s. "5,000 units" and "5000 U", ".5 mg" and "0.5 mg", "1 g" and "1000 mg", "one tablet" and
"1 tab" are each the same; "50 mcg" and "50 mg" are not. Must hold: pure; every offset points into the text as given; a
number without a unit has none, and is compared by its value alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

_WORDS: dict[str, Decimal | int] = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "half": Decimal("0.5"),
}  # fmt: skip
_UNITS: dict[str, tuple[str, int]] = {
    name: (dimension, factor)
    for names, dimension, factor in (
        ("mcg ug µg μg microgram micrograms mcgs", "mass", 1),
        ("mg mgs milligram milligrams mgm", "mass", 1_000),
        ("g gm gms gram grams", "mass", 1_000_000),
        ("meq meqs milliequivalent milliequivalents", "meq", 1),
        ("ml mls cc ccs milliliter milliliters", "volume", 1),
        ("l liter liters", "volume", 1_000),
        ("unit units iu u", "units", 1),
        ("% percent", "percent", 1),
        ("tab tabs tablet tablets cap caps capsule capsules pill pills", "pieces", 1),
        ("puff puffs", "puffs", 1),
        ("drop drops gtt gtts", "drops", 1),
    )
    for name in names.split()
}
"""Unit as written, in lower case -> what it measures, and how many of the smallest unit it is."""
_DOSE = re.compile(
    r"(?<![\w.,/])(?:(?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d*\.\d+|\d+)|(?P<word>"
    + "|".join(_WORDS)
    + r")(?=[\s-]+(?:tab|cap|pill|puff|drop)))"
    r"(?:[\s-]{0,2}(?P<unit>" + "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True)) + r")(?![a-z]))?",
    re.IGNORECASE,
)
_END = re.compile(r";|\n|[.!?](?=\s+[A-Z]|\s*$)")
_LEAD = re.compile(r"(?:^|[\s(])((?:\d[\d.,]*|\.\d+)\s?[A-Za-zµ%]+)(?:\s+(?:of|tablets?|caps\w*|po|iv|oral))*\s+$")
_LEAD_CHARS = 60
_PER = re.compile(r"\s?/\s?(?:d?l|hpf|min|hr?|mmol)\b|\s?(?:ng|pg|mmol|mmhg|bpm|kg|lbs?|cm|mm)\b", re.IGNORECASE)
"""What follows a measured value: mg/dL, ng/mL, kg."""

_JOINED = re.compile(r"[^\W\d_]-\d|\d-[^\W\d_]")


@dataclass(frozen=True, slots=True)
class Dose:
    """A number and its unit, at `text[start:end]`."""

    start: int
    end: int
    value: Decimal
    dimension: str | None
    """What the unit measures; None for a bare number."""
    amount: Decimal
    """In the smallest unit of the dimension; the value itself without one."""
    measured: bool = False
    """Whether it is a laboratory value or a body measure: 3.2 mEq/L, 80 kg."""
    in_name: bool = False
    """Whether it is joined to a name and no dose: 5-FU, Isovue-300."""

    def same_as(self, other: Dose) -> bool:
        """Whether both say the same; where one has no unit, whether they have the same number."""
        if self.dimension is None or other.dimension is None:
            return self.value == other.value
        return self.dimension == other.dimension and self.amount == other.amount


def doses(text: str) -> list[Dose]:
    """All numbers of a text with their units, in order."""
    found = []
    for match in _DOSE.finditer(text):
        value = _value(match)
        if value is None:
            continue
        dimension, factor = _UNITS.get((match["unit"] or "").casefold(), (None, 1))
        measured = _PER.match(text, match.end()) is not None
        around = text[max(0, match.start() - 2) : match.end() + 2]
        in_name = dimension is None and _JOINED.search(around) is not None
        found.append(Dose(match.start(), match.end(), value, dimension, value * factor, measured, in_name))
    return found


def _value(match: re.Match[str]) -> Decimal | None:
    if match["word"]:
        return Decimal(_WORDS[match["word"].casefold()])
    try:
        return Decimal(match["number"].replace(",", ""))
    except InvalidOperation:
        return None


def numbers_missing(said: str, text: str) -> list[str]:
    """The numbers of an item that stand nowhere in a text, under no spelling of them; as the item writes them."""
    wanted = doses(said)
    there = doses(text) if wanted else []
    missing = []
    for one in wanted:
        written = said[one.start : one.end]
        named = one.in_name and re.search(rf"(?<!\d){re.escape(written)}(?!\d)", text)
        if not named and not any(_told(one, other) for other in there):
            missing.append(written)
    return missing


def _told(said: Dose, there: Dose) -> bool:
    return said.same_as(there) or (said.value == there.value and there.dimension is None)


def doses_of(name: tuple[int, int], others: Sequence[tuple[int, int]], text: str) -> list[Dose]:
    """The doses that belong to a drug at `text[name]`: those behind it up to the next drug, semicolon or sentence, or
    right before it ("40 mg of furosemide"). `others`: where the text names drugs."""
    start, end = name
    ends = _END.search(text, end)
    stop = min([*(s for s, _ in others if s >= end), ends.start() if ends else len(text)])
    lead = _LEAD.search(text[max(0, start - _LEAD_CHARS) : start])
    return [*doses(text[end:stop]), *(doses(lead.group(1)) if lead else [])]
