"""No process of ours outlives the one that started it, and each has the time to end its own children first.

Linux only (prctl). Otherwise a child would go on holding cards and the run folder, and the next run would be refused.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_EXIT_CODE_TO = "CHARTDISTILL_EXIT_CODE_TO"
"""Names a file for the exit code of a launcher's worker."""
_GRACE_S = 40.0
"""For a verb to end: an engine, or a launcher that gives its workers 30 s."""


def end_with_parent() -> None:
    """From now on this process is sent SIGTERM when the process (the thread) that started it ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def end_with_launcher() -> None:
    """The same for a process of `accelerate launch`, which has no say in how it is started."""
    if "LOCAL_RANK" in os.environ:
        end_with_parent()


@contextmanager
def children_without_interrupts() -> Iterator[None]:
    """Processes that `multiprocessing` starts in this block never get Ctrl-C, which a terminal sends to all of them at
    once: this one does, and ends them in order.

    A child inherits which signals its starter holds back, whatever handlers it sets. They are held back only while one
    is started: in between another thread would be given Ctrl-C, and what this one waits for would not be interrupted.
    """
    # The first process that is spawned starts this tracker before it, which ends with letting SIGINT through, whatever
    # was held back (CPython's multiprocessing/resource_tracker.py, `ensure_running`).
    resource_tracker.ensure_running()
    start = BaseProcess.start

    def start_without(process: BaseProcess) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            start(process)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    BaseProcess.start = start_without  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        BaseProcess.start = start  # type: ignore[method-assign]


class Interrupted(BaseException):
    """Ctrl-C, under a name that no library swallows."""


@contextmanager
def interrupts_get_through() -> Iterator[None]:
    """Ctrl-C in this block is a KeyboardInterrupt for whoever is outside, also where what runs in it catches those and
    goes on: vLLM does as it waits for an engine to start (vllm/utils/network_utils.py, `zmq_socket_ctx`), and waits on
    for ten minutes. Only where Ctrl-C is Python's own matter, and this the thread that it comes to."""
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def interrupt(*_: object) -> None:
        raise Interrupted

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except Interrupted:
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def children_import_us() -> Iterator[None]:
    """Processes that `multiprocessing` spawns in this block, and theirs, import this package before anything else, and
    so have its socket guard and its quiet.

    A spawned process first imports what its starter's main module is, but not where that is a package's `__main__`
    (`python -m chartdistill`) or a notebook: CPython's multiprocessing/spawn.py, `get_preparation_data` and
    `_fixup_main_from_name`. So in this block ours says that it is `runtime.child`.
    """
    main = sys.modules["__main__"]
    before = main.__spec__
    main.__spec__ = find_spec("chartdistill.runtime.child")
    try:
        yield
    finally:
        main.__spec__ = before


def begin_child() -> None:
    """In a new process of ours, before its program: it ends with us, and by us. Ctrl-C is ours alone, so that it is
    answered once. Ignored too, since a library may let through what is held back; held back too, since one may set a
    handler."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def run_to_end(command: Sequence[str], variables: Mapping[str, str] | None = None) -> int:
    """Run a command and return its exit code. When this process is told to end meanwhile (SIGTERM, Ctrl-C), so is the
    command, and it is waited for; it is killed only when it does not end.

    Args:
        variables: of its environment, beside ours.
    """
    process = subprocess.Popen(command, env={**os.environ, **(variables or {})}, preexec_fn=begin_child)
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
        end_in_time(process)


def run_launched(command: Sequence[str]) -> int:
    """The same for a launcher, which ends with 1 whatever its workers ended with: theirs counts, of the first that said
    it (`say_exit_code`)."""
    with tempfile.TemporaryDirectory(prefix="chartdistill-") as folder:
        said = Path(folder) / "exit_code"
        code = run_to_end(command, {_EXIT_CODE_TO: str(said)})
        if code == 1:
            with suppress(OSError, ValueError):
                return int(said.read_text(encoding="ascii"))
    return code


def say_exit_code(code: int) -> None:
    """In a process of ours, before it ends with an error: to whom has started its launcher, if somebody has."""
    if (place := os.environ.get(_EXIT_CODE_TO)) is not None:
        with suppress(OSError), open(place, "x", encoding="ascii") as stream:
            stream.write(str(code))


def end_in_time(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process that was told to end; kill it when it does not."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(_GRACE_S)
    process.kill()  # does nothing to one that has ended
    process.wait()
