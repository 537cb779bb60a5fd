"""What people decide about labels: the file of it, and what curate makes of it."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from chartdistill.curation.curate import curate
from chartdistill.curation.decisions import Decision, decision_file, in_force, misfit, seen_hash
from chartdistill.curation.filters import DEFAULT_FILTERS
from chartdistill.errors import InputError
from chartdistill.reporting.run_results import read_results
from chartdistill.reporting.stages import run_grids
from chartdistill.runtime import run_folder
from chartdistill.runtime.shared_rows import SharedRows
from chartdistill.schema import CuratedLabel, Item, Label, Origin, TrainExample
from review_run import DRUGS, LABELS, RECORDS, TASKS, TESTS, decide, decision, label, make_run, write_labels

KEPT, REJECTED, FAILED = LABELS[0], LABELS[2], LABELS[5]


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


def curated(run_dir: Path) -> dict[tuple[str, str], CuratedLabel]:
    curate(run_dir, TASKS, DEFAULT_FILTERS)
    return {
        (row.record, row.task): row
        for name in ("kept", "rejected")
        for row in run_folder.read_rows(run_dir / "curated" / f"{name}.jsonl", CuratedLabel)
    }


def counts(run_dir: Path) -> dict[str, object]:
    return dict((run_folder.read_manifest(run_dir / "curated") or {})["counts"])


def test_without_decisions_nothing_is_written_of_people(run_dir: Path) -> None:
    assert "by_person" not in counts(run_dir)
    assert "by_person" not in (run_dir / "curated" / "kept.jsonl").read_text()


def test_a_decision_wins_over_every_filter(run_dir: Path) -> None:
    decide(
        run_dir,
        decision(KEPT, None),
        decision(REJECTED, [("Yasadol", "stop"), ("Bisolukast", "start")]),
        decision(FAILED, [("EEG", None)]),
        decision(LABELS[1], [("EEG", None)]),
        decision(LABELS[6], [("Yasadol", "stop")], by="Bo"),
    )
    rows = curated(run_dir)
    rejected = rows["a", "medication"]
    assert rejected.items is None and rejected.by_person == "rejected"
    assert [(one.filter, one.reason) for one in rejected.rejections] == [("person", "rejected_by_person")]
    readmitted = rows["b", "medication"]
    assert readmitted.by_person == "readmitted" and len(readmitted.items or ()) == 2 and not readmitted.rejections
    assert {one.reason for one in readmitted.readmitted} == {"invented"}
    assert rows["c", "tests"].items == (Item(text="EEG"),)
    assert rows["a", "tests"].by_person == "kept"
    assert rows["d", "medication"].by_person == "changed"
    found = counts(run_dir)
    assert found["by_person"] == {"kept": 1, "changed": 1, "readmitted": 2, "rejected": 1, "stale": 0, "people": 2}
    assert found["read"] == found["kept"] + found["rejected"] == len(LABELS)  # type: ignore[operator]
    examples = list(run_folder.read_rows(run_dir / "curated" / "train.jsonl", TrainExample))
    taught = {(one.record, one.task): one.completion for one in examples}
    assert ("a", "medication") not in taught and taught["b", "medication"] == "Yasadol | stop\nBisolukast | start"


def test_an_item_that_the_person_leaves_out_stays_an_objection(run_dir: Path) -> None:
    decide(run_dir, decision(REJECTED, [("Yasadol", "stop")]))
    row = curated(run_dir)["b", "medication"]
    assert row.items == (Item(text="Yasadol", status="stop"),)
    assert [(one.reason, one.item and one.item.text) for one in row.rejections] == [("invented", "Bisolukast")]
    assert all(one.item is None for one in row.readmitted)


def test_what_a_person_decided_has_the_full_weight(run_dir: Path) -> None:
    def weight() -> float:
        rows = run_folder.read_rows(run_dir / "curated" / "train.jsonl", TrainExample)
        return next(row.weight for row in rows if (row.record, row.task) == ("e", "medication"))

    assert weight() == pytest.approx(2 / 3)
    decide(run_dir, decision(LABELS[8], [("Yasadol", "stop")]))
    curated(run_dir)
    assert weight() == 1.0


def test_held_out_records_are_never_taught_whatever_is_decided(run_dir: Path) -> None:
    decide(run_dir, decision(LABELS[9], [("Yasadol", "stop")]))
    curated(run_dir)
    rows = run_folder.read_rows(run_dir / "curated" / "train.jsonl", TrainExample)
    assert not [row for row in rows if row.record == "t1"]


def test_curate_is_done_again_only_where_what_counts_has_changed(run_dir: Path) -> None:
    def mark() -> str:
        curate(run_dir, TASKS, DEFAULT_FILTERS)
        return str((run_folder.read_manifest(run_dir / "curated") or {})["fingerprint"])

    before = mark()
    said = decision(KEPT, None)
    decide(run_dir, said)
    rejected = mark()
    assert rejected != before
    decide(run_dir, decision(KEPT, None, by="Bo"))  # the same again by another person
    assert mark() == rejected
    for one in decision_file(run_dir).rows():
        decide(run_dir, decision(KEPT, None, action="undo", undoes=one.id))
    assert mark() == before
    assert "by_person" not in counts(run_dir)


def test_undone_is_the_decision_before_in_force_again(run_dir: Path) -> None:
    first, second = decision(KEPT, None), decision(KEPT, [("Yasadol", "stop")])
    rows = [first, second, decision(KEPT, None, action="undo", undoes=second.id)]
    assert in_force(rows)[KEPT.record, KEPT.task, 0] == first
    assert in_force(rows[::-1])[KEPT.record, KEPT.task, 0] == first, "the time decides, not the line"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("another answer", {"completion": "Febenor 5 mg | start"}),
        ("another question", {"key": "made anew"}),
    ],
)
def test_a_decision_about_another_answer_is_stale(run_dir: Path, name: str, change: dict[str, str]) -> None:
    decide(run_dir, decision(KEPT, None), decision(LABELS[1], [("EEG", None)]))
    write_labels(run_dir, RECORDS, [LABELS[0].model_copy(update=change), *LABELS[1:]])
    row = curated(run_dir)["a", "medication"]
    assert row.items is not None and row.by_person is None, name
    said = counts(run_dir)["by_person"]
    assert isinstance(said, dict) and (said["stale"], said["kept"], said["rejected"]) == (1, 1, 0)


def test_a_decision_about_a_label_of_a_file_holds_when_the_file_gets_a_line_more(run_dir: Path) -> None:
    def at_line(number: int, said: str = "Yasadol | stop") -> Label:
        place = Origin(file="house.jsonl", sha256=f"of {number} lines", place=f"line {number}")
        return label("a", said, key=f"file {number}", strategy="file", origin=place)

    decide(run_dir, decision(at_line(1), None))
    write_labels(run_dir, RECORDS, [at_line(2), *LABELS[1:]])
    assert curated(run_dir)["a", "medication"].by_person == "rejected"
    write_labels(run_dir, RECORDS, [at_line(3, "Febenor 5 mg | start"), *LABELS[1:]])
    assert curated(run_dir)["a", "medication"].by_person is None
    assert counts(run_dir)["by_person"]["stale"] == 1  # type: ignore[index]


def test_a_decision_about_another_chart_or_none_is_stale(run_dir: Path) -> None:
    decide(run_dir, decision(KEPT, None), decision(label("gone", "Yasadol | stop"), None))
    changed = RECORDS[0].model_copy(update={"text": RECORDS[0].text + " Addendum."})
    write_labels(run_dir, [changed, *RECORDS[1:]], LABELS)
    assert curated(run_dir)["a", "medication"].by_person is None
    said = counts(run_dir)["by_person"]
    assert isinstance(said, dict) and said["stale"] == 2


def test_statuses_that_the_task_no_longer_has_make_a_decision_stale(run_dir: Path) -> None:
    decide(run_dir, decision(KEPT, [("Yasadol", "stop")]))
    fewer = DRUGS.model_copy(update={"statuses": ("start", "continue")})
    curate(run_dir, [fewer, TESTS], DEFAULT_FILTERS)
    said = counts(run_dir)["by_person"]
    assert isinstance(said, dict) and (said["stale"], said["changed"]) == (1, 0)


def test_the_report_counts_people_apart(run_dir: Path) -> None:
    assert run_grids(read_results(run_dir, TASKS, "small"))["by_person"].rows == []
    decide(run_dir, decision(KEPT, None))
    curated(run_dir)
    rows = run_grids(read_results(run_dir, TASKS, "small"))["by_person"].rows
    assert ("rejected", "1") in rows and ("kept with other items", "0") in rows


@pytest.mark.parametrize(
    ("items", "task", "says"),
    [
        ([("Yasadol", None)], DRUGS, "no status"),
        ([("Yasadol", "snort")], DRUGS, "'snort'"),
        ([("EEG", "stop")], TESTS, "no statuses"),
        ([("Yasa|dol", "stop")], DRUGS, "`|`"),
        ([("Yasadol\nFebenor", "stop")], DRUGS, "control character"),
        ([("None found", "stop")], DRUGS, "says none"),
        ([(" Yasadol", "stop")], DRUGS, "read back"),
        ([("EEG", None), ("EEG", None)], TESTS, "twice"),
    ],
)
def test_items_that_are_no_answer_are_named(items: list[tuple[str, str | None]], task: object, says: str) -> None:
    found = misfit([Item(text=text, status=status) for text, status in items], task)  # type: ignore[arg-type]
    assert found is not None and says in found


@pytest.mark.parametrize(
    "change",
    [
        {"items": None},
        {"action": "reject"},
        {"action": "undo", "items": None},
        {"undoes": "0" * 16},
        {"by": " "},
        {"by": "x" * 61},
        {"by": "Ada\u202e"},
        {"at": "2026-01-31 09:30"},
        {"at": "2026-13-31T09:30:00.000000Z"},
        {"id": "me"},
        {"colour": "red"},
    ],
)
def test_what_is_no_decision_is_refused(change: dict[str, object]) -> None:
    good = decision(KEPT, [("Yasadol", "stop")]).model_dump()
    assert Decision.model_validate(good)
    with pytest.raises(ValidationError):
        Decision.model_validate(good | change)


def test_a_torn_last_line_is_set_aside_and_nothing_else_is_lost(run_dir: Path) -> None:
    first, second = decision(KEPT, None), decision(REJECTED, [("Yasadol", "stop")])
    decide(run_dir, first)
    rows = decision_file(run_dir)
    with rows.path.open("ab") as stream:
        stream.write(second.line().encode()[:70])
    assert rows.rows() == [first]
    decide(run_dir, second)
    assert decision_file(run_dir).rows() == [first, second] == rows.rows()
    assert rows.set_aside.read_bytes() == second.line().encode()[:70] + b"\n"
    assert rows.path.stat().st_mode & 0o077 == rows.set_aside.stat().st_mode & 0o077 == 0


def test_a_decision_that_found_no_room_is_not_written_later_nor_half(run_dir: Path) -> None:
    decide(run_dir, decision(KEPT, None))
    before = decision_file(run_dir).path.read_bytes()
    program = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from chartdistill.curation.decisions import Decision, decision_file\n"
        "from chartdistill.errors import ArtefactError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "row = Decision.model_validate_json(sys.argv[2])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)\n"
        "try: decision_file(Path(sys.argv[1])).add(lambda rows: [row])\n"
        "except ArtefactError as error: print(error)\n"
    )
    another = decision(REJECTED, [("Yasadol " * 20, "stop")]).line()
    room = str(len(before) + len(another) - 10)  # all of it but its end
    given = [sys.executable, "-c", program, str(run_dir), another, room]
    said = subprocess.run(given, capture_output=True, text=True, check=True).stdout
    assert "the disk is full" in said and decision_file(run_dir).path.read_bytes() == before


def test_a_damaged_line_is_named_and_not_thrown_away(run_dir: Path) -> None:
    decide(run_dir, decision(KEPT, None))
    rows = decision_file(run_dir)
    rows.path.write_bytes(rows.path.read_bytes() + b"{broken\n")
    with pytest.raises(InputError, match=r"decisions\.jsonl:2: not a Decision row") as caught:
        curate(run_dir, TASKS, DEFAULT_FILTERS)
    assert "delete" not in str(caught.value), "what people decided cannot be made again"
    with pytest.raises(InputError):
        decide(run_dir, decision(KEPT, None))


def _decide_often(run_dir: Path, name: str, number: int) -> None:
    rows = decision_file(run_dir)
    for _ in range(number):
        rows.add(lambda _: [decision(KEPT, None, by=name)])


def test_many_at_once_lose_none(run_dir: Path) -> None:
    context = multiprocessing.get_context("fork")
    people = [context.Process(target=_decide_often, args=(run_dir, f"P{number}", 40)) for number in range(4)]
    for one in people:
        one.start()
    for one in people:
        one.join(120)
        assert one.exitcode == 0
    found = decision_file(run_dir).rows()
    assert len(found) == len({one.id for one in found}) == 160


def test_what_was_said_to_be_written_is_there_after_kill_9(run_dir: Path) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        rows = decision_file(run_dir)
        while True:
            row = decision(KEPT, None)
            rows.add(lambda _, row=row: [row])  # type: ignore[misc]
            os.write(writing, row.id.encode() + b"\n")
    os.close(writing)
    time.sleep(0.5)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reading) as stream:
        said = [line.strip() for line in stream if line.endswith("\n")]
    assert said
    assert {one.id for one in decision_file(run_dir).rows()} >= set(said)


def test_two_holders_of_one_file_see_each_others_rows(tmp_path: Path) -> None:
    one, other = (SharedRows(tmp_path / "x" / "rows.jsonl", Decision) for _ in range(2))
    assert one.rows() == []
    mine, theirs = decision(KEPT, None), decision(KEPT, None)
    one.add(lambda _: [mine])
    seen: list[int] = []
    other.add(lambda rows: seen.append(len(rows)) or [theirs])  # type: ignore[func-returns-value]
    assert seen == [1] and one.rows() == other.rows() == [mine, theirs]


def test_what_was_seen_is_chart_and_answer() -> None:
    chart = RECORDS[0]
    marks = {
        seen_hash(KEPT, chart),
        seen_hash(KEPT.model_copy(update={"completion": "Yasadol | start"}), chart),
        seen_hash(KEPT.model_copy(update={"key": "other"}), chart),
        seen_hash(KEPT, chart.model_copy(update={"text": "x"})),
    }
    assert len(marks) == 4
    assert json.loads(decision(KEPT, None).line())["seen"] in marks
