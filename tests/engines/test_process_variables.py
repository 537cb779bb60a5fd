"""What vLLM's processes are told by their environment: read by real child processes, in vLLM's own way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chartdistill.engines.process_variables import num_cores
from chartdistill.engines.vllm_engine import VllmEngine
from chartdistill.runtime.cuda_toolkit import find_nvcc

ON_A_CARD = """
import json, os, subprocess, sys
from pathlib import Path
from chartdistill.engines.vllm_engine import VllmEngine
os.environ.update(VllmEngine().environment(on_cpu=False, sockets="/tmp"))
ask = "import json, vllm.envs as e; print(json.dumps([e.VLLM_USE_FLASHINFER_SAMPLER, e.VLLM_USE_DEEP_GEMM, " \\
      "e.VLLM_MOE_USE_DEEP_GEMM, e.is_set('VLLM_MOE_USE_DEEP_GEMM')]))"
print(subprocess.run([sys.executable, "-c", ask], check=True, capture_output=True, text=True).stdout)
"""
"""What a process that an engine on a card starts reads, through vLLM's own module."""


def told(surroundings: dict[str, str], **variables: str) -> list[bool]:
    environment = {**surroundings, "DG_JIT_NVCC_COMPILER": "", "CUDA_PATH": "", **variables}
    done = subprocess.run(
        [sys.executable, "-c", ON_A_CARD], check=True, capture_output=True, text=True, env=environment, timeout=120
    )
    answer: list[bool] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def toolkit(folder: Path, with_nvcc: bool) -> str:
    (folder / "bin").mkdir(parents=True)
    (folder / "lib64").mkdir()
    if with_nvcc:
        (folder / "bin/nvcc").touch(mode=0o755)
    return str(folder)


@pytest.mark.slow
def test_an_engine_on_a_card_needs_no_nvcc(tmp_path: Path, users_environment: dict[str, str]) -> None:
    runtime_only = toolkit(tmp_path / "runtime", with_nvcc=False)
    assert told(users_environment, CUDA_HOME=runtime_only) == [False, False, False, True]
    whole = toolkit(tmp_path / "whole", with_nvcc=True)
    assert told(users_environment, CUDA_HOME=whole) == [False, True, True, False]


@pytest.mark.slow
def test_what_the_user_has_set_stays(tmp_path: Path, users_environment: dict[str, str]) -> None:
    mine = {"VLLM_USE_FLASHINFER_SAMPLER": "1", "VLLM_USE_DEEP_GEMM": "1", "VLLM_MOE_USE_DEEP_GEMM": "1"}
    assert told(users_environment, CUDA_HOME=toolkit(tmp_path / "cuda", with_nvcc=False), **mine) == [True] * 4


def test_nvcc_is_looked_for_as_its_callers_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CUDA_HOME", "CUDA_PATH", "DG_JIT_NVCC_COMPILER"):
        monkeypatch.delenv(name, raising=False)
    whole, runtime_only = toolkit(tmp_path / "whole", True), toolkit(tmp_path / "runtime", False)
    nvcc = Path(whole, "bin/nvcc")
    monkeypatch.setenv("PATH", f"{whole}/bin")
    assert find_nvcc() == nvcc
    monkeypatch.setenv("CUDA_PATH", runtime_only)  # a folder that is named counts, also where PATH has an nvcc
    assert find_nvcc() is None
    monkeypatch.setenv("CUDA_HOME", whole)
    assert find_nvcc() == nvcc
    monkeypatch.setenv("CUDA_HOME", runtime_only)
    monkeypatch.setenv("DG_JIT_NVCC_COMPILER", str(nvcc))
    assert find_nvcc() == nvcc
    nvcc.chmod(0o644)
    assert find_nvcc() is None


def test_an_engine_computes_with_the_threads_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cores that are withheld from this process do not count, and a share of the machine is one."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CHARTDISTILL_CPU_THREADS", raising=False)
    allowed = os.sched_getaffinity(0)
    assert 1 <= num_cores() <= len(allowed)  # fewer where a control group has time for fewer
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert num_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    monkeypatch.setenv("CHARTDISTILL_CPU_THREADS", "2")
    variables = VllmEngine().environment(on_cpu=True, sockets="/tmp")
    asked = "import torch; print(torch.get_num_threads())"
    done = subprocess.run(
        [sys.executable, "-c", asked], env={**os.environ, **variables}, check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == ["2"]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert VllmEngine().environment(on_cpu=True, sockets="/tmp")["OMP_NUM_THREADS"] == "3"
