"""What a run folder says: its finished stages, read and checked, nothing computed that a stage did not record.

In: one run folder. Out: `RunResults`. A stage without a manifest counts as not run. What must hold: a figure is taken
over as it was written; a file that cannot be read is an error, never an empty part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from chartdistill.errors import InputError
from chartdistill.evaluation import APPROVAL, MADE_FROM, Scores, read_scores
from chartdistill.metrics import ALL_TASKS
from chartdistill.runtime.run_folder import read_manifest, read_rows, require_manifest
from chartdistill.schema import LABELS_OF, CuratedLabel, Item, Label, Prediction, Record, Rejection, Row, Task

STAGES = ("records", "labels", "curated", "adapter", "predictions")
"""Folders of a run that the report reads, in the order of the flow."""
NO_STATUS = ""
"""Counts kept items of tasks without statuses."""
_SCORED = ("records", "adapter")
"""Stages that scores are of: of others than these they say nothing."""
_MADE_UP = ("synthetic:", "written:")
"""How sources of synthetic charts begin: nobody's, whether made by templates or invented."""
REJECTS_SHOWN = 3
"""Rejected items or labels shown per reason, or per set of reasons that one has."""


class LogRow(Row):
    """One line of adapter/training_log.jsonl; other keys are left to the trainer."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    step: int
    loss: float | None = Field(default=None, allow_inf_nan=False)
    validation_loss: float | None = Field(default=None, allow_inf_nan=False)


@dataclass(frozen=True)
class ShownReject:
    """What was rejected, an item or a whole label, with all that spoke against it and where it came from."""

    record: str
    task: str
    reasons: tuple[str, ...]
    """`filter: reason`, each once."""
    item: Item | None
    """None: the whole label."""
    evidence: tuple[str, ...]

    def without_text(self) -> ShownReject:
        """The same without the item, and without the evidence, which may name it."""
        return replace(self, item=None, evidence=())


@dataclass(frozen=True)
class RunResults:
    """All that the pages need of one run."""

    title: str
    tasks: tuple[Task, ...]
    manifests: Mapping[str, Mapping[str, Any]]
    """Stage -> its manifest; a stage that has not finished is left out."""
    scores: Scores | None
    log: tuple[LogRow, ...]
    label_counts: Mapping[str, Mapping[str, int]]
    """Task -> labels, failures, cut, gate answers."""
    kept_items: Mapping[str, Mapping[str, int]]
    """Task -> status (or `NO_STATUS`) -> kept items."""
    rejects: tuple[ShownReject, ...]
    scored_records: Mapping[str, Record]
    """Records with predictions."""
    predictions: Mapping[str, Mapping[tuple[str, str], Prediction]]
    """Record -> (task, arm) -> prediction."""
    num_synthetic: int
    num_records: int
    unscored: str = ""
    """Why the scores and answers that are there are not taken; empty where they are, and where there are none."""

    @property
    def scored_on_synthetic(self) -> bool:
        """Whether nobody's chart is among the records that the arms were scored on, only made-up ones."""
        sources = [record.source for record in self.scored_records.values()]
        return bool(sources) and all(source.startswith(_MADE_UP) for source in sources)

    @property
    def num_erased_since(self) -> int:
        """Records that the scores count, and that were erased after these were made."""
        overlap = None if self.scores is None else self.scores.overlap
        return max(0, overlap.scored - len(self.predictions)) if overlap is not None and self.predictions else 0

    def held_out_in_words(self, what: str) -> str:
        """On what the figures were measured: `320 held-out synthetic charts` for `chart`."""
        number = len(self.predictions) + self.num_erased_since
        made = "synthetic " if self.scored_on_synthetic else ""
        erased = f", {self.num_erased_since:,} of which {'was' if self.num_erased_since == 1 else 'were'} erased since"
        return f"{number:,} held-out {made}{what}{'' if number == 1 else 's'}{erased if self.num_erased_since else ''}"

    @property
    def num_with_gold(self) -> dict[str, int]:
        """Task -> scored records that have gold for it; `all`: those that have some."""
        names = {task.name for task in self.tasks}
        known = [names.intersection(record.gold or ()) for record in self.scored_records.values()]
        return {name: sum(name in of for of in known) for name in names} | {ALL_TASKS: sum(map(bool, known))}

    def counts(self, stage: str) -> dict[str, Any] | None:
        """What a stage counted: its manifest's `counts`, else the manifest itself; None when it has not finished."""
        manifest = self.manifests.get(stage)
        if manifest is None:
            return None
        counts = manifest.get("counts")
        if isinstance(counts, dict):
            return counts
        return {key: value for key, value in manifest.items() if key != "fingerprint"}

    @property
    def scores_older_than(self) -> tuple[str, ...]:
        """Folders of labels that were made again after the scores, which are of those before."""
        made_from = (self.manifests.get("predictions") or {}).get(MADE_FROM) or {}  # not recorded by earlier versions
        current = {stage: (self.manifests.get(stage) or {}).get("fingerprint") for stage in ("labels", "curated")}
        return tuple(f"{stage}/" for stage, now in current.items() if made_from.get(stage, now) != now)

    @property
    def label_file(self) -> Mapping[str, Any] | None:
        """What is known of the file that the labels came from: `file`, `sha256`, `format`; None where a model gave
        them."""
        found: Mapping[str, Any] | None = self.manifests.get("labels", {}).get("source")
        return found

    @property
    def teacher_arm(self) -> str:
        """What the teacher's answers are called: after the file where the labels came from one."""
        return "teacher" if self.label_file is None else f"{LABELS_OF}{self.label_file['file']}"

    @property
    def arms(self) -> tuple[str, ...]:
        """Arms with scores or predictions: teacher, base, student, then others by name."""
        known = set(self.scores.arms) if self.scores else set()
        known.update(arm for answers in self.predictions.values() for _, arm in answers)
        usual = (self.teacher_arm, "base", "student")
        return (*(arm for arm in usual if arm in known), *sorted(known.difference(usual)))


