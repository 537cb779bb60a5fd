"""study: parts, draws and labels on disk; seeds pooled without false n; the curve; a miniature from end to end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapters import make_adapter
from chartdistill.config import Run, load_run, load_task
from chartdistill.curation.curate import curate
from chartdistill.errors import ArtefactError, ConfigError, TrainingError
from chartdistill.evaluation.generation import ask_sheets, stored_answers
from chartdistill.metrics import score_arm
from chartdistill.prompting.answer_format import format_answer
from chartdistill.records.prepare import prepare
from chartdistill.reporting.memorisation import FEW_CANARIES
from chartdistill.reporting.study_findings import FAMILY, answer_questions
from chartdistill.run_file import derive
from chartdistill.runtime.run_folder import RowWriter, link_folder, make_folder, read_rows, write_text
from chartdistill.runtime.run_locks import lock
from chartdistill.schema import Gate, Item, Label, Prediction, Record, Task, TrainExample
from chartdistill.study.options import load_study, parts_of
from chartdistill.study.predictions import _sheets
from chartdistill.study.records import draw, records_of
from chartdistill.study.runs import CHAIN, DIRECT, LOG, _train_in_turn, make_students, write_gold_labels
from chartdistill.study.scores import crossing, pool
from chartdistill.study.study import study
from chartdistill.training.train import train
from demo_charts import charts
from places import ROOT
from study_files import write_study

MEDICATION = load_task(ROOT / "configs/tasks/medication.yaml")


def test_draws_of_a_seed_are_nested_and_of_others_differ() -> None:
    names = [f"r{i}" for i in range(50)]
    assert draw(names, 5, 1) < draw(names, 20, 1) < draw(list(reversed(names)), 50, 1) == set(names)
    assert draw(names, 20, 1) != draw(names, 20, 2)


def test_the_shipped_study_is_valid_and_counts_its_parts() -> None:
    options = load_study(ROOT / "configs/study-demo.yaml")
    assert options.config.exists()
    parts = parts_of(options)
    assert len(parts) == len(set(parts)) == 7 * 3 + 4 * 3, "seven arms at one size, four more sizes of the curve"
    assert {(part.size, part.arm) for part in parts if part.arm != "distilled_filtered"} == {
        (options.compared, arm) for arm in options.arms if arm != "distilled_filtered"
    }
    assert options.canaries is not None
    assert 2 * options.canaries.per_kind >= FEW_CANARIES, "drugs and numbers are learned as answers"
    assert options.interventions.records, "without changed records nothing is known of consistency"
    assert any("base student" in limit for limit in options.limits)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"sizes": []}, "sizes"),
        ({"curve": ["gold_trained"], "arms": ["self_raw"]}, "curve names gold_trained"),
        ({"arm": ["self_raw"]}, "arm: unknown option; did you mean `arms`"),
        ({"compared_size": 3}, "compared_size 3 is not among sizes"),
        ({"sizes": [0, 2]}, "sizes has 0"),
        ({"arms": ["audited"], "curve": []}, "arms names audited, which needs `imported`"),
        ({"imported": {"seed": 1}}, "imported needs one of path and synthetic"),
        ({"canaries": {"repeats": [1]}, "arms": ["self_raw"], "curve": []}, "canaries needs the arm distilled_filt"),
        ({"canaries": {"repeats": [1, 4]}}, "asks for 4 training records, compared_size for 2"),
        ({"canaries": {"repeats": [1, 1]}}, "repeats must be different counts"),
        ({"canaries": {"repeats": [1], "size": 5}}, r"canaries.size 5: no control .* compared_size \(2\)"),
        ({"sizes": [2, 9], "compared_size": 2, "curve": [], "canaries": {"repeats": [1], "size": 9}}, "no control has"),
    ],
)
def test_a_wrong_study_is_refused(tmp_path: Path, change: dict[str, object], problem: str) -> None:
    values = {"name": "s", "config": "demo.yaml", "run_dir": str(tmp_path), "sizes": [2]} | change
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError, match=problem):
        load_study(path)


def test_where_the_curve_crosses() -> None:
    def points(*gaps: float | None) -> list[dict[str, object]]:
        spans = [{"value": g, "low": g and g - 0.05, "high": g and g + 0.05} for g in gaps]
        return [{"size": 100 * 4**place, "gap_to_teacher": span} for place, span in enumerate(spans)]

    assert crossing(points(-0.2, -0.1, 0.1)) == {
        "size": 800, "between": [400, 1600], "below_until": 400, "reached_from": 1600,
    }  # fmt: skip
    assert crossing(points(-0.2, -0.03, -0.01))["below_until"] == 100, "the others' intervals include the teacher"
    assert crossing(points(-0.2, -0.03, -0.01))["reached_from"] is None, "and none is within the margin"
    assert crossing(points(-0.2, -0.1))["reason"] == "below the teacher at every size up to 400"
    assert "from the smallest size on" in crossing(points(0.1, 0.2))["reason"]
    fallen = crossing(points(-0.2, 0.1, -0.01))
    assert fallen["size"] is None, "reached at 400 and not held at 1600"
    assert fallen["reason"] == "below the teacher at 1600, the largest size, though at or above it at 400"
    again = crossing(points(-0.2, 0.1, -0.1, 0.1))
    assert again["between"] == [1600, 6400], "the last time, from which on it holds"
    assert (again["below_until"], again["reached_from"]) == (100, 6400)
    assert crossing(points(0.1, -0.2, 0.1))["between"] == [400, 1600], "not from the smallest size on"
    assert crossing(points(-0.2, 0.1, -0.2, -0.2))["below_until"] == 100, "not 6400: at 400 it is not"
    assert crossing(points(0.1, -0.2, -0.2))["reached_from"] is None
    assert crossing(points(0.1, None, 0.1))["reached_from"] == 1600, "nothing is known of 400"
    assert crossing(points(None, 0.2))["size"] is None


def test_pooling_seeds_changes_no_ratio_and_no_interval() -> None:
    records = charts(12)
    rows = [
        Prediction(
            key="", record=r.id, task="medication", arm="base", completion="", items=(r.gold or {})["medication"][:1]
        )
        for r in records.values()
    ]  # fmt: skip
    spread = {
        f"{r.id}@{seed}": r.model_copy(update={"id": f"{r.id}@{seed}"}) for r in records.values() for seed in (1, 2)
    }
    parts = {"base": rows, "x-n4-s1": rows, "x-n4-s2": rows}
    pooled = pool(parts, [1, 2])
    assert {name: len(found) for name, found in pooled.items()} == {("base", None): 24, ("x", 4): 24}
    once = score_arm(rows, records, [MEDICATION], resamples=300)["medication"]["joint_f1"]
    twice = score_arm(pooled["x", 4], spread, [MEDICATION], resamples=300)["medication"]["joint_f1"]
    assert (twice.value, twice.low, twice.high) == pytest.approx((once.value, once.low, once.high))
    assert twice.n == 2 * once.n


class Runner:
    """Runs all verbs as they are, but labels are the gold, with a false drug in every other; and one seed fails."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, str]] = []

    def __call__(self, config: Path, first: str, last: str) -> None:
        run = load_run(config)
        self.ran.append((config.parent.name, last))
        if first == "prepare":
            prepare(run.config.records, run.dir / "records", run.config.prepare)
        if last == "label":
            self.label(run.dir, run.tasks, run.config.label.strategy)
        if last == "curate":
            curate(run.dir, run.tasks, run.config.filters)
        if last == "train":
            if "s2" in config.parent.name:
                raise TrainingError("the loss is not finite")
            train(run, lambda done, total=None, tokens=0: None)

    def label(self, folder: Path, tasks: list[Task], strategy: str) -> None:
        with RowWriter(folder / "labels" / "labels.jsonl") as out:
            for number, record in enumerate(read_rows(folder / "records" / "records.jsonl", Record)):
                for task in tasks:
                    items = (record.gold or {})[task.name]
                    if number % 2 and task.statuses:
                        items = (*items, Item(text="Inventamol", status="start"))
                    out.write(
                        Label(
                            key=f"{record.id}{task.name}{strategy}", record=record.id, task=task.name,
                            strategy=strategy, completion=format_answer(items), finish_reason="stop", prompts=1,
                            prompt_tokens=10 if strategy == "direct" else 25,
                            gate=None if strategy == "direct" else Gate(answer="yes"),
                        )
                    )  # fmt: skip
        write_text(folder / "labels" / "manifest.json", json.dumps({"fingerprint": strategy, "seconds": 1.0}))


