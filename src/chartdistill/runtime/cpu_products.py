"""How fast this CPU multiplies in bfloat16, measured, since what it says it can do is no guide."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_ROWS, _IN, _OUT = 512, 1024, 1024
_CLEARLY = 1.3
"""bfloat16 must be this much faster to be worth its rounding; below, two measurements might disagree."""


def prefers_bfloat16() -> bool:
    """Whether this CPU does clearly more products in bfloat16 than in float32."""
    return bfloat16_gain() > _CLEARLY


@cache
def bfloat16_gain(seconds: float = 0.5) -> float:
    """How many times more products this CPU does in bfloat16 than in float32, measured once on a linear layer.

    With AMX it is many times more, with AVX-512 about as many, with AVX2 a tenth.
    """
    import torch

    rates = {dtype: _rate(dtype, seconds / 2) for dtype in (torch.float32, torch.bfloat16)}
    return rates[torch.bfloat16] / rates[torch.float32]


def _rate(dtype: torch.dtype, seconds: float) -> float:
    """Products a second: of the fastest call that fits into `seconds`, and of three at least."""
    import torch

    x, weight = torch.ones(_ROWS, _IN, dtype=dtype), torch.ones(_OUT, _IN, dtype=dtype)
    best, count, end = 0.0, 0, time.perf_counter() + seconds
    with torch.no_grad():
        torch.nn.functional.linear(x, weight)  # the first call prepares the kernel
        while count < 3 or time.perf_counter() < end:
            start = time.perf_counter()
            torch.nn.functional.linear(x, weight)
            best, count = max(best, 1 / (time.perf_counter() - start)), count + 1
    return best