def read_results(run_dir: Path, tasks: Sequence[Task], title: str) -> RunResults:
    """Read what the stages of a run have left.

    Raises:
        ArtefactError: `prepare` has not finished.
        InputError: a file is not what its stage writes.
    """
    require_manifest(run_dir / "records", "prepare")
    manifests = {stage: found for stage in STAGES if (found := stage_manifest(run_dir / stage)) is not None}
    if unscored := _why_not_scored(run_dir, manifests):
        manifests.pop("predictions", None)
    is_scored = "predictions" in manifests
    predictions = _read_predictions(run_dir) if is_scored else {}
    scored_records, num_records, num_synthetic = _read_records(run_dir, predictions)
    if unknown := [name for name in predictions if name not in scored_records]:
        raise InputError(
            f"{run_dir / 'predictions'}: {len(unknown)} of {len(predictions)} answered records are not in "
            f"{run_dir / 'records' / 'records.jsonl'}, first {unknown[0]!r}. The records were prepared anew after "
            "evaluation; run `chartdistill evaluate CONFIG` again."
        )
    kept_items, rejects = _read_curated(run_dir) if "curated" in manifests else ({}, ())
    return RunResults(
        title=title,
        tasks=tuple(tasks),
        manifests=manifests,
        scores=read_scores(run_dir / "predictions" / "scores.json") if is_scored else None,
        log=_read_log(run_dir) if "adapter" in manifests else (),
        label_counts=_count_labels(run_dir) if "labels" in manifests else {},
        kept_items=kept_items,
        rejects=rejects,
        scored_records=scored_records,
        predictions=predictions,
        num_synthetic=num_synthetic,
        num_records=num_records,
        unscored=unscored,
    )


def _why_not_scored(run_dir: Path, manifests: Mapping[str, Mapping[str, Any]]) -> str:
    """See `RunResults.unscored`: an evaluation was interrupted, or is of another student or of other records."""
    evaluated = manifests.get("predictions")
    if evaluated is None:
        left = (run_dir / "predictions" / "scores.json").exists()
        return "the scores that are there are of an earlier evaluation, and the last one did not finish" if left else ""
    made_from = evaluated.get(MADE_FROM) or {}  # not recorded by earlier versions
    current = {stage: manifests.get(stage, {}).get("fingerprint") for stage in _SCORED}
    changed = [f"{stage}/" for stage in _SCORED if made_from.get(stage, current[stage]) != current[stage]]
    return f"the scores that are there are older than what is in {' and '.join(changed)} now" if changed else ""


def stage_manifest(folder: Path) -> dict[str, Any] | None:
    """A stage's manifest as the stage wrote it; None when it has not finished."""
    manifest = read_manifest(folder)
    return None if manifest is None else {key: value for key, value in manifest.items() if key != APPROVAL}


def input_files(run_dir: Path) -> list[Path]:
    """The files, beside the manifests, whose bytes decide what a report says: scores, predictions."""
    folder = run_dir / "predictions"
    wanted = [folder / "scores.json", *sorted(folder.glob("*.jsonl"))]
    return [path for path in wanted if path.exists()]


