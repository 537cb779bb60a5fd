"""What this machine is: cards, driver, memory, what already runs on the cards."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.version import Version

from chartdistill.doctor.check import Check
from chartdistill.engines import OpenAIEngine, VllmEngine, num_cards
from chartdistill.errors import ConfigError, EngineError
from chartdistill.run_config import RunConfig
from chartdistill.runtime.machine import GIB, num_cores, nvidia_smi, ram_bytes

MIB = 1 << 20
OLDEST_DRIVER = {12: "525.60.13", 13: "580.65.06"}
"""CUDA major version -> oldest Linux driver that runs it (CUDA release notes, minor version compatibility)."""

_ASK_CUDA = """
import json, torch
torch.cuda.init()
found = [(torch.cuda.get_device_properties(i), *torch.cuda.mem_get_info(i)) for i in range(torch.cuda.device_count())]
print(json.dumps([(card.name, total, free, card.major, card.minor) for card, free, total in found]))
"""
"""In a process of its own, which gives back what CUDA takes of a card."""
_ASK_CUDA_S = 300.0
_OTHER_SHARE = 0.9
"""Of a card, that must be free for an engine that does not say what it takes."""
_MAKE_ROOM = (
    "end what holds them, name other cards with CUDA_VISIBLE_DEVICES, or lower gpu_memory_utilization of both engines"
)


@dataclass(frozen=True)
class Card:
    """One GPU. Peaks are the maker's figures without sparsity; None where they are not known here."""

    name: str
    memory_bytes: int
    used_bytes: int = 0
    capability: tuple[int, int] | None = None
    """CUDA compute capability, for example (9, 0)."""
    tflops: float | None = None
    """16-bit matrix products with 32-bit sums, 10^12 operations per second."""
    fp8_tflops: float | None = None
    """The same with 8-bit floats; None where the card has none."""
    gbytes_per_s: float | None = None
    """Memory bandwidth, 10^9 bytes per second."""
    uuid: str = ""
    """As the driver calls it."""


KNOWN_CARDS: dict[str, Card] = {
    # Short name: memory as the driver reports it, capability, peaks of the data sheet.
    "rtx-3090": Card("NVIDIA GeForce RTX 3090", 24_576 * MIB, 0, (8, 6), 71, None, 936),
    "rtx-4090": Card("NVIDIA GeForce RTX 4090", 24_564 * MIB, 0, (8, 9), 165, 330, 1008),
    "a10": Card("NVIDIA A10", 23_028 * MIB, 0, (8, 6), 125, None, 600),
    "l4": Card("NVIDIA L4", 23_034 * MIB, 0, (8, 9), 121, 242, 300),
    "rtx-a6000": Card("NVIDIA RTX A6000", 49_140 * MIB, 0, (8, 6), 155, None, 768),
    "l40s": Card("NVIDIA L40S", 46_068 * MIB, 0, (8, 9), 362, 733, 864),
    "a100-40": Card("NVIDIA A100-SXM4-40GB", 40_960 * MIB, 0, (8, 0), 312, None, 1555),
    "a100-80": Card("NVIDIA A100-SXM4-80GB", 81_920 * MIB, 0, (8, 0), 312, None, 2039),
    "h100-pcie": Card("NVIDIA H100 PCIe", 81_559 * MIB, 0, (9, 0), 756, 1513, 2000),
    "h100": Card("NVIDIA H100 80GB HBM3", 81_559 * MIB, 0, (9, 0), 989, 1979, 3350),
    "h200": Card("NVIDIA H200", 143_771 * MIB, 0, (9, 0), 989, 1979, 4800),
    "b200": Card("NVIDIA B200", 183_359 * MIB, 0, (10, 0), 2250, 4500, 8000),
}


def parse_cards(text: str) -> list[Card]:
    """Cards of a machine that is not this one: `h100`, or `h100:8` for eight of them.

    Raises:
        ConfigError: not a name in `KNOWN_CARDS`.
    """
    name, _, count = text.partition(":")
    if name not in KNOWN_CARDS or re.fullmatch("[0-9]{1,4}", count or "1") is None or int(count or 1) < 1:
        raise ConfigError(
            f"--cards {text!r}: give NAME or NAME:COUNT with a name of {', '.join(KNOWN_CARDS)}, and 1 to 9999 of it."
        )
    return [KNOWN_CARDS[name]] * int(count or 1)


def find_cards() -> list[Card]:
    """The GPUs of this machine, by nvidia-smi; empty without one. CUDA_VISIBLE_DEVICES is obeyed, its order too.

    A card that shares the machine's memory has none of its own to tell: it counts as having all of it.

    Raises:
        EngineError: nvidia-smi is there and fails: the driver is broken.
    """
    rows = nvidia_smi("--query-gpu=index,name,memory.total,memory.used,compute_cap,uuid")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    cards = []
    if visible is not None:
        named = [part.strip() for part in visible.split(",")]
        rows = [row for part in named for row in rows if _names(part, row[0], row[-1])]
    for index, name, total, used, capability, uuid in rows:
        if not total.isdigit() and total != "[N/A]":
            raise EngineError(f"nvidia-smi says of the memory of card {index} ({name}): {total}. Repair the driver.")
        memory = int(total) * MIB if total.isdigit() else ram_bytes()
        used_bytes = int(used) * MIB if used.isdigit() else 0
        cards.append(replace(_card(name, memory, used_bytes, capability), uuid=uuid))
    return cards


