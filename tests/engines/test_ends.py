"""No engine outlives the process that started it. Real engines, real signals, on the CPU."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chartdistill.engines import OpenAIEngine
from chartdistill.engines.vllm_in_process import PROCESSES
from chartdistill.errors import EngineError

pytestmark = [pytest.mark.slow, pytest.mark.vllm]


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder for temporary files, not pytest's: the path of a socket has 107 bytes at most."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def folder_of_sockets(temporary: Path) -> Path:
    [folder] = temporary.glob("chartdistill-*")
    assert folder.stat().st_mode & 0o777 == 0o700
    return folder


def empty_in_time(folder: Path) -> bool:
    until = time.monotonic() + 20
    while any(folder.glob("chartdistill-*")) and time.monotonic() < until:
        time.sleep(0.1)
    return not any(path.is_socket() for path in folder.iterdir()) and not any(folder.glob("chartdistill-*"))


def test_a_server_that_does_not_start_in_time_is_an_error_and_is_gone(served_model: Path, temporary: Path) -> None:
    import psutil

    before = {process.pid for process in psutil.Process().children()}
    slow = OpenAIEngine(start_timeout_s=0.5)
    with (
        pytest.raises(EngineError, match=r"(?s)was not up after 0\.5 s.*engine\.start_timeout_s"),
        slow.open(served_model),
    ):
        pass
    assert {process.pid for process in psutil.Process().children()} <= before
    assert list(temporary.glob("chartdistill-*")) == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_an_engine_ends_with_the_process_that_started_it(
    served_model: Path, how: signal.Signals, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil

    monkeypatch.setenv(PROCESSES, "1")
    program = (
        "import signal, sys, time; from pathlib import Path; from chartdistill.engines import VllmEngine\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"  # as the command line does
        "with VllmEngine(dtype='float32', max_model_len_tokens=256).open(Path(sys.argv[1])):\n"
        "    print('open', flush=True); time.sleep(300)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(served_model)], stdout=subprocess.PIPE, text=True
    ) as ours:
        assert ours.stdout is not None
        assert any(line.strip() == "open" for line in ours.stdout)
        engine = [p for p in psutil.Process(ours.pid).children(recursive=True) if p.name().startswith("VLLM::")]
        assert engine
        assert any(path.is_socket() for path in folder_of_sockets(temporary).iterdir())
        ours.send_signal(how)
        ours.wait(60)
    assert psutil.wait_procs(engine, timeout=20)[1] == []
    assert empty_in_time(temporary)


def test_a_server_ends_when_its_parent_is_killed(served_model: Path, temporary: Path) -> None:
    import psutil

    program = (
        "import sys; from pathlib import Path; from chartdistill.engines import OpenAIEngine\n"
        "with OpenAIEngine().open(Path(sys.argv[1])): pass"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(served_model)])
    try:
        until = time.monotonic() + 30
        started: list[psutil.Process] = []
        while not started and time.monotonic() < until:  # between fork and exec it looks like its parent
            children = psutil.Process(parent.pid).children()
            started = [child for child in children if "vllm_server" in " ".join(child.cmdline())]
            time.sleep(0.1)
        [server] = started
        time.sleep(2)  # time to ask the kernel for it
        folder_of_sockets(temporary)
    finally:
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    server.wait(timeout=10)
    assert empty_in_time(temporary)
