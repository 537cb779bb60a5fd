"""Likelihoods of continuations, as a plain forward pass gives them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from chartdistill.training.logprobs import continuation_logprobs


def test_likelihoods_are_those_of_a_plain_forward_pass(tiny_model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model).eval()
    rng = random.Random(2)
    prefix = [rng.randrange(3, 900) for _ in range(17)]
    continuations = [[rng.randrange(3, 900) for _ in range(rng.randint(1, 6))] for _ in range(23)]
    found = continuation_logprobs(model, prefix, continuations)
    for ids, value in zip(continuations, found, strict=True):
        with torch.no_grad():
            logprobs = model(input_ids=torch.tensor([[*prefix, *ids]])).logits[0].log_softmax(-1)
        plain = sum(float(logprobs[len(prefix) - 1 + i, token]) for i, token in enumerate(ids))
        assert value == pytest.approx(plain, abs=1e-4)
