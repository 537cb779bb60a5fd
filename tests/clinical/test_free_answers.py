"""Answers in free words, taken apart into items."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chartdistill.clinical.free_answers import parse_free_answer
from chartdistill.schema import Task


def answer(completion: str, item: str) -> list[str]:
    task = Task(name="t", item=item, gate_question="?", extraction_question="?", question="?")
    return [one.text for one in parse_free_answer(completion, task).items]


@pytest.mark.parametrize(
    ("completion", "item", "items"),
    [
        (" None Found", "test", []),
        ("No tests were ordered.", "test", []),
        ("None specified in the record.", "test", []),
        ("The note lists no tests.", "test", []),
        ("I was not able to find any medication in the chart.", "medication", []),
        ("Medications: none", "medication", []),
        ("furosemide, 40 mg daily, and aspirin 81 mg", "medication", ["furosemide, 40 mg daily", "aspirin 81 mg"]),
        ("Lasix 40 mg, 2 tablets daily; Zoloft", "medication", ["Lasix 40 mg, 2 tablets daily", "Zoloft"]),
        ("Coumadin, Lasix, insulin 70/30", "medication", ["Coumadin", "Lasix", "insulin 70/30"]),
        ("The patient takes no drugs but aspirin.", "medication", ["patient takes no drugs but aspirin"]),
        (
            "There was no surgery so his prognosis is good.",
            "prognosis",
            ["There was no surgery so his prognosis is good"],
        ),
        ("Surgery was for gout, hernia", "diagnosis", ["Surgery was for gout, hernia"]),
        ("The patient has no known drug allergies.", "allergy", []),
        ("No prior surgeries.", "procedure", []),
        ("The patient is allergic to latex.", "allergy", ["latex"]),
        ("The diagnosis is asthma.", "diagnosis", ["asthma"]),
        ("The diagnosis is that the patient has asthma.", "diagnosis", ["asthma"]),
        ("Foreign body, left ear.", "diagnosis", ["Foreign body, left ear"]),
        ("Asthma, gout, and acne", "diagnosis", ["Asthma", "gout", "acne"]),
        ("cough and fever", "diagnosis", ["cough", "fever"]),
        ("1. Aab\n2. Bbc 5 mg\n", "medication", ["Aab", "Bbc 5 mg"]),
        ("- Aab\n- Bbc", "medication", ["Aab", "Bbc"]),
        ("MEDICATIONS:\nAab\nBbc", "medication", ["Aab", "Bbc"]),
        ("Medications:\nNone", "medication", []),
        ("Medications:", "medication", ["Medications"]),  # cut, and not an answer of none
        ("Diagnoses: 1. Gout 2. HTN", "diagnosis", ["Gout", "HTN"]),
        ("1) aab 2) bbc 3) ccd", "medication", ["aab", "bbc", "ccd"]),
        ("**Aab**, **Bbc**", "medication", ["Aab", "Bbc"]),
        ("Diabetes, type 2, gout, and acne", "diagnosis", ["Diabetes, type 2", "gout", "acne"]),
        ("#2 Aab, Bbc and Ccd", "medication", ["Aab", "Bbc", "Ccd"]),
        ("The medications prescribed are: Aab, Bbc", "medication", ["Aab", "Bbc"]),
        ("CT of the neck and chest, knee x-ray", "test", ["CT of the neck and chest", "knee x-ray"]),
        ("A repeat EKG and an echocardiogram.", "test", ["repeat EKG", "echocardiogram"]),
        ("The prognosis is good. He will recover.", "prognosis", ["prognosis is good", "He will recover"]),
    ],
)
def test_free_answers(completion: str, item: str, items: list[str]) -> None:
    assert answer(completion, item) == items


@given(st.text(max_size=200), st.sampled_from(["medication", "diagnosis", "prognosis", "test"]))
def test_items_of_a_free_answer_are_pieces_of_it(completion: str, item: str) -> None:
    assert all(piece in completion and piece.strip() for piece in answer(completion, item))
