"""The shape of the package: imports go one way, rooms have faces, files stay small, drawers list what they hold."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from places import ROOT

SOURCE = ROOT / "src" / "chartdistill"
FILES = sorted(SOURCE.rglob("*.py"))

STAGES = ["records", "labelling", "synthesis", "curation", "training", "evaluation", "reporting"]
"""In the order of the flow; a stage may use the face of one before it."""
LEVELS = [
    ["errors", "schema"],
    ["runtime"],
    ["prompting"],
    ["engines", "clinical"],
    ["metrics", "demo"],
    *[[stage] for stage in STAGES],
    ["run_config"],
    ["config"],
    ["run_file"],
    ["doctor"],
    ["pipeline"],
    ["export", "rounds", "study", "erasure", "reader", "new_config"],
    ["review", "serving"],
    ["commands"],
    ["command_line"],
    ["cli"],
    ["__main__"],
]
LEVEL_OF = {name: number for number, names in enumerate(LEVELS) for name in names}
REACHING_IN = ("export", "rounds", "study", "erasure", "pipeline", "reader", "review", "serving", "commands", "cli")
"""May reach into a stage, for its verbs and parts."""
VERBS = {
    "records": {"prepare"},
    "labelling": {"label"},
    "synthesis": {"synthesize"},
    "curation": {"curate", "audit"},
    "training": {"train"},
    "evaluation": {"evaluate", "predict", "score", "generation", "arms"},
    "reporting": {"report", "terminal"},
}
"""Files of the stages that may use the config, since nothing that the config uses uses them."""


def room(path: Path) -> str:
    """The first-level name a file belongs to."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[list[str]]:
    """Every module of ours that a file names, as its parts: `["metrics", "bootstrap"]`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "chartdistill":
            yield from ([alias.name] for alias in node.names if alias.name != "__version__")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("chartdistill."):
            parts = str(node.module).split(".")[1:]
            folder = SOURCE.joinpath(*parts)
            for alias in node.names:
                is_module = (folder / f"{alias.name}.py").exists() or (folder / alias.name).is_dir()
                yield [*parts, alias.name] if folder.is_dir() and is_module else parts
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1:] for a in node.names if a.name.startswith("chartdistill."))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_one_way(path: Path) -> None:
    own = room(path)
    if own == "__init__":
        light, lazy = [["runtime", "privacy"], ["runtime", "quiet"]], [["reader"]] * 3  # for type checkers alone
        assert sorted(imports(path)) == sorted([*light, *lazy])
        return
    is_verb = path.stem in VERBS.get(own, ())
    for parts in imports(path):
        other = parts[0]
        if other == own:
            continue
        if other in ("run_config", "config") and own in STAGES:
            assert is_verb, f"{path.name} is no verb and must not use config, which may use it"
            continue
        beside = LEVEL_OF[other] == LEVEL_OF[own] and own in ("errors", "schema")
        assert LEVEL_OF[other] < LEVEL_OF[own] or beside, f"{own} must not import {other}, which stands above it"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_stage_is_read_through_its_face(path: Path) -> None:
    own = room(path)
    for parts in imports(path):
        if parts[0] in STAGES and parts[0] != own and own not in REACHING_IN:
            assert len(parts) == 1, f"{own} reaches into {'.'.join(parts)}: take it from {parts[0]}/__init__.py"
        if path.name == "__init__.py" and own in STAGES and parts[0] == own and len(parts) > 1:
            assert parts[1] not in VERBS[own], f"the face of {own} must not export its verb {parts[1]}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_what_an_item_is_only_clinical_knows(path: Path) -> None:
    """`Task.item` names a kind of finding: all but the rooms that may know it ask `entity_of(task)`."""
    if room(path) in ("clinical", "prompting", "schema"):
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr == "item" and isinstance(node.value, ast.Name):
            assert node.value.id != "task", f"line {node.lineno} reads task.item; ask clinical.entities.entity_of(task)"


def test_training_can_be_imported_without_what_reads_charts() -> None:
    """On a machine that only trains, rapidfuzz and scipy may be missing."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('rapidfuzz', 'scipy')))\n"
        "import chartdistill.training; from chartdistill.training import packing, losses, sampler"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_is_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("drawer", ["engines", "curation/filters", "records/sources"])
def test_every_file_of_a_drawer_is_in_its_union(drawer: str) -> None:
    listed = (SOURCE / drawer / "__init__.py").read_text(encoding="utf-8")
    for path in (SOURCE / drawer).glob("*.py"):
        for name in re.findall(r"^class (\w+)\(.*\):\n(?:.*\n)*?    type: Literal\[", path.read_text(), re.MULTILINE):
            assert name in listed, f"{name} is in {path.name} but not in {drawer}/__init__.py"


def test_every_kind_of_finding_is_registered_and_has_a_task() -> None:
    from chartdistill.clinical.entities import ENTITY_TYPES, entity_of
    from chartdistill.config import load_task

    files = {path.stem for path in (SOURCE / "clinical" / "entities").glob("*.py")} - {
        "__init__", "base", "drug_named", "phrase_named",
    }  # fmt: skip
    assert files == {type(one).__module__.rpartition(".")[2] for one in ENTITY_TYPES}
    tasks = SOURCE.parents[1] / "configs" / "tasks"
    for one in ENTITY_TYPES:
        assert entity_of(load_task(tasks / f"{one.task_name}.yaml")) is one
    known = [name for one in ENTITY_TYPES for name in one.names]
    assert len(known) == len(set(known)), "two kinds go by one name"


def test_every_metric_is_in_the_catalogue() -> None:
    from chartdistill.metrics import AGREEMENT, METRICS
    from chartdistill.metrics.catalogue import BY_NAME

    assert set(BY_NAME) == {*METRICS, *AGREEMENT}


def test_no_room_is_called_utils() -> None:
    assert not [path for path in SOURCE.rglob("*") if path.stem in ("utils", "helpers", "common", "misc")]


def test_the_run_folder_of_a_config_of_ones_own_is_never_committed() -> None:
    """`chartdistill init mine`, as the README has it, writes charts' text into `mine/run`."""
    assert "/*/run/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
