"""Print the config that fits the hardware, and on stderr which and why. Used by `make distill`.

    python scripts/pick_config.py [RECORDS]

With charts of the user's own, a machine without a large GPU gets a real model, if a very small one: the demo's models
know nothing of medicine.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from chartdistill.doctor.machine import GIB, Card, find_cards
from chartdistill.errors import EngineError

LARGE, SMALL = 76 * GIB, 21 * GIB
"""What the driver reports of cards sold as 80 GB and as 24 GB is a little more."""


def pick(cards: Sequence[Card], own_charts: bool = False) -> tuple[str, str]:
    """Config path and reason."""
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


if __name__ == "__main__":
    try:
        config, reason = pick(find_cards(), own_charts=any(sys.argv[1:]))
    except EngineError as error:
        sys.exit(f"distill: {error} To choose by hand: CONFIG=configs/...")
    print(f"distill: {config} ({reason}); choose another with CONFIG=configs/...", file=sys.stderr)
    print(config)
