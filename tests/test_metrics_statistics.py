"""Keys, p values, gates and overlap, against worked cases, scipy, brute force and simulation."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from chartdistill.clinical.entities import entity_of
from chartdistill.clinical.lexica.ingredients import ingredients
from chartdistill.evaluation.contamination import find_contamination, naive_leak
from chartdistill.metrics import HEADLINE, METRICS, p_values, score_arm
from chartdistill.metrics.comparison import by_gate, compare_arms
from chartdistill.metrics.significance import holm, p_value
from chartdistill.prompting.answer_format import parse_answer
from chartdistill.schema import Item, Prediction, Record, Task

STATUSES = ("start", "continue", "stop", "hold", "avoid")
DRUGS = Task(
    name="medication", item="medication", statuses=STATUSES, gate_question="?", extraction_question="?", question="?"
)
TESTS = Task(name="tests", item="test", gate_question="?", extraction_question="?", question="?")
TEXT = "Stop Yasadol 20 mg daily. Begin Febenor 5 mg.\nContinue Masetec 50 mg. Hold Tirolix."


def note(name: str, gold: str | None, text: str = TEXT, cluster: str | None = None) -> Record:
    items = None if gold is None else {"medication": parse_answer(gold, DRUGS) or ()}
    return Record(id=name, source=name, text=text, cluster=cluster or name, split="test", segments=(), gold=items)


def said(name: str, completion: str, arm: str = "student") -> Prediction:
    return Prediction(
        key="", record=name, task="medication", arm=arm, completion=completion, items=parse_answer(completion, DRUGS)
    )


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Metoprolol succinate ER 50 mg daily", "metoprolol tartrate", True),
        ("Augmentin 875 mg b.i.d.", "amoxicillin/clavulanate", True),
        ("lidocaine with epinephrine", "Epinephrine and Lidocaine", True),
        ("hydrocortisone cream", "hydrocortisone", True),
        ("cetirizine (Velodar)", "cetirizine", True),
        ("ASA 81 mg", "aspirin", True),
        ("Aggrenox", "dipyridamole and aspirin", True),
        ("Combivent inhaler", "albuterol/ipratropium", True),
        ("Velodar tablets", "velodar", True),
        ("calcium carbonate", "calcium gluconate", False),
        ("insulin 70/30", "insulin 50/50", False),
        ("prednisone", "prednisolone", False),
        ("amoxicillin", "amoxicillin/clavulanate", False),
        ("Velodar", "Velodor", False),
    ],
)
def test_drugs_match_by_ingredient_set(one: str, other: str, same: bool) -> None:
    assert (entity_of(DRUGS).match_key(one) == entity_of(DRUGS).match_key(other)) is same
    assert (entity_of(TESTS).match_key(one) == entity_of(TESTS).match_key(other)) is False, (
        "only names of drugs are taken apart"
    )


def test_a_lexicon_resolves_brands_and_their_combinations() -> None:
    known = {"brandex": "velodar", "duozil": "velodar and mirafen"}.get
    assert ingredients("brandex", known) == {"velodar"} == ingredients("velodar", known)
    assert ingredients("duozil", known) == {"velodar", "mirafen"} == ingredients("mirafen/brandex", known)
    assert ingredients("brandex") == {"brandex"}, "without a lexicon a name keeps its own words"


@given(st.text(min_size=1, max_size=30))
@settings(max_examples=200, deadline=None)
def test_a_key_is_stable_and_never_empty_where_there_is_a_word(text: str) -> None:
    assert ingredients(text)
    assert (
        entity_of(DRUGS).match_key(text) == entity_of(DRUGS).match_key(f"  {text} ") == entity_of(DRUGS).match_key(text)
    )


def test_statuses_details_and_harm_of_a_case_worked_by_hand() -> None:
    records = {
        "a": note("a", "Yasadol | stop\nFebenor | start\nMasetec | continue\nTirolix | hold"),
        "b": note("b", "Yasadol | stop\nTirolix | hold"),
    }
    answers = [
        said("a", "Yasadol 20 mg | continue\nFebenor 50 mg | start\nMasetec 50 mg daily | continue"),
        said("b", "Yasadol | stop\nTirolix | continue"),
    ]
    found = score_arm(answers, records, [DRUGS])["medication"]
    # Of stop: 1 right, 1 emitted, 2 in gold. start: 1, 1, 1. continue: 1, 3, 1. hold: 0, 0, 2.
    expected = {
        "status_accuracy": (3 / 5, 5),
        "status_f1_macro": ((2 / 3 + 2 / 2 + 2 / 4 + 0 / 2) / 4, 11),
        "stop_as_continue_rate": (1 / 2, 2),
        "hold_as_continue_rate": (1 / 2, 2),
        "attribute_error_rate": (1 / 3, 3),
        "raw_f1": (2 * 2 / 11, 11),
    }
    for name, (value, n) in expected.items():
        assert (found[name].value, found[name].n) == (pytest.approx(value), n), name
    assert found["avoid_as_start_rate"].value is None


def test_the_mean_over_tasks_weighs_tasks_alike() -> None:
    tests = (Item(text="EEG"),)
    records = {f"r{i}": note(f"r{i}", "Yasadol | stop") for i in range(9)}
    first = records["r0"]
    records["r0"] = first.model_copy(update={"gold": {**(first.gold or {}), "tests": tests}})
    answers = [said(name, "Yasadol | stop") for name in records]
    answers.append(said("r0", "").model_copy(update={"task": "tests", "items": (), "completion": "None found"}))
    found = score_arm(answers, records, [DRUGS, TESTS])["all"]
    assert found["joint_f1"].value == pytest.approx(18 / 19)
    assert found["joint_f1_macro"].value == pytest.approx((1 + 0) / 2)


def test_the_p_value_is_that_of_the_exact_permutation_test() -> None:
    rng = np.random.default_rng(2)
    for shift in (0.0, 0.25, 0.5):
        first, second = rng.random(9) + shift, rng.random(9)
        ones = np.ones(9)
        found = p_value((first, second), (ones, ones), 20_000, seed=1)
        exact = stats.permutation_test(
            (first, second), lambda a, b: np.mean(a) - np.mean(b), permutation_type="samples", n_resamples=np.inf
        ).pvalue
        assert found == pytest.approx(exact, abs=0.012)


def test_the_p_value_of_no_difference_is_one_and_of_nothing_is_none() -> None:
    same, zero = np.array([1.0, 0.0, 2.0]), np.zeros(3)
    assert p_value((same, same), (same + 1, same + 1), 500, seed=0) == 1
    assert p_value((same, same), (same + 1, zero), 500, seed=0) is None


def test_p_values_are_uniform_when_arms_are_alike() -> None:
    rng = np.random.default_rng(3)
    found = [
        p_value((rng.random(30), rng.random(30)), (np.ones(30), np.ones(30)), 300, seed) or 0.0 for seed in range(200)
    ]
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_holm_of_a_worked_case() -> None:
    found = holm({"a": 0.01, "b": 0.04, "c": None, "d": 0.03})
    assert found == {"a": pytest.approx(0.03), "b": pytest.approx(0.06), "c": None, "d": pytest.approx(0.06)}
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}


def test_p_values_of_arms_and_their_reasons() -> None:
    records = {f"r{i}": note(f"r{i}", "Yasadol | stop") for i in range(20)}
    right = [said(name, "Yasadol | stop", "a") for name in records]
    wrong = [said(name, "Yasadol | hold", "b") for name in records]
    found = p_values(right, wrong, records, [DRUGS])["medication"]
    assert list(found) == list(HEADLINE)
    assert found["joint_f1"].p is not None
    assert found["joint_f1"].p < 1e-3
    assert found["joint_f1"].holm == pytest.approx(2 * found["joint_f1"].p), "of three metrics two can be tested"
    assert found["abstention_specificity"].p is None
    assert "records without gold items" in str(found["abstention_specificity"].reason)
    mirrored = p_values(wrong, right, records, [DRUGS])["medication"]
    assert mirrored["joint_f1"].p == pytest.approx(found["joint_f1"].p)


@given(st.permutations(range(12)))
@settings(max_examples=20, deadline=None)
def test_other_names_of_records_and_drugs_change_no_value(order: list[int]) -> None:
    names = ["Yasadol", "Febenor", "Masetec", "Tirolix"]
    gold = [f"{names[i % 4]} | {STATUSES[i % 5]}" if i % 3 else "None found" for i in range(12)]
    answers = [f"{names[(i * i) % 4]} | {STATUSES[i % 4]}" if i % 4 else "None found" for i in range(12)]

    def scored(ids: list[str], rename: dict[str, str]) -> dict[str, float | None]:
        def put(text: str) -> str:
            for old, new in rename.items():
                text = text.replace(old, new)
            return text

        records = {name: note(name, put(text), put(TEXT)) for name, text in zip(ids, gold, strict=True)}
        rows = [said(name, put(text)) for name, text in zip(ids, answers, strict=True)]
        found = score_arm(rows, records, [DRUGS], resamples=100)["medication"]
        return {name: estimate.value for name, estimate in found.items()}

    other = dict(zip(names, ["Quxolan", "Zemidor", "Pavitec", "Lorexin"], strict=True))
    assert scored([f"r{i}" for i in order], other) == pytest.approx(scored([f"r{i}" for i in range(12)], {}))


def test_confabulation_is_told_apart_by_gate() -> None:
    records = {"a": note("a", "Yasadol | stop"), "b": note("b", "None found"), "c": note("c", "Febenor | start"),
               "d": note("d", None), "e": note("e", "None found")}  # fmt: skip
    answers = [said("a", "Yasadol | stop"), said("b", "Daily | start\nQuxol | start"), said("c", "None found"),
               said("d", "Yasadol | stop"), said("e", "None found")]  # fmt: skip
    gates = {"a": "yes", "b": "yes", "c": "no", "d": "yes", "e": "unclear"}
    found = by_gate(answers, {(name, "medication"): gate for name, gate in gates.items()}, records, [DRUGS])
    assert set(found) == {"medication", "all"}
    assert {condition: rows["records"] for condition, rows in found["medication"].items()} == {
        "right yes": 1, "wrong yes": 1, "wrong no": 1, "unclear": 1,
    }  # fmt: skip
    wrong = found["medication"]["wrong yes"]
    assert [wrong[name]["value"] for name in ("confabulation_rate", "invented_rate", "wrong_kind_rate")] == [
        1,
        0.5,
        0.5,
    ]
    assert found["medication"]["right yes"]["confabulation_rate"]["value"] == 0
    assert found["medication"]["wrong no"]["confabulation_rate"]["value"] is None


def test_compared_arms_are_named_or_refused() -> None:
    records = {"a": note("a", "Yasadol | stop")}
    arms = {"x": [said("a", "Yasadol | stop", "x")], "y": [said("a", "None found", "y")]}
    found = compare_arms(arms, records, [DRUGS], [("x", "y")], resamples=100, reference="y")
    assert set(found["arms"]["x"]["medication"]) == {*METRICS, "teacher_f1", "teacher_joint_f1"}
    with pytest.raises(ValueError, match="no predictions of an arm 'z'"):
        compare_arms(arms, records, [DRUGS], [("x", "z")])


def longest_by_brute_force(first: list[str], second: list[str]) -> int:
    best = 0
    for i in range(len(first)):
        for j in range(len(second)):
            size = 0
            while i + size < len(first) and j + size < len(second) and first[i + size] == second[j + size]:
                size += 1
            best = max(best, size)
    return best


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_the_longest_shared_run_is_that_of_brute_force(seed: int) -> None:
    rng = random.Random(seed)
    texts = [[" ".join(rng.choices("abcd", k=rng.randint(1, 40))) for _ in range(3)] for _ in range(2)]
    sides = [[note(f"{side}{i}", None, text) for i, text in enumerate(found)] for side, found in enumerate(texts)]
    found = find_contamination(*sides)
    longest = max(longest_by_brute_force(a.split(), b.split()) for a in texts[0] for b in texts[1])
    assert found["longest_run"]["words"] == longest
    assert found["same_text"] == sum(text in texts[0] for text in texts[1])


def test_overlap_counts_copies_and_near_duplicates() -> None:
    rng = random.Random(1)
    bodies = [" ".join(rng.choices([f"w{i}" for i in range(900)], k=60)) for _ in range(8)]
    trained = [note(f"t{i}", None, body) for i, body in enumerate(bodies[:4])]
    edited = bodies[1].split()
    edited[30] = "changed"
    scored = [note("copy", None, bodies[0].upper() + "."), note("edited", None, " ".join(edited)),
              note("new", None, bodies[5]), note("short", None, "w1"),
              note("t2", None, bodies[6], cluster="t3")]  # fmt: skip
    found = find_contamination(trained, scored)
    assert (found["same_text"], found["near_duplicates"], found["same_id"], found["same_cluster"]) == (1, 2, 1, 1)
    run = found["longest_run"]
    assert (run["words"], run["scored_record"], run["trained_record"]) == (60, "copy", "t0")
    assert run["records_by_words"] == {"10": 2, "20": 2, "50": 1}
    empty = find_contamination([], scored)
    assert (empty["longest_run"]["words"], empty["largest_share"]) == (0, 0)


def test_the_naive_leak_is_that_of_random_splits() -> None:
    sizes = [1] * 20 + [2] * 15 + [5] * 4
    owners = [number for number, size in enumerate(sizes) for _ in range(size)]
    rng, seen = random.Random(5), []
    for _ in range(3000):
        order = rng.sample(owners, len(owners))
        trained = set(order[:50])
        seen.append(sum(owner in trained for owner in order[50:]) / len(order[50:]))
    assert naive_leak(sizes, 50) == pytest.approx(np.mean(seen), abs=0.01)
    assert naive_leak([1] * 10, 8) == 0
    assert naive_leak([10], 8) == 1
    assert naive_leak([1, 1], 0) is None
