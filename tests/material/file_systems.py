"""File systems that a test machine does not have, as far as their locks are concerned."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from typing import Any

import pytest


def like_nfs(monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS makes of flock a lock of fcntl on the server: a shared one needs a file open for reading, an exclusive one a
    file open for writing (man 2 flock; Linux, fs/nfs/nfs4proc.c, `nfs4_proc_lock`)."""
    local = fcntl.flock

    def flock(file: Any, how: int) -> None:
        number = file if isinstance(file, int) else file.fileno()
        opened = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE
        unfit = {fcntl.LOCK_SH: os.O_WRONLY, fcntl.LOCK_EX: os.O_RDONLY}.get(how & ~fcntl.LOCK_NB)
        if opened == unfit and stat.S_ISREG(os.fstat(number).st_mode):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        local(number, how)

    monkeypatch.setattr("fcntl.flock", flock)


def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lustre, where it is not mounted with `-o flock`."""

    def flock(file: Any, how: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", flock)
