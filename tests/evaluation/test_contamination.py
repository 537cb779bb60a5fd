"""Overlap of what was learned and what is scored: against brute force and random splits."""

from __future__ import annotations

import random
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chartdistill.evaluation.contamination import find_contamination, find_gold_overlap, naive_leak
from chartdistill.schema import Item, Record
from demo_charts import TASKS
from four_drugs import note


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


def test_gold_known_from_training_is_counted_by_key_and_task() -> None:
    drug, test = TASKS[0], TASKS[3]

    def chart(name: str, drugs: str, tests: str | None) -> Record:
        gold = {drug.name: tuple(Item(text=text, status="continue") for text in drugs.split())}
        gold |= {} if tests is None else {test.name: tuple(Item(text=text) for text in tests.split(";") if text)}
        return Record(id=name, source="s", text="t", cluster=name, split="test", segments=(), gold=gold)

    trained = [chart("a", "Yasadol febenor", "chest x-ray"), chart("b", "Zikeximab", "")]
    scored = [chart("c", "yasadol Oxnivir", "Chest X-ray;stress test"), chart("d", "YASADOL", "stress test")]
    found = find_gold_overlap(trained, scored, [drug, test])
    assert found[drug.name] == {"items": 3, "items_known": 2, "names": 2, "names_known": 1}, "by key, not by letters"
    assert found[test.name] == {"items": 3, "items_known": 1, "names": 2, "names_known": 1}
    assert found["all"] == {"items": 6, "items_known": 3, "names": 4, "names_known": 2}
    without = [chart("a", "Yasadol", None)]
    assert set(find_gold_overlap(without, scored, [drug, test])) == {drug.name, "all"}, "no gold is not no overlap"
    bare = [record.model_copy(update={"gold": None}) for record in trained]
    assert find_gold_overlap(bare, scored, [drug, test]) == {}


def test_a_form_that_all_charts_share_takes_no_memory_for_each_pair_of_them() -> None:
    form = " ".join(f"form{i}" for i in range(12))
    sides = [[note(f"{side}{i}", None, f"{form} {side}{i}") for i in range(500)] for side in ("trained", "scored")]
    tracemalloc.start()
    find_contamination(*sides)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6e6, "250,000 pairs take 11 MB"
