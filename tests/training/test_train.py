"""The verb `train`: from curated labels to an adapter folder and its manifest."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from chartdistill.command_line import build_parser
from chartdistill.errors import ConfigError, TrainingError
from chartdistill.prompting.prompts import PromptBuilder
from chartdistill.runtime.model_folder import load_tokenizer
from chartdistill.runtime.run_folder import (
    amend_manifest,
    make_folder,
    read_manifest,
    read_rows,
    write_manifest,
)
from chartdistill.schema import Record
from chartdistill.training import TrainOptions
from chartdistill.training.examples import Mix, check_lengths, read_examples
from chartdistill.training.packing import Branch, Example
from chartdistill.training.train import _compute_on_own_cores, main, train
from curated_run import ANSWERS, make_run, silent, store_distributions


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


def test_a_folder_with_brackets_is_named_as_it_is() -> None:
    mix = Mix(TrainOptions(source_weights={"*/charts[1-9]/*": 0.1}))
    mix.notice("/d/charts2/b.txt")
    with pytest.raises(ConfigError, match="fits no record"):
        mix.check()
    mix.notice("/d/charts[1-9]/c.txt")
    mix.check()


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
