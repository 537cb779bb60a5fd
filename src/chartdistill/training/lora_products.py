"""LoRA linear layers as one operation: the frozen product and the adapter's two small ones, in the frozen dtype.

PEFT computes the adapter's products in the dtype of its matrices, float32, and adds them to the frozen product: under
bfloat16 weights every layer casts its input and its output, twice, keeps a copy of its input in 32 bits, and on a CPU
the small products take longer than the large ones. Here the matrices stay float32 (the masters that the optimizer
changes) and are cast for each pass. Over 4-bit weights the frozen product is bitsandbytes' own, and the adapter's two
are one operation beside it.

    y = x W^T + b + s (x A^T) B^T,   dx = dy W + s (dy B) A,   dA = s (dy B)^T x,   dB = s dy^T (x A^T)

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021), equation 3.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch.nn.functional import linear


def fuse_lora_products(model: Any) -> int:
    """Let a model's LoRA layers compute in one operation where they can; returns how many do.

    A layer can when what it adapts is a plain or a 4-bit linear layer, frozen, without dropout and without DoRA. The
    others stay as PEFT makes them.
    """
    from peft.tuners.lora import LoraLayer

    fused = 0
    for layer in model.modules():
        if isinstance(layer, LoraLayer) and type(layer).__name__ in _FORWARDS and _is_plain(layer):
            layer.__class__ = _fused(type(layer))  # type: ignore[arg-type]  # a type can be hashed
            fused += 1
    return fused


@cache
def _fused(kind: Any) -> Any:
    """PEFT's layer with our forward. A class, and no function on each layer, since a compiled layer (`train.compile`)
    would be compiled again for each function."""
    ours = _FORWARDS[kind.__name__]

    def forward(self: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if args or kwargs or self.disable_adapters or self.merged:
            plain: torch.Tensor = kind.forward(self, x, *args, **kwargs)
            return plain
        return ours(self, x)

    return type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})


def _is_plain(layer: Any) -> bool:
    base, adapters = layer.base_layer, list(layer.lora_A)
    return (
        type(base).__name__ == type(layer).__name__
        and not base.weight.requires_grad
        and len(adapters) == 1
        and not layer.lora_variant
        and isinstance(layer.lora_dropout[adapters[0]], torch.nn.Identity)
        and layer.lora_B[adapters[0]].bias is None
    )


def _forward(layer: Any, x: torch.Tensor) -> torch.Tensor:
    base, (a, b, scale) = layer.base_layer, _matrices(layer)
    y: torch.Tensor = _LoraProduct.apply(x, base.weight, base.bias, a, b, scale)  # type: ignore[no-untyped-call]
    return y


def _forward_beside(layer: Any, x: torch.Tensor) -> torch.Tensor:
    added: torch.Tensor = _AdapterProduct.apply(x, *_matrices(layer))  # type: ignore[no-untyped-call]
    y: torch.Tensor = layer.base_layer(x) + added
    return y


_FORWARDS = {"Linear": _forward, "Linear4bit": _forward_beside}
"""By the name of PEFT's class, which is that of the layer it adapts (bitsandbytes need not be installed)."""


def _matrices(layer: Any) -> tuple[torch.Tensor, torch.Tensor, float]:
    (name,) = layer.lora_A
    return layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name]


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


class _AdapterProduct(torch.autograd.Function):
    """x [..., in], a [rank, in], b [out, rank] -> s (x A^T) B^T [..., out], computed in the dtype of x."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, a: torch.Tensor, b: torch.Tensor, scale: float) -> torch.Tensor:
        ctx.masters, ctx.scale = a.dtype, scale
        a, b = a.to(x.dtype), (b * scale).to(x.dtype)
        inner = linear(x, a)
        ctx.save_for_backward(x, inner, a, b)
        return linear(inner, b)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, inner, a, b = ctx.saved_tensors
        dinner = grads[0] @ b
        dx = dinner @ a if ctx.needs_input_grad[0] else None
        dy, flat = grads[0].flatten(0, -2), inner.flatten(0, -2)
        da = (dinner.flatten(0, -2).T @ x.flatten(0, -2)).to(ctx.masters)
        return dx, da, (dy.T @ flat).to(ctx.masters) * ctx.scale, None
