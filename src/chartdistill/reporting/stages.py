"""Stage counts, costs, labels, rejects and versions as plain grids, for both report formats.

In: `RunResults`. Out: grids of text without record text. What must hold: a count a stage did not record is shown as
missing; read = kept + rejected is written out so that it can be checked by eye.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chartdistill.reporting.run_results import NO_STATUS, RunResults, training_summary
from chartdistill.reporting.tables import arm_title

VERBS = {"records": "prepare", "labels": "label", "curated": "curate", "adapter": "train", "predictions": "evaluate"}
GATES = ("gate yes", "gate no", "gate unclear")
MISSING = "\u2013"


@dataclass(frozen=True)
class Grid:
    """A table of plain text; all columns but the first are figures unless `prose`."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    prose: bool = False


def stage_grid(results: RunResults) -> Grid:
    """Verb, counts, seconds."""
    rows = []
    for stage, verb in VERBS.items():
        manifest = results.manifests.get(stage)
        seconds = None if manifest is None else manifest.get("seconds")
        counted = "not finished in this run" if manifest is None else _stage_counts(results, stage)
        rows.append((verb, counted, MISSING if seconds is None else f"{float(seconds):,.1f}"))
    return Grid(("Verb", "Counts", "Seconds"), tuple(rows), prose=True)


def _stage_counts(results: RunResults, stage: str) -> str:
    """Counts in words: the sum first, then single numbers, then numbers by name (`by_split: train 70, test 20`)."""
    counts = results.counts(stage) or {}
    parts = []
    if "read" in counts:
        read, kept, rejected = (write_count(counts.get(key)) for key in ("read", "kept", "rejected"))
        parts.append(f"read {read} = kept {kept} + rejected {rejected}")
    for key, value in counts.items():
        name = key.replace("_", " ")
        if key in ("read", "kept", "rejected", "by_reason", "seconds"):
            continue
        if _is_count(value):
            parts.append(f"{name} {write_count(value)}")
        elif isinstance(value, dict) and value and all(map(_is_count, value.values())):
            parts.append(f"{name}: " + ", ".join(f"{part} {write_count(number)}" for part, number in value.items()))
    return "; ".join(parts) or "finished"


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def write_count(value: object) -> str:
    """A count with thousands separators; what is no number, as it is; what is missing, as a dash."""
    if value is None:
        return MISSING
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def cost_grid(results: RunResults) -> Grid | None:
    """What each arm cost, one row per recorded figure; None when no arm was scored."""
    if results.scores is None or not any(results.scores.costs.values()):
        return None
    costs = results.scores.costs
    arms = [arm for arm in results.arms if arm in costs]
    names = dict.fromkeys(name for arm in arms for name in costs[arm])
    rows = [(name.replace("_", " "), *(write_count(costs[arm].get(name)) for arm in arms)) for name in names]
    return Grid(("Cost", *(arm_title(arm) for arm in arms)), tuple(rows))


def label_grid(results: RunResults) -> Grid | None:
    """Teacher labels per task; None when there are none."""
    if not results.label_counts:
        return None
    gates = [gate for gate in GATES if any(gate in found for found in results.label_counts.values())]
    names = ("labels", "failures", "cut", *gates)
    rows = [
        (task, *(write_count(found.get(name, 0)) for name in names))
        for task, found in sorted(results.label_counts.items())
    ]
    return Grid(("Task", *names), tuple(rows))


def curated_grid(results: RunResults) -> Grid | None:
    """Kept and rejected labels per task; None when curation has not finished."""
    tasks = curated_tasks(results)
    if not tasks:
        return None
    names = ("kept", "none_found", "rejected")
    rows = [(task, *(write_count(found.get(name)) for name in names)) for task, found in tasks.items()]
    return Grid(("Task", "Kept", "of which none found", "Rejected"), tuple(rows))


def curated_tasks(results: RunResults) -> Mapping[str, Mapping[str, int]]:
    """Task -> counts of kept, rejected and none found."""
    found: Mapping[str, Mapping[str, int]] = (results.counts("curated") or {}).get("by_task") or {}
    return found


def item_grid(results: RunResults) -> Grid | None:
    """Kept items per task, with their statuses; None when there are none."""
    rows = []
    for task, statuses in sorted(results.kept_items.items()):
        named = ", ".join(
            f"{status} {write_count(number)}" for status, number in statuses.items() if status != NO_STATUS
        )
        rows.append((task, named or "no statuses", write_count(sum(statuses.values()))))
    return Grid(("Task", "Statuses", "Kept items"), tuple(rows), prose=True) if rows else None


def reasons(results: RunResults, stage: str) -> Mapping[str, int]:
    """Reject reason -> count, as the stage counted them."""
    found: Mapping[str, int] = (results.counts(stage) or {}).get("by_reason") or {}
    return found


def reason_grid(results: RunResults, stage: str) -> Grid | None:
    """Rejects by reason; None when there are none."""
    rows = tuple((reason, write_count(number)) for reason, number in reasons(results, stage).items())
    return Grid(("Reason", "Count"), rows) if rows else None


def training_grid(results: RunResults) -> Grid | None:
    """Losses of the training run; None when nothing was trained."""
    summary = training_summary(results)
    if summary is None:
        return None
    rows = [
        (name.replace("_", " "), f"{value:.4f}" if isinstance(value, float) else write_count(value))
        for name, value in summary.items()
        if name != "manifest"
    ]
    return Grid(("Training", "Value"), tuple(rows))


def version_grid(results: RunResults) -> Grid | None:
    """Versions of the software, as the stages recorded them; None when none did."""
    rows = [
        (VERBS[stage], str(name), str(version))
        for stage, manifest in results.manifests.items()
        if isinstance(manifest.get("versions"), dict)
        for name, version in manifest["versions"].items()
    ]
    return Grid(("Verb", "Software", "Version"), tuple(rows), prose=True) if rows else None