def _names(part: str, index: str, uuid: str) -> bool:
    """Whether a part of CUDA_VISIBLE_DEVICES means this card: its number, or the beginning of its UUID."""
    return part == index or (part.startswith("GPU-") and uuid.startswith(part))


def _card(name: str, memory: int, used: int, capability: str) -> Card:
    numbers = re.fullmatch(r"(\d+)\.(\d+)", capability)
    found = Card(name, memory, used, (int(numbers[1]), int(numbers[2])) if numbers else None)
    for known in KNOWN_CARDS.values():
        # The memory tells two builds of one name apart (A100 with 40 and with 80 GB).
        same = re.search(rf"{re.escape(known.name)}\b", name, re.IGNORECASE)
        if same and abs(known.memory_bytes - memory) < 0.1 * memory:
            return replace(found, tflops=known.tflops, fp8_tflops=known.fp8_tflops, gbytes_per_s=known.gbytes_per_s)
    return found


def driver_version() -> str | None:
    """Version of the NVIDIA driver, None without one."""
    rows = nvidia_smi("--query-gpu=driver_version")
    return rows[0][0] if rows else None


@dataclass(frozen=True)
class Tenant:
    """A process that holds memory of a card."""

    pid: int
    mib: int
    is_ours: bool
    """Started by this program: its command line names it."""


def tenants(cards: Sequence[Card]) -> list[Tenant]:
    """Processes on these cards."""
    wanted = {card.uuid for card in cards}
    rows = nvidia_smi("--query-compute-apps=pid,used_memory,gpu_uuid")
    return [
        Tenant(int(pid), int(used) if used.isdigit() else 0, is_ours(int(pid)))
        for pid, used, uuid, *_ in rows
        if pid.isdigit() and pid != "0" and uuid in wanted
    ]


def is_ours(pid: int, proc: Path = Path("/proc")) -> bool:
    """Whether a process is of this program: by its command line, by the variable that every process of ours inherits,
    or by a process it descends from."""
    for _ in range(20):
        folder = proc / str(pid)
        try:
            if b"chartdistill" in (folder / "cmdline").read_bytes():
                return True
            parent = re.search(r"^PPid:\s+(\d+)", (folder / "status").read_text(), re.MULTILINE)
            if b"CHARTDISTILL_ALLOWED_HOSTS=" in (folder / "environ").read_bytes():
                return True
        except OSError:  # it has ended, or is another user's
            return False
        if parent is None or int(parent[1]) <= 1:
            return False
        pid = int(parent[1])
    return False


def describe_tenants(found: Sequence[Tenant]) -> str:
    """Who holds the cards, in words. Nothing is ever ended: what a process is worth, its owner knows."""
    return "; ".join(
        f"process {t.pid}{f' (of chartdistill; if no run needs it: `kill {t.pid}`)' if t.is_ours else ''} "
        f"holds {t.mib} MiB"
        for t in found
    )


def check_hardware(planned: list[Card] | None, share: float) -> tuple[list[Card], list[Check]]:
    """The cards to plan for (`planned`, or those found here) and what is to be said about them.

    Args:
        share: of each card's memory that the run will take.
    """
    if planned is not None:
        found = f"{describe_cards(planned)}, planned for; versions, offline state and modes below are this machine's"
        return planned, [Check("hardware", "ok", found)]
    try:
        cards = find_cards()
    except EngineError as error:
        return [], [Check("hardware", "no", str(error), "repair the driver, or plan with --cards")]
    sliced = "MIG-" in os.environ.get("CUDA_VISIBLE_DEVICES", "") and driver_version() is not None
    if not cards and not sliced:
        found = f"no CUDA card; CPU with {num_cores()} cores and {ram_bytes() / GIB:.0f} GiB of memory"
        return [], [Check("hardware", "ok", found)]
    checks = list(_driver())
    if all(check.state != "no" for check in checks):
        cards, check = _cuda(cards)
        checks.append(check)
    return cards, [Check("hardware", "ok", describe_cards(cards)), *checks, *_free(cards, share)]


def describe_cards(cards: Sequence[Card]) -> str:
    """Names and memory, equal cards counted."""
    names = [f"{card.name} ({card.memory_bytes / GIB:.1f} GiB)" for card in cards]
    return ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names)) or "a CPU"


def set_up_again() -> str:
    """What makes an environment that goes with this machine: `make setup` alone takes the one that is there for done.
    One that came from a bundle must stay until another bundle is at hand, since there may be no network."""
    note = Path(sys.prefix) / ".bundle"  # scripts/environment.py writes it
    if not note.is_file():
        return "run `make clean setup`"
    bundle = note.read_text(encoding="utf-8").strip()
    return f"it came from the bundle {bundle}: with one for this machine at hand, `make clean install BUNDLE=dir`"