MINI = {
    "sizes": [2, 4], "seeds": [1, 2], "arms": ["distilled_raw", "distilled_filtered", "audited", "gold_trained"],
    "imported": {"synthetic": 6},
    "curve": ["distilled_filtered"], "limits": ["The models of this test know nothing."],
    "interventions": {"records": 1, "edited_records": 1, "resamples": 1},
    "canaries": {"per_kind": 1, "repeats": [1], "alternatives": 99}, "test_records": 2,
}  # fmt: skip


@pytest.mark.slow
def test_a_miniature_study(tmp_path: Path, tiny_model: Path) -> None:
    path, runner = write_study(tmp_path, tiny_model, MINI), Runner()
    figures = study(path, runner)
    folder = tmp_path / "study"
    assert figures["records"] == 2, "of the three that the run has"
    assert set(figures["failed"]) == {part.name for part in parts_of(load_study(path)) if part.seed == 2}
    assert set(figures["arms"]) == {
        "teacher_chain", "teacher_direct", "base", "rules", "distilled_raw", "distilled_filtered", "audited",
        "gold_trained",
    }  # fmt: skip
    strategies = {name: load_run(folder / name / "config.yaml").config.label.strategy for name in ("teacher", "direct")}
    assert strategies == {"teacher": "chain", "direct": "direct"}, "whatever the base config says"
    assert [point["size"] for point in figures["curve"]["distilled_filtered"]] == [2, 4]
    assert figures["differences"]["distilled_filtered-teacher_chain"]["all"]["joint_f1"]["value"] < 0
    check_labels(folder, figures)
    assert figures["tokens"]["teacher_direct-teacher_chain"]["prompt"]["value"] == -30, "two tasks, 15 tokens each"
    assert figures["arms"]["teacher_chain"]["all"]["format_valid_rate"]["n"] == 4, "two records, not once per seed"
    assert set(figures["changed"]["arms"]) == {"teacher_chain", "base", "distilled_raw", "distilled_filtered"}
    gaps = figures["changed"]["differences"]["distilled_filtered-base"]
    assert gaps["share_identical"]["n"] == 2
    check_memorisation(folder, figures["memorisation"])
    check_family(figures)
    check_pages(folder, figures)
    check_reuse(path, runner, figures)


