"""Worked examples of a run: checked when the config is read, shown to whom the config says, counted as seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from chartdistill.config import Run, load_run
from chartdistill.curation.filters import Grounding
from chartdistill.errors import ConfigError, EngineError
from chartdistill.evaluation.contamination import example_records, find_contamination, refuse_shown_records
from chartdistill.evaluation.evaluate import evaluate
from chartdistill.evaluation.predict import predict
from chartdistill.labelling.label import label
from chartdistill.metrics import METRICS, score_arm
from chartdistill.pipeline import run_verb
from chartdistill.run_file import read_run, write_run
from chartdistill.runtime.run_folder import RowWriter, make_folder, read_manifest, read_rows
from chartdistill.schema import Item, Label, Prediction, Record, TrainExample
from chartdistill.training.examples import read_examples
from chartdistill.training.train import train
from labelling_run import prepared, rows_of, silent

CHART = "Mr. Ode takes Velorim 5 mg twice a day. Dorvane was stopped in May. A CBC was ordered."
BARE = "Seen for a sprained ankle after football; rest and ice, back in two weeks if it still hurts."
MEDICATION = [
    {"chart": CHART, "answer": "Velorim 5 mg | continue\nDorvane | stop"},
    {"chart": BARE, "answer": "None found"},
]
TESTS = [{"chart": CHART, "answer": "CBC"}]


def with_examples(folder: Path, task: str, examples: Any) -> None:
    path = folder / "tasks" / f"{task}.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "examples": examples}))


def changed(folder: Path, **sections: dict[str, Any]) -> Run:
    """The config read again, with options of its sections changed."""
    values = yaml.safe_load((folder / "run.yaml").read_text())
    for name, change in sections.items():
        values[name] = {**values.get(name, {}), **change}
    (folder / "run.yaml").write_text(yaml.safe_dump(values))
    return load_run(folder / "run.yaml")


@pytest.fixture
def run(tmp_path: Path, tiny_model: Path) -> Run:
    """Prepared, with examples in both task files."""
    prepared(tmp_path, tiny_model)
    with_examples(tmp_path, "medication", MEDICATION)
    with_examples(tmp_path, "tests", TESTS)
    return load_run(tmp_path / "run.yaml")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("Velorim", "a line is `item | status` (got 'Velorim')"),
        ("Velorim | taken", "status 'taken' of 'Velorim' is none of start, continue"),
        ("Velorim | continue | daily", "a line is `item | status`"),
        ("Velorim |", "a line is `item | status`"),
        ("Velorim | continue\n\nDorvane | stop", "no empty line"),
        ("None found\nVelorim | continue", "exactly `None found` alone"),
        ("none", "none is said as exactly `None found` (got 'none')"),
        ("No medications.", "none is said as exactly `None found`"),
        ("Zanthorpe | start", "'Zanthorpe' stands nowhere in the example's own chart"),
        ("Velorim | continue\nVelorim | continue", "an item stands there twice"),
        ("Velorim | continue\nvelorim. | continue", "an item stands there twice"),
        ("Velorim | continue\nVelorim | stop", "an item stands there twice"),
        ("Velorim 500 mg | continue", "has 500 mg, which the example's own chart does not say of it"),
        ("- Velorim 5 mg | continue", "has marks around it or in it"),
        ("* Velorim | continue", "Velorim"),
        ("Velorim 5 mg; | continue", "has marks around it or in it"),
        ("Velo\u00adrim | continue", "Velo"),
        ("Velorim\u200b | continue", "Velorim"),
        ("  ", "at least 1 character"),
        (7, "valid string"),
    ],
)
def test_an_example_that_teaches_wrongly_is_refused_by_file_and_number(run: Run, answer: object, said: str) -> None:
    with_examples(run.base, "medication", [*MEDICATION, {"chart": CHART + " More.", "answer": answer}])
    with pytest.raises(ConfigError) as error:
        load_run(run.base / "run.yaml")
    assert "medication.yaml" in str(error.value) and "examples.2" in str(error.value) and said in str(error.value)


@pytest.mark.parametrize(
    ("examples", "said"),
    [
        ([{"chart": CHART, "answer": "Velorim | start"}, MEDICATION[0]], "examples.1: the chart is that of examples.0"),
        ([{"chart": CHART, "answers": "Velorim | start"}], "did you mean `answer`"),
        ([{"answer": "None found"}], "examples.0.chart: required"),
        ("None found", "must be a list"),
    ],
)
def test_other_slips_in_a_task_file(run: Run, examples: object, said: str) -> None:
    with_examples(run.base, "medication", examples)
    with pytest.raises(ConfigError) as error:
        load_run(run.base / "run.yaml")
    assert said in str(error.value)


def test_examples_are_shown_as_records_and_answers_are_however_the_file_is_laid_out(run: Run) -> None:
    plain = run.prompt_builder("teacher")
    untidy = MEDICATION[0]["answer"].replace(" | ", "|").replace("\n", " \r\n\t")
    chart = "\ufeff" + CHART.replace(". ", ".\r\n")
    with_examples(run.base, "medication", [{"chart": chart, "answer": untidy}, MEDICATION[1]])
    with_examples(run.base, "tests", [{"chart": chart, "answer": "CBC\r\n"}])
    turns = load_run(run.base / "run.yaml").prompt_builder("teacher").turns
    assert [turn.answer for turn in turns] == [turn.answer for turn in plain.turns]
    assert turns[0].chart == CHART.replace(". ", ".\n")


def test_examples_that_leave_no_room_are_named_as_the_cause(run: Run) -> None:
    with_examples(run.base, "tests", [{"chart": CHART + " No pain." * 900, "answer": "CBC"}])
    with pytest.raises(EngineError, match=r"prompt_too_long: 12.*worked examples take [\d,]+ tokens of every prompt"):
        label(changed(run.base, label={"max_failure_fraction": 0.5}), silent)


def test_an_example_chart_of_which_cleaning_leaves_nothing_is_refused(run: Run) -> None:
    with_examples(run.base, "tests", [{"chart": "<p> </p>", "answer": "None found"}])
    with pytest.raises(ConfigError, match=r"examples\.0: chart: nothing is left"):
        load_run(run.base / "run.yaml")


@pytest.mark.parametrize(
    "answer",
    ["aspirin (81 mg) | continue", "vitamin D3 | continue", "Omega-3 | start", "aspirin 81 mg p.o. q.d. | continue"],
)
def test_marks_that_are_part_of_an_item_are_left(run: Run, answer: str) -> None:
    chart = "Takes aspirin (81 mg), Vitamin D3, aspirin 81 mg p.o. q.d. Start Omega-3."
    with_examples(run.base, "medication", [{"chart": chart, "answer": answer}])
    load_run(run.base / "run.yaml")


def test_what_lies_beside_an_adapter_has_the_examples_and_the_names_of_its_training(run: Run) -> None:
    (run.base / "names.yaml").write_text("- {name: Velorim, kind: drug, same_as: [Zanthorpe]}\n")
    values = yaml.safe_load((run.base / "run.yaml").read_text())
    values |= {"vocabulary": "names.yaml", "student": {**values["student"], "examples": True}}
    (run.base / "run.yaml").write_text(yaml.safe_dump(values))
    trained = load_run(run.base / "run.yaml")
    make_folder(run.dir / "adapter")
    write_run(trained)
    found = read_run(run.dir)
    assert found.tasks == trained.tasks and found.tasks[0].vocabulary is not None and found.tasks[0].shown_charts
    for role in ("teacher", "student"):
        assert found.prompt_builder(role).examples_mark == trained.prompt_builder(role).examples_mark is not None


def test_another_name_of_an_item_is_in_its_chart(run: Run) -> None:
    with_examples(run.base, "medication", [{"chart": "Takes Lasix 40 mg.", "answer": "furosemide 40 mg | continue"}])
    load_run(run.base / "run.yaml")


def test_the_teacher_has_them_and_the_student_only_where_it_says_so(run: Run) -> None:
    teacher, student = run.prompt_builder("teacher"), run.prompt_builder("student")
    assert [turn.answer for turn in teacher.turns] == ["yes", MEDICATION[0]["answer"], "yes", "CBC", "no"]
    assert not student.turns
    shown = changed(run.base, student={"examples": True}, label={"strategy": "direct"})
    assert [turn.question for turn in shown.prompt_builder("student").turns] == [
        run.tasks[0].question, run.tasks[1].question, run.tasks[0].question
    ]  # fmt: skip
    assert shown.prompt_builder("teacher").turns == shown.prompt_builder("student").turns
    nobody = changed(run.base, student={"examples": False}, teacher={"examples": False})
    assert not nobody.prompt_builder("teacher").turns and not nobody.tasks[0].shown_charts


def test_where_labels_exist_only_the_student_can_be_shown_examples(run: Run) -> None:
    values = yaml.safe_load((run.base / "run.yaml").read_text())
    (run.base / "run.yaml").write_text(yaml.safe_dump({**values, "teacher": {"labels": "labels.jsonl"}}))
    assert not load_run(run.base / "run.yaml").tasks[0].shown_charts, "nobody saw them, so no answer takes from them"
    assert changed(run.base, student={"examples": True}).tasks[0].shown_charts == (CHART, BARE)


def test_labels_depend_on_the_examples_of_all_tasks_and_on_none_that_are_not_shown(run: Run) -> None:
    def labelled(run: Run) -> dict[tuple[str, str], str]:
        manifest = label(run, silent)
        keys = {(row.record, row.task): row.key for row in rows_of(run)}
        tokens = run.prompt_builder("teacher").num_example_tokens
        assert manifest.get("examples", {}).get("tokens", 0) == tokens
        assert all(row.prefix_tokens >= row.prompts * tokens for row in rows_of(run))
        return keys

    shown = labelled(run)
    hidden = labelled(changed(run.base, teacher={"examples": False}))
    with_examples(run.base, "tests", [])
    with_examples(run.base, "medication", [])
    assert labelled(load_run(run.base / "run.yaml")) == hidden, "as if there were none"
    assert not set(hidden.values()) & set(shown.values())
    with_examples(run.base, "medication", MEDICATION[:1])
    other = labelled(changed(run.base, teacher={"examples": True}))
    assert not set(other.values()) & set(shown.values()), "an example of one task is in the prompts of all"


def item_of(run: Run, text: str, chart: str) -> tuple[list[str], dict[str, float | None]]:
    """Reasons of the filter, and rates of the metrics, for an item named in answer to a chart."""
    task = run.tasks[0]
    record = Record(id="r", source="s", text=chart, cluster="c", split="test", segments=(), gold={task.name: ()})
    item = Item(text=text, status="continue")
    answer = Label(key="k", record="r", task=task.name, strategy="direct", completion=f"{text} | continue")
    reasons = [found.reason for found in Grounding().check(answer, (item,), record, task) if found.item is not None]
    said = Prediction(key="", record="r", task=task.name, arm="a", completion=f"{text} | continue", items=(item,))
    scores = score_arm([said], {"r": record}, [task], resamples=100)[task.name]
    names = ("from_example_rate", "invented_rate", "wrong_kind_rate", "confabulation_rate")
    return reasons, {name: scores[name].value for name in names}


def test_what_stands_in_an_example_and_not_in_the_chart_is_from_the_example(run: Run) -> None:
    other = "Ms. Bree takes Talcorin 20 mg every evening."
    assert item_of(run, "Velorim", other) == (
        ["from_example"],
        {"from_example_rate": 1, "invented_rate": 1, "wrong_kind_rate": 0, "confabulation_rate": 1},
    )
    # Of any task's example: all of them stand in every prompt.
    assert item_of(run, "CBC", other)[0] == ["from_example"]
    assert item_of(run, "Zanthorpe", other) == (
        ["invented"],
        {"from_example_rate": 0, "invented_rate": 1, "wrong_kind_rate": 0, "confabulation_rate": 1},
    )
    in_both = item_of(run, "Velorim", other + " And Velorim.")
    assert in_both[0] == [] and in_both[1]["from_example_rate"] == 0
    hidden = changed(run.base, teacher={"examples": False})
    assert item_of(hidden, "Velorim", other) == (
        ["invented"],
        {"from_example_rate": None, "invented_rate": 1, "wrong_kind_rate": 0, "confabulation_rate": 1},
    )
    assert "from_example_rate" in METRICS


def test_an_example_that_is_a_held_out_chart_is_refused_before_anything_is_asked(run: Run) -> None:
    run = changed(run.base, prepare={"test_fraction": 0.6, "validation_fraction": 0.1})
    run_verb(run, "prepare")
    rows = list(read_rows(run.dir / "records" / "records.jsonl", Record))
    held_out = next(row for row in rows if row.split == "test")
    refuse_shown_records([held_out], run.tasks)
    with_examples(run.base, "tests", [{"chart": held_out.text.replace(" ", "  "), "answer": "None found"}])
    with pytest.raises(ConfigError, match=f"worked examples of a task file.*{held_out.id}"):
        run_verb(load_run(run.base / "run.yaml"), "prepare")


def test_the_leak_check_counts_examples_as_seen(run: Run) -> None:
    copy = Record(id="r", source="s", text=CHART, cluster="c", split="test", segments=())
    found = find_contamination(example_records(run.tasks), [copy])
    assert (found["trained"], found["same_text"], found["near_duplicates"]) == (2, 1, 1)


def trained(run: Run) -> dict[str, Any]:
    """A student of gold, trained."""
    records = list(read_rows(run.dir / "records" / "records.jsonl", Record))
    splits = ["train"] * 4 + ["validation", "test"]
    records = [one.model_copy(update={"split": split}) for one, split in zip(records, splits, strict=True)]
    prepared = (run.dir / "records/manifest.json").read_bytes()
    with RowWriter(run.dir / "records" / "records.jsonl") as out, RowWriter(run.dir / "curated/train.jsonl") as rows:
        out.write(*records)
        rows.write(*(
            TrainExample(record=one.id, task="tests", split=one.split, prompt=one.text, completion="CBC")
            for one in records if one.split != "test"
        ))  # fmt: skip
    (run.dir / "records/manifest.json").write_bytes(prepared)  # changed rows un-finish it
    for name in ("kept", "rejected"):
        with RowWriter(run.dir / "curated" / f"{name}.jsonl"):
            pass
    (run.dir / "curated" / "manifest.json").write_text(json.dumps({"fingerprint": "f", "seconds": 1.0}))
    return train(run, silent)


@pytest.mark.slow
def test_training_evaluation_and_use_have_the_same_prompts_and_a_flipped_switch_is_refused(run: Run) -> None:
    options = {"epochs": 1, "dtype": "float32", "lora": {"rank": 4}}
    run = changed(run.base, student={"examples": True}, train=options, evaluate={"max_answer_tokens": 8})
    label(run, silent)
    manifest = trained(run)
    builder = run.prompt_builder("student")
    assert manifest["examples"] == builder.examples_mark is not None
    learned = read_examples(run.dir, run.tasks, run.config.train, builder).train
    assert all(list(builder.head_ids) == example.prefix_ids[: len(builder.head_ids)] for example in learned)
    evaluate(changed(run.base, evaluate={"interventions": {"records": 0}}), silent)
    scores = json.loads((run.dir / "predictions" / "scores.json").read_text())
    assert scores["overlap"]["examples"] == 2 and scores["overlap"]["trained"] == 7
    answered = {row.task: row for row in read_rows(run.dir / "predictions" / "student.jsonl", Prediction)}
    record = next(row for row in read_rows(run.dir / "records" / "records.jsonl", Record) if row.split == "test")
    for task in run.tasks:
        assert answered[task.name].prompt_tokens == len(builder.prompt(record.text, task.question))
    charts = run.base / "charts"
    charts.mkdir()
    (charts / "a.txt").write_text(record.text)
    assert predict(run, charts, run.base / "out.jsonl") == 1
    for flipped in (changed(run.base, student={"examples": False}), None):
        if flipped is None:
            with_examples(run.base, "tests", [])
            flipped = changed(run.base, student={"examples": True})
        with pytest.raises(ConfigError, match="trained with worked examples"):
            predict(flipped, charts, run.base / "out.jsonl", overwrite=True)
        (run.dir / "predictions" / "manifest.json").unlink(missing_ok=True)
        with pytest.raises(ConfigError, match="trained with worked examples"):
            evaluate(flipped, silent)


def test_a_student_trained_without_examples_is_never_prompted_with_them(run: Run) -> None:
    run = changed(run.base, train={"epochs": 1, "dtype": "float32", "lora": {"rank": 4}})
    assert trained(run)["examples"] is None
    assert read_manifest(run.dir / "adapter") is not None
    (run.base / "a.jsonl").write_text(json.dumps({"text": BARE}) + "\n")
    with pytest.raises(ConfigError, match="trained without worked examples"):
        predict(changed(run.base, student={"examples": True}), run.base / "a.jsonl", run.base / "out.jsonl")
