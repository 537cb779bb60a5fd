"""Print the config that fits the hardware, and on stderr which and why. Used by `make distill`.

    python scripts/pick_config.py [RECORDS]

With charts of the user's own, a machine without a large GPU gets a real model, if a very small one.
"""

from __future__ import annotations

import sys

from chartdistill.doctor.machine import find_cards
from chartdistill.doctor.shipped import pick
from chartdistill.errors import EngineError

if __name__ == "__main__":
    try:
        config, reason = pick(find_cards(), own_charts=any(sys.argv[1:]))
    except EngineError as error:
        sys.exit(f"distill: {error} To choose by hand: CONFIG=configs/...")
    print(f"distill: {config} ({reason}); choose another with CONFIG=configs/...", file=sys.stderr)
    print(config)
