"""Gates and held-out records are written down before the answers, and what was changed later is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from chartdistill.evaluation import REGISTRATIONS, Judgement, TrustGate, compare_timing, read_registrations, register
from chartdistill.evaluation.registration import Timing
from chartdistill.runtime.run_folder import make_folder, write_text
from chartdistill.schema import Item, Record

JOINT = TrustGate(metric="joint_f1", at_least=0.9, of="teacher")
STRICT = TrustGate(metric="confabulation_rate", at_most=0.05, by="bound")
LAX = TrustGate(metric="confabulation_rate", at_most=0.05)


def charts(first: int, last: int, drug: str = "Yasadol") -> list[Record]:
    return [
        Record(
            id=f"r{i}", source="s", text=f"Chart {i}: {drug}.", cluster=f"c{i}", split="test", segments=(),
            gold={"medication": (Item(text=drug, status="stop"),)},
        )
        for i in range(first, last)
    ]  # fmt: skip


def answer(run: Path, gates: list[TrustGate], records: list[Record]) -> None:
    """What `evaluate` does: register, then write answers."""
    register(run, gates, records, "evaluate", answering=True)
    make_folder(run / "predictions")
    write_text(run / "predictions" / "student.jsonl", "{}\n")


def timing(run: Path, gates: list[TrustGate], records: list[Record]) -> Timing:
    return compare_timing(read_registrations(run), gates, records)


def test_what_was_registered_before_the_answers_needs_no_word(tmp_path: Path) -> None:
    register(tmp_path, [JOINT], charts(0, 4), "prepare")
    register(tmp_path, [JOINT, STRICT], charts(0, 4), "train")  # changed before any answer: free to do so
    answer(tmp_path, [STRICT, JOINT], charts(0, 4))
    found = timing(tmp_path, [JOINT, STRICT], charts(0, 4)[::-1])
    assert (found.withheld, found.warnings) == ((), ()), "the order of gates and records says nothing"
    assert found.registered is not None
    assert found.registered.time <= found.registered.facts()["time"]
    assert [row.verb for row in read_registrations(tmp_path)] == ["prepare", "train", "evaluate"]
    assert (tmp_path / REGISTRATIONS).stat().st_mode & 0o777 == 0o600
    assert "Yasadol" not in (tmp_path / REGISTRATIONS).read_text()


@pytest.mark.parametrize(
    ("now", "withheld", "told"),
    [
        ([JOINT, LAX], True, "gone or changed: {metric: confabulation_rate, at_most: 0.05, by: bound}; new: {metric"),
        ([JOINT], True, "gone or changed: {metric: confabulation_rate, at_most: 0.05, by: bound}. Approval"),
        ([], True, "gone or changed: {metric: joint_f1, at_least: 0.9, of: teacher}; gone"),
        ([JOINT, STRICT, LAX], False, "Gates were added after evaluation"),
        ([JOINT, STRICT.model_copy(update={"at_most": 0.03})], True, "gone or changed"),
        ([JOINT, STRICT.model_copy(update={"task": "tests"})], True, "gone or changed"),
        ([JOINT, STRICT.model_copy(update={"least_n": 9})], True, "gone or changed"),
    ],
)
def test_gates_changed_after_the_answers(tmp_path: Path, now: list[TrustGate], withheld: bool, told: str) -> None:
    answer(tmp_path, [JOINT, STRICT], charts(0, 4))
    for verb in ("train", "evaluate"):  # a later verb with the new gates makes them no older
        register(tmp_path, now, charts(0, 4), verb, answering=verb == "evaluate")
    found = timing(tmp_path, now, charts(0, 4))
    assert bool(found.withheld) is withheld
    assert told in found.warnings[0]
    judgement = Judgement((), found)
    assert judgement.approved is not withheld
    assert ("Not approved: gates changed after evaluation" in judgement.sentence) is withheld


def test_gates_set_only_after_the_answers_approve_nobody(tmp_path: Path) -> None:
    answer(tmp_path, [], charts(0, 4))
    found = timing(tmp_path, [LAX], charts(0, 4))
    assert found.withheld == ("gates changed after evaluation",)
    assert timing(tmp_path, [], charts(0, 4)).warnings == ()


def test_more_held_out_records_keep_the_gates_of_the_first_look(tmp_path: Path) -> None:
    """The demo's own story: a bound is missed, made a value, and with twice the records a bound again."""
    answer(tmp_path, [STRICT], charts(0, 4))
    register(tmp_path, [LAX], charts(0, 4), "report")
    answer(tmp_path, [STRICT], charts(0, 8))
    found = timing(tmp_path, [STRICT], charts(0, 8))
    assert found.withheld == ("held-out records changed after evaluation",)
    assert "4 of these 8 had been answered about" in found.warnings[0]
    assert "gates changed after evaluation" in timing(tmp_path, [LAX], charts(0, 8)).withheld


def test_the_same_records_with_other_gold_are_another_set(tmp_path: Path) -> None:
    answer(tmp_path, [STRICT], charts(0, 4))
    mended = [r.model_copy(update={"gold": {"medication": ()}}) for r in charts(0, 4)]
    answer(tmp_path, [STRICT], mended)
    assert timing(tmp_path, [STRICT], mended).withheld == ("held-out records changed after evaluation",)
    renamed = [r.model_copy(update={"id": f"x{r.id}"}) for r in charts(0, 4)]
    answer(tmp_path, [STRICT], renamed)
    assert timing(tmp_path, [STRICT], renamed).withheld[0] == "held-out records changed after evaluation"


def test_fresh_held_out_records_may_be_judged_by_other_gates_and_say_they_are_not_the_first(tmp_path: Path) -> None:
    answer(tmp_path, [STRICT], charts(0, 4))
    answer(tmp_path, [LAX], charts(10, 14))
    found = timing(tmp_path, [LAX], charts(10, 14))
    assert found.withheld == ()
    assert "another 4 were answered about" in found.warnings[0]
    assert Judgement((), found).approved
    assert timing(tmp_path, [STRICT], charts(0, 4)).warnings == (), "what came later is no news of the first set"


def test_answers_older_than_the_record_of_gates_approve_nobody(tmp_path: Path) -> None:
    make_folder(tmp_path / "predictions")
    write_text(tmp_path / "predictions" / "student.journal.jsonl", "{}\n")
    for verb in ("prepare", "train", "evaluate"):
        register(tmp_path, [STRICT], charts(0, 4), verb, answering=verb == "evaluate")
    found = timing(tmp_path, [STRICT], charts(0, 4))
    assert found.withheld == ("not recorded when the gates were set",)
    (tmp_path / REGISTRATIONS).unlink()
    assert timing(tmp_path, [STRICT], charts(0, 4)).withheld == found.withheld
    assert timing(tmp_path, [], charts(0, 4)).warnings == ()
