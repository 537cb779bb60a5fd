"""The main path: which command a verb's own process runs, and which cards must be free for it."""

from __future__ import annotations

import gc
import json
import os
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import yaml

from chartdistill.config import load_run
from chartdistill.doctor import needed_cards, needed_share
from chartdistill.errors import ConfigError, EngineError, InputError
from chartdistill.pipeline import child_command, run_all, run_verb
from chartdistill.runtime.run_folder import begin, write_manifest
from chartdistill.training import Parallel, launch_options
from places import ROOT


def test_a_verb_runs_in_a_process_of_its_own_and_training_in_one_for_each_card() -> None:
    run = ["configs/x.yaml", "--run-dir", "runs/x"]
    alone = [sys.executable, "-m", "chartdistill", "train", *run, "--quiet"]
    assert child_command("train", run, 1, "fsdp") == alone
    assert child_command("train", run, 0, "ddp") == alone  # no card at all
    accelerate = str(Path(sys.executable).with_name("accelerate"))
    whole = child_command("train", run, 8, "ddp")
    assert whole[:5] == [accelerate, "launch", "--multi_gpu", "--num_processes", "8"]
    shared = child_command("train", run, 8, "fsdp")
    assert shared[:5] == [accelerate, "launch", "--use_fsdp", "--num_processes", "8"]
    assert whole[-len(alone) + 1 :] == shared[-len(alone) + 1 :] == alone[1:]
    assert not [word for word in whole if word.startswith("--fsdp")]


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_the_launch_options_are_those_of_the_shipped_config_whatever_the_user_has_configured(
    parallel: Parallel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accelerate.commands import launch

    theirs = yaml.safe_load((ROOT / "configs/accelerate/fsdp.yaml").read_text(encoding="utf-8"))
    theirs |= {"num_processes": 3, "gpu_ids": "1,2", "mixed_precision": "fp16", "main_process_port": 1}
    theirs["fsdp_config"] = {
        "fsdp_version": 1, "fsdp_auto_wrap_policy": "NO_WRAP", "fsdp_reshard_after_forward": False,
        "fsdp_cpu_ram_efficient_loading": True, "fsdp_offload_params": True, "fsdp_activation_checkpointing": True,
        "fsdp_state_dict_type": "SHARDED_STATE_DICT",
    }  # fmt: skip
    own_default = tmp_path / "default_config.yaml"
    own_default.write_text(yaml.safe_dump(theirs), encoding="utf-8")

    def environment(default: Path, *options: str) -> dict[str, str]:
        """What the launched processes are told."""
        monkeypatch.setattr(launch, "default_config_file", str(default))
        monkeypatch.setattr("accelerate.commands.config.config_args.default_config_file", str(default))
        arguments = launch.launch_command_parser().parse_args([*options, "-m", "chartdistill"])
        arguments, _, _ = launch._validate_launch_command(arguments)
        told = launch.prepare_multi_gpu_env(arguments)
        assert arguments.nproc_per_node == "8"
        return {name: value for name, value in told.items() if os.environ.get(name) != value}

    said = environment(own_default, *launch_options(8, parallel))
    shipped = environment(
        tmp_path / "none", "--config_file", str(ROOT / f"configs/accelerate/{parallel}.yaml"), "--num_processes", "8",
        "--main_process_port", "0",
    )  # fmt: skip
    assert said == shipped
    assert ("ACCELERATE_USE_FSDP" in said) == (parallel == "fsdp")
    assert "CUDA_VISIBLE_DEVICES" not in said


def config_with(tmp_path: Path, **engines: Any) -> Any:
    values = yaml.safe_load((ROOT / "configs/gpu-24gb.yaml").read_text(encoding="utf-8"))
    values["tasks"] = [str(ROOT / "configs" / task) for task in values["tasks"]]
    for role, engine in engines.items():
        values[role]["engine"] = engine
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return load_run(path).config


def test_only_what_a_verb_takes_of_a_card_must_be_free(tmp_path: Path) -> None:
    served = {"type": "openai", "urls": ["http://127.0.0.1:8000/v1"]}
    config = config_with(tmp_path, teacher=served, student={"type": "vllm", "gpu_memory_utilization": 0.4})
    # The server that a teacher's endpoint is may fill the very card; labelling needs none.
    assert [needed_share(config, verb) for verb in ("label", "train", "evaluate")] == [None, 0.4, 0.4]
    started = {"type": "openai", "serve": {"gpu_memory_utilization": 0.7}}
    config = config_with(tmp_path, teacher=started, student={"type": "transformers"})
    assert [needed_share(config, verb) for verb in ("label", "train", "evaluate")] == [0.7, 0.9, 0.9]


@pytest.mark.parametrize("first", ["prepare", "label"])
def test_a_split_that_no_record_is_in_is_said_before_the_teacher_is_asked(tmp_path: Path, first: str) -> None:
    charts = tmp_path / "charts.jsonl"
    rows = [{"id": f"n{i}", "text": f"Visit {i} of one patient; " + f"word{i} " * 20, "mrn": "one"} for i in range(8)]
    charts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = load_run(config_beside(tmp_path, charts))
    if first == "label":
        run_verb(run, "prepare")
    with pytest.raises(InputError, match=r"no record in the split '(test|train)'.*8 records form 1 clusters"):
        run_all(run, first)
    assert not (run.dir / "labels").exists()
    if first == "prepare":
        run_all(run, "prepare", "prepare")  # no later verb needs one


def test_weights_of_a_task_that_is_not_there_are_said_before_the_teacher_is_asked(tmp_path: Path) -> None:
    path = config_beside(tmp_path, tmp_path / "none.jsonl")
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(values | {"train": {"task_weights": {"medications": 2.0}}}), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"train\.task_weights: no task medications"):
        run_all(load_run(path))


