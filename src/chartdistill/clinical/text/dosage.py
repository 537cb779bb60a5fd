"""How a drug is to be taken, as data: dose, route, frequency, as needed, duration.

In: an item's text, or a chart and the place of a drug in it. Out: :class:`Dosage`. The parts are those of HL7 FHIR's
datatype Dosage (doseAndRate, route, timing, asNeeded, boundsDuration); numbers and units are read by `doses.py`. Equal
values are equal however they are written: "BID", "twice daily" and "q12h"; "1 g" and "1000 mg"; "PO" and "by mouth";
"for 2 weeks" and "x 14 days". Must hold: pure; what is not said is None, never a default; a month is 30 days.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from chartdistill.clinical.text.doses import NUMBER_WORDS, UNIT, Dose, doses, lead_of, reach_of

ATTRIBUTES = ("dose", "route", "frequency", "as_needed", "duration")


@dataclass(frozen=True, slots=True)
class Frequency:
    """How often: `low` to `high` times in `days`; `days` None: once and not again."""

    low: Fraction
    high: Fraction
    days: int | None = 1
    when: str | None = None
    """Time of day, where it is said: morning, noon, evening, bedtime."""

    def same_as(self, other: Frequency) -> bool:
        """As often, at no other time of day; a time that only one of them says is no difference."""
        if (self.days is None) != (other.days is None):
            return False
        rates = [(one.low / (one.days or 1), one.high / (one.days or 1)) for one in (self, other)]
        return rates[0] == rates[1] and (self.when == other.when or self.when is None or other.when is None)


@dataclass(frozen=True, slots=True)
class Dosage:
    """What is said of how a drug is taken; None where it is not."""

    dose: tuple[Dose, ...] | None = None
    """One dose; two are a range ("1-2 tablets") or the parts of a combination ("5/325 mg")."""
    route: str | None = None
    frequency: Frequency | None = None
    as_needed: bool | None = None
    """True or not said: charts do not say that a drug is taken without need."""
    duration: Fraction | None = None
    """In days."""

    def same(self, attribute: str, other: Dosage) -> bool:
        """Whether both say the same of one of `ATTRIBUTES`; both must say something."""
        if attribute == "dose" and self.dose and other.dose:
            pairs = list(zip(self.dose, other.dose, strict=False))
            return len(self.dose) == len(other.dose) and all(one.same_as(two) for one, two in pairs)
        if attribute == "frequency" and self.frequency and other.frequency:
            return self.frequency.same_as(other.frequency)
        return bool(getattr(self, attribute) == getattr(other, attribute))

    def or_else(self, other: Dosage) -> Dosage:
        """This, with what it leaves open taken from another."""
        return Dosage(**{name: getattr(other if getattr(self, name) is None else self, name) for name in ATTRIBUTES})

    def as_fields(self) -> dict[str, Any]:
        """What is said, for JSON: `{"dose": {"number": 40, "unit": "mg"}, "route": "oral", "frequency": {"times": 2,
        "days": 1}, "as_needed": true, "duration": {"days": 7}}`; a range is a list of two numbers."""
        fields: dict[str, Any] = {}
        if self.dose:
            numbers = [_number(one.value) for one in self.dose]
            fields["dose"] = {"number": numbers[0] if len(numbers) == 1 else numbers}
            fields["dose"] |= {"unit": unit} if (unit := self.dose[-1].unit) else {}
        if self.route:
            fields["route"] = self.route
        if one := self.frequency:
            times = [_number(one.low), _number(one.high)]
            found = {"times": times[0] if one.low == one.high else times, "days": one.days, "when": one.when}
            fields["frequency"] = {name: value for name, value in found.items() if value is not None}
        if self.as_needed:
            fields["as_needed"] = True
        if self.duration is not None:
            fields["duration"] = {"days": _number(self.duration)}
        return fields


def _number(value: Any) -> int | float:
    if value == int(value):
        return int(value)
    whole = float(value)
    short = round(whole, 4)  # a third
    return short if abs(short - whole) <= _UNNOTICED * whole else whole


_UNNOTICED = 1e-3
"""Of a number: the most that its rounding may change. A small dose has its digits further behind (0.00025 mg)."""


_N = r"(?:\d{1,9}(?:\.\d{1,9})?(?!\d)|" + "|".join(NUMBER_WORDS) + ")"
"""No number of a dosage has more digits, and one of thousands (a line drawn in digits) is none that Python converts."""
_TO = r"(?:\s?(?:-|\u2013|to|or)\s?)"
_DAY_PARTS = {"am": "morning", "morning": "morning", "noon": "noon", "pm": "evening", "evening": "evening",
              "hs": "bedtime", "bedtime": "bedtime", "night": "bedtime", "nightly": "bedtime"}  # fmt: skip
_DAYS = {"day": 1, "d": 1, "week": 7, "wk": 7, "month": 30, "mo": 30}
_TIMES = {"once": 1, "twice": 2, "thrice": 3}
_LATIN = {"b": 2, "t": 3, "q": 4}

_ROUTES = tuple(
    (re.compile(rf"(?:{words})(?!\w)", re.IGNORECASE), route)
    for route, words in {
        "oral": r"p\.?\s?o\.?|per\s+os|by\s+mouth|oral(?:ly)?",
        "intravenous": r"i\.?v\.?p?b?|intravenous(?:ly)?",
        "intramuscular": r"i\.?m\.?|intramuscular(?:ly)?",
        "subcutaneous": r"s\.?[cq]\.?|sub-?\s?[qc]|subcut|subcutaneous(?:ly)?|sub-?cutaneous(?:ly)?",
        "sublingual": r"s\.?l\.?|sublingual(?:ly)?|under\s+the\s+tongue",
        "rectal": r"p\.?r\.?|per\s+rectum|rectal(?:ly)?",
        "vaginal": r"p\.?v\.?|per\s+vagina|vaginal(?:ly)?|intravaginal(?:ly)?",
        "topical": r"topical(?:ly)?|to\s+(?:the\s+)?(?:skin|affected\s+areas?)",
        "transdermal": r"transdermal(?:ly)?",
        "inhaled": r"inhaled|inhalation|inh|by\s+inhalation|via\s+nebuli[sz]er|nebuli[sz]ed|per\s+neb",
        "nasal": r"intranasal(?:ly)?|nasal(?:ly)?|(?:in|to)\s+(?:each|both)\s+nostrils?",
        "ophthalmic": r"o\.?u\.?|ophthalmic|(?:in|to)\s+(?:each|both|the|right|left)\s+(?:\w+\s+)?eyes?",
        "otic": r"otic|(?:in|to)\s+(?:each|both|the|right|left)\s+(?:\w+\s+)?ears?",
        "enteral": r"(?:per|via)\s+(?:the\s+)?(?:g-?tube|peg|ng-?\s?tube|ngt|feeding\s+tube)",
        "intrathecal": r"intrathecal(?:ly)?",
        "epidural": r"epidural(?:ly)?",
    }.items()
)
_AS_NEEDED = re.compile(r"p\.?r\.?n\.?(?!\w)|(?:as|if|when)\s+(?:needed|necessary|required)(?!\w)", re.IGNORECASE)
_DURATION = re.compile(
    rf"(?:for(?:\s+the\s+next)?|x|times|\u00d7)\s?(?:an?other\s+|an?\s+total\s+of\s+)?(?P<number>an?|{_N})[\s-]?"
    rf"(?P<unit>days?|d|weeks?|wks?|months?|mos?)(?!\w)",
    re.IGNORECASE,
)
_EVERY = re.compile(
    rf"(?:q\.?|every|each)\s?(?P<low>{_N})(?:{_TO}(?P<high>{_N}))?[\s.-]?(?P<unit>h(?:ours?|rs?)?|days?|d|weeks?|wks?|months?)"
    r"\.?(?!\w)(?:\s+(?:around\s+the\s+clock|atc))?",
    re.IGNORECASE,
)
_EVERY_ONE = re.compile(
    r"(?:every|each|per|an?)\s+(?P<other>other\s+)?(?P<unit>day|week|month|morning|evening|night|hour)(?!\w)"
    r"(?:\s+at\s+(?P<at>bedtime|night|noon))?",
    re.IGNORECASE,
)
_TIMES_A_DAY = re.compile(
    rf"(?:(?P<word>once|twice|thrice)|(?P<low>{_N})(?:{_TO}(?P<high>{_N}))?\s?(?:times|x))[\s/-]*"
    rf"(?:(?:an?|per|each|every|/)?\s?(?P<unit>day|d|week|wk|month)|(?P<ly>daily|weekly|monthly|nightly))(?!\w)",
    re.IGNORECASE,
)
_ABBREVIATED = re.compile(r"(?P<times>[btq])\.?\s?i\.?\s?d\.?(?!\w)", re.IGNORECASE)
_PLAIN = re.compile(
    r"(?P<ly>daily|nightly|weekly|monthly|hourly)(?!\w)(?:\s+at\s+(?P<at>bedtime|night|noon))?"
    r"|q\.?\s?(?P<q>d|day|h\.?\s?s|hs|a\.?m|p\.?m|o\.?d|wk|week|noon)\.?(?!\w)"
    r"|(?:at|before|in\s+the)\s+(?P<part>bedtime|night|morning|evening|noon)(?!\w)|(?P<hs>h\.?s|hs)\.?(?!\w)"
    r"|once\s+(?=(?:every|each|an?)\s)",
    re.IGNORECASE,
)
_SINGLE = re.compile(
    r"(?:x\s?1(?![./,]?\d)(?!\s?"
    + UNIT
    + r")|times\s+one|once|one\s+time|single\s+dose|one\s+dose|stat)(?!\w|\s+(?:daily|a\s|per\s))",
    re.I,
)
_RANGE = re.compile(rf"(?P<low>{_N})(?:{_TO}|\s?/\s?)(?P<high>{_N})[\s-]?(?P<unit>{UNIT})?(?![\w/])", re.IGNORECASE)
_MAX_DOSE_CHARS = 40
_SIZE = rf"\s?(?:{UNIT})?(?:\s?/\s?|\s+per\s+)(?:kg|kilogram|lb|m2|m\u00b2|m\^2)(?!\w)"
_BY_SIZE = re.compile(_SIZE, re.IGNORECASE)
"""A dose by the patient's size is no dose before that is known: 1 mg/kg is not 1 mg."""
_FILLER = re.compile(
    rf"(?:\d[\d.,]*(?:{_TO}\d[\d.,]*)?{_SIZE}(?:\s?/\s?\w+)*|[\s,;:(\[\])]+|"
    r"(?:of|to|take|taking|taken|at|a|the|dose|tab(?:let)?s?|cap(?:sule)?s?|er|xr|sr|xl|cr|ec|solution|and|then"
    r"|is|was|with\s+(?:food|meals)|before\s+meals|after\s+meals|to\s+be\s+taken|total)(?!\w)|(?<=[a-z])\.(?=[\s,]))",
    re.IGNORECASE,
)  # fmt: skip


