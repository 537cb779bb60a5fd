"""vLLM's engine in this very process, where nothing needs one of its own: on a CPU.

In: a process that may have trained or will. Out: an engine without children. vLLM's usual two processes each import it
again, so that an engine starts in half a minute instead of seconds; and on a CPU they cost speed as well, for the one
that schedules does not sleep while the other computes but polls, on a core that the products could have
(vllm/distributed/device_communicators/shm_broadcast.py, `SpinCondition`).

Must hold: whatever vLLM changes in its process is as before when the engine is closed. One engine at a time, for its
groups of torch.distributed are the process's own; a second one gets processes.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chartdistill.errors import EngineError

THREADS = "OMP_NUM_THREADS"
PROCESSES = "VLLM_ENABLE_V1_MULTIPROCESSING"
"""vLLM's switch. 0: what schedules is in this process, or, of a server, in the same process as what computes."""
_MEMORY_NODES = Path("/sys/devices/system/node")
_open = threading.Lock()


@contextmanager
def borrow_process() -> Iterator[bool]:
    """While this is open, a vLLM engine may live in this process; False: it cannot, and needs processes."""
    import torch

    # vLLM binds its process's memory to one node of several for good (cpu_worker.py, `init_cpu_memory_env`).
    if num_memory_nodes() > 1 or torch.distributed.is_initialized() or not _open.acquire(blocking=False):
        yield False
        return
    try:
        with _state_kept():
            try:
                yield True
            finally:
                if torch.distributed.is_initialized():  # it did not start, so it did not end these itself
                    from vllm.distributed import cleanup_dist_env_and_memory

                    cleanup_dist_env_and_memory()
    finally:
        _open.release()


def wants_processes() -> bool:
    """What vLLM's switch says, read as vLLM reads it.

    Raises:
        EngineError: it is no number.
    """
    given = os.environ.get(PROCESSES, "1")
    try:
        return bool(int(given))
    except ValueError:
        raise EngineError(
            f"the environment variable {PROCESSES} is {given!r}; allowed are 0 (the engine is in this process) and 1 "
            "(it has processes). Unset it: then what is best here is taken."
        ) from None


def num_memory_nodes() -> int:
    """Memory nodes (NUMA) of this machine."""
    return len(list(_MEMORY_NODES.glob("node[0-9]*"))) or 1


@contextmanager
def _state_kept() -> Iterator[None]:
    """vLLM seeds all generators, and replaces torch's way to set threads."""
    import numpy as np
    import torch
    import torch._dynamo

    set_num_threads, threads = torch.set_num_threads, torch.get_num_threads()
    generators = random.getstate(), np.random.get_state(), torch.get_rng_state()
    compiles_nothing = torch._dynamo.config.disable
    if (wanted := os.environ.get(THREADS, "")).isdecimal() and int(wanted):
        torch.set_num_threads(int(wanted))
    torch._dynamo.config.disable = True  # the sampler's small kernels would compile for half a minute
    try:
        yield
    finally:
        torch._dynamo.config.disable = compiles_nothing
        torch.set_num_threads = set_num_threads
        torch.set_num_threads(threads)
        random.setstate(generators[0])
        np.random.set_state(generators[1])
        torch.set_rng_state(generators[2])


def end_on_failure(client: Any) -> None:
    """Whatever fails as an engine in this process computes ends it, as it would end a process: the requests of that
    step are in its queue still, and would be answered among the next ones.

    Args:
        client: vLLM's `InprocClient`, whose steps from now on raise nothing but EngineDeadError, from what failed.
    """
    from vllm.v1.engine.exceptions import EngineDeadError

    compute, add = client.get_output, client.add_request
    failed: BaseException | None = None

    def get_output() -> Any:
        nonlocal failed
        try:
            return compute()
        except BaseException as error:
            failed = error
            if isinstance(error, Exception):
                raise EngineDeadError from error
            raise

    def add_request(request: Any) -> None:
        if failed is not None:
            raise EngineDeadError from failed
        add(request)

    client.get_output, client.add_request = get_output, add_request


def what_failed(dead: BaseException) -> str:
    """What ended an engine of this process, and where, in words without the exception's own, which may quote a prompt;
    empty where a process died, which says nothing."""
    error = dead.__cause__
    if error is None:
        return ""
    if not isinstance(error, Exception):
        return f"vLLM's engine was interrupted ({type(error).__name__}) while it was answering"
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else ""
    return f"vLLM's engine failed while it was answering ({type(error).__name__}{place})"
