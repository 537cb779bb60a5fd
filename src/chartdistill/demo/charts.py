"""Synthetic charts with exact gold for medication, prognosis, diagnosis and tests.

`write_chart(rng, pool)` first draws facts (a drug with a status, a condition, a test, an outlook), then words each
fact with one pattern of `sentences`, places the sentences in the sections of a note, and pads with sentences that
hold no fact. Gold items are verbatim parts of the text in reading order. Charts are free of real patient text by
construction. The same seed gives the same charts.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chartdistill.clinical.entities.allergy import reaction_of
from chartdistill.clinical.entities.procedure import PROCEDURES
from chartdistill.clinical.lexica.conditions import CONDITION_NAMES
from chartdistill.clinical.lexica.made_up_drugs import drug_name
from chartdistill.clinical.lexica.specialties import SPECIALTIES
from chartdistill.clinical.lexica.tests import TEST_NAMES
from chartdistill.demo import sentences

GoldItem = tuple[str, str | None]
"""(item text as written in the chart, status or None)."""

TASKS = ("medication", "prognosis", "diagnosis", "tests")
"""Every chart has gold for these."""
_EMPTY_SHARE = {"medication": 0.36, "prognosis": 0.55, "diagnosis": 0.34, "tests": 0.42}
_SLOT = re.compile(r"{(\w+)}")


@dataclass(frozen=True)
class Chart:
    """One synthetic chart."""

    text: str
    """The note, one line per heading or list entry."""
    gold: dict[str, list[GoldItem]]
    """Task name -> items in reading order; empty when the chart has none."""
    keywords: tuple[str, ...]
    """What a site would glue on as keywords; includes names from the note and names that are not in it."""

    def as_filed(self, rng: random.Random) -> str:
        """The chart as such charts are found: line breaks lost to commas, a keyword tail without a separator."""
        text = self.text
        if rng.random() < 0.6:
            text = re.sub(r":\s", ":, ", text).replace("\n", ",")
        draw = rng.random()
        if draw < 0.75:
            return text + ", ".join(self.keywords) + ","
        return text + "nan" if draw < 0.9 else text


@dataclass
class _Draft:
    """Sentences by section while a chart is being written."""

    rng: random.Random
    pool: str
    male: bool
    also: tuple[str, ...] = ()
    """Further tasks that the chart has gold for: see `ALSO`."""
    sections: dict[str, list[str]] = field(default_factory=dict)
    wanted: dict[str, list[GoldItem]] = field(init=False)
    drugs: list[str] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)
    tests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.wanted = {task: [] for task in (*TASKS, *self.also)}

    def new_drug(self) -> str:
        while True:
            name = drug_name(self.rng, self.pool)
            if name.lower() not in (known.lower() for known in self.drugs):
                self.drugs.append(name)
                return name

    def new_condition(self) -> str:
        name = self.rng.choice([c for c in CONDITION_NAMES if c not in self.conditions])
        self.conditions.append(name)
        return name

    def new_test(self) -> str:
        name = self.rng.choice([t for t in TEST_NAMES if t not in self.tests])
        self.tests.append(name)
        return name

    def fill(self, pattern: str, **given: str) -> str:
        """Put words into a pattern's slots and start it with a capital letter."""
        text = _SLOT.sub(lambda match: given.get(match[1]) or self._word(match[1]), pattern)
        return text[0].upper() + text[1:]

    def _word(self, slot: str) -> str:
        rng = self.rng
        match slot:
            case "sub":
                return rng.choice(("He" if self.male else "She", "The patient"))
            case "sub_low":
                return "he" if self.male else "she"
            case "pos" | "pos_low":
                word = "His" if self.male else "Her"
                return word.lower() if slot == "pos_low" else word
            case "c":
                return self.new_condition()
            case "dose":
                return f"{rng.choice((1, 2, 5, 10, 15, 20, 25, 40, 50, 75, 100, 150, 200, 250, 300, 400, 500))} mg"
            case "year":
                return str(rng.randint(1988, 2019))
            case "n":
                return str(rng.randint(100, 240))
            case "n2":
                return str(rng.randint(55, 99))
            case "n3":
                return str(rng.randint(1, 9))
        choices = {
            "freq": sentences.FREQUENCIES, "time": sentences.TIMES, "rel": sentences.RELATIVES, "job": sentences.JOBS,
            "sym": sentences.SYMPTOMS, "sym2": sentences.SYMPTOMS, "sym3": sentences.SYMPTOMS,
            "q": sentences.PROGNOSIS_QUALITIES, "o": sentences.PROGNOSIS_OUTCOMES, "w": sentences.PROGNOSIS_COURSES,
        }  # fmt: skip
        return rng.choice(choices[slot])

    def add(self, section: str, sentence: str) -> None:
        self.sections.setdefault(section, []).append(sentence)

    def want(self, task: str, text: str, status: str | None = None) -> None:
        self.wanted[task].append((text, status))


