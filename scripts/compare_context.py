"""Our rules of assertion beside ConText; needs `pip install medspacy drug-named-entity-recognition` (own venv, 3.11).

    PYTHONPATH=src VENV/bin/python scripts/compare_context.py [--charts 300] [--pairs FILE.jsonl ...]

Is what a chart mentions the patient's, or is it denied, a relative's, or only considered? Both are given the same
charts and places, and judge an item as the filters do: it is ruled out when every mention is. Ours: `text/context.py`
and, for tests, `text/order_status.py`. ConText: the rules that medspaCy ships, behind PyRuSH's sentences; NEGATED,
FAMILY, HYPOTHETICAL and POSSIBLE rule out, HISTORICAL does not. Charts: the generator's, whose gold is asserted and
whose other drugs and diagnoses are not; and a line a pair in FILE,

    {"chart": "...", "kind": "diagnosis", "item": "gout", "asserted": false}

Printed for each, as JSON: n; accuracy, and precision and recall of "ruled out"; by part of the rules how many items
were ruled out rightly and wrongly; the pairs that only one judges right, with McNemar's exact p; and seconds per 1,000
mentions (median of interleaved rounds, start apart).
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from math import comb
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from chartdistill.clinical.entities import entity_named
from chartdistill.clinical.lexica.conditions import CONDITION_NAMES
from chartdistill.clinical.text import sections
from chartdistill.clinical.text.context import cues
from chartdistill.clinical.text.order_status import use_of
from chartdistill.clinical.text.sections import outline
from chartdistill.demo import charts

RULES_OUT = {
    "negated": "negation", "family": "family", "considered": "hypothetical", "declined": "hypothetical",
    "screened": "hypothetical", "NEGATED_EXISTENCE": "negation", "FAMILY": "family", "HYPOTHETICAL": "hypothetical",
    "POSSIBLE_EXISTENCE": "hypothetical",
}  # fmt: skip
"""What one of the two says of a mention -> the part of the rules that rules it out."""
ROUNDS = 3

Spans = Sequence[tuple[int, int]]


class Pair(NamedTuple):
    """An item of a chart, and whether the chart says it of the patient."""

    chart: str
    kind: str
    item: str
    asserted: bool


Placed = tuple[Pair, Spans]
Judge = Callable[[str, Sequence[Placed]], list[set[str]]]
"""(chart, its items and where they stand) -> the parts of the rules that rule each out; none: it stands."""


def main() -> None:
    """Compare on every set of pairs, and print the figures."""
    parser = argparse.ArgumentParser(description="Our rules of assertion beside medspaCy's ConText.")
    parser.add_argument("--charts", type=int, default=300, help="synthetic charts")
    parser.add_argument("--pairs", type=Path, nargs="*", default=[], help="JSONL of pairs")
    arguments = parser.parse_args()
    context = open_context()
    sets = {"synthetic charts": list(generated(arguments.charts))}
    for path in arguments.pairs:
        sets[path.stem] = [Pair(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    for name, pairs in sets.items():
        print(json.dumps({"pairs": name, **compare(pairs, context)}, indent=1), flush=True)


def generated(count: int) -> Iterator[Pair]:
    """Gold of synthetic charts, and what else they name: their patterns of relatives, denials and considerations."""
    drugs: list[str] = []
    made_up = charts.drug_name

    def named(rng: random.Random, pool: str) -> str:
        drugs.append(made_up(rng, pool))
        return drugs[-1]

    for index in range(count):
        drugs.clear()
        with mock.patch.object(charts, "drug_name", named):
            chart = charts.write_chart(random.Random(index), "heldout")
        for kind, names in (("medication", drugs), ("diagnosis", CONDITION_NAMES)):
            gold = {text.casefold() for text, _ in chart.gold[kind]}
            for name in dict.fromkeys(name.casefold() for name in names):
                if name in gold or not any(name in one for one in gold):
                    yield Pair(chart.text, kind, name, name in gold)


def mentions_of(pair: Pair) -> list[tuple[int, int]]:
    """Where the item stands, under its name with and without dose."""
    names = [pair.item, entity_named(pair.kind).key(pair.item)]
    return [(one.start, one.end) for one in outline(pair.chart).mentions(names)]


def ours(chart: str, placed: Sequence[Placed]) -> list[set[str]]:
    """By our rules."""
    plan = outline(chart)
    return [
        ({"hypothetical"} if use_of(pair.item, chart).what == "considered" else set())
        if pair.kind == "test"
        else _of_all([{RULES_OUT[cue] for cue in cues(plan.mention(*span)) if cue in RULES_OUT} for span in spans])
        for pair, spans in placed
    ]


def _of_all(parts: Sequence[set[str]]) -> set[str]:
    """What is said of the mentions, where something is said of each; else nothing."""
    return set().union(*parts) if all(parts) else set()


def open_context() -> Judge:
    """ConText with the rules it ships, as a judge."""
    import spacy
    from loguru import logger  # medspaCy's own, which writes a line for each rule
    from medspacy.context import ConText  # noqa: F401  registers the component
    from spacy.tokens import SpanGroup

    logger.remove()
    words = spacy.blank("en")
    sentences = words.add_pipe("medspacy_pyrush")
    context = words.add_pipe("medspacy_context", config={"input_span_type": "group", "span_group_name": "items"})

    def judge(chart: str, placed: Sequence[Placed]) -> list[set[str]]:
        text = sentences(words.make_doc(chart))
        found = {
            span: text.char_span(*span, label="ITEM", alignment_mode="expand") for _, spans in placed for span in spans
        }
        text.spans["items"] = SpanGroup(text, name="items", spans=list(found.values()))
        text = context(text)
        said = {
            span: {RULES_OUT[modifier.category] for modifier in one._.modifiers if modifier.category in RULES_OUT}
            for span, one in zip(found, text.spans["items"], strict=True)
        }
        return [_of_all([said[span] for span in spans]) for _, spans in placed]

    return judge


def compare(pairs: Sequence[Pair], context: Judge) -> dict[str, Any]:
    """All figures of one set of pairs."""
    by_chart: dict[str, list[Placed]] = {}
    for pair in pairs:
        if spans := mentions_of(pair):
            by_chart.setdefault(pair.chart, []).append((pair, spans))
    truth = [pair.asserted for placed in by_chart.values() for pair, _ in placed]
    mentions = sum(len(spans) for placed in by_chart.values() for _, spans in placed)
    judges = {"ours": ours, "context": context}
    seconds: dict[str, list[float]] = {name: [] for name in judges}
    right: dict[str, list[bool]] = {}
    figures: dict[str, Any] = {"n": len(truth), "asserted": sum(truth), "mentions": mentions}
    for _ in range(ROUNDS):
        for name, judge in judges.items():
            sections.outline.cache_clear()
            begun = time.perf_counter()
            said = [one for chart, placed in by_chart.items() for one in judge(chart, placed)]
            seconds[name].append(1000 * (time.perf_counter() - begun) / mentions)
            right[name] = [(not one) == true for one, true in zip(said, truth, strict=True)]
            figures[name] = ruled_out(said, truth)
    for name, values in seconds.items():
        figures[name]["seconds_per_1000_mentions"] = round(statistics.median(values), 2)
    one, other = right["ours"], right["context"]
    only = [sum(a and not b for a, b in zip(*both, strict=True)) for both in ((one, other), (other, one))]
    return {**figures, "only_ours_right": only[0], "only_context_right": only[1], "p": mcnemar(*only)}


def ruled_out(said: Sequence[set[str]], truth: Sequence[bool]) -> dict[str, Any]:
    """Accuracy, precision and recall of what is ruled out (None where nothing is), and (right, wrong) by part."""
    pairs = list(zip(said, truth, strict=True))
    both = sum(bool(parts) and not true for parts, true in pairs)
    emitted, wanted = sum(map(bool, said)), truth.count(False)
    return {
        "accuracy": round(sum((not parts) == true for parts, true in pairs) / len(pairs), 3),
        "precision": round(both / emitted, 3) if emitted else None,
        "recall": round(both / wanted, 3) if wanted else None,
        "by_part": {
            part: [sum(part in parts and true == wrong for parts, true in pairs) for wrong in (False, True)]
            for part in sorted(set(RULES_OUT.values()))
        },
    }


def mcnemar(one: int, other: int) -> float:
    """Two-sided exact p of McNemar's test from the two discordant counts (binomial with a half)."""
    n, least = one + other, min(one, other)
    return min(1.0, 2 * sum(comb(n, k) for k in range(least + 1)) / 2**n) if n else 1.0


if __name__ == "__main__":
    main()
