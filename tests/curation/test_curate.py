"""The verb on run folders made here: what it writes, what it counts, and when it refuses."""

from __future__ import annotations

import json
import random
import stat
from pathlib import Path

import pytest

from chartdistill.curation.curate import curate
from chartdistill.curation.filters import DEFAULT_FILTERS, Grounding, Truncation
from chartdistill.demo.charts import write_chart
from chartdistill.errors import ArtefactError, InputError
from chartdistill.prompting.answer_format import format_answer
from chartdistill.prompting.prompts import QUESTION_SEPARATOR
from chartdistill.runtime import run_folder
from chartdistill.schema import (
    Item,
    ItemCheck,
    Label,
    Record,
    Thought,
    ThoughtRow,
    TrainExample,
)
from curation_cases import DRUGS, TESTS, label, make_run, make_small_run, record, rows_of


def examples_of(run_dir: Path) -> list[TrainExample]:
    return list(run_folder.read_rows(run_dir / "curated" / "train.jsonl", TrainExample))


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return make_small_run(tmp_path)


def test_kept_and_rejected_add_up_and_say_why(run_dir: Path) -> None:
    counts = curate(run_dir, [DRUGS, TESTS], DEFAULT_FILTERS)["counts"]
    assert (counts["read"], counts["kept"], counts["rejected"], counts["superseded"]) == (8, 5, 3, 0)
    assert counts["by_reason"] == {"invented": 1, "failed": 1, "truncated": 1}
    assert counts["by_filter"] == {"grounding": 1, "format": 1, "truncation": 1}
    assert counts["by_task"] == {
        "medication": {"kept": 3, "rejected": 1, "none_found": 0},
        "tests": {"kept": 2, "rejected": 2, "none_found": 1},
    }
    assert counts["train_examples"] == {"train": 3, "validation": 1}
    kept, rejected = rows_of(run_dir, "kept.jsonl"), rows_of(run_dir, "rejected.jsonl")
    assert [(row.record, row.task) for row in rejected] == [("b", "medication"), ("c", "tests"), ("d", "tests")]
    assert all(row.items is not None for row in kept)
    assert all(row.items is None and row.rejections for row in rejected)
    assert rejected[0].rejections[0].item == Item(text="Bisolukast", status="start")


def test_train_examples_are_the_prompt_and_the_answer_without_the_test_split(run_dir: Path) -> None:
    curate(run_dir, [DRUGS, TESTS], DEFAULT_FILTERS)
    examples = examples_of(run_dir)
    assert [(one.record, one.task, one.split) for one in examples] == [
        ("a", "medication", "train"),
        ("a", "tests", "train"),
        ("b", "tests", "train"),
        ("c", "medication", "validation"),
    ]
    assert examples[0].prompt == record("a").text + QUESTION_SEPARATOR + DRUGS.question
    assert [one.completion for one in examples[:2]] == ["Yasadol | stop\nFebenor 5 mg | start", "None found"]