def write_chart(
    rng: random.Random,
    pool: str,
    num_words: int | None = None,
    busy: int | None = None,
    also: Sequence[str] = (),
) -> Chart:
    """Write one chart with drug names of `pool` (see `made_up_drugs.POOLS`), of roughly `num_words` words (60 to 700).

    `busy`: how many facts there may be of each kind, 1 to 3; by default more in longer charts. `also`: further tasks
    (keys of `ALSO`) whose sentences are written in; without them a chart is what the shipped models learned from.
    """
    num_words = num_words or _draw_length(rng)
    draft = _Draft(rng, pool, male=rng.random() < 0.5, also=tuple(also))
    busy = busy or (1 if num_words < 110 else 2 if num_words < 260 else 3)
    _write_medications(draft, busy)
    _write_prognosis(draft)
    _write_diagnoses(draft, busy)
    _write_tests(draft, busy)
    for task in also:
        ALSO[task](draft, busy)
    text = _assemble(draft, num_words)
    return Chart(text, _in_reading_order(text, draft.wanted), _keywords(draft))


def _draw_length(rng: random.Random) -> int:
    low, high = rng.choices(((60, 110), (110, 230), (230, 430), (430, 680)), (50, 32, 12, 6))[0]
    return rng.randint(low, high)


def _write_medications(draft: _Draft, busy: int) -> None:
    rng = draft.rng
    for _ in range(rng.choices((0, 1, 2), (5, 4, 1))[0]):
        section = rng.choice(("history", "family", "plan"))
        draft.add(section, draft.fill(rng.choice(sentences.MEDICATION["none"]), d=draft.new_drug()))
    if rng.random() < _EMPTY_SHARE["medication"]:
        if rng.random() < 0.25:
            draft.add("medications", draft.fill(rng.choice(sentences.NO_MEDICATION)))
        if rng.random() < 0.25:
            draft.add("allergies", rng.choice(sentences.NO_ALLERGY))
        return
    if rng.random() < 0.4:
        _write_medication_list(draft, busy)
    if rng.random() < 0.2:
        names = [draft.new_drug(), draft.new_drug()]
        line = draft.fill(rng.choice(sentences.ALLERGY_LINES), d=names[0], d1=names[0], d2=names[1])
        draft.add("allergies", line)
        for name in names:
            if name in line:
                draft.want("medication", name, "avoid")
            if "allergy" in draft.also and name.casefold() in line.casefold():
                _want_allergy(draft, line, name)
    singles = rng.randint(0 if draft.wanted["medication"] else 1, busy + 1)
    for _ in range(singles):
        status = rng.choice([s for s in sentences.MEDICATION if s != "none"])
        name = draft.new_drug()
        section = "history" if status in ("past", "given-once", "avoid", "continue") else "plan"
        sentence = draft.fill(rng.choice(sentences.MEDICATION[status]), d=name)
        draft.add(section, sentence)
        draft.want("medication", name, status)
        if "allergy" in draft.also and re.search(r"allergic|intolerance|hives", sentence):
            _want_allergy(draft, sentence, name)
    if rng.random() < 0.3:
        pattern, first, second = rng.choice(sentences.MEDICATION_PAIRS)
        names = [draft.new_drug(), draft.new_drug()]
        draft.add("plan", draft.fill(pattern, d1=names[0], d2=names[1]))
        draft.want("medication", names[0], first)
        draft.want("medication", names[1], second)


def _write_medication_list(draft: _Draft, busy: int) -> None:
    """A list of current drugs; some of them are stopped, held or changed again in the plan."""
    rng = draft.rng
    copied = rng.random() < 0.3
    if copied:
        draft.add("medications", rng.choice(sentences.COPIED_FORWARD))
    for _ in range(rng.randint(1, busy + 2)):
        name = draft.new_drug()
        draft.add("medications", draft.fill(rng.choice(("{d} {dose} {freq}", "{d} {dose}", "{d}")), d=name))
        status = "continue"
        if rng.random() < (0.45 if copied else 0.2):
            status = rng.choice(("stop", "hold", "change"))
            draft.add("plan", draft.fill(rng.choice(sentences.MEDICATION[status]), d=name))
        draft.want("medication", name, status)


def _write_prognosis(draft: _Draft) -> None:
    rng = draft.rng
    if rng.random() < 0.35:
        draft.add("plan", draft.fill(rng.choice(sentences.PROGNOSIS_NONE)))
    if rng.random() < _EMPTY_SHARE["prognosis"]:
        return
    for pattern, item in rng.sample(sentences.PROGNOSIS, rng.choices((1, 2), (6, 1))[0]):
        words = {slot: draft._word(slot) for slot in ("q", "o", "w", "time", "sub_low")}
        draft.add("outlook", draft.fill(pattern, **words))
        draft.want("prognosis", item.format(**words))


