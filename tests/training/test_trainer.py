"""The LoRA loop: what a run logs, keeps, resumes, and refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file
from transformers import Trainer, TrainerControl, TrainerState

import training_worker
from chartdistill.errors import ArtefactError, TrainingError
from chartdistill.training import LoraOptions, TrainOptions
from chartdistill.training.adapter import best_path, save_adapter
from chartdistill.training.callbacks import LogCallback, StopCallback, best_validation
from chartdistill.training.losses import micro_batch_loss
from chartdistill.training.memory import memory_errors
from chartdistill.training.model import load_model
from chartdistill.training.packing import Example, collate
from chartdistill.training.self_check import self_check
from chartdistill.training.trainer import LoraTrainer, Rows, Score, _to_take_up, run_training
from places import MATERIAL
from training_shapes import make_example, make_model

EXAMPLES = [
    make_example("a", 17, [(3, 4), (2, 1), (4, 9)], 1),
    make_example("b", 1, [(2, 2), (1, 6)], 2),
    make_example("c", 40, [(5, 3)], 3),
]
LORA = LoraOptions(rank=4)
ROWS = Rows("split", True, 0)


def options_of(**values: Any) -> TrainOptions:
    return TrainOptions(
        **{"dtype": "float32", "lora": LORA, "learning_rate": 2e-2, "validation_passes": 0, "checkpoints": 1, **values}
    )


def run(
    model: Path, folder: Path, options: TrainOptions, rows: Rows = ROWS, train: Sequence[Example] = EXAMPLES,
    validation: Sequence[Example] = (), score: Score | None = None, steps: list[int] | None = None,
) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """Train, and give back the model and the facts."""
    student = load_model(model, options)

    def progress(done: int, total: int | None = None, tokens: int = 0) -> None:
        if steps is not None:
            steps.append(done)

    return student, run_training(student, train, validation, options, folder, rows, progress, score)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(folder / "adapter_model.safetensors")
    return found


def log_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "training_log.jsonl").read_text().splitlines()]


def assert_same_weights(one: Path, other: Path, relative: float) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys() and len(first) >= 28
    for name, value in first.items():
        assert (value - second[name]).norm() <= relative * second[name].norm(), name


def test_training_lowers_the_loss_and_logs_numbers_only(tiny_model: Path, tmp_path: Path) -> None:
    options = options_of(epochs=15, records_per_step=2, validation_passes=3, keep="last", tensorboard=True)
    steps: list[int] = []
    _, facts = run(tiny_model, tmp_path, options, validation=EXAMPLES[:1], steps=steps)
    rows = log_of(tmp_path)
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses[-1] < 0.5 * losses[0]
    assert facts["steps"] == steps[-1] == 30
    assert [row["step"] for row in rows if "validation_loss" in row] == [10, 20, 30]
    assert {key for row in rows for key in row} <= {
        "step", "epoch", "loss", "grad_norm", "learning_rate", "validation_loss",
    }  # fmt: skip
    assert list((tmp_path / "tensorboard").glob("events*"))
    assert json.loads((tmp_path / "adapter_config.json").read_text())["r"] == 4


@pytest.mark.parametrize(("records_per_step", "rates"), [(3, [2e-2]), (2, [2e-2, 1e-2])])
def test_a_run_of_few_steps_learns_from_the_first(
    records_per_step: int, rates: list[float], tiny_model: Path, tmp_path: Path
) -> None:
    """A warm-up that was rounded up to one step was all of the training of a run of one step: at a rate of 0."""
    run(tiny_model, tmp_path, options_of(epochs=1, records_per_step=records_per_step))
    assert [row["learning_rate"] for row in log_of(tmp_path) if "loss" in row] == pytest.approx(rates)
    assert all(value.any() for name, value in weights(tmp_path).items() if "lora_B" in name)


@pytest.mark.parametrize("change", ["separate", "plain", "small_passes", "checkpointing"])
def test_how_rows_are_computed_does_not_change_the_adapter(change: str, tiny_model: Path, tmp_path: Path) -> None:
    """Also the records of a step stay the same: a step is so many records, never so many rows."""
    values: dict[str, Any] = {
        "small_passes": {"tokens_per_pass": 20},
        "checkpointing": {"gradient_checkpointing": True},
    }
    rows = {"separate": Rows("split", False, 0), "plain": Rows("plain", False, 0)}.get(change, ROWS)
    _, facts = run(tiny_model, tmp_path / "a", options_of(epochs=2, records_per_step=2))
    run(tiny_model, tmp_path / "b", options_of(epochs=2, records_per_step=2, **values.get(change, {})), rows)
    assert facts["steps"] == 4
    assert_same_weights(tmp_path / "a", tmp_path / "b", 1e-3)


@pytest.mark.parametrize("records_per_step", [1, 2, 4])
def test_a_weight_counts_beside_those_of_other_steps(records_per_step: int, tiny_model: Path, tmp_path: Path) -> None:
    """The steps of an epoch together have the loss of all answers with their weights, however they are divided."""
    weighted = [
        replace(one, branches=tuple(replace(branch, weight=weight) for branch in one.branches))
        for one, weight in zip([make_example(str(i), 9, [(2, 5)], i) for i in range(4)], (1, 0.1, 0.1, 4), strict=True)
    ]
    options = options_of(epochs=1, records_per_step=records_per_step, learning_rate=1e-12, validation_passes=1)
    run(tiny_model, tmp_path, options, train=weighted, validation=weighted)
    losses = [row["loss"] for row in log_of(tmp_path) if "loss" in row]
    [whole] = [row["validation_loss"] for row in log_of(tmp_path) if "validation_loss" in row]
    assert len(losses) == 4 // records_per_step and sum(losses) / len(losses) == pytest.approx(whole, rel=1e-5)


def test_the_saved_adapter_is_the_trained_one(tiny_model: Path, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model, _ = run(tiny_model, tmp_path, options_of(epochs=3))
    loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_model), tmp_path).eval()
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        torch.testing.assert_close(loaded(ids).logits, model.eval()(ids).logits)


def worse_each_time() -> Score:
    scores = iter([0.5, 0.4, 0.3, 0.2, 0.1])
    return lambda model: {"joint_f1": next(scores)}


def test_the_best_adapter_is_kept(tiny_model: Path, tmp_path: Path) -> None:
    options = options_of(epochs=9, records_per_step=3, validation_passes=3)
    model, facts = run(tiny_model, tmp_path / "a", options, validation=EXAMPLES, score=worse_each_time())
    assert (facts["steps"], facts["kept_step"], facts["kept_validation"]["joint_f1"]) == (9, 3, 0.5)
    loss = sum(micro_batch_loss(model, one).item() for one in collate(EXAMPLES, "split"))
    tokens = sum(one.total_weight for one in collate(EXAMPLES, "split"))
    assert loss / tokens == pytest.approx(facts["kept_validation"]["loss"], rel=1e-4)
    _, last = run(tiny_model, tmp_path / "b", options.model_copy(update={"keep": "last"}), validation=EXAMPLES,
                  score=worse_each_time())  # fmt: skip
    assert last["kept_step"] == 9


def test_the_best_adapter_is_that_of_the_validations_that_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed behind a validation and before its checkpoint, a run makes that validation again; on a card, or with other
    processes, it may come out otherwise."""

    def trainer_at(step: int, history: list[dict[str, Any]]) -> LoraTrainer:
        one = object.__new__(LoraTrainer)
        one.model, one.options, one.score = torch.nn.Linear(1, 1), options_of(), None
        one.args, one.control = SimpleNamespace(output_dir=str(tmp_path)), None
        one.callback_handler = SimpleNamespace(on_evaluate=lambda *_: None)
        one.state = TrainerState(global_step=step, log_history=history)
        return one

    def validate(one: LoraTrainer, loss: float) -> None:
        monkeypatch.setattr(LoraTrainer, "_validation_loss", lambda self: loss)
        monkeypatch.setattr(LoraTrainer, "tensors", lambda self: {"w": torch.tensor([loss])})
        one.evaluate()

    monkeypatch.setattr(Trainer, "_save_checkpoint", lambda *_: None)
    monkeypatch.setattr(LoraTrainer, "is_world_process_zero", lambda self: True)
    monkeypatch.setattr(
        LoraTrainer, "log", lambda self, row: self.state.log_history.append(row | {"step": self.state.global_step})
    )
    first = trainer_at(5, [])
    validate(first, 1.0)
    first._save_checkpoint(None, None)
    in_checkpoint = list(first.state.log_history)
    validate(trainer_at(10, list(in_checkpoint)), 0.9)  # and is killed
    again = trainer_at(10, in_checkpoint)
    validate(again, 1.1)
    again._save_checkpoint(None, None)
    kept = best_validation(again.state.log_history)
    assert kept is not None and kept["step"] == 5
    assert load_file(best_path(tmp_path, 5))["w"].item() == 1.0
    assert [path.name for path in tmp_path.iterdir()] == [best_path(tmp_path, 5).name]


