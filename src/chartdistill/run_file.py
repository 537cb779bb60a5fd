"""What a trained student was trained for, kept beside its adapter: config and tasks, so that it can be asked again
without either. Written by `train`, read by `Reader`.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from chartdistill.config import Run, RunConfig
from chartdistill.errors import ArtefactError
from chartdistill.runtime.run_folder import write_text
from chartdistill.schema import Task

RUN_FILE = "run.json"
"""In adapter/."""


def write_run(run: Run) -> None:
    """Write config and tasks beside the adapter, if they are not there as they are now."""
    values = {
        "base": str(run.base),
        "config": run.config.model_dump(mode="json"),
        "tasks": [task.model_dump(mode="json") for task in run.tasks],
    }
    path, text = run.dir / "adapter" / RUN_FILE, json.dumps(values, indent=1, ensure_ascii=False) + "\n"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def read_run(run_dir: Path) -> Run:
    """The run of a folder, as its adapter was trained.

    Raises:
        ArtefactError: there is no such file, or it is of another version.
    """
    path = run_dir / "adapter" / RUN_FILE
    if not path.is_file():
        raise ArtefactError(
            f"{path} is missing: {run_dir} is no run folder with a trained student, or its student was trained by an "
            "earlier version. Name a folder in which `chartdistill train` has finished, or give the config too."
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        config = RunConfig.model_validate(values["config"] | {"run_dir": str(run_dir)})
        tasks = [Task.model_validate(task) for task in values["tasks"]]
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise ArtefactError(
            f"{path} was changed, or written by another version ({type(error).__name__}). Run `chartdistill train` "
            "again, or give the config too."
        ) from None
    return Run(config, Path(values["base"]), tasks)
