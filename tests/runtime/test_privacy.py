"""Nothing leaves the machine: in this process, in processes we start, whatever the library."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.request

import pytest

from chartdistill.errors import PrivacyError
from chartdistill.runtime import privacy

ELSEWHERE = "192.0.2.1"  # RFC 5737: documentation only, never routed


def test_connections_to_other_machines_are_refused_by_name_and_address() -> None:
    with socket.socket() as plain, pytest.raises(PrivacyError, match="refused to connect"):
        plain.connect((ELSEWHERE, 80))
    with pytest.raises(PrivacyError, match="charts may not leave"):
        socket.getaddrinfo("example.invalid", 443)
    with pytest.raises(OSError, match="charts may not leave"):  # urllib wraps it
        urllib.request.urlopen("http://example.invalid/")
    for flags in (0, socket.NI_NAMEREQD):
        with pytest.raises(PrivacyError, match="charts may not leave"):
            socket.getnameinfo((ELSEWHERE, 443), flags)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram, pytest.raises(PrivacyError):
        datagram.sendto(b"x", (ELSEWHERE, 53))


def test_loopback_and_unix_sockets_work() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        server.accept()[0].close()
        assert client.getpeername()[0] == "127.0.0.1"
    left, right = socket.socketpair()
    left.close(), right.close()


def test_a_child_process_installs_the_same_guard() -> None:
    program = f"import chartdistill, socket; socket.socket().connect(('{ELSEWHERE}', 80))"
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert child.returncode != 0
    assert "PrivacyError" in child.stderr


def test_an_allowed_host_passes_the_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHARTDISTILL_ALLOWED_HOSTS", "teacher.example.invalid")
    # The audit event itself, so that no test asks a name server.
    sys.audit("socket.getaddrinfo", "teacher.example.invalid", 443, 0, 0, 0)
    with pytest.raises(PrivacyError):
        sys.audit("socket.getaddrinfo", "other.example.invalid", 443, 0, 0, 0)


def test_libraries_are_told_to_stay_offline() -> None:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "VLLM_NO_USAGE_STATS", "DO_NOT_TRACK"):
        assert os.environ[name] == privacy.PROCESS_VARIABLES[name]


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("127.8.9.1", True), ("10.0.0.1", False),
     ("localhost.evil.example", False), ("::ffff:8.8.8.8", False)],
)  # fmt: skip
def test_what_counts_as_this_machine(host: str, local: bool) -> None:
    assert privacy.is_local(host) is local
