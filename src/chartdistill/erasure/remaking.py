"""What is made again after an erasure, and the command that trains again."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from chartdistill.errors import ChartDistillError
from chartdistill.pipeline import VERBS
from chartdistill.run_file import RUN_FILE, read_run

_AGAIN = "make it again with `chartdistill report CONFIG`"


def remake_report(home: Path) -> str:
    """Make a run's report again, where the run is known from its adapter; returns what was done, in words."""
    if not (home / "adapter" / RUN_FILE).is_file():
        return f"removed; {_AGAIN}"
    try:
        VERBS["report"](read_run(home), lambda done, total=None, tokens=0: None)
    except (ChartDistillError, OSError, ValueError, LookupError, TypeError) as error:  # of files that somebody damaged
        return f"removed; it could not be made again ({type(error).__name__}), so {_AGAIN}"
    return "removed, and made again without it"


def retrain_command(home: Path, erased_from: Path) -> str:
    """The command that trains a run's student again without the erased records."""
    config = "CONFIG"
    path = home / "adapter" / RUN_FILE
    if not path.is_file() and home != erased_from:  # a part of a study, which trains what it lacks
        return "chartdistill study CONFIG, with the study's own file"
    if path.is_file():
        with suppress(ValueError, AttributeError, TypeError):  # damaged: the user knows the config
            values = json.loads(path.read_text(encoding="utf-8"))
            named = Path(values.get("base", ""), f"{values.get('config', {}).get('name', '')}.yaml")
            config = str(named) if named.is_file() else config
    return f"chartdistill run {config} --run-dir {home} --from curate"
