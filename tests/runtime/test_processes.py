"""A run that is told to end takes its processes with it, and leaves them the time to end theirs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from chartdistill.runtime.processes import run_launched
from places import MATERIAL, ROOT

RUN = """
import signal, sys
from chartdistill.runtime.processes import run_to_end
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as the command line does
print(run_to_end([sys.executable, *sys.argv[1:]]))
"""
VERB = """
import signal, sys, time
from pathlib import Path
def end(*_):
    time.sleep(1)  # ends what it has started
    Path(sys.argv[1]).write_text("ended in good order")
    sys.exit(5)
signal.signal(signal.SIGTERM, end)
print("running", flush=True)
time.sleep(60)
"""
LAUNCHER = """
import os, subprocess, sys, time
worker = "import time; from chartdistill.runtime.processes import end_with_launcher as end; end(); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", worker], env={**os.environ, "LOCAL_RANK": "0"}, start_new_session=True)
time.sleep(3)
print(child.pid, flush=True)
time.sleep(60)
"""
STARTS_ONE = """
import multiprocessing, select, sys
from chartdistill.runtime.processes import children_without_interrupts, run_to_end
from chartdistill.runtime.side_by_side import Child, run_side_by_side
child = "import signal, sys, time; signal.signal(signal.SIGINT, lambda *_: print('child', flush=True)); "
child += "print('ready', flush=True); time.sleep(6)"
def main(what):
    try:
        if what == "verb":
            run_to_end([sys.executable, "-c", child])
        elif what == "shard":
            run_side_by_side([Child([sys.executable, "-c", child], {})], print)
        else:
            with children_without_interrupts():
                engine = multiprocessing.get_context(sys.argv[2]).Process(target=exec, args=(child,))
                engine.start()
                # As vLLM waits for an engine that starts, in rounds: a signal that comes as a wait is about to begin
                # does not end that wait, in any Python program, and is heeded after it.
                for _ in range(60):
                    select.select([], [], [], 1)
    except KeyboardInterrupt:
        print("first", flush=True)
        if what == "engine":
            engine.join()
if __name__ == "__main__":
    main(sys.argv[1])
"""


SWALLOWS = """
import os, signal, time
from contextlib import contextmanager, suppress
from chartdistill.runtime.processes import interrupts_get_through
@contextmanager
def socket():
    try:
        yield
    except KeyboardInterrupt:
        pass
def handler(*_):
    print("another's", flush=True)
try:
    with interrupts_get_through(), socket():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
    print("went on", flush=True)
except KeyboardInterrupt:
    print("interrupted", signal.getsignal(signal.SIGINT) is signal.default_int_handler, flush=True)
signal.signal(signal.SIGINT, handler)
with interrupts_get_through():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.2)
print(signal.getsignal(signal.SIGINT) is handler)
"""


def test_what_a_run_has_started_ends_in_good_order(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RUN, "-c", VERB, str(tmp_path / "said")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None and run.stdout.readline() == "running\n"
        [verb] = psutil.Process(run.pid).children()
        run.terminate()
        assert run.wait(30) == 143
    assert (tmp_path / "said").read_text() == "ended in good order"
    assert not verb.is_running()


def test_the_exit_code_is_handed_on() -> None:
    done = subprocess.run([sys.executable, "-c", RUN, "-c", "exit(9)"], capture_output=True, text=True, check=True)
    assert done.stdout == "9\n"


@pytest.mark.slow
def test_the_exit_code_of_a_worker_is_handed_on_by_a_launcher_that_has_its_own(tmp_path: Path) -> None:
    """`accelerate launch` ends with 1, whatever its workers ended with."""
    launcher = (
        "import subprocess, sys\n"
        "workers = [subprocess.Popen([sys.executable, '-m', 'chartdistill', *sys.argv[1:]]) for _ in range(2)]\n"
        "sys.exit(max(worker.wait() for worker in workers) and 1)"
    )
    for arguments, code in ((["train", str(tmp_path / "none.yaml")], 2), (["--version"], 0)):
        assert run_launched([sys.executable, "-c", launcher, *arguments]) == code
    assert run_launched([sys.executable, "-c", "raise SystemExit(1)"]) == 1  # of which nobody said why


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_worker_ends_with_its_launcher(how: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", LAUNCHER], stdout=subprocess.PIPE, text=True) as launcher:
        assert launcher.stdout is not None
        worker = psutil.Process(int(launcher.stdout.readline()))
        assert worker.is_running()
        launcher.send_signal(how)
        launcher.wait(30)
    until = time.monotonic() + 20
    while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE and time.monotonic() < until:
        time.sleep(0.1)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE


def heeding_interrupts() -> None:
    """In a child: Ctrl-C counts, also where these tests were started in the background, which ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def ignoring_interrupts() -> None:
    """In a child: as `nohup` and a shell's background jobs start it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.mark.slow
def test_ctrl_c_is_answered_by_the_first_process_alone(tmp_path: Path) -> None:
    """A terminal sends it to every process of its group at once."""
    own = tmp_path / "own.py"
    own.write_text(STARTS_ONE)
    for what in (["verb"], ["shard"], ["engine", "spawn"], ["engine", "fork"]):
        command = [sys.executable, str(own), *what]
        first = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heeding_interrupts
        )
        assert first.stdout is not None
        assert first.stdout.readline() == "ready\n", what
        os.killpg(first.pid, signal.SIGINT)
        assert first.communicate(timeout=60)[0] == "first\n", what


def test_ctrl_c_gets_through_where_a_library_swallows_it() -> None:
    """As vLLM's socket context does (vllm/utils/network_utils.py)."""
    command = [sys.executable, "-c", SWALLOWS]
    said = subprocess.run(command, capture_output=True, text=True, check=True, preexec_fn=heeding_interrupts)
    assert said.stdout.splitlines() == ["interrupted True", "another's", "True"]


