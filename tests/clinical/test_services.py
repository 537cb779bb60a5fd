"""Short names that are a test in one chart and a service, or the patient, in another."""

from __future__ import annotations

import time

import pytest

from chartdistill.clinical.entities import entity_named

TEST = entity_named("test")


@pytest.mark.parametrize(
    ("chart", "item"),
    [
        ("Please consult PT and OT in the morning.", "PT"),
        ("Please consult PT and OT in the morning.", "OT"),
        ("Order nutrition, PT and OT.", "PT"),
        ("Order home PT twice a week.", "PT"),
        ("Order PT to work on balance.", "PT"),
        ("Order PT for hip strengthening.", "PT"),
        ("Schedule PT/OT.", "PT/OT"),
        ("Schedule a PT evaluation.", "PT evaluation"),
        ("Order a CT surgery consult.", "CT"),
        ("Order a CT surgery consult.", "CT surgery consult"),
        ("The pt will need an MRI.", "PT"),
        ("Told pt to call. Order MRI.", "PT"),
    ],
)
def test_a_service_or_the_patient_is_no_test(chart: str, item: str) -> None:
    found = TEST.objection(item, chart, "auto", True)
    assert found is not None
    assert found.reason == "not_a_test"


@pytest.mark.parametrize(
    ("chart", "item"),
    [
        ("Order PT, PTT and CBC.", "PT"),
        ("Recheck PT/INR on Monday.", "PT"),
        ("Order PT before the biopsy.", "PT"),
        ("Order pt and inr.", "PT"),
        ("PT to see the patient. Also order PT and INR.", "PT"),
        ("Order a CT of the neck.", "CT"),
        ("Order CT with contrast per CT surgery.", "CT"),
        ("Order PET with CT.", "CT"),
        ("The pt needs a CT scan.", "CT scan"),
    ],
)
def test_the_same_letters_beside_tests_are_a_test(chart: str, item: str) -> None:
    assert TEST.objection(item, chart, "auto", True) is None


@pytest.mark.parametrize(
    ("chart", "overlooked"),
    [("Will order PT and OT.", False), ("Will order PT and PTT.", True), ("Will order CT of the neck.", True)],
)
def test_none_found_is_believed_where_only_services_are_ordered(chart: str, overlooked: bool) -> None:
    assert (TEST.overlooked(chart, "auto") is not None) == overlooked


def test_long_sentences_take_no_longer_than_their_length() -> None:
    started = time.process_time()
    for unit in ("consult PT and ", "PT, ", "pt ", "with the OT, "):
        TEST.objection("PT", unit * (20_000 // len(unit)), "auto", True)
    assert time.process_time() - started < 5
