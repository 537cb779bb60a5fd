"""Print the run folder for charts of the user's own where none is named. Used by `make distill RECORDS=path/to/charts`.

    python scripts/pick_run_dir.py RECORDS

It is `runs/` and the last part of the path (of `notes/*.TXT` the folder). Must hold: charts of another place that end
alike do not replace what was made of the first.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from chartdistill.errors import ArtefactError
from chartdistill.runtime.run_folder import read_manifest

_NAME_ONE = "Give this run a folder of its own: RUN_DIR=runs/NAME"


def pick_run_dir(records: Path) -> Path:
    """Where a run of these charts goes.

    Raises:
        ArtefactError: charts of another place are there, or the path gives no name.
    """
    where = records.parent if "*" in records.name and not records.exists() else records
    name = Path(os.path.abspath(where)).name
    if not name:
        raise ArtefactError(f"RECORDS={records} has no last part to name a run after. {_NAME_ONE}")
    folder = Path("runs", name)
    prepared = read_manifest(folder / "records")
    if prepared is None:
        return folder
    paths = [Path(source["path"]) for source in prepared.get("sources", []) if "path" in source]
    if where.resolve() in [path.resolve() for path in paths]:
        return folder
    of = " and ".join(map(str, paths)) or "other charts"
    raise ArtefactError(
        f"{folder} holds the run of {of}, which one of {records} would replace. {_NAME_ONE} (RUN_DIR={folder} to "
        "replace it all the same, as where the charts were only moved)"
    )


if __name__ == "__main__":
    try:
        print(pick_run_dir(Path(sys.argv[1])))
    except ArtefactError as error:
        print(f"distill: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