@pytest.mark.slow
def test_ctrl_c_is_kept_from_what_multiprocessing_spawns_first(tmp_path: Path) -> None:
    """With the first spawned process `multiprocessing` starts its resource tracker, which lets SIGINT through again."""
    own = tmp_path / "own.py"
    own.write_text(
        "import multiprocessing, os, subprocess, sys, time\n"
        "from multiprocessing import resource_tracker\n"
        "from chartdistill.runtime.processes import children_without_interrupts, run_to_end\n"
        "def wait(queue):\n"
        "    try:\n"
        "        queue.put('ready')\n"
        "        time.sleep(6)\n"
        "        queue.put('slept')\n"
        "    except KeyboardInterrupt:\n"
        "        queue.put('interrupted')\n"
        "if __name__ == '__main__' and sys.argv[1] == 'verb':\n"
        "    sys.exit(run_to_end([sys.executable, __file__, 'engine']))\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    said = context.SimpleQueue() if sys.argv[1] == 'tracked' else None\n"
        "    with children_without_interrupts():\n"
        "        said = said or context.SimpleQueue()\n"
        "        child = context.Process(target=wait, args=(said,))\n"
        "        child.start()\n"
        "    try:\n"
        "        print(said.get(), flush=True)\n"
        "        time.sleep(4)\n"
        "        print('no interrupt here', flush=True)\n"
        "    except KeyboardInterrupt:\n"
        "        print('first', flush=True)\n"
        "    print(said.get(), flush=True)\n"
    )
    for what, here in (("engine", "first"), ("tracked", "first")):
        command = [sys.executable, str(own), what]
        first = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heeding_interrupts
        )
        assert first.stdout is not None and first.stdout.readline() == "ready\n"
        os.killpg(first.pid, signal.SIGINT)
        assert first.communicate(timeout=60)[0].split() == [here, "slept"], what
    first = subprocess.Popen(
        [sys.executable, str(own), "verb"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert first.stdout is not None and first.stdout.readline() == "ready\n"
    [verb] = psutil.Process(first.pid).children()
    verb.send_signal(signal.SIGINT)  # as a terminal does, to it alone, so that nobody ends it
    assert first.communicate(timeout=60)[0].split("\n")[:2] == ["no interrupt here", "slept"]


@pytest.mark.parametrize("main", ["package", "notebook"])
def test_spawned_processes_and_theirs_have_the_guard_and_the_quiet_before_anything_else(
    main: str, tmp_path: Path
) -> None:
    """Where the main module is a package's `__main__`, or none, `multiprocessing` imports nothing of ours by itself."""
    program = (
        "import multiprocessing, sys\n"
        "from chartdistill.runtime import privacy, quiet\n"
        "from chartdistill.runtime.processes import children_import_us\n"
        "from spawned import look\n"
        "privacy.enforce()\n"
        "quiet.quieten()\n"
        "context = multiprocessing.get_context('spawn')\n"
        "answers = context.SimpleQueue()\n"
        "before = sys.modules['__main__'].__spec__\n"
        "with children_import_us():\n"
        "    child = context.Process(target=look, args=(answers, 1))\n"
        "    child.start()\n"
        "assert sys.modules['__main__'].__spec__ is before\n"
        "print(*answers.get()[1:])\n"
        "print(*answers.get()[1:])\n"
        "child.join()\n"
    )
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "__main__.py").write_text(program)
    command = {"package": ["-m", "package"], "notebook": ["-c", program]}[main]
    path = os.pathsep.join([str(ROOT / "src"), str(MATERIAL), str(tmp_path)])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CHARTDISTILL_")}
    done = subprocess.run(
        [sys.executable, *command], env=environment | {"PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stdout == 2 * "chartdistill.runtime.child True 40\n"
    assert done.stderr == ""
