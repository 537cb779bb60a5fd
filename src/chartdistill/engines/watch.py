"""No engine outlives the process that started it, and none of its sockets stay, even when that process is killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

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
if sys.argv[1]:
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
def socket_folder() -> Iterator[str]:
    """A folder under $TMPDIR for the Unix sockets of one engine, which only this user may enter.

    Otherwise vLLM makes them in $TMPDIR itself, and leaves some there after every engine. Removed at the end, also when
    our process is killed.
    """
    with TemporaryDirectory(prefix="chartdistill-", ignore_cleanup_errors=True) as folder, _cleaned_up(folder, ()):
        yield folder


@contextmanager
def ended_with_us(pids: Sequence[int]) -> Iterator[None]:
    """While this is open, those of `pids` that still run when our process ends are killed.

    They are held by file descriptor (Linux pidfd_open), so that no later process of the same number is meant.
    """
    with _cleaned_up("", pids):
        yield


@contextmanager
def _cleaned_up(folder: str, pids: Sequence[int]) -> Iterator[None]:
    """A small process waits for the end of this context, or of our process, and then cleans up."""
    # A session of its own: what is sent to our whole process group must not end the watcher first.
    watcher = subprocess.Popen(
        [sys.executable, "-S", "-c", _WATCHER, folder, *map(str, pids)], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        yield
    finally:
        watcher.communicate()
