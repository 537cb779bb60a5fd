"""Print the config that fits the hardware, and on stderr which and why. Used by `make distill`."""

from __future__ import annotations

import shutil
import subprocess
import sys


def gpu_memory_mib() -> list[int]:
    """Memory of each GPU in MiB; empty without one."""
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return [int(line) for line in answer.stdout.split()] if answer.returncode == 0 else []


def pick(memory_mib: list[int]) -> tuple[str, str]:
    """Config path and reason."""
    if not memory_mib:
        return "configs/demo.yaml", "no CUDA GPU found, so the embedded demo runs on the CPU"
    smallest = min(memory_mib)
    found = f"{len(memory_mib)} GPU(s), the smallest with {smallest / 1024:.0f} GiB"
    if smallest >= 78_000 and len(memory_mib) >= 8:
        return "configs/node-8gpu.yaml", f"{found}: a node with eight cards"
    if smallest >= 78_000:
        return "configs/gpu-80gb.yaml", f"{found}: 80 GB class"
    if smallest >= 22_000:
        return "configs/gpu-24gb.yaml", f"{found}: 24 GB class"
    return "configs/demo.yaml", f"{found}: under 24 GB, so the embedded demo"


if __name__ == "__main__":
    config, reason = pick(gpu_memory_mib())
    print(f"distill: {config} ({reason}); choose another with CONFIG=...", file=sys.stderr)
    print(config)
