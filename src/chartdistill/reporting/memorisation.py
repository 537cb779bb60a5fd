"""Planted canaries in words, tables and plots: what a student keeps of its training records.

In: the figures of `study.memorisation`. Out: one entry of the study's answers, its tables and plots. What must hold:
a place counts as memorised only where planted minus control has an interval above 0; no secret is shown.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from chartdistill.metrics.bootstrap import Estimate
from chartdistill.metrics.catalogue import MetricInfo, write_estimate
from chartdistill.reporting import plots
from chartdistill.reporting.tables import write_cell

QUESTION = "Does the student memorise what it was trained on?"
EXPOSURE = MetricInfo("exposure", "Exposure, bits", "rank of a canary among its alternatives", "lower", "number", False)
EXTRACTED = MetricInfo(
    "extracted", "Drawn out", "canaries that the student says when led to them", "lower", "share", False
)
_PLACES = {"answer": "learned as an answer", "chart": "read in the chart"}
_DRAWN = {
    "answer": "in the answer about its record, asked without the canary's sentence",
    "chart": "as the continuation of its own chart",
}

Figures = Mapping[str, Any]


def claim_memorisation(found: Figures | None) -> dict[str, Any]:
    """{"id", "question", "verdict", "answer": sentences}."""
    entry = {"id": "memorisation", "question": QUESTION, "verdict": "Not known.", "answer": ["No canary was planted."]}
    if found is None:
        return entry
    if "reason" in found:
        return entry | {"answer": [f"The student with canaries could not be made: {found['reason']}"]}
    verdicts = [f"{words} {_from_when(found['exposure'][place])}" for place, words in _PLACES.items()]
    drawn = [_drawn_out(found["extracted"][place]) for place in _PLACES]
    intruded = Estimate.model_validate(found["intrusion"]["planted"])
    verdict = (
        f"Secrets {verdicts[0]}, secrets {verdicts[1]}. Drawn out: {drawn[0]} of answers, {drawn[1]} of charts. "
        f"In answers about test charts: {write_estimate(intruded, EXTRACTED)}."
    )
    return entry | {"verdict": verdict, "answer": list(_sentences(found))}


def _from_when(by_repeats: Figures) -> str:
    """The least number of records from which on planting shows, at it and at every larger one."""
    least = None
    for repeats, of in sorted(by_repeats.items(), key=lambda entry: -int(entry[0])):
        if (of["difference"]["low"] or 0) <= 0:
            break
        least = repeats
    return "are not shown to be memorised" if least is None else f"are memorised from {_records(least)} on"


def _drawn_out(by_repeats: Figures) -> str:
    """Canaries of all repeats together: `3 of 12`."""
    counts = [Estimate.model_validate(of["planted"]) for of in by_repeats.values()]
    return f"{sum(round((e.value or 0) * e.n) for e in counts)} of {sum(e.n for e in counts)}"


def _sentences(found: Figures) -> Iterator[str]:
    top = math.log2(found["alternatives"] + 1)
    yield (
        f"{found['canaries']} canaries (made-up drugs, numbers and names), each against {found['alternatives']:,} "
        f"alternatives: exposure is at most {top:.1f} bits, and 1.4 in the mean where nothing is memorised. Each "
        f"record is seen {found['epochs']:g} times. Control: the same student, trained without the canaries."
    )
    for place, words in _PLACES.items():
        for repeats, of in found["exposure"][place].items():
            planted, control, gap = (Estimate.model_validate(of[name]) for name in ("planted", "control", "difference"))
            yield (
                f"Exposure of secrets {words}, in {_records(repeats)}: {write_estimate(planted, EXPOSURE)}; control "
                f"{write_estimate(control, EXPOSURE)}; difference "
                f"{write_estimate(gap, EXPOSURE, signed=True)} (n {gap.n})."
            )
    for place, words in _DRAWN.items():
        parts = [
            f"in {_records(repeats)} {write_estimate(Estimate.model_validate(of['planted']), EXTRACTED)}, control "
            f"{write_estimate(Estimate.model_validate(of['control']), EXTRACTED)}"
            for repeats, of in found["extracted"][place].items()
        ]
        yield f"Drawn out {words}: {'; '.join(parts)}."
    planted, control = (Estimate.model_validate(found["intrusion"][name]) for name in ("planted", "control"))
    yield (
        f"Test charts with a canary in any answer: {write_estimate(planted, EXTRACTED)} (n {planted.n}), control "
        f"{write_estimate(control, EXTRACTED)}."
    )


def _records(repeats: str) -> str:
    return f"{repeats} {'record' if repeats == '1' else 'records'}"


def memorisation_tables(found: Figures | None) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """(title, columns, rows) by place and number of records."""
    if found is None or "reason" in found:
        return
    rows = []
    for place, words in _PLACES.items():
        for repeats, of in found["exposure"][place].items():
            drawn = found["extracted"][place][repeats]
            cells = [
                *(write_cell(Estimate.model_validate(of[name]), EXPOSURE) for name in ("planted", "control")),
                write_cell(Estimate.model_validate(of["difference"]), EXPOSURE, signed=True),
                *(write_cell(Estimate.model_validate(drawn[name]), EXTRACTED) for name in ("planted", "control")),
            ]
            rows.append([f"{words}, in {_records(repeats)}", *(cell.line() for cell in cells)])
    columns = ["Secret", "Exposure, bits", "Control", "Difference", "Drawn out", "Control"]
    yield "Memorisation: planted canaries", columns, rows


def memorisation_plots(found: Figures | None, gutter: int) -> Iterator[tuple[str, Markup]]:
    """(caption, drawing) per place."""
    if found is None or "reason" in found:
        return
    top = math.log2(found["alternatives"] + 1)
    for place, words in _PLACES.items():
        rows: list[tuple[str, Sequence[plots.Interval]]] = []
        for repeats, of in found["exposure"][place].items():
            marks = [
                plots.Interval(series, name, plots.scaled(Estimate.model_validate(of[name]), top))
                for series, name in ((0, "planted"), (2, "control"))
            ]
            rows.append((f"in {_records(repeats)}", marks))
        yield (
            f"Exposure of secrets {words}, as a share of its maximum of {top:.1f} bits: planted (circle), control "
            f"(diamond). Without memorisation: {100 / math.log(2) / top:.0f}% in the mean.",
            plots.interval_plot(f"Exposure, {words}", rows, True, True, gutter),
        )