def test_output_does_not_depend_on_the_order_of_labels(run_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    records = list(run_folder.read_rows(run_dir / "records" / "records.jsonl", Record))
    labels = list(run_folder.read_rows(run_dir / "labels" / "labels.jsonl", Label))
    other = make_run(tmp_path_factory.mktemp("other"), records, labels[::-1])
    for folder in (run_dir, other):
        curate(folder, [DRUGS, TESTS], DEFAULT_FILTERS)
    for name in ("kept.jsonl", "rejected.jsonl", "train.jsonl"):
        assert (run_dir / "curated" / name).read_bytes() == (other / "curated" / name).read_bytes()


def test_the_first_kept_sample_is_taught(tmp_path: Path) -> None:
    samples = ["Bisolukast | start", "Yasadol | stop", "Febenor | start"]
    labels = [label("a", text, sample=number) for number, text in enumerate(samples)]
    counts = curate(make_run(tmp_path, [record("a")], labels[::-1]), [DRUGS], DEFAULT_FILTERS)["counts"]
    assert (counts["read"], counts["kept"]) == (3, 2)
    assert [one.completion for one in examples_of(tmp_path)] == ["Yasadol | stop"]
    assert [row.sample for row in rows_of(tmp_path, "kept.jsonl")] == [1, 2]


def test_dropped_items_are_counted_and_kept_as_evidence(tmp_path: Path) -> None:
    make_run(tmp_path, [record("a")], [label("a", "Yasadol | stop\nBisolukast | start")])
    counts = curate(tmp_path, [DRUGS], [Grounding(on_item="drop_item")])["counts"]
    assert (counts["kept"], counts["items_dropped"], counts["by_reason"]) == (1, 1, {})
    assert examples_of(tmp_path)[0].completion == "Yasadol | stop"
    row = rows_of(tmp_path, "kept.jsonl")[0]
    assert row.items == (Item(text="Yasadol", status="stop"),)
    assert [rejection.item and rejection.item.text for rejection in row.rejections] == ["Bisolukast"]


def test_dropping_every_item_does_not_become_none_found(tmp_path: Path) -> None:
    labels = [label("a", "Bisolukast | start"), label("b", "Yasadol | stop")]
    make_run(tmp_path, [record("a"), record("b")], labels)
    counts = curate(tmp_path, [DRUGS], [Grounding(on_item="drop_item")])["counts"]
    assert counts["by_reason"] == {"invented": 1, "all_dropped": 1}
    assert [one.record for one in examples_of(tmp_path)] == ["b"]


def test_without_the_format_filter_an_unparsed_answer_is_still_rejected(tmp_path: Path) -> None:
    labels = [label("a", "Yasadol"), label("b", "Yasadol | stop")]
    counts = curate(make_run(tmp_path, [record("a"), record("b")], labels), [DRUGS], [Truncation()])["counts"]
    assert (counts["kept"], counts["by_reason"]) == (1, {"missing_field": 1})


def test_another_spelling_of_none_is_not_counted_as_an_invention(tmp_path: Path) -> None:
    labels = [label("a", "No tests mentioned", TESTS), label("b", "EEG", TESTS)]
    counts = curate(make_run(tmp_path, [record("a"), record("b")], labels), [TESTS], DEFAULT_FILTERS)["counts"]
    assert (counts["kept"], counts["by_reason"]) == (1, {"none_spelling": 1})


def test_a_later_row_of_the_same_place_replaces_the_earlier(tmp_path: Path) -> None:
    labels = [label("a", None), label("a", "Yasadol | stop")]
    counts = curate(make_run(tmp_path, [record("a")], labels), [DRUGS], DEFAULT_FILTERS)["counts"]
    assert (counts["read"], counts["kept"], counts["superseded"]) == (1, 1, 1)


def test_nothing_is_done_twice_and_a_changed_filter_starts_over(run_dir: Path) -> None:
    calls: list[tuple[int, int | None]] = []
    first = curate(run_dir, [DRUGS, TESTS], DEFAULT_FILTERS, lambda done, total: calls.append((done, total)))
    assert calls == [(8, 8)]
    written = (run_dir / "curated" / "kept.jsonl").stat().st_mtime_ns
    assert curate(run_dir, [DRUGS, TESTS], DEFAULT_FILTERS) == first
    assert (run_dir / "curated" / "kept.jsonl").stat().st_mtime_ns == written
    again = curate(run_dir, [DRUGS, TESTS], [Truncation()])
    assert again["fingerprint"] != first["fingerprint"]
    assert again["counts"]["kept"] == 6


def test_everything_rejected_is_an_error_with_the_counts_and_no_manifest(tmp_path: Path) -> None:
    labels = [label("a", "Bisolukast | start"), label("b", "Yasadol | ended"), label("c", "Masetec | stop")]
    make_run(tmp_path, [record(name) for name in "abc"], labels)
    with pytest.raises(InputError, match=r"all 3 labels were rejected \(invented 2, unknown_status 1\)") as caught:
        curate(tmp_path, [DRUGS], DEFAULT_FILTERS)
    assert "refused.jsonl" in str(caught.value)
    assert "Bisolukast" not in str(caught.value)
    assert len(rows_of(tmp_path, "refused.jsonl")) == 3
    assert run_folder.read_manifest(tmp_path / "curated") is None


def test_no_labels_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no labels"):
        curate(make_run(tmp_path, [record("a")], []), [DRUGS], DEFAULT_FILTERS)


def test_labels_of_other_records_or_tasks_are_refused_with_their_place(tmp_path: Path) -> None:
    make_run(tmp_path / "r", [record("a")], [label("a", "None found"), label("zz", "None found")])
    with pytest.raises(ArtefactError, match=r"labels\.jsonl:2: record 'zz'"):
        curate(tmp_path / "r", [DRUGS], DEFAULT_FILTERS)
    make_run(tmp_path / "t", [record("a")], [label("a", "EEG", TESTS)])
    with pytest.raises(ArtefactError, match=r"labels\.jsonl:1: task 'tests'"):
        curate(tmp_path / "t", [DRUGS], DEFAULT_FILTERS)


def test_an_unfinished_stage_names_the_verb_to_run(run_dir: Path) -> None:
    (run_dir / "labels" / "manifest.json").unlink()
    with pytest.raises(ArtefactError, match="chartdistill label"):
        curate(run_dir, [DRUGS, TESTS], DEFAULT_FILTERS)


def test_files_are_private(run_dir: Path) -> None:
    curate(run_dir, [DRUGS, TESTS], DEFAULT_FILTERS)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (run_dir / "curated").iterdir()}
    names = "kept.jsonl rejected.jsonl train.jsonl train_messages.jsonl validation_messages.jsonl manifest.json"
    assert modes == dict.fromkeys(names.split(), 0o600)


