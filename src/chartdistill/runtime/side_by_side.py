"""Processes of ours that work side by side, and what they tell the one that started them: numbers and names, as JSON
lines through a pipe that each is given."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from chartdistill.runtime.processes import begin_child, end_in_time

_PIPE = "CHARTDISTILL_REPORTS_TO"
_POLL_S = 0.5


@dataclass(frozen=True)
class Child:
    """A process to start."""

    command: Sequence[str]
    variables: Mapping[str, str]
    """Of its environment, beside ours."""


def run_side_by_side(children: Sequence[Child], on_report: Callable[[int, dict[str, Any]], None]) -> list[int]:
    """Run processes at once until all have ended, and return their exit codes (negative: the signal that ended it).

    One that fails ends no other. When this process is told to end meanwhile (SIGTERM, Ctrl-C), so are they.

    Args:
        on_report: is given the number of the child and what it reports.
    """
    running: list[subprocess.Popen[bytes]] = []
    pipes: list[int] = []
    unread = [b""] * len(children)
    try:
        with selectors.DefaultSelector() as selector:
            for number, child in enumerate(children):
                receiving, sending = os.pipe()
                os.set_blocking(receiving, False)
                pipes.append(receiving)
                try:
                    environment = {**os.environ, **child.variables, _PIPE: str(sending)}
                    running.append(
                        subprocess.Popen(child.command, env=environment, pass_fds=[sending], preexec_fn=begin_child)
                    )
                finally:
                    os.close(sending)
                selector.register(receiving, selectors.EVENT_READ, number)
            left = set(range(len(children)))
            while left:
                # A pipe may be kept open by what a child has forked, so the child itself says when it has ended.
                ended = {number for number in left if running[number].poll() is not None}
                told = {key.data for key, _ in selector.select(0 if ended else _POLL_S)}
                for number in ended | (told & left):
                    for report in _read(pipes[number], unread, number):
                        on_report(number, report)
                for number in ended:
                    selector.unregister(pipes[number])
                left -= ended
    finally:
        for process in running:
            if process.poll() is None:
                process.terminate()
        for process in running:
            end_in_time(process)
        for pipe in pipes:
            os.close(pipe)
    return [process.returncode for process in running]


def _read(pipe: int, unread: list[bytes], number: int) -> list[dict[str, Any]]:
    """The whole lines that are there; the beginning of another waits for its end."""
    with suppress(BlockingIOError):
        while block := os.read(pipe, 1 << 16):
            unread[number] += block
    *lines, unread[number] = unread[number].split(b"\n")
    return [json.loads(line) for line in lines]


class Reports:
    """The other end, in a child: a progress callback, and what else it has to say."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        os.set_inheritable(pipe, False)

    @classmethod
    def of_this_process(cls) -> Reports | None:
        """None where nobody asked for reports."""
        pipe = os.environ.pop(_PIPE, None)
        return None if pipe is None else cls(int(pipe))

    def __call__(self, done: int, total: int | None = None, tokens: int = 0) -> None:
        """As ProgressCallback."""
        self.tell(done=done, tokens=tokens)

    def tell(self, **facts: Any) -> None:
        """Facts, as plain values."""
        with suppress(BrokenPipeError):  # who asked is gone; the system ends us, too
            os.write(self._pipe, json.dumps(facts).encode() + b"\n")
