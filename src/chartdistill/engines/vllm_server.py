"""A `vllm serve` of our own: on loopback, with a key of its own, as a child that ends when we do.

Run as a module, this file is that child. It imports this package first, so its sockets are guarded too, as are those
of the engine processes that it starts.
"""

from __future__ import annotations

import http.client
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from chartdistill.engines.vllm_engine import VllmEngine
from chartdistill.engines.watch import socket_folder
from chartdistill.errors import EngineError
from chartdistill.runtime.processes import end_with_parent

MODEL_NAME = "model"
_PARENT = "CHARTDISTILL_SERVER_PARENT"


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str
    """Ends with /v1."""
    api_key: str
    """Other users of this machine cannot ask without it."""
    pid: int


@contextmanager
def serve(
    options: VllmEngine, model: Path, lora_rank: int | None, start_timeout_s: float, log: Path | None = None
) -> Iterator[Server]:
    """Start a server, wait until it answers, stop it at the end.

    Raises:
        EngineError: it ended or did not answer in time; the error has the last lines it wrote.
    """
    import torch

    on_cpu = not torch.cuda.is_available()
    port, key = _free_port(), secrets.token_urlsafe(32)
    environment = {
        **os.environ,
        "VLLM_API_KEY": key,
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1" if lora_rank is not None else "0",
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # so that engine processes import this module, and its guard
        _PARENT: str(os.getpid()),
    }
    arguments = options.arguments(on_cpu, lora_rank) | {
        "host": "127.0.0.1",
        "port": port,
        "served_model_name": MODEL_NAME,
        "enable_prompt_tokens_details": True,  # the only way to learn of cached tokens
        "disable_log_stats": False,  # /metrics tells the size of the KV cache
        "disable_uvicorn_access_log": True,
        "uvicorn_log_level": "error",
    }
    command = [sys.executable, "-m", __name__, "serve", str(model), *_flags(arguments)]
    # Without `log`, what it writes goes to a file without a name, which no crash leaves behind.
    with (
        tempfile.TemporaryFile() if log is None else open(log, "w+b", opener=_only_for_us) as written,
        socket_folder() as sockets,
    ):
        environment |= options.environment(on_cpu, sockets)
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=written, stderr=written, start_new_session=True
        )
        try:
            _wait_until_ready(process, port, model, start_timeout_s, written)
            yield Server(f"http://127.0.0.1:{port}/v1", key, process.pid)
        finally:
            _stop(process)


def _only_for_us(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _flags(arguments: dict[str, Any]) -> list[str]:
    """Engine arguments as command line options."""
    flags: list[str] = []
    for name, value in arguments.items():
        flag = name.replace("_", "-")
        if value is True:
            flags.append(f"--{flag}")
        elif value is False:
            # What is enabled by default is not disabled by leaving it out; the others have no such form.
            flags += [f"--no-{flag}"] if name.startswith("enable_") else []
        else:
            flags += [f"--{flag}", str(value)]
    return flags


def _wait_until_ready(
    process: subprocess.Popen[bytes], port: int, model: Path, timeout_s: float, written: IO[bytes]
) -> None:
    until = time.monotonic() + timeout_s
    while process.poll() is None and time.monotonic() < until:
        if _is_healthy(port):
            return
        time.sleep(0.1)
    code = process.poll()
    what = f"was not up after {timeout_s} s" if code is None else f"ended with exit code {code}"
    written.seek(0)
    lines = written.read().decode("utf-8", "replace").strip().splitlines()
    raise EngineError(
        f"`vllm serve {model}` {what}. Its last lines:\n" + "\n".join(lines[-12:]) + "\nCheck the options under "
        "`engine.serve` (VLLM_LOGGING_LEVEL=INFO says more), or raise `engine.start_timeout_s`."
    )


def _is_healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask once, wait, then end the whole group: on CPU a vLLM worker does not always end by itself."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=15)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _end_with_starter() -> None:
    end_with_parent()
    if os.getppid() != int(os.environ[_PARENT]):  # it died before the line above
        sys.exit(1)


def _serve_vllm() -> None:
    """What `vllm serve` does, without its main(): that one asks for the version of a package by the name `vllm`."""
    from vllm.entrypoints.cli.serve import cmd_init
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = FlexibleArgumentParser()
    subparsers = parser.add_subparsers(required=True)
    for command in cmd_init():
        command.subparser_init(subparsers).set_defaults(command=command)
    arguments = parser.parse_args()
    arguments.command.validate(arguments)
    arguments.command.cmd(arguments)


if __name__ == "__main__":
    _end_with_starter()
    _serve_vllm()
