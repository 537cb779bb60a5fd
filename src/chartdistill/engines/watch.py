"""No engine outlives the process that started it, even when that process is killed and can clean up nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_WATCHER = """
import os, signal, sys
held = []
for pid in sys.argv[1:]:
    try:
        held.append(os.pidfd_open(int(pid)))
    except ProcessLookupError:
        pass
sys.stdin.read()  # returns when the other end of the pipe is gone
for process in held:
    try:
        signal.pidfd_send_signal(process, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""


def descendants(pid: int) -> list[int]:
    """Process ids of all children of a process, and of theirs (Linux /proc)."""
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it ended as we looked
            for child in map(int, children.read_text().split()):
                found += [child, *descendants(child)]
    return found


@contextmanager
def ended_with_us(pids: Sequence[int]) -> Iterator[None]:
    """While this is open, a small process waits for the end of ours, and then kills those of `pids` that still run.

    They are held by file descriptor (Linux pidfd_open), so that no later process of the same number is meant.
    """
    # A session of its own: what is sent to our whole process group must not end the watcher first.
    watcher = subprocess.Popen(
        [sys.executable, "-S", "-c", _WATCHER, *map(str, pids)], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        yield
    finally:
        watcher.communicate()
