"""Adapters in vLLM's CPU workers: the same numbers as vLLM's own code, whatever adapters the tokens of a step use."""

from __future__ import annotations

import pytest
import torch

TOKENS, IN, RANK, SLICES = 13, 24, 8, (16, 8, 8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("adapters", "used", "ours"),
    [(1, [1] * TOKENS, True), (1, [1] * 5 + [0] * 8, False), (2, [1, 2] * 6 + [1], False), (1, [0] * TOKENS, False)],
    ids=["one", "one for some", "two", "none"],
)
def test_the_product_is_that_of_vllm(
    dtype: torch.dtype, adapters: int, used: list[int], ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`used`: the adapter of each token, 0 for none."""
    pytest.importorskip("vllm")
    from vllm.lora.layers import LoRAMapping
    from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

    from chartdistill.engines import cpu_lora

    torch.manual_seed(7)
    wrapper = PunicaWrapperCPU(64, 16, "cpu")
    known: list[int | None] = [1, 2][:adapters]
    wrapper.update_metadata(LoRAMapping(tuple(used), tuple(used), is_prefill=True), known, adapters, 1000)
    a = tuple(torch.randn(adapters, 1, RANK, IN).to(dtype) for _ in SLICES)
    b = tuple(torch.randn(adapters, 1, size, RANK).to(dtype) for size in SLICES)
    x, before = torch.randn(TOKENS, IN).to(dtype), torch.randn(TOKENS, sum(SLICES)).to(dtype)
    theirs, found = before.clone(), before.clone()
    calls = []

    def of_vllm(self: PunicaWrapperCPU, *arguments: object, **others: object) -> None:
        calls.append(self)
        original(self, *arguments, **others)

    original = cpu_lora._add_lora_linear_of_vllm
    original(wrapper, theirs, x, a, b, 0.5, SLICES)
    monkeypatch.setattr(cpu_lora, "_add_lora_linear_of_vllm", of_vllm)
    wrapper.add_lora_linear(found, x, a, b, 0.5, SLICES)
    assert (calls == []) == ours
    tolerance = 1e-5 if dtype is torch.float32 else 0.1
    torch.testing.assert_close(found, theirs, rtol=tolerance, atol=tolerance)
    assert torch.equal(found, before) == (not any(used))
