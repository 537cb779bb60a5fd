"""The verb `init`: five answers -> FOLDER/config.yaml and FOLDER/tasks/, which `doctor` looks at before all is done.

All is asked and checked before anything is written; the files appear together, and an interrupted call leaves none.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from chartdistill.config import load_run
from chartdistill.doctor.diagnosis import Diagnosis, diagnose
from chartdistill.doctor.page import show
from chartdistill.doctor.shipped import CONFIGS
from chartdistill.errors import ArtefactError, ConfigError, InputError
from chartdistill.new_config.answers import Answers, ask_all, can_be_written
from chartdistill.new_config.config_text import new_config
from chartdistill.runtime.run_folder import disk_errors

_OF_THE_ANSWERS = ("charts", "gold")
"""Checks of `doctor` that an answer can put right: without them nothing is written."""


def init(folder: Path, given: Mapping[str, str | None], overwrite: bool = False) -> bool:
    """Make the config, say what `doctor` finds, and return whether it is a go.

    Args:
        given: option names, without dashes in front, `_` between words -> what the user typed; None: ask.
        overwrite: files that are there may be replaced.

    Raises:
        ConfigError, InputError: an answer cannot be used.
        ArtefactError: the folder cannot be written, or holds a config already.
    """
    if not (CONFIGS / "demo.yaml").is_file():
        raise ConfigError(f"init makes a config from the shipped ones, and {CONFIGS} has none: run it from a clone.")
    folder = Path(os.path.abspath(folder))
    _require_place(folder, overwrite)
    try:
        answers = ask_all(given)
        _require_apart(folder, answers)
        found = _write(folder, answers, overwrite)
    except KeyboardInterrupt:
        print("\ninit: interrupted, nothing was written", file=sys.stderr)
        sys.exit(130)
    config = _shown(folder) / "config.yaml"
    print(show(found, config, brief=True))
    program = shlex.quote(sys.argv[0]) if Path(sys.argv[0]).name == "chartdistill" else (
        f"{shlex.quote(sys.executable)} -m chartdistill"
    )  # fmt: skip
    print(f"\n{config} is written, with {len(answers.tasks)} task files beside it. Read it, then:")
    for verb in ("doctor", "run"):
        print(f"  {program} {verb} {shlex.quote(str(config))}")
    return found.go


def _shown(folder: Path) -> Path:
    """As short as it can be named from here."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def _require_place(folder: Path, overwrite: bool) -> None:
    with disk_errors(folder):
        if folder.exists() and not folder.is_dir():
            raise ArtefactError(f"{folder} is a file. Give the name of a folder; it is made if it is not there.")
        if not folder.parent.is_dir():
            raise ArtefactError(
                f"{folder}: the folder {folder.parent} does not exist. Give another place, or make it: "
                f"mkdir -p {shlex.quote(str(folder.parent))}"
            )
        nearest = folder if folder.is_dir() else folder.parent
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise ArtefactError(
                f"{nearest} cannot be written to by you. Give another folder, or change its permissions."
            )
        if not can_be_written(folder):
            raise ArtefactError(
                f"{str(folder)!r}: a config cannot hold this name. Give one of UTF-8 without control characters."
            )
        if (folder / "config.yaml").exists() and not overwrite:
            raise ArtefactError(
                f"{folder / 'config.yaml'} exists and stays as it is. Give another folder, or --overwrite to replace "
                "it and the tasks beside it."
            )


def _require_apart(folder: Path, answers: Answers) -> None:
    """That the run will not be written among the charts it reads."""
    charts = getattr(answers.records, "path", None)
    if charts is not None and Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(charts)):
        raise InputError(
            f"{folder} lies among the charts ({charts}), which would then be read with what the run writes. Give a "
            "folder elsewhere."
        )


def _write(folder: Path, answers: Answers, overwrite: bool) -> Diagnosis:
    """The files, first beside their place: `doctor` looks at them there, and they are moved when nothing is amiss that
    another answer would put right."""
    with _staging(folder) as staging:
        (staging / "tasks").mkdir()
        for path in answers.tasks:
            shutil.copyfile(path, staging / "tasks" / path.name)
        (staging / "config.yaml").write_text(new_config(answers, folder), encoding="utf-8")
        run = load_run(staging / "config.yaml")
        found = diagnose(run, answers.hardware.planned)
        wrong = [check for check in found.checks if check.name in _OF_THE_ANSWERS and check.state == "no"]
        if wrong:
            said = "; ".join(f"{check.found}: {check.remedy}" if check.remedy else check.found for check in wrong)
            raise InputError(f"{said}. Nothing was written.")
        _move(staging, folder, overwrite)
    return found


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """A folder beside the one to make, gone after the block."""
    staging = folder.parent / f".{folder.name}.{os.getpid()}.partial"
    try:
        with disk_errors(folder):
            staging.mkdir(mode=0o700)
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _move(staging: Path, folder: Path, overwrite: bool) -> None:
    """All files at once where the folder is new; else one by one, the config last, or none."""
    if not folder.exists():
        with disk_errors(folder):
            staging.rename(folder)
        return
    names = [*(Path("tasks") / path.name for path in sorted((staging / "tasks").iterdir())), Path("config.yaml")]
    there = [str(folder / name) for name in names if (folder / name).exists()]
    if there and not overwrite:
        raise ArtefactError(f"{', '.join(there)}: there already, and stays. Give another folder, or --overwrite.")
    with disk_errors(folder):
        (folder / "tasks").mkdir(exist_ok=True)
        for name in names:
            os.replace(staging / name, folder / name)
