"""`run --dry-run` as a page for a person: the stages, what of them is done, what will be asked, time and memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chartdistill.config import Run
from chartdistill.doctor.diagnosis import Diagnosis, diagnose
from chartdistill.doctor.page import in_words
from chartdistill.runtime.machine import GIB
from chartdistill.runtime.run_folder import read_manifest

_STAGES = {
    "prepare": "records", "label": "labels", "curate": "curated", "train": "adapter", "evaluate": "predictions",
    "report": "report",
}  # fmt: skip
_ENGINES = {"label": "teacher, engine", "train": "student, training", "evaluate": "student, engine"}
"""Verb -> name of its memory plan."""


def show_plan(run: Run, plan: Mapping[str, Any], config: Path, first: str = "prepare", last: str = "report") -> str:
    """The page. `plan`: of `reporting.terminal.plan`. Nothing is written, and no model is loaded."""
    found = diagnose(run)
    names = list(_STAGES)
    chosen = names[names.index(first) : names.index(last) + 1]
    lines = [
        f"{config} -> {run.dir}",
        *_models(plan),
        f"tasks: {', '.join(plan['tasks'])}",
        _charts(found),
        *_cards(found),
        "",
    ]
    lines += [f"{'stage':<9} {'state':<24} {'time':<22} {'memory':<22} what it does"]
    lines += [_stage(run, name, found) for name in chosen]
    wrong = [check for check in found.checks if check.state == "no"]
    lines.append("")
    for check in wrong:
        command = f": {check.command}" if check.command else ""
        lines.append(f"NO  {check.name}: {check.found}; {check.remedy}{command}")
    if not wrong:
        lines.append("Nothing stands in the way. Stages whose inputs or options changed are made again.")
    lines.append("All options as JSON: the same command with --json")
    return "\n".join(lines)


def _models(plan: Mapping[str, Any]) -> Iterator[str]:
    for role, folder in plan["models"].items():
        yield f"{role}: {folder}"


def _charts(found: Diagnosis) -> str:
    said = next((check.found for check in found.checks if check.name in ("charts", "amount of work")), "not known")
    return f"charts: {said}"


def _cards(found: Diagnosis) -> Iterator[str]:
    """How many engines share the cards in `label` and in `evaluate`; nothing where there are not several cards."""
    if said := [check.found for check in found.checks if check.name in ("teacher cards", "student cards")]:
        yield f"cards: {'; '.join(said)}"


def _stage(run: Run, name: str, found: Diagnosis) -> str:
    manifest = read_manifest(run.dir / _STAGES[name])
    state = "to do" if manifest is None else f"done, took {in_words(manifest['seconds'])}"
    time = found.time.get(name)
    memory = found.memory.get(_ENGINES.get(name, ""))
    took = (
        "-"
        if name not in _ENGINES
        else "not estimated on a CPU"
        if time is None
        else f"about {in_words(time.likely_s)}"
    )
    needs = "-" if memory is None else f"{memory.bytes / GIB:.1f} of {memory.room_bytes / GIB:.1f} GiB"
    return f"{name:<9} {state:<24} {took:<22} {needs:<22} {_asked(run, name)}"


def _asked(run: Run, name: str) -> str:
    """What a stage does, in words."""
    config, tasks = run.config, len(run.tasks)
    if name == "prepare":
        return "reads, cleans and splits the charts"
    if name == "label":
        if run.teacher_labels is not None:
            return "takes over labels that exist; no model is asked"
        strategies = sorted({config.label.strategy_of(task.name) for task in run.tasks})
        return f"asks the teacher {tasks} tasks of every chart ({', '.join(strategies)})"
    if name == "curate":
        return f"{len(config.filters)} filters judge each label"
    if name == "train":
        epochs = config.train.epochs
        return f"LoRA rank {run.config.train.lora.rank}, {epochs:g} epoch{'' if epochs == 1 else 's'}"
    if name == "evaluate":
        changed = (
            f", and {config.evaluate.interventions.records} changed charts"
            if config.evaluate.interventions.records
            else ""
        )
        sure = config.evaluate.confidence and config.evaluate.split != "validation"
        also = ", the student also of every validation chart" if sure else ""
        return f"asks base and student {tasks} tasks of every {config.evaluate.split} chart{also}{changed}"
    return (
        f"writes the report; {len(config.gates)} trust gates" if config.gates else "writes the report; no trust gates"
    )