def test_no_run_of_a_study_has_charts_written(tmp_path: Path, tiny_model: Path) -> None:
    """No arm learns from them, and the base student would write some, too."""
    write_study(tmp_path, tiny_model, {})
    base = tmp_path / "base.yaml"
    base.write_text(base.read_text() + "synthesize: {count: 5}\n")
    asked = load_run(base)
    assert asked.config.synthesize is not None
    shared = load_run(derive(asked, tmp_path / "study" / "teacher", CHAIN))
    assert shared.config.synthesize is None and shared.config.label.strategy == "chain"
    assert load_run(derive(shared, tmp_path / "study" / "direct", DIRECT)).config.synthesize is None


def test_a_part_that_fails_stops_no_other_whatever_the_reason(tmp_path: Path) -> None:
    """Beside each other students have processes of their own, one after another they may not: both fail alike."""
    tried: list[str] = []

    def run(config: Path, first: str, last: str) -> None:
        tried.append(config.parent.name)
        if config.parent.name == "a":
            raise ConfigError("train.source_weights fits no record")

    parts = {name: (make_folder(tmp_path / name) / "config.yaml", "mark") for name in ("a", "b")}
    trained = {name: error for name, _, error in _train_in_turn(parts, run)}
    assert trained == {"a": "train.source_weights fits no record", "b": None} and tried == ["a", "b"]


def test_gold_labels_follow_the_tasks(tmp_path: Path, tiny_model: Path) -> None:
    """A task that is added to a config has gold from then on, and one that is taken out stops no arm."""
    path = write_study(tmp_path, tiny_model, {"sizes": [2], "arms": ["gold_trained"], "curve": []})
    shared = load_run(derive(load_run(load_study(path).config), tmp_path / "study" / "teacher", CHAIN))
    prepare(shared.config.records, shared.dir / "records", shared.config.prepare)
    home = tmp_path / "gold"
    for number in (1, 2, 1):
        of_some = Run(shared.config, shared.base, shared.tasks[:number])
        rows = read_rows(write_gold_labels(of_some, home) / "labels" / "labels.jsonl", Label)
        assert {row.task for row in rows} == {task.name for task in of_some.tasks}


