"""evaluate called again, without an engine: what is done and stays, and what an earlier call left."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from chartdistill.config import Run
from chartdistill.engines import Generation, TransformersEngine
from chartdistill.evaluation.confidence import CALIBRATION, read_calibration
from chartdistill.evaluation.evaluate import ask_teacher_again, evaluate
from chartdistill.evaluation.generation import Sheet, answer_mark
from chartdistill.evaluation.interventions import Asking
from chartdistill.evaluation.options import InterventionOptions
from chartdistill.evaluation.predict import Student as Predictor
from chartdistill.prompting.answer_format import NONE_FOUND
from chartdistill.records.prepare import prepare
from chartdistill.records.sources.synthetic import SyntheticSource
from chartdistill.reporting.run_results import read_results
from chartdistill.run_config import EvaluateOptions, ModelOptions, RunConfig
from chartdistill.runtime.run_folder import RowWriter, read_rows
from chartdistill.schema import Prediction, Record, Vocabulary, VocabularyEntry
from evaluation_run import write_what_train_needs_and_leaves
from places import ROOT

TASK_FILES = ROOT / "configs" / "tasks"
SOURCES = (
    SyntheticSource(pool="train", count=2, seed=1, split="train"),
    SyntheticSource(pool="train", count=1, seed=2, split="validation"),
    SyntheticSource(pool="heldout", count=2, seed=3, split="test"),
)


class Student:
    """In the place of an engine: every arm finds nothing; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked, self.stored = 0, set[str]()

    def __call__(self, run: Run, sheets: Sequence[Sheet], progress: Any) -> dict[str, float | None]:
        self.asked += 1
        self.stored = {sheet.name for sheet in sheets if sheet.path.exists()}
        for sheet in sheets:
            with RowWriter(sheet.path) as out:
                out.write(*(
                    Prediction(
                        key=f"{record.id} {task.name}", record=record.id, task=task.name, arm=sheet.arm,
                        completion=NONE_FOUND, finish_reason="stop", items=(),
                    )
                    for record, task, _ in sheet.questions
                ))  # fmt: skip
        return dict.fromkeys((sheet.name for sheet in sheets), 1.0)


@pytest.fixture
def student(monkeypatch: pytest.MonkeyPatch) -> Student:
    made = Student()
    monkeypatch.setattr("chartdistill.evaluation.evaluate.ask_student", made)
    return made


@pytest.fixture
def run(tmp_path: Path, tiny_model: Path) -> Run:
    """Up to `train`."""
    model = ModelOptions(model=str(tiny_model), engine=TransformersEngine())
    config = RunConfig(
        name="t", run_dir=tmp_path, system="Answer.", records=SOURCES, tasks=(Path("medication.yaml"),),
        teacher=model, student=model, evaluate=EvaluateOptions(bootstrap_resamples=100),
    )  # fmt: skip
    made = Run(config, TASK_FILES)
    prepare(SOURCES, made.dir / "records", made.config.prepare)
    write_what_train_needs_and_leaves(made, tiny_model)
    return made


def changed(run: Run, **options: Any) -> Run:
    """The same run with other options of `evaluate`."""
    evaluate = run.config.evaluate.model_copy(update=options)
    return Run(run.config.model_copy(update={"evaluate": evaluate}), TASK_FILES)


def again(run: Run) -> None:
    evaluate(run, lambda done, total=None, tokens=0: None)


@pytest.mark.parametrize("confidence", [True, False])
def test_scores_of_another_engine_are_not_done(run: Run, student: Student, confidence: bool) -> None:
    run = changed(run, confidence=confidence)
    again(run)
    again(run)
    assert student.asked == 1
    engine = TransformersEngine(dtype="float32")
    other = run.config.student.model_copy(update={"engine": engine})
    now = Run(run.config.model_copy(update={"student": other}), TASK_FILES)
    again(now)
    assert student.asked == 2, "predict says that evaluate is to be run again, and it must not say that it was done"
    adapter = run.dir / "adapter"
    assert ("other answer rules" in read_calibration(adapter, answer_mark(run, adapter))[1]) is confidence
    assert "other answer rules" not in read_calibration(adapter, answer_mark(now, adapter))[1]


@pytest.mark.parametrize("confidence", [True, False])
def test_answers_of_an_adapter_that_was_trained_again_are_not_taken_for_its_own(
    run: Run, student: Student, confidence: bool
) -> None:
    run = changed(run, confidence=confidence)
    again(run)
    path = run.dir / "adapter" / "adapter_model.safetensors"
    weights = load_file(path)
    save_file({name: value + 1 for name, value in weights.items()}, path)
    again(run)
    assert student.asked == 2 and student.stored == {"base"}
    again(run)
    assert student.asked == 2


def test_lines_of_another_adapter_or_vocabulary_are_not_gone_on_with(run: Run) -> None:
    first = Predictor(run).mark
    names = Vocabulary(entries=(VocabularyEntry(name="Velorim", kind="drug"),), digest="of Velorim")
    run.tasks = [task.model_copy(update={"vocabulary": names}) for task in run.tasks]
    second = Predictor(run).mark
    path = run.dir / "adapter" / "adapter_model.safetensors"
    weights = load_file(path)
    save_file({name: value + 1 for name, value in weights.items()}, path)
    assert len({first, second, Predictor(run).mark}) == 3 and Predictor(run).mark == Predictor(run).mark


def test_a_calibration_that_was_edited_is_made_again(run: Run, student: Student) -> None:
    again(run)
    (run.dir / "adapter" / CALIBRATION).write_text("{}")
    again(run)
    adapter = run.dir / "adapter"
    assert "edited" not in read_calibration(adapter, answer_mark(run, adapter))[1]


def test_nothing_is_left_of_an_arm_that_the_config_names_no_more(run: Run, student: Student) -> None:
    left = run.dir / "predictions" / "student_constrained.journal.jsonl"  # as a call that was killed leaves it
    with RowWriter(left) as out:
        out.write(
            Prediction(
                key="k", record="gone", task="medication", arm="student constrained", completion=None, items=None
            )
        )
    again(run)
    assert not left.exists()
    arms = read_results(run.dir, run.tasks, "Again").arms
    assert arms == ("teacher", "base", "student")


def test_a_teacher_behind_another_engine_is_asked_about_changed_charts_again(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Teacher:
        """Says of every chart that it has none."""

        continues, cache_tokens = True, None

        def generate(self, requests: Sequence[Any], *_: Any) -> list[Generation]:
            asked.append(len(requests))
            return [Generation("no", finish_reason="stop") for _ in requests]

    monkeypatch.setattr(Run, "open_teacher", lambda self: nullcontext(Teacher()))
    record = next(read_rows(run.dir / "records" / "records.jsonl", Record))
    variant: Any = None  # what was changed is the scores' business
    options = InterventionOptions(records=1, teacher=True)
    for engine in (run.config.teacher.engine, run.config.teacher.engine, TransformersEngine(dtype="bfloat16")):
        teacher = run.config.teacher.model_copy(update={"engine": engine})
        now = Run(run.config.model_copy(update={"teacher": teacher}), TASK_FILES)
        ask_teacher_again(now, run.dir / "changed", [Asking(variant, record, run.tasks[0], 0.0)], options)
    assert asked == [1, 1]
