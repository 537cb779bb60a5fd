"""How far a denial, a refusal or a verb reaches: what is said of what a drug or disease does is not said of it."""

from __future__ import annotations

import pytest

from chartdistill.clinical.entities import entity_named
from chartdistill.schema import Item

STATUSES = ("start", "continue", "change", "stop", "hold", "past", "avoid", "given-once")


def reason(kind: str, name: str, status: str | None, chart: str) -> str | None:
    found = entity_named(kind).contradiction(
        Item(text=name, status=status), chart, STATUSES if status is not None else (), "auto"
    )
    return None if found is None else found.reason


@pytest.mark.parametrize(
    ("status", "chart"),
    [
        ("continue", "Denies side effects from digoxin."),
        ("continue", "Denies any problems with digoxin."),
        ("continue", "Denies palpitations on digoxin."),
        ("continue", "Without palpitations on digoxin."),
        ("continue", "No adverse reactions to digoxin."),
        ("continue", "No allergy to digoxin."),
        ("continue", "Not allergic to digoxin."),
        ("continue", "Her rate is not controlled without digoxin."),
        ("continue", "Cannot sleep without digoxin."),
        ("continue", "Palpitations stopped with digoxin."),
        ("continue", "Quit smoking on digoxin."),
        ("start", "Edema decreased with digoxin."),
        ("continue", "Blood pressure declined on digoxin."),
        ("continue", "No need for refills of digoxin."),
        ("continue", "Discussed side effects of digoxin."),
        ("continue", "Possible side effects of digoxin reviewed."),
        ("continue", "Call if any problems with digoxin."),
        ("continue", "If palpitations persist, take digoxin."),
        ("continue", "His wife is worried about his digoxin."),
        ("start", "Discussed digoxin and she agreed to start it."),
        ("start", "Digoxin was discussed and prescribed."),
        ("start", "He declines warfarin, agrees to digoxin."),
        ("hold", "Digoxin was started and then held."),
        ("hold", "Digoxin was reduced and then held."),
        ("hold", "Digoxin was started but is now on hold."),
        ("past", "Digoxin was tapered and stopped."),
        ("past", "Tapered off digoxin."),
        ("past", "Digoxin was tapered off."),
        ("past", "Digoxin was added in 2019 and removed in 2020."),
        ("past", "Completed a 10 day course of digoxin."),
        ("past", "Status post a course of digoxin."),
        ("avoid", "Do not take digoxin."),
        ("avoid", "She was told not to take digoxin."),
    ],
)
def test_a_drug_that_the_words_are_not_about_is_not_contradicted(status: str, chart: str) -> None:
    assert reason("medication", "digoxin", status, chart) is None


@pytest.mark.parametrize(
    ("status", "chart", "why"),
    [
        ("continue", "Digoxin discontinued.", "contradicted_status"),
        ("continue", "Digoxin d/c'd.", "contradicted_status"),
        ("continue", "Digoxin held for bradycardia.", "contradicted_status"),
        ("continue", "Digoxin -> stop", "contradicted_status"),
        ("continue", "Digoxin \u2014 discontinued", "contradicted_status"),
        ("continue", "Stop taking digoxin.", "contradicted_status"),
        ("start", "Tapered off digoxin.", "contradicted_status"),
        ("continue", "No known drug allergies other than digoxin.", "contradicted_status"),
        ("continue", "Denies ever having been on digoxin.", "negated"),
        ("avoid", "She does not take digoxin.", "negated"),
        ("start", "Patient refuses all digoxin.", "declined"),
        ("start", "Digoxin was considered but not started.", "only_considered"),
        ("start", "Discussed digoxin, patient will think about it.", "only_considered"),
        ("continue", "His wife is on digoxin.", "family_member"),
        ("continue", "Mother was given digoxin.", "family_member"),
    ],
)
def test_a_drug_that_the_words_are_about_is_contradicted(status: str, chart: str, why: str) -> None:
    assert reason("medication", "digoxin", status, chart) == why


@pytest.mark.parametrize(
    "chart",
    [
        "Denies worsening of asthma.",
        "No asthma exacerbations since May.",
        "No evidence of recurrence of asthma.",
        "No evidence of wheezing to explain the asthma.",
        "Denies dyspnea from asthma.",
        "Could not rule out asthma.",
        "Asthma cannot be excluded.",
        "His wife has noticed worsening asthma.",
        "His daughter is caring for him because of asthma.",
        "Refuses inhalers for asthma.",
        "Declined treatment of asthma.",
    ],
)
def test_a_disease_that_the_words_are_not_about_is_the_patients(chart: str) -> None:
    assert reason("diagnosis", "asthma", None, chart) is None


@pytest.mark.parametrize(
    ("chart", "why"),
    [
        ("No h/o asthma.", "negated"),
        ("No hx of asthma.", "negated"),
        ("No prior asthma.", "negated"),
        ("w/o asthma", "negated"),
        ("Denies fever, cough, or asthma.", "negated"),
        ("Asthma was ruled out.", "negated"),
        ("His wife has asthma.", "family_member"),
        ("Mother, age 80, has asthma.", "family_member"),
        ("Stepfather has asthma.", "family_member"),
        ("MGM with asthma.", "family_member"),
        ("Girlfriend has asthma.", "family_member"),
        ("Father deceased at 80 of asthma.", "family_member"),
        ("Paternal uncle \u2013 asthma", "family_member"),
        ("Family hx of asthma.", "family_member"),
        ("FHx asthma", "family_member"),
    ],
)
def test_a_disease_that_is_denied_or_a_relatives_is_not(chart: str, why: str) -> None:
    assert reason("diagnosis", "asthma", None, chart) == why
