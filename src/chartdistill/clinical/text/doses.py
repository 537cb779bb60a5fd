"""Doses as data: a number with its unit, however it is spelled, and which of them belong to a mention of a drug.

In: text. Out: :class:`Dose`s. "5,000 units" and "5000 U", ".5 mg" and "0.5 mg", "1 g" and "1000 mg", "one tablet" and
"1 tab" are each the same; "50 mcg" and "50 mg" are not. Must hold: pure; every offset points into the text as given; a
number without a unit has none, and is compared by its value alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, DecimalException

NUMBER_WORDS: dict[str, Decimal | int] = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "half": Decimal("0.5"), "one-half": Decimal("0.5"), "one half": Decimal("0.5"), "quarter": Decimal("0.25"),
    "one and a half": Decimal("1.5"), "one and one-half": Decimal("1.5"), "two and a half": Decimal("2.5"),
    "two and one-half": Decimal("2.5"),
}  # fmt: skip
_UNITS: dict[str, tuple[str, int, str]] = {
    name: (dimension, factor, names.split()[0])
    for names, dimension, factor in (
        ("mcg ug µg μg microgram micrograms mcgs", "mass", 1),
        ("mg mgs milligram milligrams mgm", "mass", 1_000),
        ("g gm gms gram grams", "mass", 1_000_000),
        ("mEq meqs milliequivalent milliequivalents", "meq", 1),
        ("mL mls cc ccs milliliter milliliters", "volume", 1),
        ("L liter liters", "volume", 1_000),
        ("tsp tsps teaspoon teaspoons teaspoonful teaspoonfuls", "volume", 5),
        ("tbsp tbsps tablespoon tablespoons", "volume", 15),
        ("units unit iu u", "units", 1),
        ("% percent", "percent", 1),
        ("tablet tablets tab tabs cap caps capsule capsules pill pills", "pieces", 1),
        ("puff puffs inhalation inhalations", "puffs", 1),
        ("drop drops gtt gtts", "drops", 1),
        ("spray sprays", "sprays", 1),
        ("patch patches", "patches", 1),
    )
    for name in names.casefold().split()
}
"""Unit as written, in lower case -> what it measures, how many of the smallest unit it is, and how it is shown."""
UNIT = "(?:" + "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True)) + ")(?![a-z])"
_PIECES = r"(?:tab|cap|pill|puff|drop|spray|patch|teaspoon|tablespoon|tsp|tbsp)"
_DOSE = re.compile(
    rf"(?<![\w.,/])(?:(?P<parts>(?:\d\s)?\d/\d|\d?[\u00bc-\u00be])(?=[\s-]*(?:of\s)?(?:an?\s)?{_PIECES})"
    r"|(?P<number>0,\d+|\d{1,3},\d?[1-9](?=\s?(?:m?c?g|[µμ]g|ml|units?|iu|meq)\b)|\d{1,3}(?:,\d{3})+(?:\.\d+)?"
    r"|\d{1,3}(?:[ \u2009\u202f]\d{3})+(?=[\s-]{0,2}(?:units?|iu)\b)|\d*\.\d+|\d+)"
    r"(?:\s(?P<scale>million|thousand)(?=\s(?:units?|iu|u)\b))?|(?P<word>"
    + "|".join(sorted(NUMBER_WORDS, key=len, reverse=True))
    + rf")(?=[\s-]+(?:of\s)?(?:an?\s)?{_PIECES}))(?:(?:[\s-]{{0,2}}|\s(?:of\s)?an?\s)(?P<unit>{UNIT}))?",
    re.IGNORECASE,
)
_END = re.compile(r";|\n|[.!?](?=\s+[A-Z]|\s*$)")
_LEAD = re.compile(r"(?:^|[\s(])((?:\d[\d.,]*|\.\d+)\s?[A-Za-zµ%]+)(?:\s+(?:of|tablets?|caps\w*|po|iv|oral))*\s+$")
_LEAD_CHARS = 60
_LEAD_OF_NEXT = re.compile(
    r"\b(?:\d[\d.,]*\s?[A-Za-zµ%]{1,12}\s+of|(?:and|plus|with|then)\s+\d[\d.,]*\s?[A-Za-zµ%]{1,12}(?:\s+(?:po|iv|oral))?)\s+$"
)
"""The dose of the drug that follows: with "of", or behind a conjunction."""
_PER = re.compile(r"\s?/\s?(?:d?l|hpf|min|hr?|mmol)\b|\s?(?:ng|pg|mmol|mmhg|bpm|kg|lbs?|cm|mm)\b", re.IGNORECASE)
"""What follows a measured value: mg/dL, ng/mL, kg."""

_SCALES = {"": 1, "thousand": 1_000, "million": 1_000_000}
_VULGAR = {"¼": " 1/4", "½": " 1/2", "¾": " 3/4"}
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
    unit: str | None = None
    """As it is shown: mg, mcg, tablet; None for a bare number."""
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
        dimension, factor, unit = _UNITS.get((match["unit"] or "").casefold(), (None, 1, None))
        measured = _PER.match(text, match.end()) is not None
        around = text[max(0, match.start() - 2) : match.end() + 2]
        in_name = dimension is None and _JOINED.search(around) is not None
        found.append(Dose(match.start(), match.end(), value, dimension, value * factor, unit, measured, in_name))
    return found


def _value(match: re.Match[str]) -> Decimal | None:
    if match["word"]:
        return Decimal(NUMBER_WORDS[match["word"].casefold()])
    if match["parts"]:
        return _fraction(match["parts"])
    try:
        # A decimal comma: no thousands begin with a nought, or are two digits.
        number = re.sub(r"^(?:(0),(\d+)|(\d+),(\d{1,2}))$", r"\1\3.\2\4", match["number"])
        return Decimal(re.sub(r"[,\s]", "", number)) * _SCALES[(match["scale"] or "").casefold()]
    except DecimalException:  # of a million digits it is an overflow
        return None


def _fraction(written: str) -> Decimal | None:
    """ "1/2", "1 1/2" and "1½" as a number."""
    spelled = "".join(f" {part}" if part.isspace() else _VULGAR.get(part, part) for part in written).split()
    parts = [one.split("/") for one in spelled]
    if any(len(one) == 2 and int(one[1]) == 0 for one in parts):
        return None
    return sum((Decimal(one[0]) / Decimal(one[1] if len(one) == 2 else 1) for one in parts), Decimal(0))


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
    return [*doses(text[name[1] : reach_of(name, others, text)]), *lead_of(name, text)]


def reach_of(name: tuple[int, int], others: Sequence[tuple[int, int]], text: str) -> int:
    """Where what is said of a drug at `text[name]` ends: at the next drug, or at the dose that leads to it ("2 g of A
    and 500 mg of B"), at a semicolon or sentence."""
    ends = _END.search(text, name[1])
    follows = min((start for start, _ in others if start >= name[1]), default=len(text))
    if ends and ends.start() < follows:
        return ends.start()
    lead = _LEAD_OF_NEXT.search(text, max(name[1], follows - _LEAD_CHARS), follows)
    return follows if lead is None else lead.start()


def lead_of(name: tuple[int, int], text: str) -> tuple[Dose, ...]:
    """The dose right before a drug: "40 mg of furosemide"."""
    lead = _LEAD.search(text[max(0, name[0] - _LEAD_CHARS) : name[0]])
    return tuple(doses(lead.group(1))) if lead else ()
