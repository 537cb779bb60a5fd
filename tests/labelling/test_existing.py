"""A run whose teacher is a file of labels: taken over, judged, learned from, scored and told as what they are."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

import annotation_files as files
from chartdistill.config import Run, load_run
from chartdistill.doctor.diagnosis import diagnose
from chartdistill.doctor.machine import needed_share
from chartdistill.errors import ArtefactError, ConfigError, InputError
from chartdistill.labelling.label import label, label_shard
from chartdistill.pipeline import VERBS, run_verb
from chartdistill.prompting.answer_format import format_answer
from chartdistill.records.sources.synthetic import SyntheticSource
from chartdistill.reporting.terminal import plan
from chartdistill.runtime.run_folder import read_manifest, read_rows
from chartdistill.runtime.shards import Shard
from chartdistill.schema import CuratedLabel, Label, Prediction, Record
from labelling_run import silent
from places import ROOT

TASKS = ("medication", "tests")
SOURCES = [
    {"type": "synthetic", "pool": "train", "count": 6, "seed": 4, "split": "train"},
    {"type": "synthetic", "pool": "train", "count": 2, "seed": 5, "split": "validation"},
    {"type": "synthetic", "pool": "heldout", "count": 3, "seed": 6, "split": "test"},
]


def write_rows(path: Path, splits: tuple[str, ...], leave_out: int = 0) -> Path:
    """Gold of the synthetic charts as labels, less the first few charts."""
    entries = [entry for source in SOURCES if source["split"] in splits for entry in SyntheticSource(**source).read()]
    lines = [
        {"record": entry.id, "task": task, "completion": format_answer(entry.gold[task])}
        for entry in entries[leave_out:]
        for task in TASKS
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def config(folder: Path, model: Path, teacher: dict[str, Any], **changes: Any) -> Path:
    values = {
        "name": "taught", "run_dir": str(folder / "run"), "system": "Answer.", "records": SOURCES,
        "tasks": [str(ROOT / f"configs/tasks/{task}.yaml") for task in TASKS],
        "teacher": teacher, "student": {"model": str(model), "engine": {"type": "transformers"}},
        "train": {"epochs": 1, "records_per_step": 2}, "evaluate": {"max_answer_tokens": 8, "bootstrap_resamples": 100},
    }  # fmt: skip
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(values | changes))
    return path


def prepared(folder: Path, model: Path, teacher: dict[str, Any], **changes: Any) -> Run:
    run = load_run(config(folder, model, teacher, **changes))
    run_verb(run, "prepare")
    return run


def test_labels_are_taken_over_with_where_they_stand(tmp_path: Path, tiny_model: Path) -> None:
    path = write_rows(tmp_path / "house.jsonl", ("train",), leave_out=1)
    with path.open("a") as stream:
        stream.write(json.dumps({"record": "nobody", "task": "tests", "completion": "CBC"}) + "\n")
    run = prepared(tmp_path, tiny_model, {"labels": "house.jsonl"})
    manifest = label(run, silent)
    rows = list(read_rows(run.dir / "labels/labels.jsonl", Label))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        assert row.origin is not None and row.origin.file == "house.jsonl"
        said = lines[int(row.origin.place.removeprefix("line ")) - 1]
        assert (row.record, row.task, row.completion) == (said["record"], said["task"], said["completion"])
    assert len(rows) == 10 and manifest["counts"]["labels"] == 10
    assert {row.origin.sha256 for row in rows if row.origin} == {manifest["source"]["sha256"]}
    assert manifest["counts"]["records_without_label"] == 6
    found = [json.loads(line) for line in (run.dir / "labels/findings.jsonl").read_text().splitlines()]
    assert Counter(one["code"] for one in found) == {"no_label": 6, "no_record": 1}
    assert "engine" not in manifest and manifest["tasks_held_out"] == []


@pytest.mark.parametrize("known", ["a", "b"])
def test_a_label_of_either_of_two_charts_with_the_same_words_is_used(
    known: str, tmp_path: Path, tiny_model: Path
) -> None:
    text = "She was told to stop Velorim 5 mg. Order a CBC in two weeks."
    charts = [{"id": "a", "text": text}, {"id": "b", "text": f"{text} ---"}]  # b is longer, and kept under the id a
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(chart) + "\n" for chart in charts))
    said = {"medication": "Velorim 5 mg | stop", "tests": "CBC"}
    rows = [{"record": known, "task": task, "completion": of} for task, of in said.items()]
    (tmp_path / "house.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"type": "jsonl", "path": "c.jsonl"}
    run = prepared(tmp_path, tiny_model, {"labels": "house.jsonl"}, records=[source])
    assert label(run, silent)["counts"]["findings"] == {}
    labels = list(read_rows(run.dir / "labels/labels.jsonl", Label))
    assert [(row.record, row.completion) for row in labels] == [("a", of) for of in said.values()]


def test_a_changed_file_makes_label_stale_and_an_unchanged_one_does_not(tmp_path: Path, tiny_model: Path) -> None:
    path = write_rows(tmp_path / "house.jsonl", ("train",))
    run = prepared(tmp_path, tiny_model, {"labels": "house.jsonl"})
    first = label(run, silent)
    (run.dir / "labels/labels.jsonl").unlink()
    assert label(run, silent) == first, "nothing to do"
    thoughts = [run.dir / "labels" / name for name in ("thoughts.jsonl", "thoughts-of-shard-0-of-2.jsonl")]
    for left in thoughts:  # of a teacher that thought, before the config named a file
        left.write_text("")
    path.write_text(path.read_text() + "\n")
    again = label(run, silent)
    assert again["fingerprint"] != first["fingerprint"] and again["counts"]["labels"] == 12
    assert not any(left.exists() for left in thoughts)


def test_faulty_labels_meet_the_same_filters(tmp_path: Path, tiny_model: Path) -> None:
    path = write_rows(tmp_path / "house.jsonl", ("train",))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["completion"] = "zzyzxamab 7 mg | start"
    lines[2]["completion"] = "aspirin | paused"
    lines[4] = {"record": lines[4]["record"], "task": "medication", "items": [{"text": "aspirin", "status": "quit"}]}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = prepared(tmp_path, tiny_model, {"labels": "house.jsonl"})
    label(run, silent)
    run_verb(run, "curate")
    rejected = {
        (row.record, row.task): [one.reason for one in row.rejections]
        for row in read_rows(run.dir / "curated/rejected.jsonl", CuratedLabel)
    }
    assert "invented" in rejected[lines[0]["record"], "medication"]
    assert rejected[lines[2]["record"], "medication"] == rejected[lines[4]["record"], "medication"] != []


def test_optional_items_are_not_taught(tmp_path: Path, tiny_model: Path) -> None:
    path = write_rows(tmp_path / "house.jsonl", ("train",), leave_out=1)
    first = next(iter(SyntheticSource(**SOURCES[0]).read()))
    items = [{"text": "CBC"}, {"text": "chest X-ray", "optional": True}]
    rows = [{"id": first.id, "gold": {"tests": items, "medication": []}}]
    path.write_text(path.read_text() + "".join(json.dumps(row) + "\n" for row in rows))
    run = prepared(tmp_path, tiny_model, {"labels": "house.jsonl"})
    assert label(run, silent)["counts"]["optional_items_left_out"] == 1
    said = {(row.record, row.task): row.completion for row in read_rows(run.dir / "labels/labels.jsonl", Label)}
    assert said[first.id, "tests"] == "CBC" and said[first.id, "medication"] == "None found"


@pytest.mark.parametrize(
    ("splits", "gate", "error"),
    [
        (("train",), {"metric": "joint_f1", "at_least": 0.5, "of": "teacher"}, "holds no label of the split 'test'"),
        (("train",), {"metric": "joint_f1", "at_least": 0.5, "of": "base"}, None),
        (("train", "test"), {"metric": "joint_f1", "at_least": 0.5, "of": "teacher"}, None),
    ],
)
def test_a_gate_by_the_teacher_needs_labels_of_held_out_records(
    splits: tuple[str, ...], gate: dict[str, Any], error: str | None, tmp_path: Path, tiny_model: Path
) -> None:
    write_rows(tmp_path / "house.jsonl", splits)
    run = prepared(tmp_path, tiny_model, {"labels": "house.jsonl"}, gates=[gate])
    if error is None:
        label(run, silent)
        return
    for _ in range(2):
        with pytest.raises(ConfigError, match=error):
            label(run, silent)
    assert read_manifest(run.dir / "labels") is None


def test_a_gate_by_the_teacher_looks_at_the_split_that_is_scored_now(tmp_path: Path, tiny_model: Path) -> None:
    write_rows(tmp_path / "house.jsonl", ("train", "test"))
    gates = {"gates": [{"metric": "joint_f1", "at_least": 0.5, "of": "teacher"}]}
    made = label(prepared(tmp_path, tiny_model, {"labels": "house.jsonl"}, **gates), silent)
    other = load_run(config(tmp_path, tiny_model, {"labels": "house.jsonl"}, evaluate={"split": "validation"}, **gates))
    with pytest.raises(ConfigError, match="no label of the split 'validation'"):
        label(other, silent)
    assert label(load_run(config(tmp_path, tiny_model, {"labels": "house.jsonl"}, **gates)), silent) == made


def test_names_of_ones_own_decide_what_labels_and_gold_say(tmp_path: Path, tiny_model: Path) -> None:
    charts = tmp_path / "charts"
    marks = (("naproxen", "Drug", {"Status": "stop"}), ("uric acid level", "LabTest", {}))
    files.brat(charts, marks=marks)
    write_rows(tmp_path / "house.jsonl", ("train",))
    names = tmp_path / "names.yaml"
    sources = [*SOURCES, {"type": "folder", "path": "charts", "gold": "charts"}]
    marked = []
    for text in ("- {name: naproxen, kind: drug}\n", "- {name: naproxen, kind: drug, same_as: [Vorin]}\n"):
        names.write_text(text)
        teacher = {"labels": "house.jsonl"}
        run = prepared(tmp_path, tiny_model, teacher, records=sources, vocabulary="names.yaml")
        label(run, silent)
        marked.append([(read_manifest(run.dir / stage) or {})["fingerprint"] for stage in ("records", "labels")])
    assert all(before != after for before, after in zip(*marked, strict=True))


@pytest.mark.parametrize(
    ("teacher", "changes", "message"),
    [
        ({}, {}, "needs `model`, or `labels`"),
        ({"labels": "x.jsonl", "model": "m"}, {}, "leave out model"),
        ({"labels": "x.jsonl", "engine": {"type": "vllm"}}, {}, "leave out engine"),
        ({"labels": {"path": "x.jsonl", "formt": "brat"}}, {}, "did you mean `format`"),
        ({"labels": {"path": "x.jsonl", "format": "xml"}}, {}, "teacher.labels.format"),
        ({"labels": "x.jsonl"}, {"train": {"distillation": {}}}, "train.distillation asks a teacher model"),
        ({"labels": "x.jsonl"}, {"train": {"on_policy": {}}}, "train.on_policy asks a teacher model"),
        ({"labels": "x.jsonl"}, {"evaluate": {"interventions": {"teacher": True}}}, "interventions.teacher asks"),
    ],
)
def test_what_needs_a_teacher_model_is_refused_before_anything_starts(
    teacher: dict[str, Any], changes: dict[str, Any], message: str, tmp_path: Path, tiny_model: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_run(config(tmp_path, tiny_model, teacher, **changes))


def test_a_task_without_any_label_and_a_missing_file_are_errors(tmp_path: Path, tiny_model: Path) -> None:
    path = write_rows(tmp_path / "house.jsonl", ("train",))
    kept = [line for line in path.read_text().splitlines() if '"medication"' in line]
    path.write_text("\n".join(kept) + "\n")
    run = prepared(tmp_path, tiny_model, {"labels": "house.jsonl"})
    with pytest.raises(InputError, match="Tasks without one: tests"):
        label(run, silent)
    with pytest.raises(ConfigError, match="nothing to share out"):
        label_shard(run, Shard(0, 2), silent)
    path.unlink()
    with pytest.raises(ConfigError, match=r"teacher\.labels: .*house\.jsonl does not exist"):
        run.require_teacher()


def test_doctor_and_the_plan_know_that_no_engine_starts(tmp_path: Path, tiny_model: Path) -> None:
    path = write_rows(tmp_path / "house.jsonl", ("train",))
    run = load_run(config(tmp_path, tiny_model, {"labels": "house.jsonl"}))
    assert needed_share(run.config, "label") is None
    checks = {check.name: check for check in diagnose(run).checks}
    assert checks["teacher labels"].state == "ok" and "12 labels (rows)" in checks["teacher labels"].found
    assert not {"teacher weights", "teacher engine memory", "vocabulary"} & set(checks)
    assert plan(run)["models"]["teacher"].endswith("house.jsonl, labels that exist")
    path.write_text('{"record": "a", "task": "tests", "items": []}\n')
    assert {check.name: check.state for check in diagnose(run).checks}["teacher labels"] == "no"


def test_gold_of_a_source_comes_from_an_export_with_optional_items(tmp_path: Path, tiny_model: Path) -> None:
    charts = tmp_path / "charts"
    marks = (*files.MARKS[:-1], ("uric acid level", "LabTest", {"Optional": None}))
    files.brat(charts, marks=marks)
    (charts / "c2.txt").write_text("A second chart that nobody has read for gold so far.")
    source = {"type": "folder", "path": "charts", "gold": "charts"}
    write_rows(tmp_path / "house.jsonl", ("train",))
    run = prepared(tmp_path, tiny_model, {"labels": "house.jsonl"}, records=[source])
    gold = {row.id: row.gold for row in read_rows(run.dir / "records/records.jsonl", Record)}
    assert gold["c2"] is None and gold["c1"] is not None
    assert {task: [(i.text, i.status, i.optional) for i in items] for task, items in gold["c1"].items()} == {
        "medication": [("allopurinol 300 mg", "continue", False), ("naproxen", "stop", False)],
        "tests": [("uric acid level", None, True)],
    }
    facts = (read_manifest(run.dir / "records") or {})["gold"][0]
    assert (
        facts["format"] == "brat" and facts["records_without_gold"] == 1 and facts["unmapped_labels"] == {"Problem": 2}
    )
    mark = (read_manifest(run.dir / "records") or {})["fingerprint"]
    (charts / "c1.ann").write_text((charts / "c1.ann").read_text().replace("Status T2 continue", "Status T2 hold"))
    run_verb(run, "prepare")
    assert (read_manifest(run.dir / "records") or {})["fingerprint"] != mark


def test_gold_is_never_guessed_nor_given_twice(tmp_path: Path, tiny_model: Path) -> None:
    charts = tmp_path / "charts"
    marks = (("naproxen", "Drug", {}), ("uric acid level", "LabTest", {}))
    files.brat(charts, marks=marks)
    run = prepared(
        tmp_path, tiny_model, {"labels": "x.jsonl"}, records=[{"type": "folder", "path": "charts", "gold": "charts"}]
    )
    (record,) = read_rows(run.dir / "records/records.jsonl", Record)
    assert record.gold is not None and set(record.gold) == {"tests"}
    (finding,) = map(json.loads, (run.dir / "records/gold_findings.jsonl").read_text().splitlines())
    assert finding["code"] == "no_status"
    for source in (
        {"type": "jsonl", "path": "c.jsonl", "gold_field": "gold", "gold": "g.jsonl"},
        {"type": "written", "gold": "g.jsonl"},
    ):
        with pytest.raises(ConfigError, match="leave one of them out"):
            load_run(config(tmp_path, tiny_model, {"labels": "x.jsonl"}, records=[source]))


@pytest.mark.slow
@pytest.mark.timeout(540)
def test_without_labels_of_held_out_records_there_is_no_such_arm(tmp_path: Path, tiny_model: Path) -> None:
    write_rows(tmp_path / "House_Labels.jsonl", ("train", "validation"))
    run = load_run(config(tmp_path, tiny_model, {"labels": "House_Labels.jsonl"}))
    for verb in VERBS:
        run_verb(run, verb)
    report = json.loads((run.dir / "report/report.json").read_text())
    assert set(report["arms"]) == {"base", "student"} and set(report["differences"]) == {"student-base"}
    limits = " ".join(report["limits"])
    assert "There is no teacher model: the student learned from the labels of House_Labels.jsonl" in limits
    assert "Not scored in this run" not in limits
    card = (run.dir / "adapter/README.md").read_text()
    assert "taught by labels that existed" in card and "distilled from a larger teacher" not in card
    assert (read_manifest(run.dir / "labels") or {})["source"]["sha256"] in card and str(tmp_path) not in card


@pytest.mark.slow
@pytest.mark.timeout(540)
def test_labels_of_held_out_records_are_an_arm_named_after_the_file(tmp_path: Path, tiny_model: Path) -> None:
    path = write_rows(tmp_path / "House_Labels.jsonl", ("train", "test"))
    gate = {"metric": "joint_f1", "at_least": 0.9, "of": "teacher"}
    first = next(iter(SyntheticSource(**SOURCES[2]).read())).id
    path.write_text("".join(line for line in path.read_text().splitlines(True) if first not in line))
    run = load_run(config(tmp_path, tiny_model, {"labels": "House_Labels.jsonl"}, gates=[gate]))
    for verb in VERBS:
        run_verb(run, verb)
    report = json.loads((run.dir / "report/report.json").read_text())
    arm = "labels of House_Labels.jsonl"
    assert list(report["arms"]) == [arm, "base", "student"]
    assert report["arms"][arm]["all"]["joint_f1"]["value"] == 1.0
    assert report["arms"][arm]["all"]["joint_f1"]["unscored"] == 2, "one chart, two tasks: counted, not dropped"
    assert f"student-{arm}" in report["differences"]
    assert report["trust_gates"]["verdicts"][0]["state"] == "missed"
    text = (run.dir / "report/report.md").read_text()
    assert "Labels of House_Labels.jsonl" in text and "the file has no label there" in text
    rows = list(read_rows(run.dir / "predictions/teacher.jsonl", Prediction))
    assert len(rows) == 6 and {row.arm for row in rows} == {arm}


def test_labels_of_charts_that_were_edited_since_are_not_curated(tmp_path: Path, tiny_model: Path) -> None:
    charts = tmp_path / "charts"
    charts.mkdir()
    for name, drug in (("a", "aspirin"), ("b", "naproxen"), ("c", "metformin")):
        (charts / f"{name}.txt").write_text(f"Mr. {name} takes {drug} daily and has no other complaint today.")
    path = tmp_path / "house.jsonl"
    rows = [{"record": "a", "task": "medication", "completion": "aspirin | continue"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    parts: dict[str, Any] = {
        "records": [{"type": "folder", "path": str(charts)}], "prepare": {"test_fraction": 0},
        "tasks": [str(ROOT / "configs/tasks/medication.yaml")],
    }  # fmt: skip
    run = prepared(tmp_path, tiny_model, {"labels": "house.jsonl"}, **parts)
    for verb in ("label", "curate"):
        run_verb(run, verb)
    (charts / "a.txt").write_text("Mr. a takes warfarin daily and has no other complaint today, he says.")
    run_verb(run, "prepare")
    with pytest.raises(ArtefactError, match="labels are of other records"):
        run_verb(run, "curate")
    run_verb(run, "label")
    with pytest.raises(InputError, match="invented"):
        run_verb(run, "curate")
