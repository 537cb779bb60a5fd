"""A folder that is there whole or not at all: written beside its place, and renamed at the end.

Must hold: a kill leaves nothing under the final name that was not finished; two processes never write one folder; what
a kill left is removed, or put back, by the next one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chartdistill.errors import InputError
from chartdistill.runtime.file_lock import hold


@contextmanager
def whole_folder(folder: Path, replace: bool = False) -> Iterator[Path]:
    """A working folder beside `folder`, which takes its place if the block ends well and put something into it.

    Args:
        replace: put it in the place of a folder that is there and holds something, which is removed then.

    Raises:
        InputError: another process is making it.
    """
    folder = Path(os.path.abspath(folder))  # "." has no name
    folder.parent.mkdir(parents=True, exist_ok=True)
    work, before = (folder.parent / f".{folder.name}.{state}" for state in ("partial", "before"))
    held = _hold(work, folder)
    try:
        _put_back(before, folder)
        for path in work.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        yield work
        if not any(work.iterdir()):
            work.rmdir()
            return
        if replace and folder.is_dir() and any(folder.iterdir()):
            os.rename(folder, before)
        os.replace(work, folder)  # from here on a folder of that name is another process's
        if before.exists():
            shutil.rmtree(before, ignore_errors=True)  # the next one may be removing it already
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    finally:
        os.close(held)


def _put_back(before: Path, folder: Path) -> None:
    """Finish, or undo, a replacement that was killed between its two renames."""
    if not before.exists():
        return
    if folder.exists():
        shutil.rmtree(before)
    else:
        os.rename(before, folder)


def _hold(work: Path, folder: Path) -> int:
    """Make the folder `work` and lock it; its descriptor.

    Raises:
        InputError: another process has it.
    """
    while True:
        work.mkdir(exist_ok=True)
        try:
            held = os.open(work, os.O_RDONLY)
        except FileNotFoundError:  # another process has just finished
            continue
        try:
            hold(held, fcntl.LOCK_EX | fcntl.LOCK_NB, folder)
            if work.exists() and os.path.samestat(os.fstat(held), work.stat()):
                return held
        except BlockingIOError:
            os.close(held)
            raise InputError(f"another process is making {folder}. Wait for it, or name another folder.") from None
        except FileNotFoundError:
            pass
        os.close(held)  # what was locked has become the finished folder of another process
