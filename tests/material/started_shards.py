"""The processes that a verb starts for its shards, as they come and go."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil

SHARD = re.compile(r"--shard (\d/\d)")


class Shards(threading.Thread):
    """The shards whose processes a command starts; one of them can be killed when a file has rows."""

    def __init__(self, command: subprocess.Popen[str], kill: str = "", when: Path = Path()) -> None:
        super().__init__(daemon=True)
        self._command, self._kill, self._when = command, kill, when
        self.seen: set[str] = set()
        self.start()

    def run(self) -> None:
        while self._command.poll() is None:
            with suppress(psutil.NoSuchProcess):  # it ended as we looked
                for child in psutil.Process(self._command.pid).children():
                    self._look_at(child)
            time.sleep(0.01)

    def _look_at(self, child: psutil.Process) -> None:
        named = SHARD.search(" ".join(child.cmdline()))
        self.seen.update([named[1]] if named else [])
        has_rows = self._when.is_file() and self._when.stat().st_size
        if named and named[1] == self._kill and has_rows:
            child.kill()
