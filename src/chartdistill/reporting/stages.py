"""Stage counts, costs, labels, rejects and versions as plain grids, for all pages of a run.

In: `RunResults`. Out: grids of text without record text. What must hold: a count a stage did not record is shown as
missing; read = kept + rejected is written out so that it can be checked by eye.
"""

from __future__ import annotations

from collections.abc import Mapping

from chartdistill.reporting.robustness import overlap_grid
from chartdistill.reporting.run_results import NO_STATUS, RunResults, training_summary
from chartdistill.reporting.tables import MISSING, Grid, arm_title, write_count

VERBS = {"records": "prepare", "labels": "label", "curated": "curate", "adapter": "train", "predictions": "evaluate"}
GATES = ("gate yes", "gate no", "gate unclear")


def run_grids(results: RunResults) -> dict[str, Grid]:
    """Every grid of a run, in the order of report.md; one without rows says why it has none."""
    return {
        "overlap": overlap_grid(results.scores),
        "cost": cost_grid(results),
        "stages": stage_grid(results),
        "training": training_grid(results),
        "labels": label_grid(results),
        "curated": curated_grid(results),
        "by_person": person_grid(results),
        "items": item_grid(results),
        "label_reasons": _reason_grid("Rejected labels by reason", reasons(results, "curated")),
        "record_reasons": _reason_grid("Rejected records by reason", reasons(results, "records")),
        "versions": version_grid(results),
    }


def stage_grid(results: RunResults) -> Grid:
    """Verb, counts, seconds."""
    rows = []
    for stage, verb in VERBS.items():
        manifest = results.manifests.get(stage)
        seconds = None if manifest is None else manifest.get("seconds")
        counted = "not finished in this run" if manifest is None else _stage_counts(results, stage)
        rows.append((verb, counted, MISSING if seconds is None else f"{float(seconds):,.1f}"))
    return Grid("Stages", ("Verb", "Counts", "Seconds"), rows, prose=True)


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


def cost_grid(results: RunResults) -> Grid:
    """What each arm cost, one row per recorded figure."""
    costs = results.scores.costs if results.scores else {}
    arms = [arm for arm in results.arms if arm in costs]
    names = dict.fromkeys(name for arm in arms for name in costs[arm])
    rows = [(name.replace("_", " "), *(write_count(costs[arm].get(name)) for arm in arms)) for name in names]
    return Grid("Cost by arm", ("Cost", *map(arm_title, arms)), rows, "No cost was recorded.")


def label_grid(results: RunResults) -> Grid:
    """The teacher's labels per task."""
    counts = results.label_counts
    names = ("labels", "failures", "cut", *(gate for gate in GATES if any(gate in of for of in counts.values())))
    rows = [(task, *(write_count(of.get(name, 0)) for name in names)) for task, of in sorted(counts.items())]
    title = "Teacher labels" if results.label_file is None else f"Labels of {results.label_file['file']}"
    heads = (name.replace("gate ", "gate question: ") for name in names)
    return Grid(title, ("Task", *heads), rows, "Labelling has not finished in this run.")


def curated_grid(results: RunResults) -> Grid:
    """Kept and rejected labels per task."""
    names = ("kept", "none_found", "rejected")
    rows = [(task, *(write_count(of.get(name)) for name in names)) for task, of in curated_tasks(results).items()]
    columns = ("Task", "Kept", "of which none found", "Rejected")
    return Grid("Curation", columns, rows, "Curation has not finished in this run.")


PERSON = {
    "kept": "kept as the filters left it",
    "changed": "kept with other items",
    "readmitted": "kept, though rejected by filters",
    "rejected": "rejected",
    "stale": "not applied: the answer is another one now",
}


def person_grid(results: RunResults) -> Grid:
    """Labels that a person decided in review, by what was decided."""
    counts = (results.counts("curated") or {}).get("by_person") or {}
    rows = [(words, write_count(counts.get(name))) for name, words in PERSON.items() if counts]
    return Grid("Labels decided by a person", ("Decision", "Labels"), rows, "No person decided about a label.")


def curated_tasks(results: RunResults) -> Mapping[str, Mapping[str, int]]:
    """Task -> counts of kept, rejected and none found."""
    found: Mapping[str, Mapping[str, int]] = (results.counts("curated") or {}).get("by_task") or {}
    return found


def item_grid(results: RunResults) -> Grid:
    """Kept items per task, with their statuses."""
    rows = []
    for task, statuses in sorted(results.kept_items.items()):
        named = [f"{status} {write_count(number)}" for status, number in statuses.items() if status != NO_STATUS]
        rows.append((task, ", ".join(named) or "no statuses", write_count(sum(statuses.values()))))
    return Grid("Kept items by status", ("Task", "Statuses", "Kept items"), rows, "No kept items.", prose=True)


def reasons(results: RunResults, stage: str) -> Mapping[str, int]:
    """Reject reason -> count, as the stage counted them."""
    found: Mapping[str, int] = (results.counts(stage) or {}).get("by_reason") or {}
    return found


def _reason_grid(title: str, counts: Mapping[str, int]) -> Grid:
    rows = [(reason, write_count(number)) for reason, number in counts.items()]
    return Grid(title, ("Reason", "Count"), rows, "None.")


def training_grid(results: RunResults) -> Grid:
    """Losses of the training run."""
    rows = [
        (name.replace("_", " "), f"{value:.4f}" if isinstance(value, float) else write_count(value))
        for name, value in (training_summary(results) or {}).items()
        if name != "manifest"
    ]
    return Grid("Training", ("Training", "Value"), rows, "Training has not finished in this run.")


def version_grid(results: RunResults) -> Grid:
    """Versions of the software, as the stages recorded them."""
    rows = [
        (VERBS[stage], str(name), str(version))
        for stage, manifest in results.manifests.items()
        if isinstance(manifest.get("versions"), dict)
        for name, version in manifest["versions"].items()
    ]
    return Grid("Versions", ("Verb", "Software", "Version"), rows, "No versions were recorded.", prose=True)