def _write_diagnoses(draft: _Draft, busy: int) -> None:
    rng = draft.rng
    for _ in range(rng.choices((0, 1, 2), (4, 4, 1))[0]):
        draft.add(
            rng.choice(("family", "history")), draft.fill(rng.choice(sentences.DIAGNOSIS_NONE), c=draft.new_condition())
        )
    if rng.random() < _EMPTY_SHARE["diagnosis"]:
        return
    if rng.random() < 0.6:
        for _ in range(rng.randint(1, busy + 1)):
            name = draft.new_condition()
            draft.add("assessment", draft.fill("{c}.", c=name))
            draft.want("diagnosis", name)
    for _ in range(rng.randint(0 if draft.wanted["diagnosis"] else 1, busy)):
        name = draft.new_condition()
        draft.add("history", draft.fill(rng.choice(sentences.DIAGNOSIS), c=name))
        draft.want("diagnosis", name)


def _write_tests(draft: _Draft, busy: int) -> None:
    rng = draft.rng
    for _ in range(rng.choices((0, 1, 2), (4, 4, 1))[0]):
        draft.add(rng.choice(("studies", "plan")), draft.fill(rng.choice(sentences.TEST_NONE), t=draft.new_test()))
    if rng.random() < _EMPTY_SHARE["tests"]:
        return
    if rng.random() < 0.3:
        names = [draft.new_test(), draft.new_test()]
        draft.add("plan", draft.fill(rng.choice(sentences.TEST_PAIRS), t1=names[0], t2=names[1]))
        for name in names:
            draft.want("tests", name)
    for _ in range(rng.randint(0 if draft.wanted["tests"] else 1, busy)):
        name = draft.new_test()
        draft.add("plan", draft.fill(rng.choice(sentences.TEST_ORDERED), t=name))
        draft.want("tests", name)


def _want_allergy(draft: _Draft, sentence: str, name: str) -> None:
    """The gold of a sentence that tells an allergy, for charts that have such gold."""
    told = re.search(r"(?:causes|with) ([^.]+)\.|\((\w+)\)", sentence)
    words = next((group for group in told.groups() if group), "") if told else ""
    draft.want("allergy", name, reaction_of(words))


def _write_allergies(draft: _Draft, busy: int) -> None:
    """Substances that are no drugs; those of the drugs to avoid are wanted where they are written."""
    rng = draft.rng
    substances = rng.sample(("latex", "peanuts", "shellfish", "eggs", "bee stings", "adhesive tape", "pollen"), 4)
    for _ in range(rng.choices((0, 1), (3, 1))[0]):
        draft.add("history", draft.fill(rng.choice(sentences.ALLERGY_NONE), a=substances.pop()))
    if any(entry in sentences.NO_ALLERGY for entry in draft.sections.get("allergies", ())):
        return
    for _ in range(rng.choices((0, 1, 2), (5, 3, 1))[0]):
        name = substances.pop()
        told = rng.choice(("hives", "a rash", "itching", "swelling", "nausea", "anaphylaxis", "wheezing"))
        sentence = draft.fill(rng.choice(sentences.ALLERGY), a=name, r=told)
        draft.add("history", sentence)
        _want_allergy(draft, sentence, name)


def _write_procedures(draft: _Draft, busy: int) -> None:
    rng = draft.rng
    names = rng.sample(PROCEDURES, len(PROCEDURES))
    for _ in range(rng.choices((0, 1, 2), (5, 3, 1))[0]):
        draft.add("history", draft.fill(rng.choice(sentences.PROCEDURE["none"]), p=names.pop()))
    for _ in range(rng.choices((0, 1, 2, 3), (5, 4, 2, 1 if busy > 1 else 0))[0]):
        status, name = rng.choice(("done", "planned")), names.pop()
        section = "history" if status == "done" else "plan"
        draft.add(section, draft.fill(rng.choice(sentences.PROCEDURE[status]), p=name))
        draft.want("procedure", name, status)


ALSO: dict[str, Callable[[_Draft, int], None]] = {"allergy": _write_allergies, "procedure": _write_procedures}
"""Task -> what writes its facts, for charts that ask for it: one more draw changes a chart."""


