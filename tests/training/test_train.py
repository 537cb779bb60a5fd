"""The verb `train`: from curated labels to an adapter folder and its manifest."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from chartdistill.command_line import build_parser
from chartdistill.config import Run, load_run
from chartdistill.erasure.erase import erase
from chartdistill.errors import ArtefactError, ConfigError, TrainingError
from chartdistill.prompting.prompts import PromptBuilder
from chartdistill.runtime.model_folder import load_tokenizer
from chartdistill.runtime.run_folder import (
    RowWriter,
    amend_manifest,
    make_folder,
    read_manifest,
    read_rows,
    write_manifest,
)
from chartdistill.runtime.tombstones import adapter_warning
from chartdistill.schema import Label, Record, Split, TopLogprobs, TrainExample
from chartdistill.training import TrainOptions
from chartdistill.training.examples import check_lengths, read_examples
from chartdistill.training.packing import Branch, Example
from chartdistill.training.train import _begin, _compute_on_own_cores, main, train
from places import ROOT

TASKS = ("medication", "diagnosis")
ANSWERS = {"medication": "aspirin | continue", "diagnosis": "None found"}


def silent(done: int, total: int | None = None, tokens: int = 0) -> None:
    """No progress is shown."""


def make_run(folder: Path, model: Path, records: int = 6, **options: Any) -> Run:
    """A run whose labels are curated: four training records to one validation record and one test record."""
    values = {
        "name": "test", "run_dir": str(folder / "run"), "system": "Answer from this chart alone.",
        "tasks": [str(ROOT / f"configs/tasks/{task}.yaml") for task in TASKS],
        "records": [{"type": "synthetic", "count": 1}],
        "teacher": {"model": str(model)}, "student": {"model": str(model)},
        "train": {"epochs": 1, "learning_rate": 1e-2, "validation_passes": 1, "validation_records": 1,
                  "dtype": "float32", "lora": {"rank": 4}, **options},
    }  # fmt: skip
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(values))
    run = load_run(path)
    splits: list[Split] = ["train", "train", "validation", "train", "test", "train"]
    with RowWriter(run.dir / "records/records.jsonl") as out, RowWriter(run.dir / "curated/train.jsonl") as examples:
        for i in range(records):
            text = f"Patient {i} takes aspirin daily. " + "No other findings. " * (i % 3)
            split, source = splits[i % 6], f"{'north' if i % 2 else 'south'}/{i}.txt"
            out.write(Record(id=f"r{i}", source=source, text=text, cluster=f"c{i}", split=split, segments=()))
            for task in TASKS[: 1 + i % 2]:
                if split != "test":
                    examples.write(
                        TrainExample(record=f"r{i}", task=task, split=split, prompt=text, completion=ANSWERS[task])
                    )
    write_manifest(run.dir / "curated", f"mark of {records}", 0.0)
    return run


def store_distributions(run: Run, model: Path, answers: dict[str, str]) -> None:
    """Labels with the teacher's two likeliest tokens at each place."""
    builder = PromptBuilder.from_tokenizer(load_tokenizer(model), "")

    def packed(values: Any, kind: str) -> str:
        return base64.b64encode(np.asarray(values, dtype=kind).tobytes()).decode()

    with RowWriter(run.dir / "labels/labels.jsonl") as out:
        for row in read_rows(run.dir / "curated/train.jsonl", TrainExample):
            ids = builder.answer(answers[row.task])
            top = TopLogprobs(k=2, token_ids=packed(ids, "<i4"), ids=packed([[i, 9] for i in ids], "<i4"),
                              logprobs=packed([[-0.2, -2.5]] * len(ids), "<f2"))  # fmt: skip
            out.write(Label(key=f"{row.record}{row.task}", record=row.record, task=row.task, strategy="direct",
                            completion=answers[row.task], finish_reason="stop", top_logprobs=top))  # fmt: skip
    write_manifest(run.dir / "labels", "labelled", 0.0)