def _read_records(run_dir: Path, wanted: Container[str]) -> tuple[dict[str, Record], int, int]:
    """The wanted records by id; how many records there are, and how many of them are synthetic."""
    found: dict[str, Record] = {}
    num_records = num_synthetic = 0
    for record in read_rows(run_dir / "records" / "records.jsonl", Record):
        num_records += 1
        num_synthetic += record.source.startswith(_MADE_UP)
        if record.id in wanted:
            found[record.id] = record
    return found, num_records, num_synthetic


def _count_labels(run_dir: Path) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = {}
    for label in read_rows(run_dir / "labels" / "labels.jsonl", Label):
        found = counts.setdefault(label.task, Counter())
        found["labels"] += 1
        found["failures"] += label.failure is not None
        found["cut"] += label.finish_reason == "length"
        if label.gate is not None:
            found[f"gate {label.gate.answer}"] += 1
    return {task: dict(found) for task, found in counts.items()}


def _read_curated(run_dir: Path) -> tuple[dict[str, dict[str, int]], tuple[ShownReject, ...]]:
    kept_items: dict[str, Counter[str]] = {}
    for kept in read_rows(run_dir / "curated" / "kept.jsonl", CuratedLabel):
        kept_items.setdefault(kept.task, Counter()).update(item.status or NO_STATUS for item in kept.items or ())
    shown: dict[tuple[str, ...], list[ShownReject]] = {}
    for label in read_rows(run_dir / "curated" / "rejected.jsonl", CuratedLabel):
        for reject in _rejected_things(label):
            rows = shown.setdefault(reject.reasons, [])
            if len(rows) < REJECTS_SHOWN:
                rows.append(reject)
    rejects = tuple(row for key in sorted(shown) for row in shown[key])
    return {task: dict(found.most_common()) for task, found in kept_items.items()}, rejects


def _rejected_things(label: CuratedLabel) -> Iterator[ShownReject]:
    """Each item that was rejected, once, and the label as a whole for the reasons that name no item of it."""
    by_thing: dict[Item | None, list[Rejection]] = {}
    for rejection in label.rejections:
        by_thing.setdefault(rejection.item, []).append(rejection)
    # A filter that rejects the label for its items says so once for each item, and once more for the label.
    said = {(one.filter, one.reason) for item, of in by_thing.items() if item is not None for one in of}
    whole = [one for one in by_thing.pop(None, ()) if (one.filter, one.reason) not in said]
    for item, of in (*by_thing.items(), *([(None, whole)] if whole else [])):
        reasons = dict.fromkeys(f"{one.filter}: {one.reason}" for one in of)
        yield ShownReject(label.record, label.task, tuple(reasons), item, tuple(dict.fromkeys(o.evidence for o in of)))


def _read_log(run_dir: Path) -> tuple[LogRow, ...]:
    path = run_dir / "adapter" / "training_log.jsonl"
    return tuple(read_rows(path, LogRow, grows=True)) if path.exists() else ()


def _read_predictions(run_dir: Path) -> dict[str, dict[tuple[str, str], Prediction]]:
    answers: dict[str, dict[tuple[str, str], Prediction]] = {}
    for path in sorted((run_dir / "predictions").glob("*.jsonl")):
        for prediction in read_rows(path, Prediction):
            answers.setdefault(prediction.record, {})[prediction.task, prediction.arm] = prediction
    return answers


def training_summary(results: RunResults) -> dict[str, Any] | None:
    """Steps, which one's adapter was kept, first and last loss, lowest validation loss with its step; None when nothing
    was trained."""
    if "adapter" not in results.manifests:
        return None
    losses = [(row.loss, row.step) for row in results.log if row.loss is not None]
    checks = [(row.validation_loss, row.step) for row in results.log if row.validation_loss is not None]
    summary: dict[str, Any] = {"manifest": dict(results.manifests["adapter"]), "logged_steps": len(losses)}
    if losses:
        summary["first_loss"], summary["last_loss"], summary["last_step"] = losses[0][0], losses[-1][0], losses[-1][1]
    if checks:
        lowest, step = min(checks)
        summary["lowest_validation_loss"], summary["lowest_validation_step"] = lowest, step
        summary["last_validation_loss"] = checks[-1][0]
    if (kept := results.manifests["adapter"].get("kept_step")) is not None:
        summary["step_of_the_kept_adapter"] = kept
    return summary