def test_gold_answers_of_demo_charts_pass_every_filter(tmp_path: Path) -> None:
    statuses = ("start", "continue", "change", "stop", "hold", "past", "avoid", "given-once")
    tasks = [DRUGS.model_copy(update={"statuses": statuses}), TESTS]
    tasks += [TESTS.model_copy(update={"name": name, "item": name}) for name in ("diagnosis", "prognosis")]
    rng = random.Random(3)
    records, labels = [], []
    for number in range(60):
        chart = write_chart(rng, "heldout")
        records.append(record(f"r{number}").model_copy(update={"text": chart.text}))
        for task in tasks:
            items = [Item(text=text, status=status) for text, status in chart.gold[task.name]]
            labels.append(label(f"r{number}", format_answer(items), task))
    counts = curate(make_run(tmp_path, records, labels), tasks, DEFAULT_FILTERS)["counts"]
    assert counts["kept"] == counts["read"] == 240


def test_examples_are_also_written_as_chat_messages(run_dir: Path) -> None:
    curate(run_dir, [DRUGS, TESTS], DEFAULT_FILTERS)
    for split in ("train", "validation"):
        lines = (run_dir / "curated" / f"{split}_messages.jsonl").read_text().splitlines()
        chats = [json.loads(line)["messages"] for line in lines]
        assert [[one["content"] for one in chat] for chat in chats] == [
            [one.prompt, one.completion] for one in examples_of(run_dir) if one.split == split
        ]
        assert all([one["role"] for one in chat] == ["user", "assistant"] for chat in chats)


def test_a_filter_that_rejects_too_much_stops_the_run_without_record_text(tmp_path: Path) -> None:
    names = [f"r{number}" for number in range(24)]
    labels = [label(name, "Bisolukast | start") for name in names[:-1]] + [label(names[-1], "Yasadol | stop")]
    make_run(tmp_path, [record(name) for name in names], labels)
    message = r"of 24 labels too many .*`grounding` 23 \(96%, max_rejected_fraction 90%\).*invented 23 .*r0:medication"
    with pytest.raises(InputError, match=message) as caught:
        curate(tmp_path, [DRUGS], DEFAULT_FILTERS)
    assert "Bisolukast" not in str(caught.value)
    assert run_folder.read_manifest(tmp_path / "curated") is None
    assert len(rows_of(tmp_path, "refused.jsonl")) == 23
    lenient = [one.model_copy(update={"max_rejected_fraction": 1.0}) for one in DEFAULT_FILTERS]
    assert curate(tmp_path, [DRUGS], lenient)["counts"]["kept"] == 1


def test_what_was_thought_of_a_status_that_a_check_changed_is_no_rationale(tmp_path: Path) -> None:
    """It argues for the status of the list."""
    item = Item(text="Yasadol", status="stop")
    checked = {
        "a": ItemCheck(item=item, answer="yes", listed_status="continue"),
        "b": ItemCheck(item=item, answer="yes"),
    }
    labels = [label(name, "Yasadol | stop").model_copy(update={"checks": (one,)}) for name, one in checked.items()]
    run = make_run(tmp_path, [record("a"), record("b")], labels)
    said = (Thought(question=DRUGS.question, text="He goes on with it.", tokens=5),)
    thoughts = [ThoughtRow(key=one.key, record=one.record, task=one.task, thoughts=said) for one in labels]
    run_folder.write_text(run / "labels" / "thoughts.jsonl", "".join(row.line() + "\n" for row in thoughts))
    curate(run, [DRUGS, TESTS], DEFAULT_FILTERS, rationales=True)
    examples = run_folder.read_rows(run / "curated" / "train.jsonl", TrainExample)
    assert {one.record: one.rationale for one in examples} == {"a": None, "b": "He goes on with it."}
