"""The program as a user calls it."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from places import ROOT

_LOADED = ("chartdistill.cli", *(f"chartdistill.commands.{name}" for name in ("erase", "score", "stages")))
_TIMEOUT_S = 300


def chartdistill(*arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, started anew."""
    command = [sys.executable, "-m", "chartdistill", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def forked(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The same in a process of its own that need not load the program, for verbs that do little else."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("out", "err")]
        code = in_a_fork(_program, arguments, dict(os.environ), *files)
        return subprocess.CompletedProcess(["chartdistill", *arguments], code, *(file.read_text() for file in files))


def in_a_fork(call: Callable[..., object], *arguments: Any) -> int:
    """Call a function of tests/material in a fork of a process that has loaded the program and did nothing else: a fork
    of this one would lack the threads that compute. The exit code, or minus the signal that ended it."""
    process = _forks().Process(target=call, args=arguments, daemon=True)
    process.start()
    process.join(_TIMEOUT_S)
    if process.exitcode is None:
        process.kill()
        pytest.fail(f"{arguments} did not end within {_TIMEOUT_S} s")
    return process.exitcode


@cache
def _forks() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_LOADED))
    return context


def _program(arguments: Sequence[str], environment: Mapping[str, str], out: Path, err: Path) -> None:
    for number, file in ((1, out), (2, err)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    sys.argv = ["chartdistill", *arguments]
    from chartdistill.cli import main

    main(arguments)
