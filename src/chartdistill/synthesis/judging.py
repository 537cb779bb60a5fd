"""Whether a chart that the teacher wrote is kept, and if not, every reason why.

In: a plan, the text, what the teacher read from it, the charts of the run. Out: reason codes. Must hold: plan and
reading are held against each other both ways; no chart of the run, held out or not, and no chart that was kept before,
is copied; nothing here changes a text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from chartdistill.clinical.entities import entity_of
from chartdistill.metrics.pairing import pair_up
from chartdistill.prompting.answer_format import parse_answer
from chartdistill.records import body_words, cluster_records
from chartdistill.schema import Item, Label, Task
from chartdistill.synthesis.options import SynthesizeOptions
from chartdistill.synthesis.plans import Plan

_FIRST_WORDS = 200
_TOLD = ("Kind of note:", "Facts:", "- ")
"""How lines of a plan begin."""


def text_reasons(plan: Plan, text: str, options: SynthesizeOptions) -> list[str]:
    """What is wrong with a text by itself: its length, its words, that it is the plan again, or that it leaves out what
    it should name as not the patient's, which no reading would miss."""
    words = body_words(text)
    low, high = (factor * plan.num_words for factor in options.length_factors)
    found = ["too_short"] if len(words) < low else ["too_long"] if len(words) > high else []
    first = words[:_FIRST_WORDS]
    letters = sum(word.isalpha() for word in first)
    if first and (len(set(first)) < options.min_distinct_words * len(first) or letters < 0.6 * len(first)):
        found.append("strange_vocabulary")
    lines = {line.strip().removeprefix("- ").casefold().rstrip(".") for line in text.splitlines()}
    if text.startswith(_TOLD[:2]) or 2 * len(lines & {line.casefold() for line in plan.lines}) > len(plan.lines):
        found.append("plan_repeated")
    said = f" {' '.join(words)} "
    if any(f" {' '.join(body_words(decoy.text))} " not in said for decoy in plan.decoys):
        found.append("decoy_not_written")
    return found


def reading_reasons(
    plan: Plan, labels: Mapping[str, Label], tasks: Sequence[Task], options: SynthesizeOptions
) -> tuple[list[str], dict[str, int]]:
    """What plan and reading do not agree in, and the counts: planned, read, and in both with the same status."""
    counts = {"planned": 0, "read": 0, "both": 0}
    found: list[str] = []
    for task in tasks:
        label = labels[task.name]
        read = None if label.completion is None or label.finish_reason == "length" else parse_answer(
            label.completion, task
        )  # fmt: skip
        if read is None:
            return ["not_read"], counts
        planned, entity = plan.findings.get(task.name, ()), entity_of(task)
        pairs = pair_up(read, planned, entity).pairs
        counts["planned"] += len(planned)
        counts["read"] += len(read)
        counts["both"] += sum(read[one].status == planned[other].status for one, other in pairs)
        if pair_up(read, _of_kind(plan, task), entity).pairs:
            found.append("decoy_read")
    if _is_less(counts["both"], options.min_plan_read * counts["planned"]):
        found.append("plan_not_read")
    if _is_less(counts["both"], options.min_reading_planned * counts["read"]):
        found.append("not_planned")
    return list(dict.fromkeys(found)), counts


def _is_less(count: int, share: float) -> bool:
    """By more than how a share is rounded: 0.55 of 20 is 11, and a little more as a float."""
    return count < share - 1e-9


def _of_kind(plan: Plan, task: Task) -> tuple[Item, ...]:
    """The decoys, as items of a task: a name that it would not list is the same as none of its items."""
    return tuple(Item(text=decoy.text) for decoy in plan.decoys)


class KnownCharts:
    """The charts that may not be copied: of the run, and those kept so far."""

    def __init__(self, texts: Iterable[str], most_shared_words: int) -> None:
        self._size = most_shared_words + 1
        self._texts: list[str] = []
        self._runs: set[int] = set()
        self._clusters: dict[str, str] = {}
        """Of the texts that were asked about last."""
        self._kept: set[str] = set()
        """Clusters of those of them that were kept."""
        for text in texts:
            self._texts.append(text)
            self._runs.update(self._runs_of(text))

    def reasons(self, texts: Sequence[str]) -> list[list[str]]:
        """Of each text, in order: `copied`, `near_duplicate`. Of two that are alike, `keep` takes the first."""
        clusters = cluster_records([*self._texts, *texts])
        seen = set(clusters[: len(self._texts)])
        self._clusters, self._kept = dict(zip(texts, clusters[len(self._texts) :], strict=True)), set()
        found = []
        for text in texts:
            copied = not self._runs.isdisjoint(self._runs_of(text))
            found.append(
                [*(["copied"] if copied else []), *(["near_duplicate"] if self._clusters[text] in seen else [])]
            )
        return found

    def keep(self, text: str) -> bool:
        """Keep a chart, so that none after it may be its near-duplicate (words in a row they may share: plans are
        alike); False, and not kept, where it is one of another that was asked about together with it."""
        cluster = self._clusters.get(text)
        if cluster in self._kept:
            return False
        self._texts.append(text)
        if cluster is not None:
            self._kept.add(cluster)
        return True

    def _runs_of(self, text: str) -> set[int]:
        words = body_words(text)
        return {hash(tuple(words[i : i + self._size])) for i in range(len(words) - self._size + 1)}