def _assemble(draft: _Draft, num_words: int) -> str:
    """Join the sections in the order of a note, padded with sentences without facts."""
    rng, sections = draft.rng, draft.sections
    plain = rng.random() < 0.2
    age = rng.randint(18, 92)
    who = f"{age}-year-old {'man' if draft.male else 'woman'}"
    opening = rng.choice((
        f"This is a {who} with {rng.choice(sentences.SYMPTOMS)}.",
        f"The patient is a {who} seen for {rng.choice(sentences.SYMPTOMS)}.",
        f"{who} here for {rng.choice(sentences.SYMPTOMS)}.",
    ))  # fmt: skip
    facts = sum(len(s.split()) for entries in sections.values() for s in entries) + 20
    # A sentence that holds a fact of a further task is no filler there.
    fillers = [one for one in sentences.FILLERS if "procedure" not in draft.also or "surgery" not in one]
    padding: list[str] = []
    pool: list[str] = []
    while facts < num_words:
        pool = pool or rng.sample(fillers, len(fillers))
        padding.append(draft.fill(pool.pop()))
        facts += len(padding[-1].split())
    homes = [name for name in ("history", "exam", "plan") if name != "plan" or "plan" in sections]
    for sentence in padding:
        home = sections.setdefault(rng.choice(homes), [])
        home.insert(rng.randint(0, len(home)), sentence)
    rng.shuffle(sections.get("plan", []))
    sections["history"] = [opening, *sections.get("history", [])]
    if plain:
        order = ("history", "family", "medications", "allergies", "exam", "studies", "assessment", "plan", "outlook")
        return " ".join(_paragraph(rng, name, sections[name], headed=False) for name in order if name in sections)
    order = ("history", "medications", "allergies", "family", "exam", "studies", "assessment", "plan", "outlook")
    title = f"{rng.choice(sentences.VISITS)} - {rng.randint(1, 30)}"
    return "\n".join(
        [title, *(_paragraph(rng, name, sections[name], headed=True) for name in order if name in sections)]
    )


_HEADINGS = {
    "history": ("HISTORY OF PRESENT ILLNESS", "HISTORY", "SUBJECTIVE", "HPI", "INDICATIONS"),
    "medications": sentences.MEDICATION_LIST_HEADINGS,
    "allergies": ("ALLERGIES", "DRUG ALLERGIES"),
    "family": ("FAMILY HISTORY", "SOCIAL AND FAMILY HISTORY"),
    "exam": ("PHYSICAL EXAMINATION", "OBJECTIVE", "EXAM"),
    "studies": ("STUDIES", "LABORATORY DATA", "DATA"),
    "assessment": sentences.DIAGNOSIS_HEADINGS,
    "plan": ("PLAN", "RECOMMENDATIONS", "DISPOSITION", "P"),
    "outlook": ("OUTLOOK", "PROGNOSIS", "DISCUSSION"),
}


def _paragraph(rng: random.Random, name: str, entries: list[str], headed: bool) -> str:
    lead = rng.choice(_HEADINGS[name])
    if name in ("medications", "assessment"):
        notes = [entry for entry in entries if entry.startswith("(")]
        entries = [entry for entry in entries if not entry.startswith("(")]
        lead = " ".join([lead, *notes])
        if headed and len(entries) > 1 and rng.random() < 0.6:
            rows = (f"{i}. {entry.rstrip('.')}." for i, entry in enumerate(entries, 1))
            return "\n".join([f"{lead}:", *rows]) if rng.random() < 0.5 else f"{lead}: " + "\n".join(rows)
        body = ", ".join(entry.rstrip(".") for entry in entries) + "."
        if not headed:
            lead = {"medications": "Current medications", "assessment": "Impression"}[name]
            return " ".join([lead, *notes]) + f": {body}"
        return f"{lead}: {body}"
    if not headed:
        return ("Allergies: " if name == "allergies" else "") + " ".join(entries)
    if name == "plan" and len(entries) > 2 and rng.random() < 0.3:
        return f"{lead}:\n" + "\n".join(f"{i}. {entry}" for i, entry in enumerate(entries, 1))
    return f"{lead}: " + " ".join(entries)


def _in_reading_order(text: str, wanted: dict[str, list[GoldItem]]) -> dict[str, list[GoldItem]]:
    gold: dict[str, list[GoldItem]] = {}
    for task, items in wanted.items():
        placed = []
        for item, status in items:
            match = re.search(rf"(?<!\w){re.escape(item)}(?!\w)", text, re.IGNORECASE)
            assert match, f"generator bug: {item!r} of {task} is not in the chart"
            placed.append((match.start(), match.group(), status))
        gold[task] = [(surface, status) for _, surface, status in sorted(placed)]
    return gold


def _keywords(draft: _Draft) -> tuple[str, ...]:
    rng = draft.rng
    own = [*draft.drugs, *draft.conditions, *draft.tests]
    foreign = [rng.choice(CONDITION_NAMES), rng.choice(sentences.SYMPTOMS), rng.choice(TEST_NAMES)]
    chosen = rng.sample(own, min(len(own), rng.randint(1, 5))) + foreign + rng.sample(sentences.SYMPTOMS, 3)
    return (rng.choice(SPECIALTIES), *(word.lower() for word in chosen))
