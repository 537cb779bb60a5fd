"""How fast this CPU multiplies, measured, since what it says it can do is no guide."""

from __future__ import annotations

import time
from functools import cache

_ROWS, _IN, _OUT = 512, 1024, 1024
_CLEARLY = 1.3
"""bfloat16 must be this much faster to be worth its rounding; below, two measurements might disagree."""


def prefers_bfloat16() -> bool:
    """Whether this CPU does clearly more products in bfloat16 than in float32."""
    return bfloat16_gain() > _CLEARLY


@cache
def bfloat16_gain() -> float:
    """How many times more products this CPU does in bfloat16 than in float32, measured once on a linear layer.

    With AMX it is many times more, with AVX-512 about as many, with AVX2 a tenth.
    """
    return flops_per_second("bfloat16") / flops_per_second("float32")


@cache
def flops_per_second(dtype_name: str, seconds: float = 0.25) -> float:
    """Floating-point operations a second of a linear layer on all threads of this process, measured once: those of the
    fastest call that fits into `seconds`, and of three at least."""
    import torch

    dtype = getattr(torch, dtype_name)
    x, weight = torch.ones(_ROWS, _IN, dtype=dtype), torch.ones(_OUT, _IN, dtype=dtype)
    best, count, end = 0.0, 0, time.perf_counter() + seconds
    with torch.no_grad():
        torch.nn.functional.linear(x, weight)  # the first call prepares the kernel
        while count < 3 or time.perf_counter() < end:
            start = time.perf_counter()
            torch.nn.functional.linear(x, weight)
            best, count = max(best, 1 / (time.perf_counter() - start)), count + 1
    return 2 * _ROWS * _IN * _OUT * best
