"""Environment variables of vLLM's processes that hang on the machine: what may compile, how many threads compute.

What the user has set always stays; see `VllmEngine.environment`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chartdistill.runtime import machine
from chartdistill.runtime.cuda_toolkit import find_nvcc

DEEP_GEMM = ("VLLM_USE_DEEP_GEMM", "VLLM_MOE_USE_DEEP_GEMM")
"""vLLM's switches for DeepGEMM: of linear layers, and of experts."""
THREADS_GIVEN = "CHARTDISTILL_CPU_THREADS"
"""Cores of this process's share of the machine, where several engines run on one CPU (see replicas.py)."""


def cuda_variables() -> dict[str, str]:
    """So that an engine starts on a card without nvcc.

    FlashInfer's sampler is for top-k and top-p, which we never use; but vLLM's warm-up does, and then nvcc, g++ and
    ninja are called for it (vllm/v1/sample/ops/topk_topp_sampler.py, `flashinfer_sampler_supported`, which does not ask
    whether there is an nvcc). DeepGEMM is chosen for FP8 weights from Hopper on, also without asking, and its first
    kernel ends the engine where nvcc is missing; vLLM's next choice (CUTLASS) is compiled already.
    """
    variables = {"VLLM_USE_FLASHINFER_SAMPLER": "0"}
    if find_nvcc() is None:
        variables |= dict.fromkeys(DEEP_GEMM, "0")
    return variables


def num_cores() -> int:
    """CPU cores that this process may use."""
    given = os.environ.get(THREADS_GIVEN, "")
    return int(given) if given.isdigit() and int(given) else machine.num_cores()


@contextmanager
def variables_kept() -> Iterator[tuple[dict[str, str], Callable[[], None]]]:
    """The variables of this process, and what to call when an engine has started: what has changed by then, by us or by
    vLLM, is at the end as it was, since whatever is started next inherits it."""
    before = dict(os.environ)
    changed: set[str] = set()

    def started() -> None:
        changed.update(name for name in {*before, *os.environ} if os.environ.get(name) != before.get(name))

    try:
        yield before, started
    finally:
        for name in changed:
            set_variable(name, before.get(name))


def set_variable(variable: str, value: str | None) -> None:
    """None: unset."""
    if value is None:
        os.environ.pop(variable, None)
    else:
        os.environ[variable] = value
