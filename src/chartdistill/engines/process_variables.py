"""Environment variables of vLLM's processes that hang on the machine: what may compile, how many threads compute.

What the user has set always stays; see `VllmEngine.environment`.
"""

from __future__ import annotations

import os

from chartdistill.runtime.cuda_toolkit import find_nvcc

DEEP_GEMM = ("VLLM_USE_DEEP_GEMM", "VLLM_MOE_USE_DEEP_GEMM")
"""vLLM's switches for DeepGEMM: of linear layers, and of experts."""
_STEP_TOKENS = 2048
"""vLLM's `max_num_batched_tokens` on a CPU, where prompts are that long together."""
_LONG_STEP_S = 1.5
"""Between the half second and the four seconds of the two measurements (their geometric mean)."""
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
    return int(given) if given.isdigit() and int(given) else len(os.sched_getaffinity(0))


def num_cpu_threads(cores: int, step_s: float) -> int:
    """OpenMP threads of an engine on a CPU with so many cores.

    One core is left to the engine's scheduler, which does not sleep while it waits for the worker but polls
    (vllm/distributed/device_communicators/shm_broadcast.py, `SpinCondition`): a thread that shares its core with that
    is late at every barrier, and all others wait for it there. Where the products between two barriers are long, that
    costs less than a core: measured on two cores, a model of 135 million parameters labels 1.3 times faster with both
    where a step takes 4 s (AVX2), and 1.2 times slower where it takes half a second (AMX), as does one of 2 million.

    Args:
        step_s: of `step_seconds`.
    """
    return cores if step_s > _LONG_STEP_S else max(1, cores - 1)


def step_seconds(num_parameters: int, flops_per_second: float) -> float:
    """What the products of a step of 2,048 prompt tokens take on all cores: two operations a parameter and token."""
    return 2 * num_parameters * _STEP_TOKENS / flops_per_second
