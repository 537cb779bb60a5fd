"""Shared-prefix rows against separate rows through plain transformers: same logits, same gradients."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from chartdistill.errors import TrainingError
from chartdistill.training import LoraOptions, TrainOptions
from chartdistill.training.rows import IGNORE, Branch, Example, collate
from chartdistill.training.trainer import _loss_sum, check_sharing, load_student, run_training

PAD = 2


def example(record: str, size: int, answers: tuple[int, ...], seed: int = 0) -> Example:
    draw = torch.Generator().manual_seed(seed)

    def ids(count: int) -> list[int]:
        return torch.randint(10, 1000, (count,), generator=draw).tolist()

    return Example(record, ids(size), tuple(Branch(f"t{i}", ids(3 + i), ids(n)) for i, n in enumerate(answers)))


EXAMPLES = [example("a", 17, (4, 1, 9), 1), example("b", 1, (2, 6), 2), example("c", 40, (3,), 3)]


def adapted(folder: Path) -> torch.nn.Module:
    model = load_student(folder, TrainOptions(dtype="float32", lora=LoraOptions(rank=4)))
    torch.manual_seed(5)
    with torch.no_grad():  # a fresh adapter is zero: give it values, so that its gradients are full
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    return model


def gradients(model: torch.nn.Module, rows: list[Example]) -> dict[str, torch.Tensor]:
    model.zero_grad()
    _loss_sum(model, collate(rows, PAD, torch.float32)).backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def plain_loss(model: torch.nn.Module, rows: list[Example]) -> float:
    """Oracle: one unpadded sequence per answer, no mask of ours, positions left to transformers."""
    total = 0.0
    for row in rows:
        for branch in row.branches:
            ids = [*row.prefix_ids, *branch.question_ids, *branch.answer_ids]
            logits = model(input_ids=torch.tensor([ids])).logits[0]
            start = len(ids) - len(branch.answer_ids)
            target = torch.tensor(branch.answer_ids)
            total += torch.nn.functional.cross_entropy(logits[start - 1 : -1], target, reduction="sum").item()
    return total


def test_shared_rows_equal_separate_rows_in_loss_and_gradients(tiny_model: Path) -> None:
    model = adapted(tiny_model)
    shared = gradients(model, EXAMPLES)
    separate = gradients(model, [row for e in EXAMPLES for row in e.separate()])
    assert shared.keys() == separate.keys() and len(shared) > 10
    for name, value in shared.items():
        scale = separate[name].norm()
        assert scale > 0, name
        assert (value - separate[name]).norm() / scale < 1e-5, name
    with torch.no_grad():
        loss = _loss_sum(model, collate(EXAMPLES, PAD, torch.float32)).item()
        assert loss == pytest.approx(plain_loss(model, EXAMPLES), rel=1e-5)


def test_labels_are_the_answer_tokens_and_nothing_else() -> None:
    batch = collate(EXAMPLES, PAD, torch.float32)
    for row, each in enumerate(EXAMPLES):
        trained = batch["labels"][row][batch["labels"][row] != IGNORE].tolist()
        assert trained == [token for branch in each.branches for token in branch.answer_ids]


def test_the_self_check_catches_branches_that_see_each_other(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import chartdistill.training.rows as rows

    model = adapted(tiny_model)
    assert check_sharing(model, EXAMPLES[0], PAD) < 1e-5

    def leaky(branch_of: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        columns = branch_of.shape[1]
        visible = torch.ones(columns, columns, dtype=torch.bool).tril().expand(len(branch_of), -1, -1)
        return torch.zeros(visible.shape, dtype=dtype).masked_fill(~visible, torch.finfo(dtype).min)[:, None]

    monkeypatch.setattr(rows, "_additive_mask", leaky)
    with pytest.raises(TrainingError, match="shared_prefix"):
        check_sharing(model, EXAMPLES[0], PAD)


def test_training_lowers_the_loss_and_logs_no_text(tiny_model: Path, tmp_path: Path) -> None:
    options = TrainOptions(
        epochs=30, learning_rate=2e-2, records_per_step=2, records_per_pass=1, dtype="float32", lora=LoraOptions(rank=4)
    )
    model = load_student(tiny_model, options)
    steps: list[int] = []
    facts = run_training(
        model, EXAMPLES, EXAMPLES[:1], options, tmp_path, PAD, lambda done, total=None, tokens=0: steps.append(done)
    )
    rows = [json.loads(line) for line in (tmp_path / "training_log.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses[-1] < 0.5 * losses[0]
    assert facts["steps"] == steps[-1] == 60
    assert any("validation_loss" in row for row in rows)
    assert {key for row in rows for key in row} <= {"step", "epoch", "loss", "learning_rate", "validation_loss"}


def test_a_loss_that_is_not_finite_stops_the_run(tiny_model: Path, tmp_path: Path) -> None:
    options = TrainOptions(epochs=1, dtype="float32", lora=LoraOptions(rank=4))
    model = load_student(tiny_model, options)
    with torch.no_grad():
        next(p for p in model.parameters() if p.requires_grad).fill_(float("nan"))
    with pytest.raises(TrainingError, match="loss is nan"):
        run_training(model, EXAMPLES, [], options, tmp_path, PAD, lambda done, total=None, tokens=0: None)


def test_4bit_student_trains(tiny_model: Path, tmp_path: Path) -> None:
    options = TrainOptions(epochs=10, learning_rate=2e-2, load_in_4bit=True, lora=LoraOptions(rank=4))
    model = load_student(tiny_model, options)
    kinds = {type(module).__name__ for module in model.modules()}
    assert any("4bit" in kind for kind in kinds)
    before = _loss_sum(model, collate(EXAMPLES, PAD, torch.float32)).item()
    run_training(model, EXAMPLES, [], options, tmp_path, PAD, lambda done, total=None, tokens=0: None)
    assert _loss_sum(model, collate(EXAMPLES, PAD, torch.float32)).item() < before
