"""The shape of the package: imports go one way, files stay small, drawers list what they hold."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "chartdistill"
FILES = sorted(SOURCE.rglob("*.py"))

LEVELS = [
    {"errors"},
    {"schema"},
    {"runtime"},
    {"prompting", "engines"},
    {"clinical"},
    {"demo", "metrics"},
    {"records", "labelling", "curation", "training", "evaluation", "reporting"},
    {"config"},
    {"doctor"},
    {"pipeline"},
    {"study"},
    {"cli"},
    {"__main__"},
]
LEVEL_OF = {name: number for number, names in enumerate(LEVELS) for name in names}
SAME_LEVEL_ALLOWED = {1, 2}  # nouns may use nouns; verbs and drawers never each other


def room(path: Path) -> str:
    """The first-level name a file belongs to."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "chartdistill":
            names |= {alias.name for alias in node.names} - {"__version__"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("chartdistill."):
            names.add(str(node.module).split(".")[1])
        elif isinstance(node, ast.Import):
            names |= {a.name.split(".")[1] for a in node.names if a.name.startswith("chartdistill.")}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_one_way(path: Path) -> None:
    own = room(path)
    if own == "__init__":
        assert imported_rooms(path) <= {"privacy"}
        return
    for other in imported_rooms(path) - {own}:
        if own not in LEVEL_OF or other not in LEVEL_OF:  # on its way into a room
            continue
        below = LEVEL_OF[other] < LEVEL_OF[own]
        beside = LEVEL_OF[other] == LEVEL_OF[own] and LEVEL_OF[own] in SAME_LEVEL_ALLOWED
        assert below or beside, f"{own} (level {LEVEL_OF[own]}) must not import {other} (level {LEVEL_OF[other]})"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_is_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("drawer", ["engines", "filters", "sources"])
def test_every_file_of_a_drawer_is_in_its_union(drawer: str) -> None:
    listed = (SOURCE / drawer / "__init__.py").read_text(encoding="utf-8")
    for path in (SOURCE / drawer).glob("*.py"):
        for name in re.findall(r"^class (\w+)\(.*\):\n(?:.*\n)*?    type: Literal\[", path.read_text(), re.MULTILINE):
            assert name in listed, f"{name} is in {path.name} but not in {drawer}/__init__.py"


def test_no_room_is_called_utils() -> None:
    assert not [path for path in SOURCE.rglob("*") if path.stem in ("utils", "helpers", "common", "misc")]


def test_the_readme_names_every_room() -> None:
    readme = (SOURCE.parents[1] / "README.md").read_text(encoding="utf-8")
    rooms = {room(path) for path in FILES} - {"__init__", "__main__"}
    missing = sorted(name for name in rooms if not re.search(rf"\b{name}\b", readme))
    assert not missing, f"README's tree lacks {missing}"
