"""Who has the charts of a run folder open for as long as a person looks at them, so that none is erased meanwhile.

In: a run folder. Out: nothing but a lock on `.onlookers` in it, which the system lets go when its holder is killed.
Must hold: while `review` runs nothing is erased, since its open files and its memory would keep what was erased, and
its next decision would write it down again; while something is erased, nobody begins to look.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from chartdistill.errors import ArtefactError
from chartdistill.runtime.run_folder import disk_errors, private_opener, require_no_erasure

ONLOOKERS = ".onlookers"
"""In the run folder; empty."""


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
                f"`chartdistill review` is open on {run_dir}: it would keep what is erased, and could write it down "
                "again. End it (Ctrl-C where it runs), then run the same command."
            )
            held.enter_context(_locked(run_dir, fcntl.LOCK_EX, said))
        yield


@contextmanager
def _locked(run_dir: Path, how: int, refusal: str) -> Iterator[None]:
    path = run_dir / ONLOOKERS
    with disk_errors(path), open(path, "a", encoding="utf-8", opener=private_opener) as stream:
        try:
            fcntl.flock(stream, how | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArtefactError(refusal) from None
        yield