def test_a_student_that_was_trained_again_from_the_same_is_asked_itself(tmp_path: Path, tiny_model: Path) -> None:
    """As on a GPU, where the weights are others then: answers of the first would pass for those of the second."""
    base = derive(load_run(load_study(write_study(tmp_path, tiny_model, {"sizes": [2]})).config), tmp_path / "run", {})
    run = load_run(base)
    prepare(run.config.records, run.dir / "records", run.config.prepare)
    options = load_study(tmp_path / "study.yaml").model_copy(
        update={"arms": ("distilled_raw",), "curve": (), "seeds": (1,)}
    )
    home = tmp_path / "parts" / "distilled_raw-n2-s1"
    write_text(make_folder(home / "curated") / "train.jsonl", "")
    link_folder(home / "records", run.dir / "records")
    keys = []
    for seed in (1, 2):
        make_adapter(tiny_model, home / "adapter", seed=seed)
        write_text(home / "adapter" / "manifest.json", json.dumps({"fingerprint": "same"}))
        (_, student), _ = _sheets(options, run, tmp_path, (), records_of(run.dir, "test"), [])
        ask_sheets(run, [student], lambda done, total=None, tokens=0: None)
        keys.append({row.key for row in stored_answers(student.path)})
    assert keys[0] and keys[0].isdisjoint(keys[1])


def test_more_test_records_than_there_are(tmp_path: Path, tiny_model: Path) -> None:
    path, runner = write_study(tmp_path, tiny_model, {**MINI, "test_records": 4}), Runner()
    with pytest.raises(ConfigError, match=r"test_records is 4; .*/records has 3 held-out records"):
        study(path, runner)
    assert runner.ran == [("teacher", "prepare")], "said before anything is labelled"


def check_labels(folder: Path, figures: dict[str, Any]) -> None:
    texts = {
        name: (folder / "parts" / f"{name}-n4-s1" / "curated" / "train.jsonl").read_text()
        for name in ("distilled_raw", "distilled_filtered", "gold_trained")
    }
    assert "Inventamol" in texts["distilled_raw"]
    assert "Inventamol" not in texts["distilled_filtered"] + texts["gold_trained"]
    labels = list(read_rows(folder / "parts" / "distilled_filtered-n2-s1" / "labels" / "labels.jsonl", Label))
    assert len({label.record for label in labels}) == 2
    rates = {arm: of["confabulation_rate"]["value"] for arm, of in figures["labels"].items()}
    assert rates["distilled_raw"] > 0
    assert rates["gold_trained"] == 0
    assert figures["labels"]["gold_trained"]["recall"]["value"] == 1


def check_memorisation(folder: Path, figures: dict[str, Any]) -> None:
    control = folder / "parts" / "distilled_filtered-n4-s1"
    canaries = json.loads((folder / "memorisation" / "canaries.json").read_text())
    assert [(c["kind"], c["repeats"]) for c in canaries] == [("drug", 1), ("number", 1), ("name", 1)]
    read = [list(read_rows(home / "records" / "records.jsonl", Record)) for home in (folder / "memorisation", control)]
    for canary in canaries:
        held = {record.id for record in read[0] if canary["secret"] in record.text}
        assert held == set(canary["records"])
        assert len(held) == canary["repeats"]
        assert not any(canary["secret"] in record.text for record in read[1])
    taught = [list(read_rows(home / "curated" / "train.jsonl", TrainExample))
              for home in (folder / "memorisation", control)]  # fmt: skip
    assert [(row.record, row.task) for row in taught[0]] == [(row.record, row.task) for row in taught[1]]
    secrets = {canary["secret"]: set(canary["records"]) for canary in canaries if canary["kind"] == "drug"}
    for secret, homes in secrets.items():
        assert {row.record for row in taught[0] if f"{secret} | continue" in row.completion} == homes
    assert figures["exposure"]["answer"]["1"]["planted"]["n"] == 2, "a drug and a number; the name is in charts alone"
    assert figures["exposure"]["chart"]["1"]["difference"]["n"] == 3
    tests = [of["1"]["test"] for of in figures["exposure"].values()]
    assert figures["tests"] == len(tests) == 2
    assert all(test["holm"] >= test["p"] > 0.1 for test in tests), "three canaries show nothing"
    assert figures["intrusion"]["planted"]["n"] == 2
    assert not any(canary["secret"] in (folder / "study.html").read_text() for canary in canaries)