def test_an_adapter_is_trained_and_the_manifest_says_how(tiny_model: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path, tiny_model, records=12, source_weights={"north/*": 3.0}, task_weights={"diagnosis": 0.5},
                   tensorboard=True)  # fmt: skip
    facts = train(run, silent)
    assert (run.dir / "adapter/adapter_model.safetensors").exists()
    assert not (run.dir / "adapter/checkpoints").exists()
    assert facts["counts"]["records"] == {"train": 8, "validation": 2}
    assert facts["sharing"]["form"] == "split" and facts["sharing"]["gain"] > 1
    assert facts["sharing"]["first_step_difference"] < 1e-4
    mix = facts["mix"]
    assert {kind: sum(part["weight_share"] for part in mix[kind].values()) for kind in mix} == pytest.approx(
        {"task": 1, "source": 1}, abs=1e-3
    )
    tokens = {kind: {name: part["answer_tokens"] for name, part in mix[kind].items()} for kind in mix}
    assert sum(tokens["task"].values()) == sum(tokens["source"].values()) == facts["counts"]["answer_tokens"]
    assert mix["source"]["north/*"]["weight_share"] > mix["source"]["others"]["weight_share"]
    rows = [json.loads(line) for line in (run.dir / "adapter/training_log.jsonl").read_text().splitlines()]
    last = [row for row in rows if "validation_loss" in row][-1]
    assert 0 <= last["validation_joint_f1"] <= 1 and last["step"] == facts["steps"]
    written = [path for path in (run.dir / "adapter").rglob("*") if path.is_file()]
    assert any("tfevents" in path.name for path in written)
    assert not [path.name for path in written if b"aspirin" in path.read_bytes() or b"findings" in path.read_bytes()]
    assert {"torch", "peft", "transformers"} <= set(facts["versions"])
    weights = (run.dir / "adapter/adapter_model.safetensors").stat().st_mtime_ns
    (run.dir / "adapter/README.md").write_text("what `report` writes there")
    amend_manifest(run.dir / "adapter", "approval", {"status": "approved"})
    again = train(run, silent)
    assert again["seconds"] == facts["seconds"]
    assert again["approval"] == {"status": "approved"}
    assert (run.dir / "adapter/adapter_model.safetensors").stat().st_mtime_ns == weights
    assert (run.dir / "adapter/README.md").exists()


def test_memory_that_runs_out_before_the_first_step_names_what_to_turn(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, tiny_model)
    monkeypatch.setattr("chartdistill.training.rows.self_check", lambda *_: torch.empty(1 << 55))
    with pytest.raises(TrainingError, match=r"memory ran out\. Lower train\.tokens_per_pass"):
        train(run, silent)


def test_answers_that_cannot_be_shared_are_trained_apart(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path, tiny_model, task_weights={"diagnosis": 0.0}, validation_passes=0)
    facts = train(run, silent)
    assert facts["sharing"]["shared"] is False and "factor of 1.00" in facts["sharing"]["reason"]
    assert "separate rows, because sharing would save a factor of 1.00 only" in capsys.readouterr().err
    assert facts["counts"]["answers"]["train"] == facts["counts"]["records"]["train"]


def test_distillation_uses_the_stored_distributions(tiny_model: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path, tiny_model, distillation={"weight": 0.5}, validation_passes=0)
    changed = {"medication": ANSWERS["medication"], "diagnosis": "gout"}
    store_distributions(run, tiny_model, changed)
    facts = train(run, silent)
    shares = facts["mix"]["task"]
    assert shares["medication"]["distilled_answers"] == shares["medication"]["answers"] > 0
    assert shares["diagnosis"]["distilled_answers"] == 0 < shares["diagnosis"]["answers"]


def test_distillation_without_distributions_is_an_error(tiny_model: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path, tiny_model, distillation={"weight": 0.5})
    store_distributions(run, tiny_model, {"medication": "iron | stop", "diagnosis": "gout"})
    with pytest.raises(TrainingError, match=r"Set label\.top_logprobs"):
        train(run, silent)


def test_a_weight_of_an_unknown_task_is_an_error(tiny_model: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path, tiny_model, task_weights={"diagnoses": 2.0})
    with pytest.raises(ConfigError, match="no task diagnoses; this run has medication, diagnosis"):
        train(run, silent)


def test_a_weight_of_an_unknown_source_is_an_error(tiny_model: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path, tiny_model, source_weights={"north/*": 2.0, "nroth/*": 3.0, "north/1*": 4.0})
    with pytest.raises(ConfigError, match=r"source_weights: north/1\*, nroth/\* fits no record"):
        train(run, silent)


def test_a_pattern_called_others_weighs_no_other_source(tiny_model: Path, tmp_path: Path) -> None:
    """So the manifest calls what no pattern fits; as a pattern it fitted nothing, and weighed all that in silence."""
    run = make_run(tmp_path, tiny_model, source_weights={"north/*": 2.0, "others": 0.1})
    with pytest.raises(ConfigError, match="source_weights: others fits no record"):
        train(run, silent)


