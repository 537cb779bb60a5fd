"""The key by which two free-text names of a finding are the same, whatever their word order.

In: a noun phrase ("CT scan of the abdomen"), the second names of its kind. Out: a key. Words are folded, written out,
taken to the singular and sorted; function words go. Must hold: pure; what tells two findings apart stays in the key:

- a side: left is never right, and where a phrase has both, each stays with its own word;
- a number, with the word it belongs to: type 1 is never type 2, stage 3 is never type 3; Roman numerals are numbers;
- what a phrase is without, due to, or weighed against: no order is lost across such a word;
- every adjective: acute is not chronic.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache

from chartdistill.clinical.lexica.abbreviations import ANY_KIND, CONDITIONS, LONGEST, TESTS
from chartdistill.prompting.answer_format import EDGE

SECOND_NAMES = {"diagnosis": {**ANY_KIND, **CONDITIONS}, "test": {**ANY_KIND, **TESTS}}
"""Kind of finding -> second name -> the name it stands for."""
_OWN_NAMES = {"diagnosis": CONDITIONS, "test": TESTS}
_FUNCTION_WORDS = frozenset(
    "of the a an in on at to with and or for by his her their patient as is was are this that its mellitus".split()
)
"""And what adds nothing: "mellitus", of diabetes."""
_RELATIONS = {
    "without": "without", "no": "without", "not": "without",
    "due": "due", "secondary": "due", "caused": "due", "because": "due", "resulting": "due", "from": "due",
    "versus": "versus", "vs": "versus", "after": "after", "following": "after",
    "post": "after", "before": "before", "causing": "causing",
}  # fmt: skip
"""Words that the order of a phrase hangs on -> what they say."""
_SIDES = frozenset({"left", "right"})
_NUMBERED = frozenset("type stage grade class phase level degree gravida para group factor category".split())
_ROMAN = {"i": "1", "ii": "2", "iii": "3", "iv": "4", "v": "5", "vi": "6"}
_IRREGULAR = {
    "metastases": "metastasis", "diagnoses": "diagnosis", "calculi": "calculus", "vertebrae": "vertebra",
    "emboli": "embolus", "thrombi": "thrombus", "varices": "varix", "feet": "foot", "bronchi": "bronchus",
    "biopsies": "biopsy", "axes": "axis", "indices": "index", "appendices": "appendix",
}  # fmt: skip
_BRITISH = (
    ("aem", "em"), ("oed", "ed"), ("oea", "ea"), ("oest", "est"), ("paed", "ped"), ("foet", "fet"),
    ("tumour", "tumor"), ("odour", "odor"), ("colour", "color"), ("labour", "labor"), ("fibre", "fiber"),
    ("centre", "center"), ("leuk\u00e6", "leuke"), ("\u00e6", "e"), ("\u0153", "e"),
)  # fmt: skip
_OESO = re.compile(r"\b(gastro)?oeso")
"""British, at the head of a word only: "gastroesophageal" has these letters by chance."""
_SIGNED = re.compile(
    r"(?<![^\W_])(?!(?:k|na|cl|ca|mg|h)[+-])([a-z][a-z0-9]*)([+-])(?=$|[\s/,;)])(?!\s+(?:and|or|to)\b)"
)
"""A marker with its result, "HER2+"; no ions, no "pre- and postoperative"."""
_RESULTS = {"+": "positive", "-": "negative"}
_BOTH_WAYS = re.compile(r"\b(?:with|w)\b/?\s*(?:and|or|&|/)\s*(?:without\b|w/o\b|wo\b)")
_SECOND_BEHIND = re.compile(r"([^()]+?)\s*\(([^()]+)\)")
"""A name with another one behind it, "hypertension (HTN)"."""
_SIDED = re.compile(r"\b(left|right|l|r)[\s-]+(?:sided|side)\b")
_ONE_LETTER_SIDE = re.compile(r"(?:(?<=^)|(?<=\s)|(?<=\())([lr])\.?(?=[\s)]|$)")
_POSSESSIVE = re.compile(r"['\u2019\u2018`]s?\b")
_LEVELS = re.compile(r"\b([cltsh])\s?(\d{1,2})\s?[-\u2013/]\s?([clts]?)(\d{1,2})\b")
"""Vertebrae: "L4-5", "L4/L5"."""
_LETTER_NUMBER = re.compile(r"\b([a-z])-(?=\d)")
"""Vitamin "B-12"."""
_INVERTED = re.compile(r"([^,]+),\s*([^,]+)")
"""As an index has it: "hypertension, essential"."""
_LETTERED = re.compile(r"\b(hepatitis|group|type|vitamin|influenza|hemophilia|stage|grade|class)\s([a-h])\b")
"""The letter is a name, no article: hepatitis A."""
_DIGITS_BEHIND = re.compile(r"\b(type|stage|grade|class)[\s-]?([1-6]|i{1,3}|iv|v|vi)([ab]?)\b")
_TOKEN = re.compile(r"\d+(?:\.\d+)?[a-z]?\b|\d+(?:\.\d+)?|[^\W_]+(?:_[a-h]\b)?")
_LEAD = re.compile(r"^(?:the\s+)?(?:diagnos[ie]s|dx|impression|assessment)\s*(?:of|is|:)\s*")


@lru_cache(maxsize=1 << 16)
def phrase_key(plain: str, kind: str) -> str:
    """The key of a name. `plain`: see `answer_format.plain_key`; `kind`: a name of `SECOND_NAMES`, for its own second
    names, or any other. A phrase of nothing but function words is its own key."""
    doubled = _SECOND_BEHIND.fullmatch(plain.strip())
    if doubled is not None:
        key = phrase_key(doubled[1], kind)
        if phrase_key(doubled[2], kind) == key:
            return key
    parts: list[list[str]] = [[]]
    relations: list[str] = []
    for word in _written_out(_folded(plain), SECOND_NAMES.get(kind, ANY_KIND)):
        if word in _RELATIONS:
            if parts[-1] or not relations:  # "due to", "secondary to" and "no" behind each other are one relation
                relations.append(_RELATIONS[word])
                parts.append([])
        elif word not in _FUNCTION_WORDS:
            parts[-1].append(word)
    keys = [" ".join(sorted(_bound(_without_generic(part, kind)))) for part in parts]
    joined = keys[0] + "".join(f" <{relation}> {key}" for relation, key in zip(relations, keys[1:], strict=True))
    return joined.strip() or plain


def second_names(plain: str, kind: str) -> tuple[str, ...]:
    """Other names of a finding by the table of its kind, as they are folded there and with the adjective of an organ
    ("lung", "pulmonary"); () for one that it does not have."""
    return tuple(name for name in _by_key(kind).get(phrase_key(plain, kind), ()) if name != plain)


def is_second_name(plain: str, kind: str) -> bool:
    """Whether a whole name is an abbreviation of its kind: "NPH" among diagnoses, where it is no insulin."""
    return plain in _OWN_NAMES.get(kind, {})


@cache
def _by_key(kind: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in _OWN_NAMES.get(kind, {}):
        spelled = " ".join(_ADJECTIVES.get(word, word) for word in name.split())
        found.setdefault(phrase_key(name, kind), []).extend(dict.fromkeys((name, spelled)))
    return found


_ADJECTIVES = {"lung": "pulmonary", "kidney": "renal", "abdomen": "abdominal", "liver": "hepatic", "brain": "cerebral"}


def _folded(plain: str) -> str:
    text = " ".join(plain.casefold().split()).strip(EDGE)
    for british, american in _BRITISH:
        text = text.replace(british, american)
    text = _OESO.sub(lambda match: f"{match[1] or ''}eso", text)
    text = _SIGNED.sub(lambda match: f"{match[1]} {_RESULTS[match[2]]}", text)
    text = _BOTH_WAYS.sub("bothways", text)
    text = _POSSESSIVE.sub("", _LEAD.sub("", text))
    text = _SIDED.sub(lambda match: {"l": "left", "r": "right"}.get(match[1], match[1]), text)
    text = _ONE_LETTER_SIDE.sub(lambda match: {"l": "left", "r": "right"}[match[1]], text)
    text = _LEVELS.sub(lambda match: f"{match[1]}{match[2]} {match[3] or match[1]}{match[4]}", text)
    text = _DIGITS_BEHIND.sub(lambda match: f"{match[1]} {_ROMAN.get(match[2], match[2])}{match[3]}", text)
    inverted = _INVERTED.fullmatch(text)
    if inverted is not None and _RELATIONS.keys().isdisjoint(text.split()):
        text = f"{inverted[2]} {inverted[1]}"
    text = _LETTER_NUMBER.sub(r"\1", re.sub(r"\b(\d)\s?-\s?d\b", r"\1d", text))
    text = _LETTERED.sub(r"\1_\2", text)
    return re.sub(r"[-\u2010-\u2015,;()\[\]]", " ", text)


def _written_out(text: str, table: Mapping[str, str]) -> list[str]:
    """The words of a phrase, its longest second names first; what was put in is not looked at again."""
    spaced = (word if word in table else word.replace("/", " ") for word in text.split())
    words = [word.strip(".:") for word in " ".join(spaced).split()]
    found: list[str] = []
    at = 0
    while at < len(words):
        for size in range(min(LONGEST, len(words) - at), 0, -1):
            phrase = words[at : at + size]
            names = (" ".join(phrase), " ".join(map(_singular, phrase)))
            full = next((table[name] for name in names if name in table), None)
            if full is not None:
                found += full.split()
                at += size
                break
        else:
            found += [_ROMAN.get(word, word) if word in _ROMAN_ALONE else word for word in _TOKEN.findall(words[at])]
            at += 1
    return list(map(_singular, found))


_ROMAN_ALONE = frozenset({"ii", "iii", "iv"})
"""Numbers wherever they stand; "i" and "v" are letters as often."""


def _singular(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) > 4 and word.endswith("ies") and word not in _ALIKE:
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("shes", "ches", "xes", "sses")):
        return word[:-2]
    if len(word) > 2 and word.endswith("s") and not word.endswith(("ss", "us", "is", "os")) and word not in _ALIKE:
        return word[:-1]
    return word


_ALIKE = frozenset(
    "diabetes herpes rabies scabies caries ascites series pancreas biceps triceps pus gas us abs".split()
)
"""No plurals."""


def _bound(words: list[str]) -> list[str]:
    """Numbers with the word they belong to; sides with theirs, where the phrase has both."""
    both = set(words) >= _SIDES
    found: list[str] = []
    for place, word in enumerate(words):
        before = words[place - 1] if place else ""
        behind = words[place + 1] if place + 1 < len(words) else ""
        if (word[0].isdigit() and before in _NUMBERED) or before == "non":
            found[-1] = f"{before}:{word}"
        elif both and word in _SIDES:
            found.append(f"{word}:{before if not behind or behind in _SIDES else behind}")
        else:
            found.append(word)
    numbers = [word for word in found if word[0].isdigit()]
    if len(numbers) > 1:  # "4 x 6" is not "6 x 4"
        return [*(word for word in found if not word[0].isdigit()), ">".join(numbers)]
    return found


def _without_generic(words: list[str], kind: str) -> list[str]:
    """Without words that say no more than the kind does, as long as something is left."""
    if kind != "test":
        return words
    modality = bool(_MODALITIES.intersection(words))
    left = [word for word in words if word not in _SAYS_TEST and not (modality and word in _SAYS_IMAGE)]
    return left or words


_SAYS_TEST = frozenset("test testing level study lab serum plasma repeat".split())
_SAYS_IMAGE = frozenset("scan imaging image exam examination".split())
_MODALITIES = frozenset("ct mri mra mrcp pet xray ultrasound mammogram echocardiogram doppler".split())