def _value(word: str) -> Fraction:
    return Fraction(NUMBER_WORDS.get(word.casefold(), 0) or word)


def _every(match: re.Match[str]) -> Frequency:
    low, high, one = _value(match["low"]), _value(match["high"] or match["low"]), Fraction(1)
    unit = match["unit"].casefold().rstrip("s")
    hours = 1 if unit.startswith("h") else 24 * _DAYS[unit]
    shortest, longest = max(hours * low, one), max(hours * high, one)
    if shortest == longest and shortest % 24 == 0:
        return Frequency(one, one, int(shortest / 24))
    return Frequency(24 / longest, 24 / shortest)


def _every_one(match: re.Match[str]) -> Frequency:
    unit, one = match["unit"].casefold(), Fraction(1)
    if unit == "hour":
        return Frequency(Fraction(24), Fraction(24))
    when = _DAY_PARTS.get((match["at"] or unit).casefold())
    return Frequency(one, one, _DAYS.get(unit, 1) * (2 if match["other"] else 1), when)


def _times_a_day(match: re.Match[str]) -> Frequency:
    low = Fraction(_TIMES[match["word"].casefold()]) if match["word"] else _value(match["low"])
    high = _value(match["high"]) if match["high"] else low
    ly = (match["ly"] or "").casefold()
    days = {"weekly": 7, "monthly": 30}.get(ly) or _DAYS.get((match["unit"] or "day").casefold(), 1)
    return Frequency(low, high, days, _DAY_PARTS.get(ly))


