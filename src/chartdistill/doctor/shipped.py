"""The shipped configs (configs/ of the clone), and which of them fits which hardware: for `make distill` and `init`."""

from __future__ import annotations

from collections.abc import Sequence

from chartdistill.doctor.machine import Card, parse_cards
from chartdistill.runtime.machine import GIB
from chartdistill.runtime.yaml_file import CLONE

CONFIGS = CLONE / "configs"
LARGE, SMALL = 76 * GIB, 21 * GIB
"""What the driver reports of cards sold as 80 GB and as 24 GB is a little more."""
PLANNED_FOR = {"gpu-24gb": "rtx-4090", "gpu-80gb": "h100", "node-8gpu": "h100:8"}
"""Shipped config -> the cards that its own figures are for, in the words of `doctor --cards`."""


def pick(cards: Sequence[Card], own_charts: bool = False) -> tuple[str, str]:
    """Path of a config, relative to the clone, and the reason.

    With charts of the user's own, a machine without a large GPU gets a real model, if a very small one: the demo's
    models know nothing of medicine.
    """
    small, what = ("cpu-smollm2", "the very small SmolLM2-135M") if own_charts else ("demo", "the demo")
    if not cards:
        return f"configs/{small}.yaml", f"no CUDA GPU found, so {what} runs on the CPU"
    smallest = min(card.memory_bytes for card in cards)
    found = f"{len(cards)} GPU(s), the smallest with {smallest / GIB:.0f} GiB"
    if smallest >= LARGE and len(cards) >= 8:
        return "configs/node-8gpu.yaml", f"{found}: a node with eight cards"
    if smallest >= LARGE:
        return "configs/gpu-80gb.yaml", f"{found}: 80 GB class"
    if smallest >= SMALL:
        return "configs/gpu-24gb.yaml", f"{found}: 24 GB class"
    return f"configs/{small}.yaml", f"{found}: under 24 GB, so {what}"


def cards_named(hardware: str) -> list[Card]:
    """The cards that a name stands for: `cpu`, a shipped config (`gpu-24gb`), or what `doctor --cards` takes.

    Raises:
        ConfigError: none of these.
    """
    return [] if hardware == "cpu" else parse_cards(PLANNED_FOR.get(hardware, hardware))
