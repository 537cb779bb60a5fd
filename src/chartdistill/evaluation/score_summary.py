"""The figures of `score` as a person reads them in a terminal.

In: the figures of `score.score_files`. Out: text. Must hold: broken answers stand beside confabulation, so that an arm
does not look honest by answering nothing usable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chartdistill.metrics import HEADLINE
from chartdistill.metrics.catalogue import MetricInfo, with_unusable
from chartdistill.metrics.counting import ALL_TASKS

_FIGURE = MetricInfo("figure", "", "", form="score")
"""How every figure is written here, a share too."""


def write_summary(figures: Mapping[str, Any]) -> str:
    """The headline figures as text, with interval and n; then differences with p values."""
    lines = [f"{figures['records']} records in {figures['clusters']} clusters; value [95% interval] n"]
    names = (*(task["name"] for task in figures["tasks"]), ALL_TASKS)
    for arm, by_task in figures["arms"].items():
        notes = _missing_note(figures["missing"].get(arm, 0)), _left_out_note(figures["without_gold"].get(arm, 0))
        lines.append(f"\n{arm}" + "".join(notes))
        for task in names:
            shown = (f"{metric} {_shown(by_task[task][metric])}" for metric in with_unusable(HEADLINE))
            lines.append(f"  {task}: " + "; ".join(shown))
    for pair, by_task in figures["differences"].items():
        lines.append(f"\n{pair} (paired; p by randomisation, corrected by Holm over {figures['verdicts']} tests)")
        for metric in HEADLINE:
            tested = figures["p_values"][pair][ALL_TASKS][metric]
            p = "no p" if tested["holm"] is None else f"p {tested['holm']:.4f}"
            lines.append(f"  {ALL_TASKS}: {metric} {_shown(by_task[ALL_TASKS][metric], '+')} {p}")
    return "\n".join(lines) + "\n"


def _missing_note(number: int) -> str:
    return f" - {number} answers MISSING, left out of every figure" if number else ""


def _left_out_note(number: int) -> str:
    if not number:
        return ""
    return f" - {number} more records have answers and NO GOLD: no figure is about them, and none is of all"


def _shown(estimate: Mapping[str, Any], sign: str = "") -> str:
    if estimate["value"] is None:
        return f"not defined ({estimate['reason']})"
    low, high = ("?" if estimate[end] is None else f"{estimate[end]:{sign}.3f}" for end in ("low", "high"))
    unscored = f", {estimate['unscored']} unscored" if estimate["unscored"] else ""
    records = "" if estimate["records"] is None else f" in {estimate['records']} records"
    differ = (
        ""
        if estimate["discordant"] is None
        else f", {estimate['discordant']} of {estimate['clusters']} clusters differ"
    )
    value = f"{estimate['value']:{sign}.3f}" if sign else _FIGURE.write(estimate["value"])
    return f"{value} [{low}, {high}] n {estimate['n']}{records}{differ}{unscored}"
