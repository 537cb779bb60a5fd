"""Nothing leaves the machine: offline switches, and a guard on every socket of every process we start.

`enforce()` is called before any library is imported. It sets the variables that libraries read (children inherit
them) and installs an audit hook that refuses connections and name look-ups to anything but this machine, unless
the config names the host. Child processes import this package too and so install the same guard.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from collections.abc import Iterable
from typing import Any

from chartdistill.errors import PrivacyError

PROCESS_VARIABLES = {
    # Offline and no telemetry.
    "HF_HUB_OFFLINE": "1",  # huggingface_hub, transformers: no downloads, no HEAD requests
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "USE_HUB_KERNELS": "0",  # transformers: no compiled code from a hub, even where the package `kernels` is installed
    "DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",  # vLLM and others
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    # vLLM asks NVIDIA's server whether it is there, flashinfer gets kernels from it. A folder may be named instead.
    "FLASHINFER_CUBINS_REPOSITORY": "/nonexistent",
    "FLASHINFER_NO_DOWNLOAD": "1",
    # These two download in native code, where the guard below sees nothing.
    "HF_HUB_DISABLE_XET": "1",
    "TIKTOKEN_ENCODINGS_BASE": "/nonexistent",  # openai_harmony, for gpt-oss models; a folder may be named instead
    "WANDB_MODE": "disabled",
    "WANDB_DISABLED": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "ANONYMIZED_TELEMETRY": "False",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",  # one progress bar, ours
    "TOKENIZERS_PARALLELISM": "false",  # forks after tokenizing otherwise warn, or hang
    "VLLM_HOST_IP": "127.0.0.1",  # engine processes talk over loopback, not over the machine's address
    "GLOO_SOCKET_IFNAME": "lo",
    "NCCL_SOCKET_IFNAME": "lo",  # cards of one machine; over several see configs/accelerate/multi-node.yaml
    "OTEL_SDK_DISABLED": "true",  # opentelemetry, which vLLM brings along
    "RAY_USAGE_STATS_ENABLED": "0",
}
_ALLOWED = "CHARTDISTILL_ALLOWED_HOSTS"
_installed = False


def enforce(allowed_hosts: Iterable[str] = ()) -> None:
    """Switch libraries to offline and refuse connections to other machines, in this process and its children.

    Args:
        allowed_hosts: host names or addresses the config allows (`privacy.allowed_hosts`).
    """
    for name, value in PROCESS_VARIABLES.items():
        os.environ.setdefault(name, value)
    os.environ[_ALLOWED] = ",".join(sorted(set(allowed_hosts)))
    _install()


def enforce_in_child() -> None:
    """Install the guard when a parent process has enforced it."""
    if _ALLOWED in os.environ:
        _install()


def _install() -> None:
    global _installed
    if not _installed:
        sys.addaudithook(_refuse)
        _installed = True


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getnameinfo"):
        address = arguments[-1]  # getnameinfo, which asks a name server who that is, has no socket before it
        host = address[0] if isinstance(address, tuple) and address else None
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        host = arguments[0]
    else:
        return
    if not isinstance(host, str | bytes):  # a unix socket path, or "any address" for a server
        return
    name = host.decode() if isinstance(host, bytes) else host
    check_host(name)


def check_host(name: str) -> None:
    """Raise PrivacyError unless a host name or address is this machine or is allowed by the config.

    Connections are made to addresses, so an address that an allowed name has now is allowed too.
    """
    allowed = [host for host in os.environ.get(_ALLOWED, "").split(",") if host]
    if not is_local(name) and name not in allowed and not any(name in _addresses(host) for host in allowed):
        raise PrivacyError(
            f"refused to connect to {name!r}: charts may not leave this machine. If this host may see them, add it to "
            "privacy.allowed_hosts in the config; if a library tried on its own, report it: that is a bug."
        )


def _addresses(host: str) -> set[str]:
    try:
        return {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return set()


def is_local(host: str) -> bool:
    """Whether a host name or address means this machine."""
    if host in ("", "localhost", "localhost.localdomain", "0.0.0.0", "::"):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
