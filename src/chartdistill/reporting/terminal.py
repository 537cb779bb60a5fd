"""What a person sees at the start (`--dry-run`) and at the end (the summary table)."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.table import Table

from chartdistill.config import Run
from chartdistill.errors import ModelError
from chartdistill.metrics.catalogue import GOLD_HEADLINE, PLAIN_HEADLINE, MetricInfo, with_unusable
from chartdistill.records import split_in_words
from chartdistill.reporting.stages import VERBS
from chartdistill.runtime.run_folder import read_manifest

_FIGURE = MetricInfo("figure", "", "", form="score")
"""How every figure is written here, a share too."""
_FOLDERS = {verb: folder for folder, verb in VERBS.items()} | {"report": "report"}


def plan(run: Run) -> dict[str, Any]:
    """The resolved config, the model folders it means, and which stages are complete. Loads no model.

    Raises:
        ConfigError: the student's engine could not load the adapter.
    """
    models = {}
    for role in ("teacher", "student"):
        try:
            labels = run.teacher_labels if role == "teacher" else None
            if labels is not None:
                run.require_teacher()
            models[role] = str(run.model_folder(role)) if labels is None else f"{labels.path}, labels that exist"
            if (adapter := run.adapter(role)) is not None:
                models[f"{role} adapter"] = str(adapter.folder)
        except ModelError as error:
            models[role] = f"NOT READY: {error}"
    if not models["student"].startswith("NOT READY"):
        run.require_usable_adapter()
    stages = {verb: read_manifest(run.dir / folder) is not None for verb, folder in _FOLDERS.items()}
    return {"config": run.config.model_dump(mode="json"), "tasks": [t.name for t in run.tasks], "models": models,
            "complete": stages}  # fmt: skip


def print_summary(run: Run, with_report: bool = True) -> None:
    """One table of stages and, `with_report`, one of arms: not behind a verb that may have made the report old."""
    console = Console(highlight=False, markup=False, emoji=False)  # files and folders are called anything
    stages = Table(title=f"{run.config.name}: {run.dir}", title_justify="left")
    stages.add_column("verb")
    stages.add_column("seconds", justify="right")
    stages.add_column("counts")
    total = 0.0
    for verb, folder in _FOLDERS.items():
        manifest = read_manifest(run.dir / folder)
        if manifest is None:
            continue
        total += manifest["seconds"]
        stages.add_row(verb, f"{manifest['seconds']:.1f}", _short(manifest.get("counts", {})))
    stages.add_row("all", f"{total:.1f}", "")
    console.print(stages)
    prepared = read_manifest(run.dir / _FOLDERS["prepare"])
    if prepared is not None and (said := split_in_words(prepared)):
        console.print(said)
    report_path = run.dir / "report" / "report.json"
    if not with_report or not report_path.exists():
        return
    report = json.loads(report_path.read_text(encoding="utf-8"))
    arms = Table(title="held-out records (value, 95% interval, n)", title_justify="left")
    arms.add_column("task", no_wrap=True)
    arms.add_column("metric", no_wrap=True)
    for arm in report["arms"]:
        arms.add_column(arm, overflow="fold")
    for task in run.tasks:
        figures = [report["arms"][arm].get(task.name, {}) for arm in report["arms"]]
        has_gold = any((found.get("joint_f1") or {}).get("value") is not None for found in figures)
        for metric in with_unusable(GOLD_HEADLINE if has_gold else PLAIN_HEADLINE):
            row = [_shown(found.get(metric)) for found in figures]
            if any(row):
                arms.add_row(task.name, metric, *row)
    if arms.row_count:
        console.print(arms)
    judged = report.get("trust_gates")
    if judged:
        console.print(judged.get("sentence") or f"trust gates: {judged['status']}")  # or of an older report
        for sentence in (*(verdict["sentence"] for verdict in judged["verdicts"]), *judged.get("warnings", [])):
            console.print(f"  - {sentence}")
    console.print(f"report: {run.dir / 'report' / 'report.html'}")


_DETAILS = {"rejected": "by_reason", "kept": "by_split"}
"""Counts that are shown with their parts behind them."""
_MAX_PARTS = 6


def _short(counts: dict[str, Any]) -> str:
    shown = []
    for name, value in counts.items():
        if isinstance(value, int | float):
            parts = list((counts.get(_DETAILS.get(name, "")) or {}).items())
            more = [f"{len(parts) - _MAX_PARTS} more"] if len(parts) > _MAX_PARTS else []
            listed = ", ".join([f"{part} {number}" for part, number in parts[:_MAX_PARTS]] + more)
            shown.append(f"{name} {value}" + (f" ({listed})" if listed else ""))
    return ", ".join(shown)


def _shown(estimate: dict[str, Any] | None) -> str:
    if not estimate:
        return ""
    if estimate["value"] is None:
        return "not defined"
    low, high = ("?" if estimate[end] is None else f"{estimate[end]:.3f}" for end in ("low", "high"))
    number = estimate.get("records")
    records = "" if number is None else f" in {number} record{'' if number == 1 else 's'}"
    return f"{_FIGURE.write(estimate['value'])} [{low}, {high}] n={estimate['n']}{records}"
