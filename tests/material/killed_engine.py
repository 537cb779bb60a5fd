"""An engine that is killed as the kernel does it, and somebody who waits for its answers."""

from __future__ import annotations

import threading

import psutil

from chartdistill.engines import Generator, Request
from chartdistill.errors import EngineError


class Asking(threading.Thread):
    """Asks in the background, so that a test can fail where an engine would keep it waiting for ever."""

    def __init__(self, generator: Generator, requests: list[Request]) -> None:
        super().__init__(daemon=True)
        self._generator, self._requests = generator, requests
        self.error = ""
        self.start()

    def run(self) -> None:
        try:
            self._generator.generate(self._requests)
        except EngineError as error:
            self.error = str(error)

    def words(self) -> str:
        """Of the EngineError; empty if there was none."""
        self.join(timeout=120)
        assert not self.is_alive(), "still waiting for the answers of a dead engine"
        return self.error


def kill_engine_processes() -> None:
    """As the kernel does when memory is out: no time for last words."""
    running = [p for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]
    killed = [process for process in running if "EngineCor" in process.name()]  # names are cut at 15 characters
    for process in killed:
        process.kill()
    assert killed