def test_a_checkpoint_without_the_best_adapter_before_it_is_not_taken_up(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint-8"
    checkpoint.mkdir()
    history = [{"step": 5, "eval_loss": 1.0}, {"step": 8, "loss": 2.0}]
    (checkpoint / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    assert _to_take_up(tmp_path, options_of()) is None
    assert _to_take_up(tmp_path, options_of(keep="last")) == checkpoint
    best_path(tmp_path, 5).touch()
    assert _to_take_up(tmp_path, options_of()) == checkpoint


def test_training_stops_when_validations_get_worse(tiny_model: Path, tmp_path: Path) -> None:
    options = options_of(epochs=50, records_per_step=3, validation_passes=10, stop_after_worse=2)
    _, facts = run(tiny_model, tmp_path, options, validation=EXAMPLES, score=worse_each_time())
    assert (facts["steps"], facts["kept_step"]) == (15, 5)


def test_a_run_taken_up_when_its_training_was_over_makes_no_step_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last checkpoint was written, its adapter not (a kill, a full disk). In the middle of an epoch (epochs: 1.5)
    transformers' loop makes a step before it asks whether there are enough."""
    made: list[int] = []
    monkeypatch.setattr(Trainer, "_run_epoch", lambda self, **epoch: made.append(epoch["epoch"]))
    for step, stopped, expected in ((2, False, [1]), (3, False, []), (2, True, [])):
        made.clear()
        trainer = object.__new__(LoraTrainer)
        trainer.state = TrainerState(global_step=step, max_steps=3)
        trainer.control = TrainerControl(should_training_stop=stopped)
        trainer._run_epoch(epoch=1)
        assert made == expected and trainer.control.should_training_stop == (not expected)


def test_a_run_taken_up_behind_the_validation_that_ended_it_is_over() -> None:
    rows = [{"step": step, "eval_loss": 1.0, "eval_joint_f1": 1 / step} for step in (1, 2, 3)]
    for history, over in ((rows[:2], False), (rows, True)):
        control = TrainerControl()
        StopCallback(2).on_train_begin(None, TrainerState(log_history=history), control)
        assert control.should_training_stop is over


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_records(tmp_path: Path) -> None:
    options = options_of(tokens_per_pass=16, records_per_step=3)
    model = make_model("llama")
    with torch.no_grad():
        model.get_input_embeddings().weight[1] = float("nan")  # a token that no other record has
    bad = replace(EXAMPLES[2], prefix_ids=[1, 5, 6])
    with pytest.raises(TrainingError, match=r"loss is nan at step 1, on records c\. "):
        run_training(model, [bad, EXAMPLES[0]], [], options, tmp_path, ROWS, lambda done, total=None, tokens=0: None)
    assert not (tmp_path / "adapter_model.safetensors").exists()


def test_a_gradient_that_is_not_finite_stops_the_run_before_it_is_used(tiny_model: Path, tmp_path: Path) -> None:
    options = options_of(records_per_step=3)
    model = load_model(tiny_model, options)
    name, parameter = next((n, p) for n, p in model.named_parameters() if "lora_B" in n)
    parameter.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(TrainingError, match=r"gradient is (nan|inf) at step 1, on records c, a, b\. "):
        run_training(model, EXAMPLES, [], options, tmp_path, ROWS, lambda done, total=None, tokens=0: None)
    assert parameter.isfinite().all(), name


def test_memory_that_runs_out_names_what_to_turn(tiny_model: Path, tmp_path: Path) -> None:
    options = options_of()
    model = load_model(tiny_model, options)
    model.get_base_model().lm_head.register_forward_hook(lambda *_: torch.empty(1 << 55))
    with pytest.raises(TrainingError, match=r"Lower train\.tokens_per_pass \(now 8192.*train\.gradient_checkpointing"):
        run_training(model, EXAMPLES, [], options, tmp_path, ROWS, lambda done, total=None, tokens=0: None)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_memory_that_runs_out_is_known_whoever_says_so(error: Exception) -> None:
    """Also by the driver, as where another process takes what is left of a card; that was a traceback."""
    known = r"^memory ran out\. Lower train\.tokens_per_pass"
    with pytest.raises(TrainingError, match=known), memory_errors(TrainOptions()):
        raise error
    with pytest.raises(RuntimeError, match=r"^CUDA error: invalid"), memory_errors(TrainOptions()):
        raise RuntimeError("CUDA error: invalid device ordinal")


@pytest.mark.parametrize("option", [{}, {"parallel": "fsdp"}, {"compile": True}, {"gradient_checkpointing": True}])
def test_memory_that_runs_out_names_only_what_can_be_turned(option: dict[str, Any]) -> None:
    with pytest.raises(TrainingError) as stop, memory_errors(TrainOptions(**option)):
        raise MemoryError
    named = [name for name in ("load_in_4bit", "gradient_checkpointing") if f"train.{name} to true" in str(stop.value)]
    assert named
    for name in named:
        TrainOptions(**{**option, name: True})


def test_memory_that_runs_out_under_fsdp_by_hand_is_not_answered_with_4_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with (
        pytest.raises(TrainingError, match=r"gradient_checkpointing to true \(slower\)\.$"),
        memory_errors(options_of()),
    ):
        raise MemoryError


@pytest.mark.parametrize("place", ["checkpoint", "log", "adapter"])
def test_a_full_disk_is_said_wherever_training_writes(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_: Any) -> None:
        with open("/dev/full", "wb", 0) as full:
            full.write(b"x")

    def write_checkpoint() -> None:
        monkeypatch.setattr(Trainer, "_save_checkpoint", fill)
        trainer = object.__new__(LoraTrainer)
        trainer.args = SimpleNamespace(output_dir=str(tmp_path))
        trainer._save_checkpoint(None, None)

    def write_log() -> None:
        (tmp_path / "training_log.jsonl").symlink_to("/dev/full")
        LogCallback(tmp_path, False, lambda done: None).on_log(None, TrainerState(), None, logs={"loss": 1.0})

    def write_adapter() -> None:
        (tmp_path / "adapter_config.json").symlink_to("/dev/full")
        save_adapter(SimpleNamespace(peft_config={"default": LoraConfig()}, active_adapter="default"), {}, tmp_path)

    write = {"checkpoint": write_checkpoint, "log": write_log, "adapter": write_adapter}[place]
    with pytest.raises(ArtefactError, match=r"the disk is full while writing .*run the same command again"):
        write()


def test_4bit_student_trains(tiny_model: Path, tmp_path: Path) -> None:
    options = options_of(epochs=10, load_in_4bit=True)
    fresh = load_model(tiny_model, options)
    assert any("4bit" in type(module).__name__ for module in fresh.modules())
    assert self_check(fresh, EXAMPLES, "split", True, 0) < 1e-5
    one = collate(EXAMPLES, "split")[0]
    before = micro_batch_loss(fresh, one).item()
    model, _ = run(tiny_model, tmp_path, options)
    assert micro_batch_loss(model, one).item() < before


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As the worker computes."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize("own", [{}, {"on_policy": {"from_epoch": 0.5, "lmbda": 0.7, "max_new_tokens": 6}}])
def test_a_killed_run_goes_on_to_the_same_weights(
    own: dict[str, Any], tiny_model: Path, tmp_path: Path, one_thread: None
) -> None:
    values = {"epochs": 4, "records_per_step": 4, "checkpoints": 8, "validation_passes": 4, "dtype": "float32",
              "lora": {"rank": 4, "dropout": 0.2}, "learning_rate": 1e-2, **own}  # fmt: skip
    whole, cut = ([str(tiny_model), str(tmp_path / name), json.dumps(values)] for name in ("whole", "killed"))
    training_worker.main(whole)
    # 16 steps, a checkpoint every two: killed after step 7, it goes on from 6, in the middle of an epoch.
    command = [sys.executable, str(MATERIAL / "training_worker.py"), *cut, "7"]
    killed = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert killed.returncode == -9, killed.stderr
    assert not (tmp_path / "killed" / "adapter_model.safetensors").exists()
    training_worker.main(cut)
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    validations = [[r for r in log_of(tmp_path / n) if "validation_loss" in r] for n in ("whole", "killed")]
    assert validations[0] == validations[1] and len(validations[0]) == 4
    facts = [
        json.loads((tmp_path / name / "facts.json").read_text()).get("on_policy", {}) for name in ("whole", "killed")
    ]
    for one in facts:
        seconds = one.pop("seconds", {})
        assert all(value > 0 for value in seconds.values()) and len(seconds) == 3 * bool(own)
    assert facts[0] == facts[1]
    if own:  # from step 3 on of 16; in the first epoch at most 5 of 13 records with 3 answers each, of 25 in all
        assert [row["epoch"] for row in facts[0]["epochs"]] == [1, 2, 3, 4]
        first, second = (row["answers"] for row in facts[0]["epochs"][:2])
        assert 0 < first <= 15 and first < second < 25
        assert all(row["divergence"] > 0 for row in facts[0]["epochs"])
