"""LoRA linear layers as one operation: the frozen product and the adapter's two small ones, in the frozen dtype.

PEFT computes the adapter's products in the dtype of its matrices, float32, and adds them to the frozen product: under
bfloat16 weights every layer casts its input and its output, twice, and on a CPU the small products take longer than
the large ones. Here the matrices stay float32 (the masters that the optimizer changes) and are cast for each pass.

    y = x W^T + b + s (x A^T) B^T,   dx = dy W + s (dy B) A,   dA = s (dy B)^T x,   dB = s dy^T (x A^T)

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021), equation 3.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch.nn.functional import linear


def fuse_lora_products(model: Any) -> int:
    """Let a model's LoRA layers compute in one operation where they can; returns how many do.

    A layer can when what it adapts is a plain linear layer, frozen, without dropout and without DoRA. The others stay
    as PEFT makes them.
    """
    from peft.tuners.lora import Linear

    fused = 0
    for layer in model.modules():
        if type(layer) is Linear and _is_plain(layer):
            layer.forward = partial(_forward, layer)
            fused += 1
    return fused


def _is_plain(layer: Any) -> bool:
    base, adapters = layer.base_layer, list(layer.lora_A)
    return (
        type(base) is torch.nn.Linear
        and not base.weight.requires_grad
        and len(adapters) == 1
        and not layer.lora_variant
        and isinstance(layer.lora_dropout[adapters[0]], torch.nn.Identity)
        and layer.lora_B[adapters[0]].bias is None
    )


def _forward(layer: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    if args or kwargs or layer.disable_adapters or layer.merged:
        plain: torch.Tensor = type(layer).forward(layer, x, *args, **kwargs)
        return plain
    (name,) = layer.lora_A
    base, a, b = layer.base_layer, layer.lora_A[name].weight, layer.lora_B[name].weight
    y: torch.Tensor = _LoraProduct.apply(  # type: ignore[no-untyped-call]
        x, base.weight, base.bias, a, b, layer.scaling[name]
    )
    return y


class _LoraProduct(torch.autograd.Function):
    """x [..., in], weight [out, in], bias [out] or None, a [rank, in], b [out, rank] -> [..., out], dtype of weight."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        a: torch.Tensor,
        b: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1]).to(weight.dtype)
        ctx.masters = a.dtype
        a, b = a.to(weight.dtype), (b * scale).to(weight.dtype)
        inner = rows @ a.T
        y = linear(rows, weight, bias).addmm_(inner, b.T)
        ctx.save_for_backward(rows, inner, weight, a, b)
        ctx.scale, ctx.shape, ctx.dtype = scale, x.shape, x.dtype
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, inner, weight, a, b = ctx.saved_tensors
        dy = grads[0].reshape(-1, weight.shape[0]).to(weight.dtype)
        dinner = dy @ b
        dx = None
        if ctx.needs_input_grad[0]:
            dx = (dy @ weight).addmm_(dinner, a).view(ctx.shape).to(ctx.dtype)
        da, db = (dinner.T @ rows).to(ctx.masters), (dy.T @ inner).to(ctx.masters) * ctx.scale
        return dx, None, None, da, db, None
