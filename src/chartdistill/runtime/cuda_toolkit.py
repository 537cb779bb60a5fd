"""Where CUDA's compiler is, as the libraries that would call it look for it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_DEFAULT_HOME = "/usr/local/cuda"


def find_nvcc() -> Path | None:
    """The nvcc that DeepGEMM and FlashInfer would run; None where it is missing.

    Both take a folder (`CUDA_HOME`, else `CUDA_PATH`, else that of the nvcc in PATH, else /usr/local/cuda) and run
    `bin/nvcc` in it without looking whether it is there: a folder that holds only CUDA's libraries, as many images
    have it, is taken all the same (vllm/utils/flashinfer.py, `_flashinfer_nvcc_path`; csrc/jit/compiler.hpp of
    DeepGEMM, which `DG_JIT_NVCC_COMPILER` overrules).
    """
    if (named := os.environ.get("DG_JIT_NVCC_COMPILER")) and os.access(named, os.X_OK):
        return Path(named)
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    if not home:
        in_path = shutil.which("nvcc")
        home = str(Path(in_path).parent.parent) if in_path else _DEFAULT_HOME
    found = shutil.which(str(Path(home) / "bin" / "nvcc"))
    return None if found is None else Path(found)