def check_family(figures: dict[str, Any]) -> None:
    """Corrected are the verdicts that the page declares, over all of them, and nothing else."""
    corrected = {
        (pair, metric)
        for pair, of in figures["p_values"].items()
        for task, tests in of.items()
        for metric, test in tests.items()
        if test["holm"] is not None
    }
    assert corrected <= set(FAMILY)
    assert figures["verdicts"] == len(corrected)
    assert all(
        task == "all" or test["holm"] is None
        for of in figures["p_values"].values()
        for task, tests in of.items()
        for test in tests.values()
    )
    said = " ".join(sentence for entry in answer_questions(figures) for sentence in entry["answer"])
    assert "clusters differ" in said


def check_pages(folder: Path, figures: dict[str, Any]) -> None:
    page, text = (folder / "study.html").read_text(), (folder / "study.md").read_text()
    assert len(figures["answers"]) == 8
    for entry in figures["answers"]:
        assert entry["verdict"].endswith(".")
        assert entry["question"] in page
        assert page.count(f'id="{entry["id"]}"') == 1
    for target in re.findall(r'href="#([^"]+)"', page):
        assert page.count(f'id="{target}"') == 1, f"the contents lead to {target}, which is not there"
    assert page.count("<details>") == 8 + 2 and "<details open" not in page, "questions, arms and tables are folded"
    assert "@media print" in page and "position: sticky" in page
    assert figures["answers"][0]["verdict"] == "Not known.", "nothing taught itself here"
    assert page.count("<svg") >= 9
    for phrase in (
        f"This page gives {figures['verdicts']} verdicts",
        "the loss is not finite",
        "synthetic charts",
        "The models of this test know nothing.",
    ):
        assert phrase in text
        assert phrase in page
    records = read_rows(folder / "teacher" / "records" / "records.jsonl", Record)
    assert not any(record.text[:30] in page + text for record in records)


def check_reuse(path: Path, runner: Runner, figures: dict[str, Any]) -> None:
    folder = path.parent / "study"
    part = folder / "parts" / "distilled_raw-n4-s1"
    stamp = (part / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns
    runner.ran.clear()
    again = study(path, runner)
    assert again["arms"] == figures["arms"]
    trained = {name for name, last in runner.ran if last == "train"}
    assert trained == set(figures["failed"]), (
        "the planted student is done, and of the others only what had failed is tried again"
    )
    assert (part / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns == stamp
    with lock(folder), pytest.raises(ArtefactError, match="another process"):
        study(path, runner)


@pytest.mark.slow
def test_two_students_at_once_in_processes_of_their_own(tmp_path: Path, tiny_model: Path) -> None:
    """Real trainings; one has a folder that cannot be written, and says so without stopping the other."""
    path = write_study(tmp_path, tiny_model, {"sizes": [2], "seeds": [1], "arms": ["distilled_raw", "gold_trained"],
                                              "curve": [], "jobs": 2})  # fmt: skip
    options, runner = load_study(path), Runner()
    base = derive(load_run(options.config), tmp_path / "study" / "teacher", {})
    runner(base, "prepare", "label")
    shared = load_run(base)
    labels = {"teacher": shared.dir, "gold": write_gold_labels(shared, tmp_path / "study" / "gold")}
    (make_folder(tmp_path / "study" / "parts" / "gold_trained-n2-s1") / "adapter").write_text("in the way")
    failed = make_students(options, shared, labels, tmp_path / "study", runner)
    assert set(failed) == {"gold_trained-n2-s1"}
    assert "exit code" in failed["gold_trained-n2-s1"]
    home = tmp_path / "study" / "parts" / "distilled_raw-n2-s1"
    assert (home / "adapter" / "adapter_model.safetensors").exists()
    assert (home / LOG).exists()
    log = (home / LOG).stat().st_mtime_ns
    (home.parent / "gold_trained-n2-s1" / "adapter").unlink()
    assert make_students(options, shared, labels, tmp_path / "study", runner) == {}
    assert (home / LOG).stat().st_mtime_ns == log, "no process was started for what is done"
