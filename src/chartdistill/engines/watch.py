"""No engine outlives the process that started it, and none of its sockets stay, even when that process is killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_WATCHER = """
import os, shutil, signal, sys
held = []
for pid in sys.argv[2:]:
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
shutil.rmtree(sys.argv[1], ignore_errors=True)
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
def ended_with_us(sockets: str, pids: Sequence[int] = ()) -> Iterator[None]:
    """While this is open, a small process waits for the end of ours, and then cleans up.

    Args:
        sockets: a folder that it removes.
        pids: processes that it kills, if they still run. They are held by file descriptor (Linux pidfd_open), so that
            no later process of the same number is meant.
    """
    # A session of its own: what is sent to our whole process group must not end the watcher first.
    watcher = subprocess.Popen(
        [sys.executable, "-S", "-c", _WATCHER, sockets, *map(str, pids)], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        yield
    finally:
        watcher.communicate()