def _abbreviated(match: re.Match[str]) -> Frequency:
    times = Fraction(_LATIN[match["times"].casefold()])
    return Frequency(times, times)


def _plain(match: re.Match[str]) -> Frequency:
    one = Fraction(1)
    word = re.sub(r"[.\s]", "", (match["q"] or match["part"] or match["ly"] or match["hs"] or "")).casefold()
    if word == "hourly":
        return Frequency(Fraction(24), Fraction(24))
    days = {"weekly": 7, "wk": 7, "week": 7, "monthly": 30, "od": 2}.get(word, 1)
    return Frequency(one, one, days, _DAY_PARTS.get((match["at"] or word).casefold()))


_FREQUENCIES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Frequency]], ...] = (
    (_TIMES_A_DAY, _times_a_day),
    (_EVERY, _every),
    (_EVERY_ONE, _every_one),
    (_ABBREVIATED, _abbreviated),
    (_PLAIN, _plain),
    (_SINGLE, lambda match: Frequency(Fraction(1), Fraction(1), None)),
)


def dosage_of_item(text: str, names_number: Callable[[str], bool] = lambda number: False) -> Dosage:
    """What an item's text says of how it is taken. `names_number`: whether a bare number belongs to the drug's name."""
    found: dict[str, Any] = {}
    at = 0
    while at < len(text):
        step = None
        if at == 0 or not (text[at - 1].isalnum() or text[at - 1] in ".-/_" or re.search(r"\d,$", text[at - 2 : at])):
            step = _attribute_at(text, at, names_number)
        if step is None:
            at += 1
            continue
        name, value, at = step
        _add(found, name, value)
    return Dosage(**found)


