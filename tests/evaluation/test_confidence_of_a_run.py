"""Confidence from end to end, with a real engine: `evaluate` learns it, `predict` gives it or says why not."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import chartdistill
from chartdistill.config import Run
from chartdistill.demo.charts import write_chart
from chartdistill.engines import TransformersEngine
from chartdistill.errors import ConfigError
from chartdistill.evaluation.confidence import CALIBRATION
from chartdistill.evaluation.evaluate import evaluate
from chartdistill.evaluation.predict import predict
from chartdistill.evaluation.scores import read_scores
from chartdistill.metrics.counting import ALL_TASKS
from chartdistill.prompting.answer_format import format_answer
from chartdistill.records.prepare import prepare
from chartdistill.records.sources.synthetic import SyntheticSource
from chartdistill.run_config import EvaluateOptions, ModelOptions, RunConfig
from chartdistill.run_file import write_run
from chartdistill.runtime.run_folder import RowWriter, make_folder, read_rows, write_text
from chartdistill.schema import Label, Prediction, Record, TrainExample
from places import ROOT

pytestmark = pytest.mark.slow

MODEL = ROOT / "src" / "chartdistill" / "demo" / "models" / "teacher"
"""Trained to answer, so that there are items; as the student of this run."""
NUM_VALIDATION = 24
"""So many that each task has the ten items without which it gets no confidence."""
SOURCES = (
    SyntheticSource(pool="train", count=2, seed=1, split="train"),
    SyntheticSource(pool="train", count=NUM_VALIDATION, seed=2, split="validation"),
    SyntheticSource(pool="heldout", count=4, seed=3, split="test"),
)


def quiet(done: int, total: int | None = None, tokens: int = 0) -> None:
    pass


def make_run(folder: Path, **options: Any) -> Run:
    engine = TransformersEngine()
    system = "Answer from this chart alone, one item per line. If it has none, write: None found"
    config = RunConfig(
        name="t", run_dir=folder, system=system,
        records=SOURCES, tasks=(Path("medication.yaml"), Path("tests.yaml"), Path("diagnosis.yaml")),
        teacher=ModelOptions(model=str(MODEL), engine=engine), student=ModelOptions(model=str(MODEL), engine=engine),
        evaluate=EvaluateOptions(max_answer_tokens=96, bootstrap_resamples=100, **options),
    )  # fmt: skip
    return Run(config, ROOT / "configs" / "tasks")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Evaluated, with an adapter that changes nothing."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    made = make_run(tmp_path_factory.mktemp("run"))
    prepare(SOURCES, made.dir / "records", made.config.prepare)
    records = list(read_rows(made.dir / "records" / "records.jsonl", Record))
    with RowWriter(made.dir / "labels" / "labels.jsonl") as labels:
        labels.write(*(
            Label(
                key=f"{one.id}{task.name}", record=one.id, task=task.name, strategy="chain", finish_reason="stop",
                completion=format_answer((one.gold or {})[task.name]),
            )
            for one in records for task in made.tasks
        ))  # fmt: skip
    with RowWriter(made.dir / "curated" / "train.jsonl") as examples:
        examples.write(*(
            TrainExample(record=one.id, task="tests", split=one.split, prompt="p", completion="c")
            for one in records if one.split != "test"
        ))  # fmt: skip
    for name in ("kept", "rejected"):
        with RowWriter(made.dir / "curated" / f"{name}.jsonl"):
            pass
    adapter = LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(MODEL), adapter).save_pretrained(made.dir / "adapter")
    for stage in ("labels", "curated", "adapter"):
        make_folder(made.dir / stage)
        write_text(made.dir / stage / "manifest.json", json.dumps({"fingerprint": stage, "seconds": 1.0}))
    write_run(made)
    evaluate(made, quiet)
    return made


@pytest.fixture
def charts(tmp_path: Path) -> Path:
    folder = tmp_path / "charts"
    folder.mkdir()
    rng = random.Random(7)
    for number in range(4):
        (folder / f"{number}.txt").write_text(write_chart(rng, "heldout").text)
    return folder


def answers(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def items(path: Path) -> list[tuple[Any, ...]]:
    found = []
    for line in answers(path):
        for task, said in line["tasks"].items():
            found += [
                (line["id"], task, one["text"], one.get("status"), one["confidence"]) for one in said["items"] or ()
            ]
    return found


def test_every_item_of_the_student_has_its_log_probabilities_and_the_base_has_none(run: Run) -> None:
    folder = run.dir / "predictions"
    rows = list(read_rows(folder / "student.jsonl", Prediction))
    rows += read_rows(folder / "validation" / "student.jsonl", Prediction)
    assert len(rows) == (NUM_VALIDATION + 4) * 3
    with_items = [row for row in rows if row.items]
    assert len(with_items) > 18
    for row in with_items:
        assert row.logprobs is not None and row.items is not None and len(row.logprobs) == len(row.items)
        assert all(one <= 0 for of in row.logprobs for one in (*of.text, *of.status))
        assert all(
            bool(of.status) == (item.status is not None) for of, item in zip(row.logprobs, row.items, strict=True)
        )
    assert all(row.logprobs is None for row in read_rows(folder / "base.jsonl", Prediction))
    assert all(row.logprobs is None for row in rows if not row.items)


def test_no_record_that_is_scored_is_learned_from(run: Run) -> None:
    split = {one.id: one.split for one in read_rows(run.dir / "records" / "records.jsonl", Record)}
    asked = read_rows(run.dir / "predictions" / "validation" / "student.jsonl", Prediction)
    assert {split[row.record] for row in asked} == {"validation"}
    scores = read_scores(run.dir / "predictions" / "scores.json")
    assert scores is not None and scores.confidence is not None
    found = scores.confidence
    assert found.absent is None and found.meaning == "right" and found.curves[ALL_TASKS] == "platt"
    assert found.validation["records"] <= NUM_VALIDATION and found.validation["items"] >= 30
    assert 0 < found.tasks[ALL_TASKS].items <= 4 * 12
    assert found.seconds is not None and found.seconds > 0


def test_stored_answers_give_the_same_calibration_and_ask_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    path = run.dir / "adapter" / CALIBRATION
    before = {key: of for key, of in json.loads(path.read_text()).items() if key != "made"}
    monkeypatch.setattr(TransformersEngine, "open", lambda *_, **__: pytest.fail("an engine was started again"))
    path.unlink()
    evaluate(run, quiet)
    assert {key: of for key, of in json.loads(path.read_text()).items() if key != "made"} == before


def test_predict_and_reader_give_the_same_confidence(run: Run, charts: Path, tmp_path: Path) -> None:
    predict(run, charts, tmp_path / "out.jsonl")
    found = items(tmp_path / "out.jsonl")
    assert found and all(0 < confidence < 1 for *_, confidence in found)
    with chartdistill.Reader(run.dir) as reader:
        assert reader.no_confidence == ""
        read = [
            (path.stem, item.task, item.text, item.status, item.confidence)
            for path in sorted(charts.iterdir()) for item in reader.read(path.read_text()).items
        ]  # fmt: skip
    assert [one[1:4] for one in read] == [one[1:4] for one in found]
    assert [one[4] for one in read] == pytest.approx([one[4] for one in found], abs=2e-3)


def test_what_is_less_sure_goes_to_the_review_file_and_both_files_hold_all(
    run: Run, charts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (charts / "empty.txt").write_text("")
    whole, out, review = (tmp_path / name for name in ("whole.jsonl", "out.jsonl", "review.jsonl"))
    predict(run, charts, whole)
    everything = sorted(items(whole), key=lambda one: one[4]) if all(
        "tasks" in line for line in answers(whole)
    ) else sorted(
        ((line["id"], task, one["text"], one.get("status"), one["confidence"])
         for line in answers(whole) for task, said in line.get("tasks", {}).items() for one in said["items"] or ()),
        key=lambda one: one[4],
    )  # fmt: skip
    least = everything[len(everything) // 2][4]
    predict(run, charts, out, min_confidence=least, review_file=review)
    told = capsys.readouterr().err
    kept = items(out)
    moved = [
        (line["id"], task, one["text"], one.get("status"), one["confidence"], one["reason"])
        for line in answers(review) for task, said in line.get("tasks", {}).items() for one in said["items"] or ()
    ]  # fmt: skip
    doubted = [one[:5] for one in moved]
    assert kept and doubted
    assert sorted(kept + doubted) == sorted(everything)
    assert min(one[4] for one in kept) >= least
    assert least > max(confidence for *_, confidence, reason in moved if reason.startswith("confidence"))
    assert f"{len(kept)} items kept, {len(doubted)} items and 1 answer without items for review" in told
    assert [line["reason"] for line in answers(review) if "failure" in line] == ["failed"]
    assert len(answers(out)) == 5, "one line a chart"


def test_a_killed_call_takes_up_both_files(
    run: Run, charts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [tmp_path / name for name in ("a.jsonl", "b.jsonl")]
    predict(run, charts, whole[0], min_confidence=0.9, review_file=whole[1])
    program = (
        "import sys; from pathlib import Path; from chartdistill.evaluation import predict as p\n"
        "from chartdistill.run_file import read_run\n"
        "p._FIRST_WINDOW = p._LARGEST_WINDOW = 1\n"
        "def slow(done, total=None, tokens=0):\n"
        "    print(done, flush=True)\n"
        "    if done == 2: import time; time.sleep(600)\n"
        "p.predict(read_run(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]), min_confidence=0.9,\n"
        "          review_file=Path(sys.argv[4]), progress=slow)\n"
    )
    out, review = tmp_path / "out.jsonl", tmp_path / "review.jsonl"
    child = subprocess.Popen(
        [sys.executable, "-c", program, run.dir, charts, out, review], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert child.stdout is not None
    while child.stdout.readline().strip() != "2":
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not out.exists() and not review.exists()
    monkeypatch.setattr("chartdistill.evaluation.predict._FIRST_WINDOW", 1)
    predict(run, charts, out, min_confidence=0.9, review_file=review)
    assert [line["id"] for line in answers(out)] == [line["id"] for line in answers(whole[0])]
    assert len(answers(review)) == len(answers(whole[1]))
    assert not list(tmp_path.glob(".*.partial"))


def test_a_stale_calibration_gives_none_and_says_why(
    run: Run, charts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Run(run.config.model_copy(update={"system": "Answer otherwise."}), ROOT / "configs" / "tasks")
    predict(other, charts, tmp_path / "out.jsonl")
    assert {confidence for *_, confidence in items(tmp_path / "out.jsonl")} <= {None}
    assert "items have no confidence" in (told := capsys.readouterr().err) and "other answer rules" in told
    with pytest.raises(ConfigError, match="other answer rules"):
        predict(other, charts, tmp_path / "o.jsonl", min_confidence=0.9, review_file=tmp_path / "r.jsonl")
    assert not (tmp_path / "o.jsonl").exists() and not (tmp_path / "r.jsonl").exists()


def test_more_room_for_an_answer_and_other_scores_leave_the_calibration_valid(run: Run) -> None:
    from chartdistill.evaluation.predict import Student

    options = run.config.evaluate.model_copy(update={"max_answer_tokens": 200, "seed": 5, "bootstrap_resamples": 300})
    assert (
        Student(Run(run.config.model_copy(update={"evaluate": options}), ROOT / "configs" / "tasks")).no_confidence
        == ""
    )


def test_a_confidence_that_is_agreement_with_the_teacher_is_said_to_be(run: Run) -> None:
    path = run.dir / "adapter" / CALIBRATION
    learned = path.read_text()
    assert not any("agrees with the teacher" in said for said in chartdistill.Reader(run.dir).warnings)
    try:
        path.write_text(json.dumps(json.loads(learned) | {"meaning": "agrees with the teacher"}))
        (said,) = (one for one in chartdistill.Reader(run.dir).warnings if "confidence" in one)
        assert said.startswith("a confidence says how likely an item agrees with the teacher's kept labels, not")
    finally:
        path.write_text(learned)


def test_without_validation_records_or_when_they_are_scored_it_says_so(run: Run) -> None:
    from chartdistill.evaluation.generation import validation_records

    scored = make_run(run.dir, split="validation")
    assert validation_records(scored) == [] and validation_records(run)
