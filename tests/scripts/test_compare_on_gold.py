"""Every arm of a run's student against charts with gold, with a real (tiny) model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from chartdistill.config import Run
from chartdistill.engines import TransformersEngine
from chartdistill.errors import InputError
from chartdistill.labelling import SPANS
from chartdistill.prompting.answer_format import format_answer
from chartdistill.records.prepare import prepare
from chartdistill.records.sources.synthetic import SyntheticSource
from chartdistill.run_config import EvaluateOptions, ModelOptions, RunConfig
from chartdistill.runtime.run_folder import RowWriter, make_folder, read_rows, write_text
from chartdistill.schema import Prediction, Record, TrainExample
from compare_on_gold import ARMS, ASKED, CONSTRAINED, charts_of, compare, refuse_seen
from places import ROOT
from training_run import write_adapter


@pytest.fixture
def run(tmp_path: Path, tiny_model: Path) -> Run:
    """A run up to `train`: gold for labels, and an untrained adapter."""
    model = ModelOptions(model=str(tiny_model), engine=TransformersEngine())
    sources = (SyntheticSource(pool="train", count=4, seed=1, split="train"),)
    config = RunConfig(
        name="t", run_dir=tmp_path / "run", system="Answer.", records=sources, teacher=model, student=model,
        tasks=(Path("medication.yaml"), Path("tests.yaml")),
        evaluate=EvaluateOptions(max_answer_tokens=8, constrain=SPANS),
    )  # fmt: skip
    made = Run(config, ROOT / "configs/tasks")
    prepare(sources, made.dir / "records", config.prepare)
    with RowWriter(made.dir / "curated/train.jsonl") as examples:
        for record in read_rows(made.dir / "records/records.jsonl", Record):
            for task in made.tasks:
                answer = format_answer((record.gold or {})[task.name])
                examples.write(
                    TrainExample(record=record.id, task=task.name, split="train", prompt="p", completion=answer)
                )
    write_adapter(make_folder(made.dir / "adapter"), tiny_model)
    write_text(made.dir / "adapter/manifest.json", json.dumps({"fingerprint": "a", "seconds": 1.0}))
    return made


def gold_of(folder: Path, charts: dict[str, str]) -> Path:
    rows = (
        {"id": name, "text": text, "gold": {"medication": [{"text": "aspirin", "status": "continue"}], "tests": []}}
        for name, text in charts.items()
    )
    path = folder / "gold.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


CHARTS = {
    "one": "Sixty-year-old man with gout of the left great toe. He goes on taking aspirin every morning.",
    "two": "Telephone call. The daughter asks whether her mother should continue aspirin before the tooth is pulled.",
}


@pytest.mark.slow
def test_every_arm_is_asked_and_scored(run: Run, tmp_path: Path) -> None:
    table = compare(run, gold_of(tmp_path, CHARTS), tmp_path / "out")
    for arm in ARMS:
        path = tmp_path / "out" / f"{arm.replace(' ', '_')}.jsonl"
        rows = list(read_rows(path, Prediction))
        assert {row.arm for row in rows} == {arm}
        assert {(row.record, row.task) for row in rows} == {(c, t) for c in CHARTS for t in ("medication", "tests")}
        assert f"| medication | {arm} |" in table
    text = {name: " ".join(chart.lower().split()) for name, chart in CHARTS.items()}
    quoted = [row for row in read_rows(tmp_path / "out/student_constrained.jsonl", Prediction) if row.items]
    assert all(item.text.lower() in text[row.record] for row in quoted for item in row.items or ())
    plain = read_rows(tmp_path / "out/student.jsonl", Prediction)
    said = [(row.record, line.partition("|")[0]) for row in plain for line in (row.completion or "").splitlines()]
    assert any(item.strip().lower() not in text[record] for record, item in said)
    assert compare(run, tmp_path / "gold.jsonl", tmp_path / "out") == table
    # What is there is not asked again: an answer that was changed by hand stays.
    path = tmp_path / "out/student.jsonl"
    first, *others = path.read_text(encoding="utf-8").splitlines()
    row = json.loads(first) | {"completion": "by hand", "items": None}
    path.write_text("\n".join([json.dumps(row), *others, ""]), encoding="utf-8")
    compare(run, tmp_path / "gold.jsonl", tmp_path / "out")
    assert "by hand" in {one.completion for one in read_rows(path, Prediction)}


def test_arms_that_are_not_wanted_are_not_asked(run: Run, tmp_path: Path) -> None:
    table = compare(run, gold_of(tmp_path, CHARTS), tmp_path / "out", without=("base", CONSTRAINED))
    assert sorted(path.name for path in (tmp_path / "out").glob("*.jsonl")) == [
        "gold.jsonl", "rules.jsonl", "student.jsonl", "student_filtered.jsonl",
    ]  # fmt: skip
    assert "| base |" not in table and CONSTRAINED not in table and "| student filtered |" in table


def test_charts_that_the_student_has_seen_are_refused(run: Run, tmp_path: Path) -> None:
    seen = next(iter(read_rows(run.dir / "records/records.jsonl", Record)))
    gold = gold_of(tmp_path, {**CHARTS, "seen": seen.text.replace("\n", "\n ")})
    with pytest.raises(InputError, match=r"1 of 3 charts are near-duplicates of charts the student has seen \(seen\)"):
        compare(run, gold, tmp_path / "out")
    assert not list((tmp_path / "out").glob("student*.jsonl"))


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("[]", "a JSON list"),
        ('{"id": "a", "gold": {}}', "no chart with gold; give id, text and gold"),
        ('{"id": "a", "text": "x"}', "no chart with gold; give id, text and gold"),
        ('{"id": "a", "text": "x", "gold": []}', "gold: Input should be a valid dictionary"),
        ('{"text": "x", "gold": {}}', "id: Field required"),
        ('{"id": "one", "text": "x", "gold": {}}', "record 'one' stands in line 1 already"),
        ('{"id": "a", "text": "x", "gold": {"tests": null}}', "gold.tests: Input should be a valid tuple"),
        ('{"id": "a", "text": "x", "gold": {"surgery": []}}', "gold for the task 'surgery', which is not among"),
        ('{"id": "a", "text": "x", "gold": {"medication": ["aspirin"]}}', "an item has no status"),
    ],
)
def test_a_line_that_is_no_chart_with_gold_is_named(row: str, fault: str, run: Run, tmp_path: Path) -> None:
    path = gold_of(tmp_path, CHARTS)
    path.write_text(path.read_text(encoding="utf-8") + row + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=rf"gold\.jsonl:3: .*{fault}"):
        compare(run, path, tmp_path / "out")
    assert not list((tmp_path / "out").glob("student*.jsonl"))


def test_worked_examples_of_the_prompts_are_refused(run: Run, tmp_path: Path) -> None:
    shown = [task.model_copy(update={"shown_charts": (CHARTS["one"].replace(". ", ".\n"),)}) for task in run.tasks]
    records = charts_of(gold_of(tmp_path, CHARTS), shown)
    with pytest.raises(InputError, match=r"1 of 2 charts .* has seen \(one\)"):
        refuse_seen(run.dir, set(), records, shown)


def test_charts_of_one_patient_are_one_cluster(run: Run, tmp_path: Path) -> None:
    path = gold_of(tmp_path, CHARTS)
    rows = [json.loads(line) | {"cluster": "a patient"} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    compare(run, path, tmp_path / "out", without=ASKED)
    figures = json.loads((tmp_path / "out/scores.json").read_text())
    assert (figures["records"], figures["clusters"]) == (2, 1)


def test_an_adapter_with_other_weights_is_asked_itself(run: Run, tmp_path: Path) -> None:
    compare(run, gold_of(tmp_path, CHARTS), tmp_path / "out", without=("base", CONSTRAINED))
    first = [row.key for row in read_rows(tmp_path / "out/student.jsonl", Prediction)]
    weights = load_file(run.dir / "adapter/adapter_model.safetensors")
    save_file({name: tensor + 0.5 for name, tensor in weights.items()}, run.dir / "adapter/adapter_model.safetensors")
    compare(run, tmp_path / "gold.jsonl", tmp_path / "out", without=("base", CONSTRAINED))
    again = [row.key for row in read_rows(tmp_path / "out/student.jsonl", Prediction)]
    assert len(again) == len(first) and not set(again) & set(first)
