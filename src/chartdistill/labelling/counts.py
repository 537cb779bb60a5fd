"""What labels.jsonl holds, in numbers for the manifest: answers, failures and tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from chartdistill.schema import Label


def label_counts(labels: Iterable[Label], num_example_tokens: int = 0) -> dict[str, Any]:
    """Counts of labels.jsonl, whose rows stand record by record. `num_example_tokens`: before every record."""
    totals: Counter[str] = Counter()
    gates: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    shareable = -num_example_tokens  # the first record's
    continued = 0
    for _, group in groupby(labels, key=lambda row: row.record):
        prefixes = prompts = 0
        for row in group:
            totals.update(labels=1, failures=row.failure is not None, prompts=row.prompts)
            totals.update(prompt=row.prompt_tokens, cached=row.cached_tokens, completion=row.completion_tokens)
            totals.update(thought=row.thought_tokens)
            continued += row.continued_tokens
            gates.update([row.gate.answer] if row.gate is not None else [])
            failures.update([row.failure.split(":")[0]] if row.failure else [])
            prefixes, prompts = prefixes + row.prefix_tokens, prompts + row.prompts
        # All prompts of a record but the first could find its tokens computed, and all of a run the worked examples.
        shareable += prefixes - prefixes // prompts + num_example_tokens if prompts else 0
    shareable = max(0, shareable) + continued
    tokens = {name: totals[name] for name in ("prompt", "cached", "completion")}
    tokens |= {"thought": totals["thought"]} if totals["thought"] else {}
    return {
        "counts": {
            "labels": totals["labels"],
            "failures": totals["failures"],
            "failures_by_reason": dict(failures.most_common()),
            "gate_answers": dict(gates.most_common()),
            "prompts": totals["prompts"],
        },
        "tokens": {
            **tokens,
            "shareable": shareable,
            "cached_share_of_shareable": round(tokens["cached"] / shareable, 4) if shareable else None,
        },
    }
