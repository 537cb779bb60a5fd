"""A run written down: what a trained student was trained for, kept beside its adapter, so that it can be asked again
without config and tasks (written by `train`, read by `Reader`); and the config of a run that another one is made from.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from chartdistill.config import Run
from chartdistill.errors import ArtefactError
from chartdistill.run_config import RunConfig
from chartdistill.runtime.run_folder import make_folder, write_text
from chartdistill.schema import Task

RUN_FILE = "run.json"
"""In adapter/."""
_MOST_NAMED = 5


def write_run(run: Run) -> None:
    """Write config and tasks beside the adapter, if they are not there as they are now."""
    values: dict[str, Any] = {
        "base": str(run.base),
        "config": run.config.model_dump(mode="json"),
        "tasks": [_whole_task(task) for task in run.tasks],
    }
    first = run.tasks[0] if run.tasks else None
    if first is not None and first.shown_charts:
        values["shown_charts"] = list(first.shown_charts)
    if first is not None and first.vocabulary is not None:
        values["vocabulary"] = first.vocabulary.model_dump(mode="json")
    # In ASCII: a path may have bytes that are no UTF-8, which an escape can say.
    path, text = run.dir / "adapter" / RUN_FILE, json.dumps(values, indent=1) + "\n"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def _whole_task(task: Task) -> dict[str, Any]:
    """A task with its worked examples: a student that had them in training is asked with them."""
    values = task.model_dump(mode="json")
    return values | ({"examples": [one.model_dump() for one in task.examples]} if task.examples else {})


def read_run(run_dir: Path) -> Run:
    """The run of a folder, as its adapter was trained.

    Raises:
        ArtefactError: there is no such file, or it is of another version.
    """
    path = run_dir / "adapter" / RUN_FILE
    if not run_dir.is_dir():
        raise ArtefactError(
            f"{run_dir} {'is no folder' if run_dir.exists() else 'does not exist'}. Name the folder of a run in which "
            f"`chartdistill train` has finished.{_near(run_dir)}"
        )
    if not path.is_file():
        raise ArtefactError(
            f"{path} is missing: {run_dir} is no run folder with a trained student, or its student was trained by an "
            "earlier version. Name a folder in which `chartdistill train` has finished, or give the config too."
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        config = RunConfig.model_validate(values["config"] | {"run_dir": str(run_dir)})
        of_run = {name: values[name] for name in ("shown_charts", "vocabulary") if name in values}
        tasks = [Task.model_validate(task | of_run) for task in values["tasks"]]
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise ArtefactError(
            f"{path} was changed, or written by another version ({type(error).__name__}). Run `chartdistill train` "
            "again, or give the config too."
        ) from None
    return Run(config, Path(values["base"]), tasks)


def _near(run_dir: Path) -> str:
    """What runs there are beside it, by name."""
    found = sorted(path.parent.parent.name for path in run_dir.parent.glob(f"*/adapter/{RUN_FILE}"))
    more = f" and {len(found) - _MOST_NAMED} others" if len(found) > _MOST_NAMED else ""
    return f" {run_dir.parent} has {', '.join(found[:_MOST_NAMED])}{more}." if found else ""


def derive(run: Run, folder: Path, changes: Mapping[str, Any]) -> Path:
    """A config file in `folder`: the run's, with absolute paths and the changes (one level deep)."""
    values = run.config.model_dump(mode="json", exclude_none=True)
    # What was left out of it a starting adapter decides.
    values["train"]["lora"] = run.config.train.lora.model_dump(mode="json", exclude_unset=True)
    for section, change in changes.items():
        values[section] = {**values[section], **change} if isinstance(change, dict) else change
    values["run_dir"] = str(folder.resolve())
    for source in values["records"]:
        if "path" in source:  # that of --records is relative to the current folder
            source["path"] = os.path.abspath(source["path"])
    values["tasks"] = [str((run.base / task).resolve()) for task in run.config.tasks]
    if run.config.vocabulary is not None:
        values["vocabulary"] = str((run.base / run.config.vocabulary).resolve())
    if (labels := run.teacher_labels) is not None:
        values["teacher"]["labels"]["path"] = str(labels.path)
    for role in ("teacher", "student"):
        if (model := values[role].get("model")) is not None and (near := run.base / model).is_dir():
            values[role]["model"] = str(near.resolve())
        if values[role].get("adapter") is not None:
            values[role]["adapter"] = str((run.base / values[role]["adapter"]).resolve())
    make_folder(folder)
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    path = folder / "config.yaml"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
    return path
