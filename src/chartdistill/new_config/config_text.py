"""A shipped config with a user's answers in it: its sections, options and comments stay as they are, but for those that
the answers give. There is no second template: what a shipped config gains, `init` writes.

In: text of a shipped config, `Answers`. Out: text of a config. Must hold: sections that no answer concerns are kept to
the letter.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from chartdistill.config import load_task
from chartdistill.doctor.shipped import CONFIGS
from chartdistill.new_config.answers import Answers

_WIDTH = 120
_GATES_OF = "gpu-24gb.yaml"
"""Whose gates a config gets that ships without any, where there is gold."""
_NEEDS_GOLD = "Where the records have gold"
"""Begins the sentence of a shipped config that offers gates which need gold, in comments."""
_SAID = {
    "name": "Names the run in the report.",
    "run_dir": "Where everything is written; only you can read it.",
    "system": "Stands before every chart, for the teacher and for the student.",
    "tasks": "What is asked of each chart (--tasks): copies of the shipped files, beside this one.",
    "prepare": "Shares of the charts that are kept from training, to validate and to score. Near-duplicates stay "
    "together.",
    "teacher": "Who labels the charts.",
    "student": "Who is trained on the labels that the filters leave.",
    "label": "How the teacher is asked: docs/labelling.md.",
    "train": "How the student is trained: docs/training.md.",
    "evaluate": "How teacher, base student and student are compared: docs/evaluation.md.",
    "gates": "What the student must reach, or `run` ends with exit code 10: configs/README.md, 'Trust gates'. Set them "
    "before the first run.",
}
"""One line of explanation for each section."""
_OWN_QUESTIONS = "Edit their questions as you like, before the first run."
_KEPT_QUESTIONS = "Leave their questions as they are: the teacher's adapter answers no others."


def new_config(answers: Answers, folder: Path) -> str:
    """The config's text.

    Args:
        folder: where it will lie; absolute.
    """
    shipped = answers.hardware.config.read_text(encoding="utf-8")
    head, sections = split_sections(shipped)
    if answers.gold is not None:
        if "gates" not in sections:
            _, of_another = split_sections((CONFIGS / _GATES_OF).read_text(encoding="utf-8"))
            sections["gates"] = of_another["gates"]
        sections["gates"] = _with_gold_gates(sections["gates"], [load_task(path).name for path in answers.tasks])
    sections = {name: _absolute_paths(text) for name, text in sections.items()}
    sections |= dict(_answered(answers, folder))
    parts = [_head(answers, head), "\n"]
    has_adapter = "adapter:" in sections["teacher"]
    for name, text in sections.items():
        said = _SAID.get(name)
        if name == "tasks":
            said = f"{said} {_KEPT_QUESTIONS if has_adapter else _OWN_QUESTIONS}"
        parts.append(("" if said is None else _comment(said)) + text)
    return "".join(parts)


def split_sections(text: str) -> tuple[str, dict[str, str]]:
    """What stands before the first option, and each top-level option's lines, with the comments directly above it."""
    lines = text.splitlines(keepends=True)
    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode)
    starts = []
    for number, (key, _) in enumerate(root.value):
        line = key.start_mark.line
        while number and lines[line - 1].startswith("#"):
            line -= 1
        starts.append(line)
    ends = [*starts[1:], len(lines)]
    names = [key.value for key, _ in root.value]
    return "".join(lines[: starts[0]]), {
        name: "".join(lines[start:end]) for name, start, end in zip(names, starts, ends, strict=True)
    }


def _head(answers: Answers, shipped: str) -> str:
    """Where this config comes from, then what the shipped one says of itself, without its commands."""
    source = f"configs/{answers.hardware.config.name}"
    own = [re.sub(r":?\s+(?:make|chartdistill) (?:distill|run)\b.*", ".", line) for line in shipped.splitlines()]
    return (
        _comment(
            f"Made by `chartdistill init` from {source} ({answers.hardware.reason}). Yours to edit: what stands under "
            "each option is explained in src/chartdistill/run_config.py, and a mistake is answered with what is "
            "allowed."
        )
        + "#   chartdistill doctor FILE     will it run here?\n"
        + "#   chartdistill run FILE        prepare, label, curate, train, evaluate, report\n#\n"
        + _comment(f"What {source} says of itself:")
        + "".join(f"{line}\n" for line in own if line != "#.")
    )


def _answered(answers: Answers, folder: Path) -> Iterator[tuple[str, str]]:
    """The sections that the answers give."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.name).strip("-._") or "charts"
    yield "name", f"name: {_scalar(name)}\n"
    yield "run_dir", f"run_dir: {_scalar(str(folder / 'run'))}\n"
    yield "tasks", f"tasks: [{', '.join(f'tasks/{path.name}' for path in answers.tasks)}]\n"
    source = answers.records.model_dump(mode="json", exclude_unset=True) | {"type": answers.records.type}
    fields = {"type": source.pop("type"), **source}
    said = "The charts (--records)."
    if answers.gold is not None:
        fields["gold"] = str(answers.gold)
        said += " `gold`: right answers, which no model is shown and all are scored by (--gold)."
    else:
        said += " Without gold (--gold) the report cannot say whether answers are right."
    listed = "\n    ".join(f"{key}: {_scalar(value)}" for key, value in fields.items())
    yield "records", f"{_comment(said)}records:\n  - {listed}\n"
    shown = "shows charts, rejected items and raw answers: handle it like the charts" if answers.report_text else (
        "holds no text of charts"
    )  # fmt: skip
    yield (
        "report",
        f"{_comment(f'The report {shown} (--report-text).')}report:\n"
        f"  include_text: {str(answers.report_text).lower()}\n",
    )


def _with_gold_gates(section: str, tasks: list[str]) -> str:
    """A section `gates` whose offers for records with gold, which stand in comments, are taken."""
    prose, offers, gates = [], [], []
    for line in section.splitlines()[1:]:
        words = line.strip()
        if words.startswith("#   - {"):
            offers.append(f"  {words.removeprefix('#').strip()}")
        elif words.startswith("#"):
            prose.append(words.removeprefix("#").strip())
        else:
            gates.append(line)
    kept = " ".join(prose).partition(_NEEDS_GOLD)[0].strip()
    asked = [
        offer for offer in offers if (yaml.safe_load(offer)[0].get("task") or tasks[0]) in tasks
    ]  # a gate on a task that is not asked would be an error
    return "".join(
        ["gates:\n", _comment(kept, "  "), *(f"{line}\n" for line in gates),
         _comment("These need the gold: whether the answers are right.", "  "), *(f"{line}\n" for line in asked)]
    )  # fmt: skip


def _absolute_paths(section: str) -> str:
    """Folders that a shipped config names from its own place, named from anywhere."""

    def whole(found: re.Match[str]) -> str:
        return found[1] + _scalar(str((CONFIGS / found[2]).resolve()))

    return re.sub(r"^(\s+(?:model|adapter): )(\.\./\S+)", whole, section, flags=re.MULTILINE)


def _comment(text: str, indent: str = "") -> str:
    lines = textwrap.wrap(text, _WIDTH - len(indent) - 2, break_long_words=False, break_on_hyphens=False)
    return "".join(f"{indent}# {line}\n" for line in lines)


def _scalar(value: Any) -> str:
    """A value as YAML writes it, on one line."""
    written: str = yaml.safe_dump(value, allow_unicode=True, width=float("inf"))
    return written.removesuffix("...\n").strip()
