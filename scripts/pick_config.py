"""Print the config that fits the hardware, and on stderr which and why; or the CONFIG that is given. Used by
`make distill`, before it fetches a model: charts that cannot be read are said first.

    python scripts/pick_config.py [RECORDS [CONFIG]]

With charts of the user's own, a machine without a large GPU gets a real model, if a very small one.
"""

from __future__ import annotations

import sys
from pathlib import Path

from chartdistill.doctor.machine import find_cards
from chartdistill.doctor.shipped import pick
from chartdistill.errors import EngineError, InputError
from chartdistill.new_config.answers import require_a_chart
from chartdistill.records import source_for

if __name__ == "__main__":
    records, given = [*sys.argv[1:], "", ""][:2]
    try:
        if records:
            require_a_chart(source_for(Path(records)), Path(records))
        config, reason = (given, "") if given else pick(find_cards(), own_charts=bool(records))
    except InputError as error:
        print(f"distill: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except EngineError as error:
        sys.exit(f"distill: {error} To choose by hand: CONFIG=configs/...")
    if reason:
        print(f"distill: {config} ({reason}); choose another with CONFIG=configs/...", file=sys.stderr)
    print(config)