def _driver() -> Iterator[Check]:
    import torch

    found = driver_version() or "none"
    if torch.version.cuda is None:
        yield Check("driver", "no", f"torch {torch.__version__} is a CPU build", set_up_again())
        return
    oldest = OLDEST_DRIVER.get(int(torch.version.cuda.split(".")[0]))
    said = f"{found}; torch {torch.__version__} with CUDA {torch.version.cuda}"
    if oldest is None:
        yield Check("driver", "warning", f"{said}: not known here", "see NVIDIA's CUDA compatibility table")
    elif found == "none" or Version(found) < Version(oldest):
        yield Check("driver", "no", f"{said} needs {oldest}", f"install NVIDIA driver {oldest} or newer")
    else:
        yield Check("driver", "ok", f"{said} needs {oldest}")


def _cuda(cards: list[Card]) -> tuple[list[Card], Check]:
    """The cards that CUDA itself sees. Where it sees none, engines would take the CPU without a word; where a card is
    divided (MIG), it sees a slice."""
    ask = [sys.executable, "-c", _ASK_CUDA]
    try:
        done = subprocess.run(ask, capture_output=True, text=True, check=False, timeout=_ASK_CUDA_S)
    except subprocess.TimeoutExpired:
        found = f"CUDA does not start in {_ASK_CUDA_S:g} s: the driver hangs"
        return cards, Check("CUDA", "no", found, "see `dmesg`, reboot")
    if done.returncode:
        said = done.stderr.strip().splitlines()
        found = f"CUDA does not start: {said[-1] if said else f'exit code {done.returncode}'}"
        remedy = "see `dmesg`; is the module nvidia-uvm loaded, and the fabric manager running where cards need it?"
        return cards, Check("CUDA", "no", found, remedy)
    seen = [
        Card(name, total, total - free, (major, minor)) for name, total, free, major, minor in json.loads(done.stdout)
    ]
    if len(seen) == len(cards) and all(
        abs(one.memory_bytes - other.memory_bytes) < 0.1 * other.memory_bytes
        for one, other in zip(seen, cards, strict=True)
    ):
        return cards, Check("CUDA", "ok", "starts, and sees the same cards")
    found = f"sees {describe_cards(seen)}, nvidia-smi lists {describe_cards(cards) if cards else 'none'}"
    return seen, Check("CUDA", "warning", found, "right for slices of a card (MIG); planned is for what CUDA sees")


def _free(cards: Sequence[Card], share: float) -> Iterator[Check]:
    used = ", ".join(
        f"card {number}: {card.used_bytes / GIB:.1f} GiB in use"
        for number, card in enumerate(cards)
        if card.used_bytes > 0.01 * card.memory_bytes
    )
    needed = f"{share:.0%} of each must be free"
    if full := [card for card in cards if _is_too_full(card, share)]:
        holders = describe_tenants(tenants(full)) or "no process is listed"
        yield Check("cards are free", "no", f"{used}; {needed}; {holders}", _MAKE_ROOM)
    else:
        yield Check("cards are free", "ok", f"{used or 'nothing else runs on them'}; {needed}")


def _is_too_full(card: Card, share: float) -> bool:
    return card.memory_bytes - card.used_bytes < share * card.memory_bytes


def needed_share(config: RunConfig, verb: str) -> float | None:
    """The share of each card's memory that must be free when a verb starts; None where it uses no card.

    A vLLM engine takes its `gpu_memory_utilization`, and training may have as much as the student's engine.
    """
    if verb == "label" and config.teacher.labels is not None:
        return None
    engine = (config.teacher if verb == "label" else config.student).engine
    if isinstance(engine, OpenAIEngine):
        if engine.urls and verb != "train":
            return None
        engine = engine.serve
    return engine.gpu_memory_utilization if isinstance(engine, VllmEngine) else _OTHER_SHARE


def needed_cards(config: RunConfig, verb: str) -> int | None:
    """How many cards a verb takes, from the first one on; None: all."""
    if verb == "train":
        return None
    return num_cards((config.teacher if verb == "label" else config.student).engine)


def require_free_cards(share: float, count: int | None = None, wait_s: float = 30.0) -> None:
    """Wait until this share of a card's memory is free: a process that just ended gives it back with a delay.

    Args:
        count: of the first so many cards; None: of every one.

    Raises:
        EngineError: it is not free in time; names who holds it.
    """
    until = time.monotonic() + wait_s
    while True:
        full = [(number, card) for number, card in enumerate(find_cards()[:count]) if _is_too_full(card, share)]
        if not full:
            return
        if time.monotonic() >= until:
            number, card = full[0]
            raise EngineError(
                f"card {number} ({card.name}) has {(card.memory_bytes - card.used_bytes) / GIB:.1f} of "
                f"{card.memory_bytes / GIB:.1f} GiB free, {share:.0%} are needed. "
                f"{describe_tenants(tenants([card])) or 'No process is listed: see `nvidia-smi` as root'}. "
                f"Nothing was ended: {_MAKE_ROOM}."
            )
        time.sleep(1.0)