def test_weights_that_leave_nothing_to_learn_are_named(tiny_model: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path, tiny_model, source_weights={"*": 0})
    with pytest.raises(TrainingError, match=r"every example of the train split in .* has weight 0 by train\.task_w"):
        train(run, silent)


def test_a_weight_below_zero_is_an_error(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"task_weights"):
        make_run(tmp_path, tiny_model, task_weights={"diagnosis": -1.0})


def test_examples_that_would_be_cut_or_teach_nothing_are_refused_before_training(
    tiny_model: Path, tmp_path: Path
) -> None:
    run = make_run(tmp_path, tiny_model, max_tokens=16)
    with pytest.raises(TrainingError, match=r"longer than train\.max_tokens = 16 .*r5"):
        train(run, silent)
    long = Example("chart7", [3] * 90, (Branch("t", [4] * 5, [5, 2]),))
    check_lengths([long], 97, 97)
    with pytest.raises(TrainingError, match=r"the student's context of 96 tokens .*97 tokens; chart7"):
        check_lengths([long], 4096, 96)
    with pytest.raises(TrainingError, match=r"without a single token to train \(chart8"):
        check_lengths([Example("chart8", [3], (Branch("t", [4], []),))], 4096)


@pytest.mark.parametrize(
    "slip",
    [{"task_weights": {"diagnoses": 2.0}}, {"source_weights": {"nroth/*": 2.0}}, {"max_tokens": 16},
     {"distillation": {"weight": 0.5}}],
)  # fmt: skip
def test_a_slip_leaves_the_adapter_that_is_there(tiny_model: Path, tmp_path: Path, slip: dict[str, Any]) -> None:
    run = make_run(tmp_path, tiny_model, **slip)
    store_distributions(run, tiny_model, {"medication": "iron | stop", "diagnosis": "gout"})
    adapter = make_folder(run.dir / "adapter")
    for name in ("adapter_model.safetensors", "fingerprint"):
        (adapter / name).write_text("of earlier options")
    earlier = write_manifest(adapter, "earlier", 0.0)
    with pytest.raises((ConfigError, TrainingError)):
        train(run, silent)
    assert read_manifest(adapter) == earlier
    assert (adapter / "adapter_model.safetensors").read_text() == "of earlier options"


def test_prompts_are_those_of_the_other_verbs(tiny_model: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path, tiny_model)
    builder = PromptBuilder.from_tokenizer(load_tokenizer(tiny_model), run.config.system)
    examples = read_examples(run.dir, run.tasks, run.config.train, builder)
    questions = {task.name: task.question for task in run.tasks}
    texts = {row.id: row.text for row in read_rows(run.dir / "records/records.jsonl", Record)}
    for example in [*examples.train, *examples.validation]:
        for branch in example.branches:
            asked = [*example.prefix_ids, *branch.question_ids]
            assert asked == builder.prompt(texts[example.record], questions[branch.task])
            assert branch.answer_ids == builder.answer(ANSWERS[branch.task])


def test_how_the_processes_share_the_student_does_not_make_it_another_adapter(tiny_model: Path, tmp_path: Path) -> None:
    done = train(make_run(tmp_path, tiny_model), silent)
    assert train(make_run(tmp_path, tiny_model, parallel="fsdp"), silent) == done
    assert train(make_run(tmp_path, tiny_model, seed=1), silent) != done


def test_a_manifest_that_finds_no_place_costs_no_step(tiny_model: Path, tmp_path: Path) -> None:
    """The disk is full, say, or the machine goes down: the checkpoints stay until the manifest is there."""
    run = make_run(tmp_path, tiny_model)
    manifest, steps = run.dir / "adapter/manifest.json", list[int]()

    def progress(done: int, total: int | None = None, tokens: int = 0) -> None:
        steps.append(done)
        if done == total:
            manifest.mkdir(exist_ok=True)

    with pytest.raises(ArtefactError, match="cannot write"):
        train(run, progress)
    manifest.rmdir()
    steps.clear()
    facts = train(run, lambda done, total=None, tokens=0: steps.append(done))
    assert steps == [facts["steps"]] and read_manifest(run.dir / "adapter") == facts
    left = make_folder(run.dir / "adapter/checkpoints/checkpoint-1")  # killed just behind the manifest
    train(run, silent)
    assert not left.exists()


