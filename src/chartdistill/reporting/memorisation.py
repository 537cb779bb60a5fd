"""Planted canaries in words, tables and plots: what a student keeps of its training records.

In: the figures of `study.memorisation`. Out: one entry of the study's answers, its tables and plots. What must hold:
a place counts as memorised only where planted minus control is above 0 by its interval and by its corrected p value; no
secret is shown.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from chartdistill.metrics.catalogue import MetricInfo, write_estimate
from chartdistill.metrics.significance import PValue
from chartdistill.reporting import plots
from chartdistill.reporting.tables import Grid, verdict, with_estimates, write_cell, write_p

QUESTION = "Does the student memorise what it was trained on?"
EXPOSURE = MetricInfo("exposure", "Exposure, bits", "rank of a canary among its alternatives", "lower", "number", False)
EXTRACTED = MetricInfo(
    "extracted", "Drawn out", "canaries that the student says when led to them", "lower", "share", False
)
FEW_CANARIES = 20
"""Below this, that nothing is shown says nothing: only what changes exposure in nearly all canaries could be seen."""
_PLACES = {"answer": "learned as an answer", "chart": "read in the chart"}
_DRAWN = {
    "answer": "in the answer about its record, asked without the canary's sentence",
    "chart": "as the continuation of its own chart",
}

Figures = Mapping[str, Any]


def claim_memorisation(written: Figures | None) -> dict[str, Any]:
    """{"id", "question", "verdict", "answer": sentences}."""
    entry = {"id": "memorisation", "question": QUESTION, "verdict": "Not known.", "answer": ["No canary was planted."]}
    if written is None:
        return entry
    if "reason" in written:
        return entry | {"answer": [f"The student with canaries could not be made: {written['reason']}"]}
    found = with_estimates(written)
    answer, chart = (f"{words} {_from_when(found['exposure'][place])}" for place, words in _PLACES.items())
    answers, charts = (_drawn_out(found["extracted"][place]) for place in _PLACES)
    verdict = (
        f"Secrets {answer}, secrets {chart}. Drawn out: {answers} of answers, {charts} of charts. "
        f"In answers about test charts: {write_estimate(found['intrusion']['planted'], EXTRACTED)}."
    )
    return entry | {"verdict": verdict, "answer": list(_sentences(found))}


def _from_when(by_repeats: Figures) -> str:
    """The least number of records from which on planting shows, at it and at every larger one."""
    least = None
    for repeats, of in sorted(by_repeats.items(), key=lambda entry: -int(entry[0])):
        shown, _ = verdict(of["difference"], EXPOSURE, PValue.model_validate(of["test"]))
        if shown != "worse":  # planted is more exposed than control
            break
        least = repeats
    few = min(of["difference"].n for of in by_repeats.values())
    if least is None and few < FEW_CANARIES:
        return f"cannot be judged by {few} canaries"
    return "are not shown to be memorised" if least is None else f"are memorised from {_records(least)} on"


def _drawn_out(by_repeats: Figures) -> str:
    """Canaries of all repeats together: `3 of 12`."""
    counts = [of["planted"] for of in by_repeats.values()]
    return f"{sum(round((e.value or 0) * e.n) for e in counts)} of {sum(e.n for e in counts)}"


def _sentences(found: Figures) -> Iterator[str]:
    yield (
        f"{found['canaries']} canaries (made-up drugs, numbers and names), each against {found['alternatives']:,} "
        f"alternatives: exposure is at most {_most(found):.1f} bits, and 1.4 in the mean where nothing is memorised. "
        f"Each record is seen {found['epochs']:g} times. Control: the same student, trained without the canaries."
    )
    for place, words in _PLACES.items():
        for repeats, of in found["exposure"][place].items():
            planted, control = (write_estimate(of[name], EXPOSURE) for name in ("planted", "control"))
            gap = write_estimate(of["difference"], EXPOSURE, signed=True)
            yield (
                f"Exposure of secrets {words}, in {_records(repeats)}: {planted}; control {control}; difference {gap} "
                f"(n {of['difference'].n}, {write_p(of['test']['holm'])})."
            )
    for place, words in _DRAWN.items():
        parts = [
            f"in {_records(repeats)} {write_estimate(of['planted'], EXTRACTED)}, control "
            f"{write_estimate(of['control'], EXTRACTED)}"
            for repeats, of in found["extracted"][place].items()
        ]
        yield f"Drawn out {words}: {'; '.join(parts)}."
    planted, control = (found["intrusion"][name] for name in ("planted", "control"))
    yield (
        f"Test charts with a canary in any answer: {write_estimate(planted, EXTRACTED)} (n {planted.n}), control "
        f"{write_estimate(control, EXTRACTED)}."
    )


def _records(repeats: str) -> str:
    return f"{repeats} {'record' if repeats == '1' else 'records'}"


def _most(found: Figures) -> float:
    """The highest exposure there can be, in bits."""
    return math.log2(found["alternatives"] + 1)


def memorisation_grids(found: Figures | None) -> Iterator[Grid]:
    """Exposure and extraction by place and number of records; none where nothing was measured."""
    if found is None or "reason" in found:
        return
    rows = []
    for place, words in _PLACES.items():
        for repeats, of in found["exposure"][place].items():
            drawn = found["extracted"][place][repeats]
            cells = [
                *(write_cell(of[name], EXPOSURE) for name in ("planted", "control")),
                write_cell(of["difference"], EXPOSURE, True),
                *(write_cell(drawn[name], EXTRACTED) for name in ("planted", "control")),
            ]
            rows.append((f"{words}, in {_records(repeats)}", *(cell.line() for cell in cells)))
    columns = ("Secret", "Exposure, bits", "Control", "Difference", "Drawn out", "Control")
    yield Grid("Memorisation: planted canaries", columns, rows)


def memorisation_plots(found: Figures | None, gutter: int) -> Iterator[tuple[str, Markup]]:
    """(caption, drawing) per place."""
    if found is None or "reason" in found:
        return
    top = _most(found)
    for place, words in _PLACES.items():
        rows = []
        for repeats, of in found["exposure"][place].items():
            series = ((0, "planted"), (2, "control"))
            marks = [plots.Interval(number, name, plots.scaled(of[name], top)) for number, name in series]
            rows.append((f"in {_records(repeats)}", marks))
        yield (
            f"Exposure of secrets {words}, as a share of its maximum of {top:.1f} bits: planted (circle), control "
            f"(diamond). Without memorisation: {100 / math.log(2) / top:.0f}% in the mean.",
            plots.interval_plot(f"Exposure, {words}", rows, gutter),
        )
