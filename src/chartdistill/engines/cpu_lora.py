"""LoRA in vLLM's CPU workers at the cost of two small matrix products.

vLLM's CPU code for adapters (vllm/lora/ops/torch_ops/lora_ops.py) copies the adapter's matrices once for each token,
so that every token could have another adapter. Ours never have: a call to `generate` has one adapter or none. Where
all tokens of a step use one adapter, this multiplies them with it; every other step goes vLLM's own way.

vLLM imports this module in its workers, since the engine's `worker_extension_cls` names the class below.
"""

from __future__ import annotations

from typing import Any

from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

_add_lora_linear_of_vllm = PunicaWrapperCPU.add_lora_linear


class OneAdapter:
    """Adds nothing to the worker: importing it is what counts."""


def _add_lora_linear(
    self: Any,
    y: Any,
    x: Any,
    lora_a_stacked: tuple[Any, ...],
    lora_b_stacked: tuple[Any, ...],
    scale: float,
    output_slices: tuple[int, ...],
    **others: Any,
) -> None:
    """`y += scale * x A^T B^T`, slice by slice; shapes as in vLLM: x [tokens, in], y [tokens, out], A [adapters, 1,
    rank, in], B [adapters, 1, slice, rank]. Precisions too: the product with A in float32, that with B in y's."""
    import torch

    adapters = self.token_lora_indices
    alone = len(lora_a_stacked[0]) == 1 and len(adapters) == y.view(-1, y.shape[-1]).shape[0]
    if self.no_lora or not alone or bool((adapters != 0).any()):
        _add_lora_linear_of_vllm(self, y, x, lora_a_stacked, lora_b_stacked, scale, output_slices, **others)
        return
    rows, out = x.view(-1, x.shape[-1]).to(torch.float32), y.view(-1, y.shape[-1])
    start = 0
    for a, b, size in zip(lora_a_stacked, lora_b_stacked, output_slices, strict=True):
        inner = (rows @ a[0, 0].to(torch.float32).T) * scale
        out[:, start : start + size] += inner.to(out.dtype) @ b[0, 0].to(out.dtype).T
        start += size


PunicaWrapperCPU.add_lora_linear = _add_lora_linear