@pytest.mark.parametrize(
    ("change", "taken_up"),
    [({"tokens_per_pass": 64}, True), ({"gradient_checkpointing": True}, True), ({"learning_rate": 2e-2}, False)],
)
def test_what_is_advised_where_memory_ran_out_loses_no_step(
    change: dict[str, Any], taken_up: bool, tiny_model: Path, tmp_path: Path
) -> None:
    values: dict[str, Any] = {"records_per_step": 1, "checkpoints": 4, "validation_passes": 0}
    begun: list[int] = []

    def stopped(done: int, total: int | None = None, tokens: int = 0) -> None:
        if done == 3:
            raise MemoryError

    with pytest.raises(TrainingError, match=r"Lower train\.tokens_per_pass .* the result stays the same"):
        train(make_run(tmp_path, tiny_model, **values), stopped)
    facts = train(
        make_run(tmp_path, tiny_model, **values, **change), lambda done, total=None, tokens=0: begun.append(done)
    )
    assert begun[0] == (2 if taken_up else 0) and facts["steps"] == 4


def test_a_sharded_run_does_not_go_on_from_the_checkpoint_of_a_whole_one(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, tiny_model)
    train(run, silent)
    adapter = run.dir / "adapter"
    (adapter / "manifest.json").unlink()  # as if it had been killed
    left = adapter / "checkpoints/checkpoint-1/half"
    left.parent.mkdir(parents=True)
    left.touch()
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setattr("chartdistill.training.train.load_model", _stop)
    with pytest.raises(StopIteration):
        train(run, silent)
    assert not left.exists()


def test_the_folder_is_made_ready_by_the_first_process_while_the_others_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may clear the folder of an adapter of other options; one that looked into it meanwhile ended with an error."""
    adapter, waits = tmp_path / "adapter", list[bool]()
    monkeypatch.setattr("chartdistill.training.train._wait_for_all", lambda: waits.append(adapter.exists()))
    monkeypatch.setenv("RANK", "1")
    _begin(adapter, "mark", TrainOptions(dtype="float32"))
    assert waits == [False, False] and not adapter.exists()
    monkeypatch.setenv("RANK", "0")
    _begin(adapter, "mark", TrainOptions(dtype="float32"))
    assert waits[2:] == [False, True] and (adapter / "dtype").read_text() == "float32"


def test_an_adapter_that_is_half_removed_is_not_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while the adapter of other options goes, and its options are put back: it is no adapter any more."""
    write_manifest(make_folder(tmp_path / "adapter"), "before", 0.0)
    monkeypatch.setattr("chartdistill.training.train.shutil.rmtree", lambda *_, **__: _stop())
    with pytest.raises(StopIteration):
        _begin(tmp_path / "adapter", "mark", TrainOptions(dtype="float32"))
    assert read_manifest(tmp_path / "adapter") is None


def test_a_checkpoint_of_other_options_that_cannot_be_removed_is_not_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = make_folder(tmp_path / "adapter/checkpoints/checkpoint-1") / "trainer_state.json"
    left.write_text("{}")
    monkeypatch.setattr("chartdistill.training.train.shutil.rmtree", lambda path, ignore_errors: None)
    with pytest.raises(ArtefactError, match=rf"{left} is of a training with other options .* cannot be removed"):
        _begin(tmp_path / "adapter", "mark", TrainOptions(dtype="float32"))
    left.rename(left.with_name(".nfs0001"))  # open in another process
    _begin(tmp_path / "adapter", "mark", TrainOptions(dtype="float32"))


