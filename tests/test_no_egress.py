"""No egress: where there is a way out, nothing takes it. That nothing needs one, test_whole_flow.py shows."""

from __future__ import annotations

import importlib.util
import ipaddress
import json
import re
import shutil
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from chartdistill.errors import PrivacyError
from places import ROOT

CALLS = "connect,sendto,sendmsg,sendmmsg"


def small_demo(tmp_path: Path) -> list[str]:
    """The command of a run of the demo with a few charts, that uses vLLM and transformers."""
    values = yaml.safe_load((ROOT / "configs/demo.yaml").read_text(encoding="utf-8"))
    values["tasks"] = [str(ROOT / "configs" / task) for task in values["tasks"]]
    for source, count in zip(values["records"], (12, 4, 4), strict=True):
        source["count"] = count
    for role, engine in (("teacher", "vllm"), ("student", "transformers")):
        values[role]["model"] = str((ROOT / "configs" / values[role]["model"]).resolve())
        values[role]["engine"] = {"type": engine, "dtype": "float32"}
    values["train"] = {"epochs": 1, "records_per_step": 4, "validation_records": 0}
    values["evaluate"] = {"bootstrap_resamples": 100, "max_answer_tokens": 32}
    del values["gates"]  # so few charts teach nobody; it is about the network here
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return [sys.executable, "-m", "chartdistill", "run", str(path), "--run-dir", str(tmp_path / "run"), "--quiet"]


def run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=1500)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_process_connects_to_another_machine(tmp_path: Path, users_environment: dict[str, str]) -> None:
    trace = tmp_path / "trace"
    tracer = working_tracer(trace)
    if tracer is None:
        pytest.skip("strace sees no connection here, not even one made for it to see")
    # A trace that saw nothing proves nothing, so one connection is made for it to see: a run may make none at all.
    first = "import socket, subprocess, sys; socket.socket().connect_ex(('127.0.0.1', 9)); "
    first += "sys.exit(subprocess.run(sys.argv[1:]).returncode)"
    done = run([*tracer, sys.executable, "-c", first, *small_demo(tmp_path)], users_environment)
    assert done.returncode == 0, done.stderr[-3000:]
    text = trace.read_text(encoding="utf-8", errors="replace")
    assert "connect(" in text
    assert (tmp_path / "run/report/report.json").is_file()
    print(f"\n{families(text)}; elsewhere: {destinations_elsewhere(text)}")
    assert destinations_elsewhere(text) == []


def working_tracer(trace: Path) -> list[str] | None:
    """The `strace` command that sees a child's connection on this system: some sandboxes accept it and show nothing."""
    caller = "import socket; socket.socket().connect_ex(('127.0.0.1', 9))"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {caller!r}])"
    for speed in (["--seccomp-bpf"], []):
        tracer = ["strace", "-f", *speed, "-qq", "-e", f"trace={CALLS}", "-e", "signal=none", "-o", str(trace)]
        done = subprocess.run([*tracer, sys.executable, "-c", parent], capture_output=True, check=False)
        if done.returncode == 0 and "connect(" in trace.read_text(encoding="utf-8", errors="replace"):
            return tracer
    return None


def families(trace: str) -> dict[str, int]:
    """How many of the traced calls name an address of which family, and how many processes made them."""
    lines = [line for line in trace.splitlines() if "sa_family=" in line]
    counts = Counter(re.findall(r"sa_family=(AF_\w+)", "\n".join(lines)))
    return {**counts, "processes": len({line.split()[0] for line in lines})}


def destinations_elsewhere(trace: str) -> list[str]:
    """Internet addresses in a trace that are not loopback."""
    found = re.findall(r'sin_addr=inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"', trace)
    addresses = {four or six for four, six in found}
    return sorted(a for a in addresses if not ipaddress.ip_address(a).is_loopback)


