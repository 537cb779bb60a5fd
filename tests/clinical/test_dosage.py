"""How a drug is to be taken, as data: what is read, and which spellings are the same."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from chartdistill.clinical.entities import entity_named
from chartdistill.clinical.text.dosage import Dosage, dosage_at, dosage_of_item
from chartdistill.clinical.text.doses import doses

DRUG = entity_named("medication")


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (
            "naproxen 250 mg p.o. b.i.d. prn for 10 days",
            {
                "dose": {"number": 250, "unit": "mg"},
                "route": "oral",
                "frequency": {"times": 2, "days": 1},
                "as_needed": True,
                "duration": {"days": 10},
            },
        ),
        (
            "Motrin 1-2 tabs q4-6h",
            {"dose": {"number": [1, 2], "unit": "tablet"}, "frequency": {"times": [4, 6], "days": 1}},
        ),
        ("Norco 7.5/325 mg", {"dose": {"number": [7.5, 325], "unit": "mg"}}),
        (
            "trazodone \u00bd tablet nightly",
            {"dose": {"number": 0.5, "unit": "tablet"}, "frequency": {"times": 1, "days": 1, "when": "bedtime"}},
        ),
        (
            "cefazolin 2 g IV x1",
            {"dose": {"number": 2, "unit": "g"}, "route": "intravenous", "frequency": {"times": 1}},
        ),
        ("alendronate 70 mg once weekly", {"dose": {"number": 70, "unit": "mg"}, "frequency": {"times": 1, "days": 7}}),
        ("estradiol patch every 72 hours", {"frequency": {"times": 1, "days": 3}}),
        (
            "clonidine 0.1 mg every morning and at bedtime",
            {"dose": {"number": 0.1, "unit": "mg"}, "frequency": {"times": 2, "days": 1}},
        ),
        (
            "latanoprost one drop in both eyes qhs",
            {
                "dose": {"number": 1, "unit": "drop"},
                "route": "ophthalmic",
                "frequency": {"times": 1, "days": 1, "when": "bedtime"},
            },
        ),
        ("cefadroxil 500 mg, 1 capsule, for a week", {"dose": {"number": 500, "unit": "mg"}, "duration": {"days": 7}}),
        ("vitamin B6", {}),
        ("5-FU", {}),
        ("insulin 70/30", {}),
        ("losartan 50", {"dose": {"number": 50}}),
    ],
)
def test_what_an_item_says_of_how_it_is_taken(text: str, fields: dict[str, Any]) -> None:
    found = DRUG.dosage(text)
    assert found is not None
    assert found.as_fields() == fields


@pytest.mark.parametrize(
    ("attribute", "spellings"),
    [
        (
            "frequency",
            ("BID", "b.i.d.", "twice daily", "two times a day", "2x/day", "q12h", "q.12.h", "every 12 hours"),
        ),
        ("frequency", ("daily", "QD", "q.d.", "once a day", "every day", "q24h", "one time per day")),
        ("frequency", ("QOD", "every other day", "q48h", "every 2 days")),
        ("frequency", ("weekly", "once a week", "every 7 days", "q week")),
        ("frequency", ("qhs", "nightly", "at bedtime", "every night", "once daily at bedtime")),
        ("route", ("PO", "p.o.", "by mouth", "orally", "oral")),
        ("route", ("SQ", "subq", "s.c.", "subcutaneously")),
        ("as_needed", ("PRN", "p.r.n.", "as needed", "if needed")),
        ("duration", ("for 2 weeks", "x 14 days", "x14d", "for 14 days")),
        ("dose", ("1 g", "1000 mg", "1,000 mg", "1.0 gram")),
        ("dose", ("500 mcg", ".5 mg", "0.50 mg", "500 \u00b5g", "500 micrograms")),
        ("dose", ("1/2 tablet", "half a tablet", "0.5 tab", "\u00bd tab")),
    ],
)
def test_spellings_equal_in_value_are_the_same(attribute: str, spellings: tuple[str, ...]) -> None:
    found = [dosage_of_item(f"drugol {one}") for one in spellings]
    assert all(getattr(one, attribute) for one in found)
    assert all(found[0].same(attribute, other) for other in found)


@pytest.mark.parametrize(
    ("attribute", "one", "other"),
    [
        ("frequency", "BID", "TID"),
        ("frequency", "every morning", "at bedtime"),
        ("frequency", "q4h", "q4-6h"),
        ("frequency", "once", "daily"),
        ("dose", "50 mg", "50 mcg"),
        ("dose", "5/325 mg", "5/500 mg"),
        ("dose", "1 tablet", "1-2 tablets"),
        ("duration", "for 7 days", "for 7 weeks"),
        ("route", "IV", "IM"),
    ],
)
def test_other_values_are_others(attribute: str, one: str, other: str) -> None:
    assert not dosage_of_item(f"drugol {one}").same(attribute, dosage_of_item(f"drugol {other}"))


def test_a_chart_is_read_at_the_drug_and_no_further() -> None:
    chart = (
        "Takes 20 mg of Lasix by mouth and walks twice a day; Coreg 6.25 mg (1 tab) bid, Zocor. Had 1 dose of Ancef."
    )
    names = [(at := chart.index(name), at + len(name)) for name in ("Lasix", "Coreg", "Zocor", "Ancef")]
    found = [dosage_at(name, names, chart).as_fields() for name in names]
    assert found == [
        {"dose": {"number": 20, "unit": "mg"}, "route": "oral"},
        {"dose": {"number": 6.25, "unit": "mg"}, "frequency": {"times": 2, "days": 1}},
        {},
        {},
    ]


def test_what_is_left_open_is_taken_from_another() -> None:
    said, told = dosage_of_item("drugol 5 mg"), dosage_of_item("drugol 10 mg daily")
    assert said.or_else(told).as_fields() == {
        "dose": {"number": 5, "unit": "mg"},
        "frequency": {"times": 1, "days": 1},
    }
    assert Dosage().as_fields() == {}


def test_doses_show_their_unit_and_parts_of_tablets() -> None:
    found = [(str(one.value), one.unit) for one in doses("1 1/2 tabs, 2 teaspoons, 250 \u03bcg, 120/80")]
    assert found == [("1.5", "tablet"), ("2", "tsp"), ("250", "mcg"), ("120", None)]


def test_long_items_take_no_longer_than_their_length() -> None:
    started = time.process_time()
    for unit in ("5 mg ", "every ", "1 or ", "q.", "for an", "5-", "a "):
        dosage_of_item(unit * (4_000 // len(unit)))
        dosage_at((0, 1), (), unit * (4_000 // len(unit)))
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    ("chart", "measured"),
    [
        ("Takes lisinopril 20 mg a day, furosemide 0.5 mg a day and potassium chloride 8 mEq a day.", False),
        ("Sodium 138, potassium 4.1, chloride 101.", True),
        ("Levothyroxine sodium 100 mcg, furosemide 2.5 mg.", False),
        ("Glucose 140 mg/dL, furosemide 2.", True),
    ],
)
def test_a_dose_beside_a_salt_is_no_laboratory_value(chart: str, measured: bool) -> None:
    name = "potassium" if "potassium 4" in chart else "furosemide"
    found = entity_named("medication").objection(name, chart, "auto", True)
    assert (found is not None and "laboratory" in found.evidence) is measured


@pytest.mark.parametrize("said", ["for {} days", "every {} hours", "{} times a day", "1/{} tablet", "{} mg", "1-{} mg"])
def test_a_line_drawn_in_digits_is_no_number(said: str) -> None:
    chart = f"aspirin 81 mg {said.format('9' * 5000)}"
    for found in (dosage_at((0, 7), [(0, 7)], chart), dosage_of_item(chart)):
        fields = json.loads(json.dumps(found.as_fields()))
        assert fields.pop("dose") == {"number": 81, "unit": "mg"} and len(str(fields)) < 40
    assert doses("9" * 1_000_001) == []


@pytest.mark.parametrize(
    ("said", "number"),
    [("0.00025 mg", 0.00025), ("0.03125 mg", 0.03125), ("0.00002 g", 0.00002), ("0.0625 mg", 0.0625),
     ("1/3 tablet", 0.3333), ("0.00025-0.0005 mg", [0.00025, 0.0005])],
)  # fmt: skip
def test_a_small_dose_is_not_rounded_to_another(said: str, number: object) -> None:
    assert dosage_of_item(f"calcitriol {said}").as_fields()["dose"]["number"] == number


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("digoxin 0,125 mg daily", {"dose": {"number": 0.125, "unit": "mg"}, "frequency": {"times": 1, "days": 1}}),
        ("warfarin 2,5 mg", {"dose": {"number": 2.5, "unit": "mg"}}),
        ("heparin 5,000 units", {"dose": {"number": 5000, "unit": "units"}}),
        ("enoxaparin 1 mg/kg q12h", {"frequency": {"times": 2, "days": 1}}),
        ("ceftriaxone 50-75 mg/kg/day IV", {"route": "intravenous"}),
        ("docetaxel 75 mg/m\u00b2 every 3 weeks", {"frequency": {"times": 1, "days": 21}}),
        (
            "enoxaparin 80 mg (1 mg/kg) BID",
            {"dose": {"number": 80, "unit": "mg"}, "frequency": {"times": 2, "days": 1}},
        ),
        ("docusate 100 mg twice-daily", {"dose": {"number": 100, "unit": "mg"}, "frequency": {"times": 2, "days": 1}}),
    ],
)
def test_a_decimal_comma_is_no_thousand_and_a_dose_by_weight_no_dose(text: str, fields: dict[str, object]) -> None:
    name = len(text.split()[0])
    assert dosage_of_item(text).as_fields() == fields
    assert dosage_at((0, name), (), f"{text}.").as_fields() == fields