def test_a_sharded_student_is_checked_once_it_is_distributed(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not before, on one core of the CPU: the check is left to the training. Two processes show it of real shards."""
    monkeypatch.setattr("chartdistill.training.train.check_rows", _stop)
    left: list[Any] = []

    def keep(*_: Any, check: Any, **others: Any) -> None:
        left.append(check)
        raise InterruptedError

    monkeypatch.setattr("chartdistill.training.trainer.run_training", keep)
    with pytest.raises(StopIteration):
        train(make_run(tmp_path, tiny_model), silent)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(InterruptedError):
        train(make_run(tmp_path, tiny_model, parallel="fsdp"), silent)
    with pytest.raises(StopIteration):
        left[0](None)


def _stop(*_: Any) -> None:
    raise StopIteration


def test_a_student_that_learned_from_erased_records_is_trained_again_and_no_other(
    tmp_path: Path, tiny_model: Path
) -> None:
    run = make_run(tmp_path, tiny_model)
    first = train(run, silent)
    erase([run.dir], ["r4"], say=lambda line: None)  # of the test split
    assert train(run, silent) == first
    erase([run.dir], ["r0"], say=lambda line: None)
    marked = read_manifest(run.dir / "adapter") or {}
    assert "learned from 1 chart that was erased" in str(adapter_warning(marked))
    again = train(run, silent)
    assert again["fingerprint"] != first["fingerprint"] and adapter_warning(again) is None
    assert again["counts"]["records"]["train"] == first["counts"]["records"]["train"] - 1
    assert train(run, silent) == again


OWN = {"on_policy": {"from_epoch": 0, "lmbda": 1.0, "max_new_tokens": 5}, "validation_passes": 0, "records_per_step": 1}


@pytest.mark.slow
def test_the_student_learns_from_its_own_answers(tiny_model: Path, tmp_path: Path) -> None:
    plain = train(make_run(tmp_path, tiny_model, validation_passes=0), silent)
    facts = train(run := make_run(tmp_path, tiny_model, **OWN), silent)
    own = facts["on_policy"]
    assert plain["fingerprint"] != facts["fingerprint"] and "on_policy" not in plain
    assert own["answers"] == facts["counts"]["answers"]["train"] == 7 and own["epochs"][0]["answers"] == 7
    assert 0 < own["answer_tokens"] <= 35 and 0 <= own["cut_answers"] <= 7
    assert own["divergence"] > 0 and all(own["seconds"].values())
    assert facts["teacher_sharing"]["first_step_difference"] < 1e-4 and facts["teacher"] == tiny_model.name
    assert train(run, silent)["seconds"] == facts["seconds"]
    other = {**OWN, "on_policy": {**OWN["on_policy"], "beta": 0.9}}
    assert train(make_run(tmp_path, tiny_model, **other), silent)["fingerprint"] != facts["fingerprint"]
    written = [path for path in (run.dir / "adapter").rglob("*") if path.is_file()]
    assert not [path.name for path in written if b"aspirin" in path.read_bytes()]


def test_the_teacher_reads_the_students_answers_behind_its_own_prompt(tiny_model: Path, tmp_path: Path) -> None:
    """Its worked examples are asked the questions that the student is asked, whatever `label` asks."""
    from chartdistill.training.train import _teachers_builder, _teachers_examples

    run = make_run(tmp_path, tiny_model, **OWN)
    task = yaml.safe_load((ROOT / "configs/tasks/medication.yaml").read_text())
    task["examples"] = [{"chart": "Started iron.", "answer": "iron | start"}]
    (tmp_path / "medication.yaml").write_text(yaml.safe_dump(task))
    config = yaml.safe_load((tmp_path / "run.yaml").read_text())
    config["tasks"][0] = str(tmp_path / "medication.yaml")
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    run = load_run(tmp_path / "run.yaml")
    builder, student = _teachers_builder(run), run.prompt_builder("student")
    [teachers, students] = [read_examples(run.dir, run.tasks, run.config.train, b).train for b in (builder, student)]
    assert _teachers_examples(run, run.config.train, students, None) == teachers
    shown = builder.tokenizer.decode(teachers[0].prefix_ids)
    assert "Started iron." in shown and task["question"].strip()[:40] in shown and task["gate_question"] not in shown
    assert "Started iron." not in student.tokenizer.decode(students[0].prefix_ids)
    assert [b.question_ids for b in teachers[0].branches] == [b.question_ids for b in students[0].branches]
    facts = train(run, silent)
    assert facts["on_policy"]["answers"] == 7


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"from_epoch": 1.0}, r"on_policy\.from_epoch is 1 and epochs is 1.* set from_epoch below epochs"),
        ({"beta": 1.5}, r"train\.on_policy\.beta"),
        ({"lambda": 0.5}, r"on_policy\.lambda: .*did you mean `lmbda`"),
        ({"weight": 0}, r"train\.on_policy\.weight"),
        ({"temperature": -1}, r"train\.on_policy\.temperature"),
    ],
)
def test_options_of_on_policy_that_cannot_be_are_refused(
    change: dict[str, Any], said: str, tiny_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        make_run(tmp_path, tiny_model, **{**OWN, "on_policy": {**OWN["on_policy"], **change}})


def test_on_policy_is_refused_where_weights_are_elsewhere_or_divided(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="parallel is `fsdp`, but with on_policy"):
        make_run(tmp_path, tiny_model, parallel="fsdp", **OWN)
    run = make_run(tmp_path, tiny_model, **OWN)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ConfigError, match=r"FSDP distributes the weights\. Launch with configs/accelerate/ddp\.yaml"):
        train(run, silent)
    config = yaml.safe_load((tmp_path / "run.yaml").read_text())
    config["teacher"]["engine"] = {"type": "openai", "urls": ["http://127.0.0.1:9/v1"]}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ConfigError, match=r"train\.on_policy reads .* teacher\.engine\.urls names an endpoint"):
        load_run(tmp_path / "run.yaml")


@pytest.mark.parametrize(
    ("end", "said"), [(False, "train.on_policy needs .* same vocabulary"), (True, "ends an answer")]
)
def test_a_teacher_with_other_tokens_is_refused_before_an_adapter_goes(
    end: bool, said: str, tiny_model: Path, tmp_path: Path
) -> None:
    """Other ids, or the same that end an answer otherwise."""
    import shutil

    run = make_run(tmp_path, tiny_model, validation_passes=0)
    train(run, silent)
    other = tmp_path / "other"
    shutil.copytree(tiny_model, other)
    tokenizer = load_tokenizer(other)
    if end:
        tokenizer.chat_template = tokenizer.chat_template.replace("<|im_end|>", tokenizer.all_special_tokens[-1])
    else:
        tokenizer.add_tokens(["onemore"])
    tokenizer.save_pretrained(other)
    make_run(tmp_path, tiny_model, **OWN)
    config = yaml.safe_load((tmp_path / "run.yaml").read_text())
    config["teacher"]["model"] = str(other)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(TrainingError, match=said):
        train(load_run(tmp_path / "run.yaml"), silent)
    assert (run.dir / "adapter/adapter_model.safetensors").exists() and read_manifest(run.dir / "adapter")


@pytest.mark.parametrize(
    ("changes", "thought"),
    [
        ({"teacher": {"template_options": {"enable_thinking": True}}}, ""),
        ({"label": {"thinking": {}}}, ""),
        ({}, "<think>\n"),
        ({}, "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"),
    ],
)
def test_a_teacher_that_would_think_first_is_refused(
    changes: dict[str, Any], thought: str, tiny_model: Path, tmp_path: Path
) -> None:
    """Where the student answers it would begin its thought, and teach the student to."""
    import shutil

    from chartdistill.training.train import require_teacher_beside

    folder = tmp_path / "thinking"
    shutil.copytree(tiny_model, folder)
    tokenizer = load_tokenizer(folder)
    end = "{% endif %}"
    tokenizer.chat_template = tokenizer.chat_template.replace(f"assistant\n{end}", f"assistant\n{thought}{end}")
    assert thought in tokenizer.chat_template
    tokenizer.save_pretrained(folder)
    make_run(tmp_path, tiny_model, **OWN)
    config = yaml.safe_load((tmp_path / "run.yaml").read_text())
    config["teacher"] = {"model": str(folder), **changes.get("teacher", {})}
    config |= {"label": changes["label"]} if "label" in changes else {}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(TrainingError, match=r"the teacher thinks before it answers.*enable_thinking: false"):
        require_teacher_beside(load_run(tmp_path / "run.yaml"))
    config["teacher"] = {"model": str(folder), "template_options": {"enable_thinking": False}}
    config.pop("label", None)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    require_teacher_beside(load_run(tmp_path / "run.yaml"))


@pytest.mark.parametrize("run_dir", [[], ["runs/mine"]])
def test_launched_by_hand_it_is_the_verb_that_notes_what_the_student_was_trained_for(
    run_dir: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`predict -`, `serve` and `export` need that note (run.json)."""
    became: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda program, command: became.append([program, *command]))
    main(["config.yaml", *run_dir])
    [[program, *command]] = became
    assert program == command[0] == sys.executable and command[1:3] == ["-m", "chartdistill"]
    verb = build_parser().parse_args(command[3:])
    assert (verb.command, str(verb.config), verb.quiet) == ("train", "config.yaml", True)
    assert verb.run_dir == (Path(run_dir[0]) if run_dir else None)


def test_a_container_with_the_time_of_few_cores_has_as_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("chartdistill.training.train.num_cores", lambda: 2)
    before = torch.get_num_threads()
    try:
        for given, taken in ((3, 2), (1, 1)):
            torch.set_num_threads(given)
            _compute_on_own_cores()
            assert torch.get_num_threads() == taken
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        torch.set_num_threads(3)
        _compute_on_own_cores()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
