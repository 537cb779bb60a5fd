"""LoRA layers as one operation against PEFT's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft.tuners.lora import LoraLayer

from chartdistill.training import LoraOptions, TrainOptions
from chartdistill.training.lora_products import fuse_lora_products
from chartdistill.training.losses import micro_batch_loss
from chartdistill.training.model import load_model
from chartdistill.training.packing import collate
from training_shapes import FAMILIES, make_example, make_model

EXAMPLES = [make_example("a", 17, [(3, 4), (5, 1)], 1), make_example("b", 9, [(2, 6)], 2)]


def loss_and_gradients(model: Any, dtype: torch.dtype) -> tuple[float, dict[str, torch.Tensor]]:
    (one,) = collate(EXAMPLES, "split", dtype=dtype)
    loss = micro_batch_loss(model, one)
    loss.backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}
    assert all(value.dtype == torch.float32 and value.norm() > 0 for value in found.values())
    return loss.item(), found


def halve(model: Any) -> Any:
    """Frozen weights in bfloat16, the adapter's in float32, as they are trained."""
    for parameter in model.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.bfloat16()
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_loss_and_gradients_as_pefts(family: str) -> None:
    theirs, ours = make_model(family), make_model(family)
    assert fuse_lora_products(ours) == 14
    expected, wanted = loss_and_gradients(theirs, torch.float32)
    got, found = loss_and_gradients(ours, torch.float32)
    assert got == pytest.approx(expected, rel=1e-5)
    for name, value in wanted.items():
        assert (found[name] - value).norm() <= 1e-4 * value.norm(), name


def test_under_bfloat16_weights_as_near_to_the_exact_gradient_as_pefts() -> None:
    _, exact = loss_and_gradients(make_model("llama"), torch.float32)
    _, theirs = loss_and_gradients(halve(make_model("llama")), torch.bfloat16)
    ours = halve(make_model("llama"))
    assert fuse_lora_products(ours) == 14
    _, found = loss_and_gradients(ours, torch.bfloat16)

    def away(gradients: dict[str, torch.Tensor]) -> float:
        return sum(float((gradients[n] - g).norm() / g.norm()) for n, g in exact.items()) / len(exact)

    assert away(found) <= 1.2 * away(theirs)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_over_4bit_weights_the_same_as_pefts(dtype: str, tiny_model: Path) -> None:
    options = TrainOptions(load_in_4bit=True, dtype=dtype, lora=LoraOptions(rank=4))  # type: ignore[arg-type]
    kind = getattr(torch, dtype)
    model = load_model(tiny_model, options)
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=draw) * 0.1)
    loss, found = loss_and_gradients(model, kind)
    model.zero_grad()
    layers = [m for m in model.modules() if isinstance(m, LoraLayer)]
    pefts = {type(layer).__mro__[1] for layer in layers}
    assert len(layers) == 14 and all(kind.__module__.startswith("peft.") for kind in pefts)
    for layer in layers:
        layer.__class__ = type(layer).__mro__[1]
    expected, wanted = loss_and_gradients(model, kind)
    allowed = 1e-5 if dtype == "float32" else 5e-2
    assert loss == pytest.approx(expected, rel=allowed)
    for name, value in wanted.items():
        assert (found[name] - value).norm() <= 2 * allowed * value.norm(), name


def test_layers_that_compute_more_stay_as_they_are() -> None:
    for lora in ({"dropout": 0.1}, {"use_dora": True}):
        assert fuse_lora_products(make_model("llama", **lora)) == 0, lora


def test_an_adapter_that_is_switched_off_adds_nothing() -> None:
    model = make_model("llama")
    fuse_lora_products(model)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        on = model(input_ids=ids).logits
        with model.disable_adapter():
            off = model(input_ids=ids).logits
        bare = model.get_base_model()
        assert not torch.allclose(on, off)
        model.merge_adapter()
        assert torch.allclose(bare(input_ids=ids).logits, on, atol=1e-4)