def dosage_at(name: tuple[int, int], others: Sequence[tuple[int, int]], chart: str) -> Dosage:
    """What a chart says right behind a drug at `chart[name]` (or right before it: "40 mg of X") of how it is taken.

    It is read as far as nothing else stands between. `others`: where the chart names drugs.
    """
    found: dict[str, Any] = {}
    text = chart[: reach_of(name, others, chart)]
    at = name[1]
    while at < len(text):
        step = _attribute_at(text, at, lambda number: False) if at > name[1] else None
        if step is None and (filler := _FILLER.match(text, at)):
            at = filler.end()
            continue
        if step is None:
            break
        attribute, value, at = step
        _add(found, attribute, value)
    lead = lead_of(name, chart)
    if "dose" not in found and lead and lead[0].dimension is not None:  # not "1 dose of X"
        found["dose"] = lead
    return Dosage(**found)


def _add(found: dict[str, Any], name: str, value: Any) -> None:
    """The first of each counts; a strength ("500 mg") counts before a number of pieces ("1 tablet"), and two times of
    day count together."""
    before = found.get(name)
    if (
        name == "dose"
        and before
        and before[-1].dimension in ("pieces", None)
        and value[-1].dimension not in ("pieces", None)
    ):
        found[name] = value
    elif name == "frequency" and before and before.low == before.high == 1 and before.days == value.days == 1:
        twice = before.when and value.when and before.when != value.when and value.high == 1
        times = Fraction(2 if twice else 1)  # "every morning and at bedtime"
        found[name] = Frequency(times, times, 1, None if twice else before.when or value.when)
    else:
        found.setdefault(name, value)


def _attribute_at(text: str, at: int, names_number: Callable[[str], bool]) -> tuple[str, Any, int] | None:
    """(attribute, value, end) of what stands at a place of a text."""
    if match := _DURATION.match(text, at):
        number = 1 if match["number"].casefold() in ("a", "an") else _value(match["number"])
        return "duration", Fraction(number) * _DAYS[match["unit"].casefold().rstrip("s")], match.end()
    if match := _AS_NEEDED.match(text, at):
        return "as_needed", True, match.end()
    for pattern, read in _FREQUENCIES:
        if match := pattern.match(text, at):
            return "frequency", read(match), match.end()
    for pattern, route in _ROUTES:
        if match := pattern.match(text, at):
            return "route", route, match.end()
    return next(_dose_at(text, at, names_number), None)


def _dose_at(text: str, at: int, names_number: Callable[[str], bool]) -> Iterator[tuple[str, Any, int]]:
    one = next(iter(doses(text[at : at + _MAX_DOSE_CHARS])), None)
    if one is not None and (one.start or one.in_name or one.measured or _BY_SIZE.match(text, at + one.end)):
        one = None
    range_of = _RANGE.match(text, at)
    if range_of and _BY_SIZE.match(text, range_of.end()):
        return
    if range_of and (one is None or at + one.end < range_of.end()):  # not "1/2 tablet"
        unit = range_of["unit"] or ""
        both = tuple(dose for part in ("low", "high") for dose in doses(f"{range_of[part]} {unit}".strip()))
        if len(both) == 2 and (unit or not names_number(range_of.group())):
            yield "dose", both, range_of.end()
    elif one is not None and (one.dimension is not None or not names_number(text[at : at + one.end])):
        yield "dose", (one,), at + one.end
