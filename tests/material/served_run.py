"""A run with a trained student to serve, made without training, and a server of it as a user starts it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from chartdistill.config import load_run
from chartdistill.run_file import write_run
from chartdistill.runtime.run_folder import make_folder, write_text
from places import ROOT

MODEL = ROOT / "src/chartdistill/demo/models/teacher"
"""As the student's model: it answers well without being trained further."""


def finished_run(folder: Path) -> Path:
    """A run folder as `train` leaves it, of the demo's four tasks; the adapter changes little."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    values = yaml.safe_load((ROOT / "configs/demo.yaml").read_text())
    values["tasks"] = [str(ROOT / "configs" / task) for task in values["tasks"]]
    values["student"]["model"] = str(MODEL)
    values.pop("gates")
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(values))
    run = load_run(path, run_dir=folder / "run")
    make_folder(run.dir / "adapter")
    little = LoraConfig(r=8, lora_alpha=1, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(MODEL), little).save_pretrained(run.dir / "adapter")
    write_text(run.dir / "adapter" / "manifest.json", json.dumps({"fingerprint": "adapter", "seconds": 1.0}))
    write_run(run)
    return run.dir


class Server:
    """`chartdistill serve`, and what it writes."""

    def __init__(self, run: Path, *options: str, environment: Mapping[str, str]) -> None:
        command = [sys.executable, "-m", "chartdistill", "serve", str(run), "--port", "0", *options]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(environment), cwd=ROOT
        )
        self.written = ""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.written += line

    def address(self) -> str:
        """Waits until it is ready."""
        while (ready := re.search(r"ready at (\S+)/extract", self.written)) is None:
            assert self.process.poll() is None, self.written
            time.sleep(0.2)
        return ready[1]

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.address(), verify=False, timeout=300, **options)

    def children(self) -> list[Any]:
        """Of the engine, and what watches them."""
        import psutil

        return list(psutil.Process(self.process.pid).children(recursive=True))


@contextmanager
def served(run: Path, *options: str, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A server that has ended, with all its processes, when the block has."""
    import psutil

    server = Server(run, *options, environment=os.environ | {"PYTHONPATH": str(ROOT / "src")} | (environment or {}))
    children: list[Any] = []
    try:
        server.address()
        children = server.children()
        yield server
    finally:
        server.process.terminate()
        server.process.wait(120)
    assert psutil.wait_procs(children, timeout=20)[1] == []
