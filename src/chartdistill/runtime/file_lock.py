"""A lock on an open file, which the system lets go when its holder ends, or is killed.

Must hold: where the file system has no locks, nobody goes on as if there was one.
"""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path
from typing import IO, Any

from chartdistill.errors import ArtefactError

_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""Lustre as it is often mounted; NFS whose lock service does not run; file systems of programs (FUSE)."""


def hold(file: IO[Any] | int, how: int, path: Path) -> None:
    """Lock a file that is open. `how`: as for `fcntl.flock`.

    Raises:
        BlockingIOError: another process has it, and `how` says not to wait.
        ArtefactError: there are no locks where `path` is.
    """
    try:
        fcntl.flock(file, how)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise ArtefactError(
            f"the file system of {path} has no locks ({error.strerror}), so two processes could write there at once. "
            "Choose a place on another one, or have it mounted with locks (Lustre: -o flock; NFS: its lock service)."
        ) from None
