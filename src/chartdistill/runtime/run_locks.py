"""Who writes to a run folder, and who has its charts open for as long as a person looks at them.

In: a run folder. Out: nothing but locks on `.lock` and `.onlookers` in it, which the system lets go when their holder
is killed.
Must hold: one writer per folder. While `review` runs, or `predict` writes its answers there, nothing is erased, since
its open files and its memory would keep what was erased, and its next decision or answer would write it down again;
while something is erased, nobody begins to look.
"""

from __future__ import annotations

import fcntl
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from chartdistill.errors import ArtefactError
from chartdistill.runtime.file_lock import hold
from chartdistill.runtime.run_folder import disk_errors, make_folder, private_opener

UNFINISHED_ERASURE = ".erasing.json"
"""In a run folder from which records are being taken out (`chartdistill erase`)."""
LOCK, ONLOOKERS = ".lock", ".onlookers"
"""In the run folder; the first says who holds it, the other is empty."""


def require_no_erasure(run_dir: Path) -> None:
    """That no erasure was interrupted in a run folder.

    Raises:
        ArtefactError: one was.
    """
    if (run_dir / UNFINISHED_ERASURE).exists():
        raise ArtefactError(
            f"an erasure of records from {run_dir} was interrupted. Run `chartdistill erase "
            f"{shlex.quote(str(run_dir))} --yes` first: it goes on with what was begun."
        )


@contextmanager
def lock(run_dir: Path, erasing: bool = False) -> Iterator[None]:
    """Hold the run folder; a second writer is refused at once. Released by the system if we are killed.

    A folder in which an erasure was interrupted is held for nobody else than for the erasure (`erasing`).
    """
    make_folder(run_dir)
    if not erasing:
        require_no_erasure(run_dir)
    path = run_dir / LOCK
    with disk_errors(path), open(path, "a+", encoding="utf-8", opener=private_opener) as stream:
        try:
            hold(stream, fcntl.LOCK_EX | fcntl.LOCK_NB, path)
        except BlockingIOError:
            stream.seek(0)
            raise ArtefactError(
                f"another process ({stream.read().strip() or 'unknown'}) is writing to {run_dir}. "
                "Wait for it to end, or give this run its own folder with --run-dir."
            ) from None
        stream.truncate(0)
        stream.write(f"pid {os.getpid()}")
        stream.flush()
        try:
            yield
        finally:
            stream.truncate(0)


@contextmanager
def looking_on(run_dir: Path) -> Iterator[None]:
    """Hold the charts of a run folder open, beside any others who do.

    Raises:
        ArtefactError: something is being erased there, or such a call was interrupted.
    """
    with _locked(run_dir, fcntl.LOCK_SH, f"records are being erased from {run_dir} now. Wait for that to end."):
        require_no_erasure(run_dir)
        yield


@contextmanager
def nobody_looking_on(run_dirs: Sequence[Path]) -> Iterator[None]:
    """Hold some run folders against all who would look at their charts.

    Raises:
        ArtefactError: somebody does.
    """
    with ExitStack() as held:
        for run_dir in run_dirs:
            said = (
                f"`chartdistill review` is open on {run_dir}, or `chartdistill predict` writes answers there: it would "
                "keep what is erased, and could write it down again. End it (Ctrl-C where it runs; `predict` goes on "
                "from there), then run the same command."
            )
            held.enter_context(_locked(run_dir, fcntl.LOCK_EX, said))
        yield


@contextmanager
def _locked(run_dir: Path, how: int, refusal: str) -> Iterator[None]:
    path = run_dir / ONLOOKERS
    # For both, since NFS shares only what is open for reading, and locks alone only what is open for writing.
    with disk_errors(path), open(path, "a+", encoding="utf-8", opener=private_opener) as stream:
        try:
            hold(stream, how | fcntl.LOCK_NB, path)
        except BlockingIOError:
            raise ArtefactError(refusal) from None
        yield
