"""evaluate, with a real (tiny) model and engine: same records for all arms, nothing asked twice, leaks refused."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import chartdistill
from chartdistill.clinical.text.quoting import quotable
from chartdistill.config import Run
from chartdistill.engines import TransformersEngine
from chartdistill.errors import ArtefactError, InputError
from chartdistill.evaluation import REGISTRATIONS
from chartdistill.evaluation.evaluate import evaluate, held_out_records, teacher_predictions
from chartdistill.evaluation.options import InterventionOptions
from chartdistill.evaluation.predict import Student, predict
from chartdistill.evaluation.scores import read_scores
from chartdistill.evaluation.trust_gates import TrustGate
from chartdistill.metrics.matching import is_located
from chartdistill.prompting.chart_spans import SpanGrammar
from chartdistill.records.prepare import prepare
from chartdistill.records.sources.synthetic import SyntheticSource
from chartdistill.reporting.report import report
from chartdistill.run_config import EvaluateOptions, ModelOptions, RunConfig
from chartdistill.run_file import write_run
from chartdistill.runtime.run_folder import RowWriter, read_manifest, read_rows
from chartdistill.schema import Label, Prediction, Record, TrainExample
from evaluation_run import write_what_train_needs_and_leaves
from places import ROOT

SOURCES = (
    SyntheticSource(pool="train", count=2, seed=1, split="train"),
    SyntheticSource(pool="train", count=1, seed=2, split="validation"),
    SyntheticSource(pool="heldout", count=3, seed=3, split="test"),
)


class _Options(EvaluateOptions):
    interventions: InterventionOptions = InterventionOptions(records=1, edited_records=1, resamples=1)


def quiet(done: int, total: int | None = None, tokens: int = 0) -> None:
    assert total is None or 0 <= done <= total


def make_run(folder: Path, model: Path, options: EvaluateOptions) -> Run:
    engine = TransformersEngine()
    config = RunConfig(
        name="t", run_dir=folder, system="Answer.", records=SOURCES,
        tasks=(Path("medication.yaml"), Path("tests.yaml")),
        teacher=ModelOptions(model=str(model), engine=engine), student=ModelOptions(model=str(model), engine=engine),
    )  # fmt: skip
    return Run(config.model_copy(update={"evaluate": options}), ROOT / "configs" / "tasks")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Run:
    """A run up to `train`, with gold for labels and an untrained adapter."""
    made = make_run(tmp_path_factory.mktemp("run"), tiny_model, _Options(max_answer_tokens=8, bootstrap_resamples=100))
    prepare(SOURCES, made.dir / "records", made.config.prepare)
    write_what_train_needs_and_leaves(made, tiny_model)
    return made


def anew(run: Run, *gates: TrustGate) -> Run:
    """The run with gates, as it was before any arm answered."""
    shutil.rmtree(run.dir / "predictions", ignore_errors=True)
    (run.dir / REGISTRATIONS).unlink(missing_ok=True)
    return Run(run.config.model_copy(update={"gates": gates}), ROOT / "configs" / "tasks")


def stored(run: Run, name: str) -> list[Prediction]:
    return list(read_rows(run.dir / "predictions" / name, Prediction))


def test_all_arms_answer_the_same_and_all_figures_are_there(run: Run) -> None:
    manifest = evaluate(run, quiet)
    places = {arm: [(p.record, p.task) for p in stored(run, f"{arm}.jsonl")] for arm in ("teacher", "base", "student")}
    assert sorted(places["teacher"]) == sorted(places["base"]) == sorted(places["student"])
    assert len(places["base"]) == 3 * len(run.tasks)
    assert [p.completion for p in stored(run, "base.jsonl")] != [p.completion for p in stored(run, "student.jsonl")]
    scores = json.loads((run.dir / "predictions" / "scores.json").read_text())
    assert scores["arms"]["teacher"]["all"]["joint_f1"]["value"] == 1
    assert set(scores["differences"]) == set(scores["p_values"]) == {"student-base", "student-teacher"}
    gates = scores["gates"]["teacher"]["all"]
    assert sum(found["records"] for found in gates.values()) == 3 * len(run.tasks)
    overlap = scores["overlap"]
    assert (overlap["trained"], overlap["scored"], overlap["same_text"], overlap["same_cluster"]) == (3, 3, 0, 0)
    assert overlap["naive_leak"]["expected_leak"] == 0
    changed = scores["interventions"]
    assert set(changed) == {"base", "student"}
    assert changed["student"]["effects"]["all"]["appear_rate"]["n"] == len(run.tasks)
    assert manifest["interventions"]["prompts"]["base"] == manifest["interventions"]["prompts"]["student"] > 10
    assert manifest["interventions"]["variants"]["inserted"] == 2
    assert manifest["made_from"]["adapter"] == (read_manifest(run.dir / "adapter") or {})["fingerprint"]
    assert read_scores(run.dir / "predictions" / "scores.json") is not None, "the report takes the file"


def test_what_the_report_writes_beside_the_adapter_changes_no_stage(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = TrustGate(metric="truncated_rate", at_most=1)
    run = anew(run, gate)
    first = evaluate(run, quiet)
    assert report(run.dir, run.tasks, "Tiny", [gate])["trust_gates"]["status"] == "approved"
    assert (run.dir / "adapter" / "README.md").exists()
    assert (read_manifest(run.dir / "adapter") or {})["approval"]["status"] == "approved"
    monkeypatch.setattr(TransformersEngine, "open", lambda *_, **__: pytest.fail("an engine was started again"))
    assert evaluate(run, quiet) == first
    (run.dir / "predictions" / "manifest.json").unlink()
    assert evaluate(run, quiet)["fingerprint"] == first["fingerprint"], "all answers are taken as they are stored"


def test_who_predicts_with_an_adapter_that_is_not_approved_is_warned(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gates = (TrustGate(metric="joint_f1", at_least=0.999), TrustGate(metric="truncated_rate", at_most=1))
    gated = anew(run, *gates)
    evaluate(gated, quiet)
    report(run.dir, run.tasks, "Tiny", gates)
    (tmp_path / "a.txt").write_text("Takes Velorim 20 mg daily.")
    assert predict(gated, tmp_path, tmp_path / "out.jsonl") == 1
    said = capsys.readouterr().err
    assert "chartdistill predict: warning: the adapter is NOT APPROVED" in said
    assert "warning: Missed: joint F1 (all tasks) must be at least 0.999" in said
    assert "cut off" not in said.lower() and "truncated" not in said
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 1, "it answers all the same"
    predict(run, tmp_path, tmp_path / "out.jsonl", overwrite=True)
    assert "warning" not in capsys.readouterr().err, "no gates, no warning"


def test_predict_goes_on_after_a_kill_and_gives_what_an_unbroken_call_gives(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    charts = tmp_path / "charts"
    charts.mkdir()
    for number in range(5):
        (charts / f"{number}.txt").write_text(f"Takes Velorim {number} mg daily.")
    whole, broken = tmp_path / "whole.jsonl", tmp_path / "broken.jsonl"
    assert predict(run, charts, whole) == 5
    with pytest.raises(ArtefactError, match="exists and stays as it is"):
        predict(run, charts, whole)
    monkeypatch.setattr("chartdistill.evaluation.predict._FIRST_WINDOW", 2)
    monkeypatch.setattr("chartdistill.evaluation.predict._LARGEST_WINDOW", 2)
    asked: list[int] = []

    def count_and_stop(done: int, total: int | None = None, tokens: int = 0) -> None:
        asked.append(done)
        if asked.count(4) == 2:  # answered, then written
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(run, charts, broken, progress=count_and_stop)
    assert not broken.exists()
    read: list[int] = []
    unpatched = Student.read

    def counted(self: Student, texts: Sequence[str], **more: Any) -> Any:
        read.append(len(texts))
        return unpatched(self, texts, **more)

    monkeypatch.setattr(Student, "read", counted)
    assert predict(run, charts, broken) == 5
    assert sum(read) == 1, "only what had no line yet is asked"
    assert broken.read_text() == whole.read_text()
    assert not list(tmp_path.glob(".*.partial"))


def test_predict_reads_first_and_leaves_the_file_that_is_there(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("precious\n")
    (tmp_path / "empty").mkdir()
    for records in (tmp_path / "nowhere", tmp_path / "empty"):
        with pytest.raises(InputError):
            predict(run, records, out, overwrite=True)
        assert out.read_text() == "precious\n"
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["empty", "out.jsonl"]


def test_a_reader_gives_what_predict_writes(run: Run, tmp_path: Path) -> None:
    write_run(run)
    text = "Takes Velorim 20 mg daily. A CBC was ordered."
    (tmp_path / "a.txt").write_text(text)
    predict(run, tmp_path, tmp_path / "out.jsonl")
    told = json.loads((tmp_path / "out.jsonl").read_text())["tasks"]
    with chartdistill.Reader(run.dir) as reader:
        reading, again = reader.read(text), reader.read_all([text, ""])
    assert reader.tasks == ("medication", "tests")
    assert again[0] == reading == pickle.loads(pickle.dumps(reading))
    for task, said in told.items():
        assert [item.text for item in reading.of(task)] == [item["text"] for item in said["items"] or ()]
        assert [item.span and list(item.span) for item in reading.of(task)] == [
            item["span"] for item in said["items"] or ()
        ]
        assert (task in reading.failures) == (said["items"] is None)
    with pytest.raises(TypeError, match="must be a str, not bytes"):
        reader.read(b"bytes")  # type: ignore[arg-type]
    with pytest.raises(ArtefactError, match="no run folder with a trained student"):
        chartdistill.Reader(tmp_path)


def test_importing_the_package_loads_no_library() -> None:
    code = (
        "import sys, chartdistill; assert 'Reader' in chartdistill.__all__; "
        "print([name for name in ('torch', 'transformers', 'vllm', 'pydantic', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_report_shows_all_of_it(run: Run) -> None:
    evaluate(run, quiet)
    scores = json.loads((run.dir / "predictions" / "scores.json").read_text())
    report(run.dir, run.tasks, "Tiny")
    figures = json.loads((run.dir / "report" / "report.json").read_text())
    for part in ("p_values", "gates", "overlap", "interventions", "matching"):
        assert figures[part] == scores[part], part
    text, page = ((run.dir / "report" / name).read_text() for name in ("report.md", "report.html"))
    for heading in ("Leak check", "Same answer, and is it right?", "Always the same, WRONG, by change", "Appears"):
        assert heading in text
        assert heading in page
    assert "Teacher: after right and wrong answers to the gate question" in text
    share = scores["interventions"]["student"]["effects"]["all"]["appear_rate"]
    assert f"an inserted item appears in {100 * share['value']:.1f}%" in text
    assert "always the same and WRONG" in " ".join(figures["claims"])
    assert any("corrected p" in claim for claim in figures["claims"])
    assert not any("LEAK" in limit or "not checked" in limit for limit in figures["limits"])
    for sentence in (record.text[:40] for record in held_out_records(run.dir, "test")[0]):
        assert sentence not in text


def test_changed_records_are_asked_alike_of_both_arms(run: Run) -> None:
    evaluate(run, quiet)
    asked = {arm: [(p.record, p.task) for p in stored(run, f"variants/{arm}.jsonl")] for arm in ("base", "student")}
    assert asked["base"] == asked["student"]
    assert len(set(asked["base"])) == len(asked["base"])


def test_what_is_stored_is_not_asked_again(run: Run) -> None:
    evaluate(run, quiet)
    before = {name: (run.dir / "predictions" / name).read_bytes() for name in ("base.jsonl", "variants/student.jsonl")}
    options = run.config.evaluate.model_copy(update={"bootstrap_resamples": 150})
    again = Run(run.config.model_copy(update={"evaluate": options}), run.base)
    manifest = evaluate(again, quiet)
    for name, content in before.items():
        assert (run.dir / "predictions" / name).read_bytes() == content
    assert manifest["options"]["bootstrap_resamples"] == 150
    assert manifest["arm_seconds"]["base"] is None, "the answers were stored: their time was not measured"


def test_another_vocabulary_makes_new_scores_of_the_stored_answers(run: Run, tmp_path: Path) -> None:
    plain = evaluate(run, quiet)
    before = (run.dir / "predictions" / "student.jsonl").read_bytes()
    (tmp_path / "names.yaml").write_text("- {name: Quorvane, kind: medication, same-as: QRV}\n")
    named = evaluate(Run(run.config.model_copy(update={"vocabulary": tmp_path / "names.yaml"}), run.base), quiet)
    assert named["fingerprint"] != plain["fingerprint"]
    assert named["vocabulary"]["entries"] == 1
    assert (run.dir / "predictions" / "student.jsonl").read_bytes() == before
    scores = read_scores(run.dir / "predictions" / "scores.json")
    assert scores is not None
    assert scores.matching["vocabulary"] == named["vocabulary"]["hash"]
    assert evaluate(run, quiet)["fingerprint"] == plain["fingerprint"]


@pytest.mark.slow
def test_the_students_other_arms_are_compared_with_it(run: Run, tmp_path: Path, tiny_model: Path) -> None:
    """A random model: constrained it can only quote, and the filters leave nothing of what it invents."""
    also = ("student plain", "student constrained", "student filtered")
    own = make_run(tmp_path / "run", tiny_model, _Options(max_answer_tokens=40, bootstrap_resamples=100, also=also))
    shutil.copytree(run.dir, own.dir, ignore=shutil.ignore_patterns("report", "predictions"))
    evaluate(own, quiet)
    scores = json.loads((own.dir / "predictions" / "scores.json").read_text())
    assert set(scores["arms"]) == {"teacher", "base", "student", *also}
    assert {f"{arm}-student" for arm in also} < set(scores["differences"])
    plain, student = stored(own, "student_plain.jsonl"), stored(own, "student.jsonl")
    assert [row.completion for row in plain] == [row.completion for row in student], "the format is what student has"
    records = {record.id: record for record in read_rows(own.dir / "records" / "records.jsonl", Record)}
    tasks = {task.name: task for task in own.tasks}
    whole = [row for row in stored(own, "student_constrained.jsonl") if row.finish_reason == "stop"]
    for row in whole:
        chart, task = quotable(records[row.record].text), tasks[row.task]
        assert SpanGrammar.of(task, chart).admits(row.completion or ""), row.completion
    for row in stored(own, "student_filtered.jsonl"):
        assert row.items is None or all(is_located(i, records[row.record], tasks[row.task]) for i in row.items)
    assert scores["arms"]["student constrained"]["all"]["invented_rate"]["value"] in (0, None)
    assert scores["arms"]["student filtered"]["all"]["invented_rate"]["value"] in (0, None)
    report(own.dir, own.tasks, "t", include_text=False)
    page = " ".join((own.dir / "report" / "report.md").read_text().split())
    assert "Student, constrained: only words of the chart could be written" in page
    assert "nothing was learned by it" in page and "the filters' doing, not the student's" in page
    # An arm that is asked no more leaves no answers behind.
    less = own.config.evaluate.model_copy(update={"also": ()})
    evaluate(Run(own.config.model_copy(update={"evaluate": less}), own.base), quiet)
    assert not list((own.dir / "predictions").glob("student_*.jsonl"))


def test_predict_is_held_to_what_the_config_says(run: Run, tmp_path: Path) -> None:
    charts = tmp_path / "charts"
    charts.mkdir()
    (charts / "one.txt").write_text("PLAN: Hold Coumarol 2.5 mg daily. Continue Zebox and Fluxomide. CBC ordered.")
    held = run.config.evaluate.model_copy(update={"constrain": "spans", "max_answer_tokens": 200})
    own = Run(run.config.model_copy(update={"evaluate": held}), run.base)
    for with_filters in (False, True):
        assert predict(own, charts, tmp_path / "out.jsonl", with_filters, overwrite=True) == 1
        [line] = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
        for said in line["tasks"].values():
            assert with_filters == ("dropped" in said) or said["failure"].startswith("truncated")
            assert all(item["span"] is not None and item["match"] == "exact" for item in said["items"] or ())
            assert said["items"] is not None or said["failure"].startswith(("truncated", "rejected"))


def test_leaks_are_refused(run: Run, tmp_path: Path) -> None:
    rows = list(read_rows(run.dir / "records" / "records.jsonl", Record))
    learned = [row for row in rows if row.split != "test"]

    def refused(records: list[Record], split: str = "test") -> Any:
        with RowWriter(tmp_path / "records" / "records.jsonl") as out:
            out.write(*records)
        with RowWriter(tmp_path / "curated" / "train.jsonl") as out:
            out.write(*read_rows(run.dir / "curated" / "train.jsonl", TrainExample))
        return held_out_records(tmp_path, split)

    scored, seen = refused(rows)
    assert {record.split for record in scored} == {"test"}
    assert {record.id for record in seen} == {record.id for record in learned}
    for split in ("train", "validation"):
        cluster = next(record.cluster for record in learned if record.split == split)
        copy = scored[0].model_copy(update={"cluster": cluster})
        with pytest.raises(InputError, match=f"1 of 3 records .* the student has seen .*{copy.id}"):
            refused([*learned, copy, *scored[1:]])
    assert {record.split for record in refused(rows, "validation")[1]} == {"train"}
    with pytest.raises(InputError, match="no record in the split 'test'"):
        refused(learned)


def test_the_teacher_is_asked_as_for_labels(tmp_path: Path, run: Run, tiny_model: Path) -> None:
    changes = InterventionOptions(records=1, edited_records=1, resamples=1, teacher=True)
    options = _Options(max_answer_tokens=8, bootstrap_resamples=100, interventions=changes)
    own = make_run(tmp_path / "run", tiny_model, options)
    limits = own.config.label.model_copy(update={"max_answer_tokens": 8, "strategy": "direct"})
    own = Run(own.config.model_copy(update={"label": limits}), own.base)
    # The labels stand, only the changed charts are asked: a label is a label, whoever wrote it.
    shutil.copytree(run.dir, own.dir, ignore=shutil.ignore_patterns("report"))
    evaluate(own, quiet)
    scores = json.loads((own.dir / "predictions" / "scores.json").read_text())
    assert set(scores["interventions"]) == {"teacher", "base", "student"}
    asked = {arm: [(p.record, p.task) for p in stored(own, f"variants/{arm}.jsonl")] for arm in ("teacher", "base")}
    assert asked["teacher"] == asked["base"]
    # Without the teacher, its answers of before are not scored as if they were to this run's charts.
    fewer = options.model_copy(update={"interventions": changes.model_copy(update={"teacher": False, "seed": 5})})
    evaluate(Run(own.config.model_copy(update={"evaluate": fewer}), own.base), quiet)
    scores = json.loads((own.dir / "predictions" / "scores.json").read_text())
    assert set(scores["interventions"]) == {"base", "student"}
    before = {record for record, _ in asked["base"]}
    assert before.isdisjoint(p.record for p in stored(own, "variants/base.jsonl") if "inserted" in p.record)


def test_a_teacher_that_gives_no_usable_answer_is_wrong_and_an_engine_that_fails_is_unscored(run: Run) -> None:
    def label(task: str, failure: str) -> Label:
        return Label(key=task, record="r", task=task, strategy="chain", failure=failure)

    said = teacher_predictions(
        [label("medication", "gate_unparsed: ..."), label("tests", "prompt_too_long: ...")], run.tasks
    )
    wrong, unscored = said
    assert (wrong.completion, wrong.items, wrong.failure) == ("", None, None)
    assert (unscored.completion, unscored.failure) == (None, "prompt_too_long: ...")
