"""A kind is found under each word that people write in `item:`, and under the name of a task."""

from __future__ import annotations

import pytest

from chartdistill.clinical.entities import ENTITY_TYPES, entity_named


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("test", "test"),
        ("tests", "test"),
        ("Diagnoses", "diagnosis"),
        ("prognoses", "prognosis"),
        ("medications", "medication"),
        ("drugs", "medication"),
        ("procedures", "procedure"),
        ("allergies", "allergy"),
        ("lab value", ""),
    ],
)
def test_singular_and_plural_name_the_same_kind(word: str, name: str) -> None:
    assert entity_named(word).name == name


def test_every_kind_is_found_under_the_name_of_its_shipped_task() -> None:
    assert all(entity_named(one.task_name) is one for one in ENTITY_TYPES)
