"""predictions/scores.json as it was written: every arm's figures, differences and p values, costs, contamination.

In: the file that `evaluate` writes. Out: `Scores`. What must hold: a figure is taken over as it is; a file of another
form is an error that names the place.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import from_json

from chartdistill.errors import InputError
from chartdistill.evaluation.confidence import Confidence
from chartdistill.metrics import ALL_TASKS
from chartdistill.metrics.bootstrap import Estimate
from chartdistill.metrics.significance import PValue

COST = "cost"
"""Key of an arm's cost, beside its tasks."""
MADE_FROM = "made_from"
"""Key in the manifest of predictions/: stage -> its fingerprint when the scores were made of it."""


CostValue = float | int | str | None


TaskScores = dict[str, dict[str, Estimate]]
"""Task name (or `all`) -> metric name -> figure."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LongestRun(_Part):
    """The longest run of words that a scored record shares with one learned from."""

    words: int
    scored_record: str | None
    trained_record: str | None
    records_by_words: dict[str, int]
    """Words in a row -> scored records that share so many with a record learned from."""


class NaiveLeak(_Part):
    """What a split of single entries at random would have leaked."""

    entries: int
    dropped_duplicates: int
    clusters: int
    expected_leak: float | None
    """Share of held-out entries with a near-duplicate in training."""


class GoldOverlap(_Part):
    """How much of what is to be found in the scored records also stands in the gold of records learned from."""

    items: int
    """Gold items of the scored records."""
    items_known: int
    """Those whose key a gold item of a record learned from has."""
    names: int
    """Distinct keys among the gold items of the scored records."""
    names_known: int

    @property
    def share(self) -> float:
        """Of the items."""
        return self.items_known / self.items


class Overlap(_Part):
    """What the records scored have in common with those learned from (see `evaluation.contamination`)."""

    trained: int
    scored: int
    same_id: int
    same_cluster: int
    same_text: int
    near_duplicates: int
    examples: int = 0
    """Worked examples of the prompts, counted among `trained`."""
    largest_share: float | None
    gold: dict[str, GoldOverlap] = {}
    """By task, and `all`; only tasks of which both sides have gold."""
    longest_run: LongestRun
    naive_leak: NaiveLeak | None = None


class Changed(_Part):
    """How one arm answered records in changed form (see `interventions`)."""

    effects: TaskScores
    consistency: dict[str, TaskScores]
    """Kind of change -> figures."""


class Scores(_Part):
    """predictions/scores.json, with each arm's cost apart from its figures."""

    gold: dict[str, bool]
    matching: dict[str, str] = {}
    """What items were matched by."""
    arms: dict[str, TaskScores]
    costs: dict[str, dict[str, CostValue]]
    differences: dict[str, TaskScores] = {}
    p_values: dict[str, dict[str, dict[str, PValue]]] = {}
    verdicts: int | None = None
    """How many tests the p values are corrected over: those that a page gives verdicts on. None: not recorded."""
    gates: dict[str, dict[str, dict[str, dict[str, Estimate | int]]]] = {}
    """Arm -> task -> what its gate said -> records and figures."""
    overlap: Overlap | None = None
    interventions: dict[str, Changed] = {}
    labels: dict[str, TaskScores] = {}
    """The teacher's labels on training records against their gold: raw, kept (see `label_quality`)."""
    confidence: Confidence | None = None
    """How sure the student's items are, and whether they are as sure as right (see `confidence`)."""

    def has_gold(self, task: str) -> bool:
        """Whether answers of this task could be compared with gold; for `all`, whether any task's could."""
        return any(self.gold.values()) if task == ALL_TASKS else self.gold.get(task, False)

    def estimate(self, arm: str, task: str, metric: str) -> Estimate | None:
        """An arm's figure, or None when it was not computed."""
        return self.arms.get(arm, {}).get(task, {}).get(metric)

    def difference(self, pair: str, task: str, metric: str) -> Estimate | None:
        """A paired difference (`student-base`: student minus base), or None when it was not computed."""
        return self.differences.get(pair, {}).get(task, {}).get(metric)

    def p_value(self, pair: str, task: str, metric: str) -> PValue | None:
        """The p value of a paired difference, or None when it was not computed."""
        return self.p_values.get(pair, {}).get(task, {}).get(metric)


def read_scores(path: Path) -> Scores | None:
    """predictions/scores.json; None when no arm has been scored.

    Raises:
        InputError: not JSON, or not of the form `evaluate` writes.
    """
    if not path.exists():
        return None
    try:
        written = TypeAdapter(dict[str, Any]).validate_python(from_json(path.read_bytes(), allow_inf_nan=False))
        arms = TypeAdapter(dict[str, dict[str, Any]]).validate_python(written.pop("arms", {}))
        costs = {arm: entries.pop(COST, {}) for arm, entries in arms.items()}
        return Scores.model_validate({**written, "arms": arms, "costs": costs})
    except ValidationError as error:
        problem = error.errors(include_input=False)[0]
        fault = f"{'.'.join(str(part) for part in problem['loc']) or 'file'}: {problem['msg']}"
    except ValueError as error:
        fault = f"not JSON with finite numbers: {error}"
    raise InputError(
        f"{path}: {fault}. The file was edited or made by another version; run `chartdistill evaluate CONFIG` again."
    )
