"""rounds.md: what each round added, and whether it helped.

In: the figures of rounds.json. Out: Markdown without record text. Must hold: every figure that has an interval stands
with it; which records chose the round is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from chartdistill.metrics import ALL_TASKS
from chartdistill.metrics.bootstrap import Estimate
from chartdistill.metrics.significance import PValue
from chartdistill.reporting.markdown import inline, write_bullets, write_grids
from chartdistill.reporting.tables import (
    METRICS,
    MISSING,
    Grid,
    in_words,
    verdict,
    with_estimates,
    write_cell,
    write_p,
)

_HELD_OUT = ("f1", "joint_f1", "precision", "recall", "confabulation_rate")
_PLAIN = ("invented_rate", "items_per_record", "format_valid_rate")


def render_rounds(written: dict[str, Any]) -> str:
    """The whole of rounds.md."""
    figures = with_estimates(written)
    parts = [f"# {inline(figures['name'])}: rounds", write_bullets(_answers(figures)), *write_grids(_grids(figures))]
    return "\n\n".join(parts) + "\n"


def _answers(figures: dict[str, Any]) -> Iterator[str]:
    rounds, chosen = figures["rounds"], figures["chosen"]
    yield f"It ended because {figures['ended']}."
    yield (
        f"Round {chosen} is chosen, by {figures['reference']['records']:,} validation records held against "
        f"{figures['reference']['what']}. The {figures['records']:,} held-out records decided nothing."
    )
    if len(rounds) < 2:
        yield "No round was trained, so nothing can be said of what rounds do."
        return
    name = "joint_f1" if _has_gold(figures) else "invented_rate"
    last = rounds[-1]["round"]
    pair = f"round {last}-round 0"
    gap = figures["held_out"]["differences"][pair][ALL_TASKS][name]
    tested = figures["held_out"]["p_values"][pair][ALL_TASKS].get(name)
    shown, _ = verdict(gap, METRICS[name], None if tested is None else PValue.model_validate(tested))
    words = ("it is better", "it is worse", "no difference is shown", "no difference can be shown")
    said = "not tested" if tested is None else in_words(shown, *words)
    figure = write_cell(gap, METRICS[name], True).line()
    yield f"Round {last} against round 0 on held-out records, {METRICS[name].title}: {figure}; {said}."
    if shown != "better":
        yield "That a student teaches itself further is not shown here."


def _has_gold(figures: dict[str, Any]) -> bool:
    return any(figures["held_out"]["gold"].values())


def _grids(figures: dict[str, Any]) -> Iterator[Grid]:
    names = _HELD_OUT if _has_gold(figures) else _PLAIN
    titles = [METRICS[name].title for name in names]
    arms = figures["held_out"]["arms"]
    yield Grid(
        "What each round learned from",
        ("Round", "Labels kept", "Asked again", "Kept of them", "Of these none found", "Precision", "Confabulation"),
        list(_added(figures)),
    )
    yield Grid(
        "Validation records, which choose",
        ("Round", "Joint F1", "Gain over the round before"),
        [
            (str(one["round"]), _figure(one["validation"], "joint_f1"), _figure(one["gain"], "joint_f1", True))
            for one in figures["rounds"]
        ],
    )
    yield Grid(
        "Held-out records, all tasks",
        ("Round", *titles),
        [
            (arm.removeprefix("round "), *(_figure(of[ALL_TASKS][name], name) for name in names))
            for arm, of in arms.items()
        ],
    )
    differences, tests = figures["held_out"]["differences"], figures["held_out"]["p_values"]
    yield Grid(
        "Differences on held-out records, paired",
        ("Rounds", *titles, "Joint F1, corrected"),
        [
            (
                pair.replace("round ", "").replace("-", " \u2212 "),
                *(_figure(of[ALL_TASKS][name], name, True) for name in names),
                write_p(tests[pair][ALL_TASKS]["joint_f1"]["holm"]),
            )
            for pair, of in differences.items()
        ],
    )
    yield Grid(
        "Signs of collapse in answers to held-out records",
        ("Round", "Answers", "Items", "Different items", "None found", "Unusable"),
        [(str(one["round"]), *_variety(one["answers"])) for one in figures["rounds"]],
    )


def _added(figures: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    asked = 0
    for one in figures["rounds"]:
        added = one["added"]
        worth = (
            (MISSING,) * 4
            if added is None
            else (
                f"{added['labels']:,}",
                f"{added['none_found']:,}",
                _figure(added["precision"], "precision"),
                _figure(added["confabulation_rate"], "confabulation_rate"),
            )
        )
        yield str(one["round"]), f"{one['kept']:,}", f"{asked:,}" if asked else MISSING, *worth
        asked = one["asked_again"]
    if len(figures["kept"]) > len(figures["rounds"]):
        yield str(len(figures["rounds"])), f"{figures['kept'][-1]:,}", f"{asked:,}", *(MISSING,) * 4


def _figure(estimate: Estimate | None, name: str, signed: bool = False) -> str:
    return MISSING if estimate is None else write_cell(estimate, METRICS[name], signed).line()


def _variety(answers: dict[str, Any]) -> Iterator[str]:
    for name in ("answers", "items"):
        yield f"{answers[name]:,}"
    for name in ("distinct", "none_found", "unusable"):
        yield MISSING if answers[name] is None else f"{answers[name]:.1%}"
