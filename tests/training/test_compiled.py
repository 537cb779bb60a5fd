"""Decoder layers through torch.compile: the same loss and gradients, compiled once for rows of any length."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from transformers import LlamaConfig

from chartdistill.errors import TrainingError
from chartdistill.training import TrainOptions
from chartdistill.training.compiled import compile_errors, compile_layers
from chartdistill.training.generate import generate_everywhere
from chartdistill.training.lora_products import fuse_lora_products
from chartdistill.training.losses import micro_batch_loss
from chartdistill.training.model import load_model
from chartdistill.training.packing import Example, collate
from training_shapes import FAMILIES, make_example, make_model

STEPS = [
    [make_example("a", 17, [(3, 4), (5, 1)], 1), make_example("b", 9, [(2, 6)], 2)],
    [make_example("c", 40, [(3, 4), (5, 1)], 3)],
    [make_example("d", 8, [(9, 2)], 4), make_example("e", 31, [(2, 3)], 5)],
]


def loss_and_gradients(model: torch.nn.Module, examples: list[Example]) -> tuple[float, dict[str, torch.Tensor]]:
    (one,) = collate(examples, "split", dtype=torch.float32)
    model.zero_grad()
    loss = micro_batch_loss(model, one)
    loss.backward()
    return loss.item(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.slow
def test_the_same_loss_and_gradients_as_uncompiled_and_nothing_is_compiled_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from torch._dynamo.utils import counters

    monkeypatch.setitem(FAMILIES, "deeper", LlamaConfig(**{**FAMILIES["llama"].to_dict(), "num_hidden_layers": 4}))
    plain, compiled = make_model("deeper"), make_model("deeper")
    for model in (plain, compiled):
        assert fuse_lora_products(model) == 28
    names = list(compiled.state_dict())
    assert compile_layers(compiled) == 4
    assert list(compiled.state_dict()) == names
    graphs = []
    for examples in STEPS:
        expected, wanted = loss_and_gradients(plain, examples)
        got, found = loss_and_gradients(compiled, examples)
        assert got == pytest.approx(expected, rel=1e-5)
        assert found.keys() == wanted.keys() and len(found) == 56
        for name, value in wanted.items():
            assert (found[name] - value).norm() <= 1e-4 * value.norm(), name
        graphs.append(counters["stats"]["unique_graphs"])
    # Two before and after its attention, for the first layer, whose input has no gradient, and for all others.
    assert 0 < graphs[0] <= 8 and graphs[-1] == graphs[0], graphs

    prompt = list(range(5, 30))
    answers = [generate_everywhere(model.eval(), [prompt], 1, 6, 512) for model in (plain, compiled)]
    assert answers[0] == answers[1]
    assert counters["stats"]["unique_graphs"] == graphs[-1], "to answer compiles nothing"


def test_what_was_never_tried_together_is_refused() -> None:
    for other in ({"load_in_4bit": True}, {"parallel": "fsdp"}):
        with pytest.raises(ValidationError, match="never tried together; set compile: false"):
            TrainOptions.model_validate({"compile": True, **other})


def test_a_student_is_loaded_with_layers_that_will_be_compiled(tiny_model: Path) -> None:
    def layers(compiled: bool) -> list[bool]:
        model = load_model(tiny_model, TrainOptions(dtype="float32", compile=compiled))
        return [layer._compiled_call_impl is not None for layer in model.get_base_model().model.layers]

    assert layers(True) == [True, True] and layers(False) == [False, False]


def test_without_a_compiler_the_error_is_a_sentence() -> None:
    from torch._inductor.exc import InvalidCxxCompiler

    said = r"could not compile.*apt-get install g\+\+.*train\.compile to false"
    with pytest.raises(TrainingError, match=said), compile_errors():
        raise InvalidCxxCompiler