def test_records_that_a_study_wrote_need_no_counts_of_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of canaries and of a fine-tuning file: their manifests count something else."""
    run = load_run(config_beside(tmp_path, tmp_path / "none.jsonl"))
    folder = run.dir / "records"
    write_manifest(folder, "mark", begin(folder), counts={"canaries": 3})
    ran: list[str] = []
    monkeypatch.setattr("chartdistill.pipeline.run_verb", lambda run, verb: ran.append(verb))
    run_all(run, "train", "train")
    assert ran == ["train"]


@pytest.mark.parametrize(("cards", "apart"), [(0, False), (0, True), (2, False)])
def test_where_torch_has_a_card_each_verb_that_uses_it_has_a_process(
    cards: int, apart: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also without an nvidia-smi that names it, as in a container or for a MIG device; and one that is broken is no
    hindrance where no card is used."""

    def broken() -> Any:
        raise EngineError("nvidia-smi fails")

    monkeypatch.setattr("chartdistill.doctor.machine.find_cards", broken)
    monkeypatch.setattr("torch.cuda.is_available", lambda: cards > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: cards)
    ran: list[tuple[str, str]] = []
    for place, name in (("here", "run_verb"), ("child", "_run_in_child")):
        monkeypatch.setattr(f"chartdistill.pipeline.{name}", lambda run, verb, place=place: ran.append((verb, place)))
    run_all(load_run(config_beside(tmp_path, tmp_path / "none.jsonl")), "label", "evaluate", apart)
    own = "child" if cards or apart else "here"
    assert ran == [("label", own), ("curate", "here"), ("train", own), ("evaluate", own)]


def test_what_a_verb_leaves_in_this_process_is_gone_before_the_next_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a trained student is, which its trainer's callbacks refer to."""

    class Model:
        def __init__(self) -> None:
            self.trainer = self

    left: list[weakref.ref[Model]] = []
    held: list[int] = []

    def leave_one(run: Any, verb: str) -> None:
        held.append(sum(one() is not None for one in left))
        left.append(weakref.ref(Model()))

    monkeypatch.setattr("chartdistill.pipeline._gpu_count", lambda: 0)
    monkeypatch.setattr("chartdistill.pipeline.run_verb", leave_one)
    gc.disable()
    try:
        run_all(load_run(config_beside(tmp_path, tmp_path / "none.jsonl")), "train", "evaluate")
    finally:
        gc.enable()
    assert held == [0, 0]


def config_beside(folder: Path, charts: Path) -> Path:
    values = yaml.safe_load((ROOT / "configs/demo.yaml").read_text(encoding="utf-8"))
    values["run_dir"] = str(folder / "run")
    values["records"] = [{"type": "jsonl", "path": str(charts), "group_field": "mrn"}]
    values["tasks"] = [str(ROOT / "configs" / task) for task in values["tasks"]]
    for role in ("teacher", "student"):
        values[role]["model"] = str(ROOT / "configs" / values[role]["model"])
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def test_only_the_cards_that_a_verb_takes_must_be_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the number of cards that torch counts."""
    config = config_with(
        tmp_path, teacher={"type": "vllm", "tensor_parallel_size": 4}, student={"type": "transformers"}
    )
    monkeypatch.setattr("torch.cuda.device_count", lambda: 7)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [needed_cards(config, verb) for verb in ("label", "train", "evaluate")] == [4, None, 7]
    config = config_with(tmp_path, teacher={"type": "vllm"}, student={"type": "vllm", "tensor_parallel_size": 2})
    assert [needed_cards(config, verb) for verb in ("label", "train", "evaluate")] == [7, None, 6]