def test_the_reader_of_traces_sees_what_it_must_see() -> None:
    line = 'connect(5, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("192.0.2.7")}, 16) = -1 ENETUNREACH'
    six = 'connect(5, {sa_family=AF_INET6, inet_pton(AF_INET6, "2001:db8::1", &sin6_addr), sin6_scope_id=0}, 28) = 0'
    own = 'connect(5, {sa_family=AF_INET, sin_port=htons(9), sin_addr=inet_addr("127.0.0.1")}, 16) = 0\nAF_UNIX'
    assert destinations_elsewhere("\n".join([line, six, own])) == ["192.0.2.7", "2001:db8::1"]


LIBRARIES = """
import json
from chartdistill import privacy
privacy.enforce()
import datasets.config, huggingface_hub.constants as hub, transformers.utils.hub as transformers_hub
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NoOpTracer
from vllm.usage import usage_lib
from vllm.utils import flashinfer, network_utils
print(json.dumps({
    "hub is offline": hub.is_offline_mode(),
    "hub sends no telemetry": hub.HF_HUB_DISABLE_TELEMETRY,
    "hub leaves its native downloader out": hub.HF_HUB_DISABLE_XET,
    "transformers is offline": transformers_hub.is_offline_mode(),
    "datasets is offline": datasets.config.HF_HUB_OFFLINE,
    "vLLM sends no usage statistics": not usage_lib.is_usage_stats_enabled(),
    "vLLM asks nobody for the machine's address": network_utils.get_ip() == "127.0.0.1",
    "vLLM asks no server for kernels": "://" not in flashinfer.FLASHINFER_CUBINS_REPOSITORY,
    "opentelemetry traces nothing": isinstance(TracerProvider().get_tracer("x"), NoOpTracer),
}))
"""


@pytest.mark.slow
def test_the_libraries_themselves_say_that_they_are_off(users_environment: dict[str, str]) -> None:
    # A switch whose name a library has changed would go unnoticed, were only our own table looked at.
    done = run([sys.executable, "-c", LIBRARIES], users_environment)
    assert done.returncode == 0, done.stderr[-3000:]
    answers = json.loads(done.stdout.splitlines()[-1])
    assert len(answers) == 9
    assert [said for said, true in answers.items() if not true] == []


IMPORTS = """
import json, sys
seen, forced = [], []
def trace(event, arguments):
    if event == "import":
        name = arguments[0]
        if name == "bitsandbytes.backends.cpu.ops" and not forced:
            forced.append(name)  # as on a processor with AVX512-BF16, whatever this one has
            import bitsandbytes.functional
            bitsandbytes.functional.has_avx512bf16 = lambda: True
        if name.split(".")[0] in ("kernels", "hf_xet", "wandb", "sentry_sdk"):
            seen.append(name.split(".")[0])
    elif event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"):
        seen.append(f"{event} {arguments[:2]!r}")
sys.addaudithook(trace)
from chartdistill.runtime import privacy, quiet
privacy.enforce()
quiet.quieten()
import bitsandbytes, transformers, peft, accelerate, datasets, safetensors, tokenizers, vllm
print(json.dumps({"seen": sorted(set(seen)), "forced": forced}))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_the_libraries_reach_for_when_they_are_imported(users_environment: dict[str, str]) -> None:
    done = run([sys.executable, "-c", IMPORTS], users_environment)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["forced"], "bitsandbytes decides elsewhere now: read it again, and docs/privacy.md"
    assert "kernels" in found["seen"], "the trace sees what it must see"
    assert [one for one in found["seen"] if one not in ("kernels", "hf_xet")] == []
    assert "kernels" not in done.stderr and "Triton" not in done.stderr, done.stderr[-3000:]
    assert importlib.util.find_spec("kernels") is None, "none of the locked packages; it gets code from a hub"


def test_names_are_not_looked_up_and_messages_not_sent() -> None:
    for look_up in (socket.gethostbyname, socket.gethostbyaddr):
        with pytest.raises(PrivacyError, match="refused to connect to 'charts"):
            look_up("charts.example.invalid")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram, pytest.raises(PrivacyError):
        datagram.sendmsg([b"x"], [], 0, ("192.0.2.1", 53))
