"""Print the config that fits the hardware, and on stderr which and why. Used by `make distill`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from chartdistill.doctor.machine import GIB, Card, find_cards
from chartdistill.errors import EngineError

LARGE, SMALL = 76 * GIB, 21 * GIB
"""What the driver reports of cards sold as 80 GB and as 24 GB is a little more."""


def pick(cards: Sequence[Card]) -> tuple[str, str]:
    """Config path and reason."""
    if not cards:
        return "configs/demo.yaml", "no CUDA GPU found, so the embedded demo runs on the CPU"
    smallest = min(card.memory_bytes for card in cards)
    found = f"{len(cards)} GPU(s), the smallest with {smallest / GIB:.0f} GiB"
    if smallest >= LARGE and len(cards) >= 8:
        return "configs/node-8gpu.yaml", f"{found}: a node with eight cards"
    if smallest >= LARGE:
        return "configs/gpu-80gb.yaml", f"{found}: 80 GB class"
    if smallest >= SMALL:
        return "configs/gpu-24gb.yaml", f"{found}: 24 GB class"
    return "configs/demo.yaml", f"{found}: under 24 GB, so the embedded demo"


if __name__ == "__main__":
    try:
        config, reason = pick(find_cards())
    except EngineError as error:
        sys.exit(f"distill: {error} To choose by hand: CONFIG=configs/...")
    print(f"distill: {config} ({reason}); choose another with CONFIG=configs/...", file=sys.stderr)
    print(config)
