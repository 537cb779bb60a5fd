"""Try it, with a real (tiny) model and engine."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chartdistill.config import Run
from chartdistill.engines import Generation, TransformersEngine
from chartdistill.errors import ConfigError
from chartdistill.evaluation.predict import Student
from chartdistill.records import clean
from chartdistill.records.sources.synthetic import SyntheticSource
from chartdistill.review.refusal import RefusedError
from chartdistill.review.trial import TrialView, answer_of
from chartdistill.run_config import EvaluateOptions, ModelOptions, RunConfig
from chartdistill.run_file import read_run, write_run
from chartdistill.runtime.run_folder import make_folder, write_text
from places import ROOT
from training_run import write_adapter

CHART = "Takes Velorim 20 mg daily. \N{PILL} <script>alert(1)</script> A CBC was ordered."


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Run:
    """A run with an adapter of random values."""
    engine, folder = TransformersEngine(), tmp_path_factory.mktemp("run")
    model = ModelOptions(model=str(tiny_model), engine=engine)
    config = RunConfig(
        name="t", run_dir=folder, system="Answer.", records=(SyntheticSource(pool="train", count=1, seed=1),),
        tasks=(Path("medication.yaml"), Path("tests.yaml")), teacher=model, student=model,
    )  # fmt: skip
    short = {"evaluate": EvaluateOptions(max_answer_tokens=12)}
    short |= {"label": config.label.model_copy(update={"max_answer_tokens": 12})}
    made = Run(config.model_copy(update=short), ROOT / "configs" / "tasks")
    write_adapter(make_folder(folder / "adapter"), tiny_model)
    write_text(folder / "adapter" / "manifest.json", json.dumps({"fingerprint": "adapter", "seconds": 1.0}))
    write_run(made)
    return made


def answers(view: TrialView, text: str) -> dict[str, Any]:
    view.ask({"text": text})
    while (state := view.state({}))["job"]["doing"] is not None:
        time.sleep(0.05)
    assert state["job"]["error"] is None
    return dict(state["job"])


def test_base_student_and_teacher_answer_beside_each_other(run: Run) -> None:
    view = TrialView(run.dir, with_teacher=True)
    assert view.state({})["job"] is None and view.state({})["unavailable"] is None
    try:
        first, again = answers(view, CHART), answers(view, CHART)
    finally:
        view.close()
    assert list(first["answers"]) == list(first["milliseconds"]) == ["base", "student", "teacher"]
    assert first["answers"] == again["answers"] and first["id"] != again["id"]
    with Student(run) as student:
        assert first["answers"]["student"] == student.read([CHART])[0]
        assert first["answers"]["base"] == student.read([CHART], as_base=True)[0]
    for said in first["answers"].values():
        assert set(said) == {"medication", "tests"}
        for answer in said.values():
            assert answer["items"] is not None or answer["failure"]


def test_a_student_that_was_trained_again_is_not_shown_with_what_is_known_of_the_first(
    run: Run, tmp_path: Path, tiny_model: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run.dir, folder)
    view = TrialView(folder)
    try:
        answers(view, CHART)
        write_adapter(folder / "adapter", tiny_model)
        view.ask({"text": CHART})
        while (state := view.state({}))["job"]["doing"] is not None:
            time.sleep(0.05)
        assert "trained again" in state["job"]["error"] and "student" not in state["job"]["answers"]
    finally:
        view.close()
    with Student(read_run(folder)) as student:
        assert student.read([CHART])[0]["medication"]


def test_what_the_chart_does_not_have_is_said_of_the_teachers_items_too(run: Run) -> None:
    [medication] = [task for task in run.tasks if task.name == "medication"]
    said = answer_of(
        "Velorim 20 mg | continue\nVelorim 80 mg | continue\nTandrel | stop", None, clean(CHART), medication
    )
    right, other_dose, nowhere = said["items"]
    assert right["grounded"] and CHART[slice(*right["span"])].startswith("Velorim")
    assert not other_dose["grounded"] and other_dose["not_in_chart"] and other_dose["span"]
    assert not nowhere["grounded"] and nowhere["span"] is None
    assert answer_of(None, "truncated", clean(CHART), medication) == {"items": None, "failure": "truncated"}


def test_the_base_answers_without_the_adapter(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    adapters: list[Path | None] = []
    with Student(run) as student:
        student.start()
        generate = student._engine.generate  # type: ignore[union-attr]

        def generate_and_note(requests: Any, adapter: Path | None = None, told: Any = None) -> Any:
            adapters.append(adapter)
            return generate(requests, adapter)

        monkeypatch.setattr(student._engine, "generate", generate_and_note)
        student.read([CHART], as_base=True)
        student.read([CHART])
    assert adapters == [None, run.dir / "adapter"]


def test_one_chart_at_a_time_and_none_without_text(run: Run) -> None:
    view = TrialView(run.dir)
    with pytest.raises(RefusedError, match="no chart yet"):
        view.ask({"text": " \n"})
    with pytest.raises(RefusedError, match="at most 2,000,000"):
        view.ask({"text": "x" * 2_000_001})
    view.ask({"text": CHART})
    with pytest.raises(RefusedError, match="Another chart is being read"):
        view.ask({"text": CHART})
    view.close()


@pytest.mark.parametrize("nothing", ["\0\0", "<html><body> </body></html>", "nan", "<p>\u2003</p>", "\x1b[0m"])
def test_a_chart_of_which_nothing_is_left_is_no_chart_without_findings(run: Run, nothing: str) -> None:
    with Student(run) as student:
        [said] = student.read([nothing])
        assert student._engine is None
        assert {task: answer["items"] for task, answer in said.items()} == {"medication": None, "tests": None}
        assert all(answer["failure"].startswith("empty: ") for answer in said.values())
        none = Generation("None found", finish_reason="stop")
        student._engine = SimpleNamespace(generate=lambda requests, *of: [none for _ in requests])  # type: ignore[assignment]
        first, found, last = student.read([nothing, CHART, nothing])
    assert first == last == said and {answer["items"] == [] for answer in found.values()} == {True}


def test_the_answers_to_one_chart_are_never_given_for_those_to_another(run: Run) -> None:
    view = TrialView(run.dir)
    try:
        first, second = answers(view, CHART), answers(view, f"{CHART} Stop Velorim.")
        assert view.state({"job": second["id"]})["job"]["id"] == second["id"]
        with pytest.raises(RefusedError, match="Another window"):
            view.state({"job": first["id"]})
    finally:
        view.close()


def test_a_teacher_that_is_not_here_is_said_at_once(run: Run, tmp_path: Path) -> None:
    labels = run.config.teacher.model_copy(update={"labels": None, "model": str(tmp_path / "nowhere")})
    other = Run(run.config.model_copy(update={"run_dir": tmp_path / "run", "teacher": labels}), run.base)
    make_folder(tmp_path / "run" / "adapter")
    write_run(other)
    with pytest.raises(ValueError, match="nowhere") as caught:
        TrialView(tmp_path / "run", with_teacher=True)
    assert not isinstance(caught.value, ConfigError)
