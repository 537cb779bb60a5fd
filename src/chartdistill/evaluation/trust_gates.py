"""Trust gates: what a student must reach before it is used, written down in the config before anything is measured.

In: the gates of a config and the figures of `evaluate`. Out: one verdict for each, as a sentence. What must hold: a
gate whose figure is undefined is not passed, and says why; a gate that only "none at all" passes needs an n that makes
none mean something. (A gate question, the first step of the chain, is something else: see `schema.Gate`.)
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from chartdistill.evaluation.scores import Scores
from chartdistill.metrics import AGREEMENT, ALL_TASKS
from chartdistill.metrics import METRICS as MEASURED
from chartdistill.metrics.bootstrap import Estimate
from chartdistill.metrics.catalogue import BY_NAME, MetricInfo, metric_in_text, task_title, write_figure, write_n
from chartdistill.metrics.status import OF_NAMED
from chartdistill.schema import LABELS_OF

STUDENT = "student"
"""The arm that is judged."""
_ROUNDING = 1e-9
"""So that 0.9 x 1.0 is reached by 0.9."""

State = Literal["passed", "missed", "cannot be judged"]


class TrustGate(BaseModel):
    """One thing the student must reach on the held-out records."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    """A metric of the report, for example joint_f1, confabulation_rate, stop_as_continue_rate, invented_rate."""
    task: str = ALL_TASKS
    """A task of the run; `all` pools them."""
    at_least: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """The lowest value that passes, for metrics of which more is better."""
    at_most: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """The highest value that passes, for metrics of which less is better."""
    of: Literal["teacher", "base"] | None = None
    """The limit is so many times this arm's value, instead of a value of its own."""
    by: Literal["value", "bound"] = "value"
    """value: the student's value decides. bound: the unfavourable end of the 95% interval does."""
    least_n: int | None = Field(default=None, ge=1, exclude_if=lambda number: number is None)
    """The gate cannot be judged on fewer (items, records ...: what the metric's n counts). A gate on zero needs it."""

    @field_validator("metric")
    @classmethod
    def _is_measured(cls, name: str) -> str:
        known = [*MEASURED, *AGREEMENT]
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f"did you mean `{near[0]}`?" if near else f"allowed: {', '.join(known)}"
            raise ValueError(f"unknown metric; {hint}")
        return name

    @model_validator(mode="after")
    def _has_one_fit_limit(self) -> Self:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"the gate on {self.metric} needs exactly one of at_least and at_most")
        metric = BY_NAME[self.metric]
        option, wanted = ("at_least", "higher") if self.at_most is None else ("at_most", "lower")
        if metric.better not in (wanted, "neither"):
            right = "at_most" if option == "at_least" else "at_least"
            raise ValueError(f"of {self.metric} {metric.better} is better, so {option} would pass the bad; use {right}")
        if self.of is None and self.number > 1 and metric.form != "number":
            raise ValueError(f"{option} is {self.number:g}, but {self.metric} lies between 0 and 1 (5% is 0.05)")
        if self._asks_for_none() and (self.least_n is None or self.by == "bound"):
            raise ValueError(self._why_none_is_too_little(option))
        return self

    def _asks_for_none(self) -> bool:
        """Whether only "no error at all" passes, whatever is measured."""
        if BY_NAME[self.metric].form == "number":
            return False
        return self.at_most == 0 or (self.of is None and self.at_least == 1)

    def _why_none_is_too_little(self, option: str) -> str:
        bound = f"{option}: {0.05 if option == 'at_most' else 0.95}, by: bound"
        least = f"{option}: {self.number:g}, least_n: 60"
        why = (
            "no interval ends there, so by its bound it could never be passed"
            if self.by == "bound"
            else "none among few says nothing"
        )
        return (
            f"the gate on {self.metric} asks for {self.number:g}, and {why}. Write {{metric: {self.metric}, {least}}} "
            f"(0 of 60 rules out a true rate of more than 5%, 0 of 300 of more than 1%), or {{metric: {self.metric}, "
            f"{bound}}}"
        )

    @property
    def number(self) -> float:
        """The number in the config: the limit, or with `of` the factor of the other arm's value."""
        number = self.at_least if self.at_most is None else self.at_most
        assert number is not None  # by _has_one_fit_limit
        return number

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is: `sign * (figure - limit) >= 0` passes."""
        return 1 if self.at_most is None else -1

    def spelled(self) -> str:
        """The gate as a config writes it."""
        options = self.model_dump(exclude_defaults=True)
        return f"{{{', '.join(f'{name}: {value}' for name, value in options.items())}}}"


@dataclass(frozen=True)
class GateVerdict:
    """What became of one gate."""

    gate: TrustGate
    state: State
    sentence: str
    """Complete in itself: metric, limit, value, interval, n, and what became of it."""
    limit: float | None = None
    """On the scale of the metric; None where the arm it is taken from has no value."""
    estimate: Estimate | None = None
    """What was held against the limit: the student's figure, or with `of` and `bound` the paired difference."""

    @property
    def passed(self) -> bool:
        """Whether the student may pass."""
        return self.state == "passed"

    def as_json(self) -> dict[str, Any]:
        """Plain values for report.json and manifests."""
        return {
            "gate": self.gate.model_dump(exclude_none=True),
            "state": self.state,
            "sentence": self.sentence,
            "limit": self.limit,
            "estimate": None if self.estimate is None else self.estimate.model_dump(),
        }


def judge_gates(gates: Sequence[TrustGate], scores: Scores | None) -> tuple[GateVerdict, ...]:
    """Judge every gate, in the order of the config. `scores`: None when no arm has been scored."""
    return tuple(_judge(gate, scores) for gate in gates)


def _judge(gate: TrustGate, scores: Scores | None) -> GateVerdict:
    """One verdict.

    With student s, other arm o, factor f, and value: sign * (s - f * o) >= 0. By bound, with the interval [low, high]
    of the paired difference d = s - o over the records both answered: s - f * o = d + (1 - f) * o, so `at_least`
    passes when low + (1 - f) * o >= 0, and `at_most` when high + (1 - f) * o <= 0. Only d has an interval here; o is
    taken as it was measured, and the nearer f is to 1 the less that matters.
    """
    if scores is None:
        return _unjudged(gate, "no arm has been scored")
    own = scores.estimate(STUDENT, gate.task, gate.metric)
    if own is None or own.value is None:
        return _unjudged(gate, _why(own, "student"), estimate=own)
    if gate.least_n is not None and own.n < gate.least_n:
        return _unjudged(gate, f"its n is {own.n}, below the least n of {gate.least_n}", estimate=own)
    limit = gate.number
    if gate.of is not None:
        other = scores.estimate(_arm_of(gate, scores), gate.task, gate.metric)
        if other is None or other.value is None:
            return _unjudged(gate, _why(other, gate.of), estimate=own)
        limit *= other.value
        if gate.by == "bound":
            return _judge_difference(gate, scores, other.value, limit)
    if gate.by == "value":
        if gate.least_n is None and _only_none_passes(gate, limit, own):
            why = (
                f"{_student_has(gate, own)}, but at this n only none at all would pass, which says little: "
                "give the gate a least_n, or by: bound"
            )
            return _unjudged(gate, why, limit, own)
        return _verdict(gate, own.value, limit, own, _student_has(gate, own), scores)
    bound = own.low if gate.sign > 0 else own.high
    if bound is None:
        return _unjudged(gate, own.reason or "its figure has no interval", limit, own)
    said = f"{_student_has(gate, own)}, and {_end(gate)} counts"
    return _verdict(gate, bound, limit, own, said, scores)


def _passes_by_silence(gate: TrustGate, limit: float, figure: float, scores: Scores) -> str:
    """Why a rate of harm within its limit (its value, or its bound) is none: the student lists the drugs of too few of
    these gold items, and what it does not list, or lists in a broken answer, cannot be called taken. Empty where that
    is not so."""
    named, least = scores.estimate(STUDENT, gate.task, gate.metric + OF_NAMED), gate.least_n or 1
    if named is None or named.n >= least or gate.sign * (figure - limit) < -_ROUNDING:
        return ""
    if gate.least_n is None:
        return "the student lists the drug of none of these, so there is none that it could call taken"
    return f"the student lists the drug of only {named.n} of these, below the least n of {least}"


def _arm_of(gate: TrustGate, scores: Scores) -> str:
    """The arm a gate means; the teacher is a file of labels where they came from one."""
    files = [arm for arm in scores.arms if gate.of == "teacher" and arm.startswith(LABELS_OF)]
    return files[0] if files else str(gate.of)


def _only_none_passes(gate: TrustGate, limit: float, own: Estimate) -> bool:
    """Whether the student passes, and one single error among its n would have missed the limit. Shares only: the n of
    an F1 is not what its errors are counted among."""
    if BY_NAME[gate.metric].form != "share" or own.value is None or gate.sign * (own.value - limit) < -_ROUNDING:
        return False
    return (limit if gate.sign < 0 else 1 - limit) * own.n < 1 - _ROUNDING


def _judge_difference(gate: TrustGate, scores: Scores, other: float, limit: float) -> GateVerdict:
    gap = scores.difference(f"{STUDENT}-{_arm_of(gate, scores)}", gate.task, gate.metric)
    bound = None if gap is None else gap.low if gate.sign > 0 else gap.high
    if gap is None or bound is None:
        why = "was not computed" if gap is None else f"has no interval ({gap.reason or 'no reason recorded'})"
        return _unjudged(gate, f"the paired difference to the {gate.of} {why}", limit, gap)
    margin = bound + (1 - gate.number) * other
    metric = BY_NAME[gate.metric]
    said = (
        f"student minus {gate.of} is {write_figure(gap, metric, signed=True)}, so at {_end(gate)} the student is "
        f"{_apart(margin, metric)} the limit"
    )
    return _verdict(gate, limit + margin, limit, gap, said, scores)


def _verdict(
    gate: TrustGate, figure: float, limit: float, estimate: Estimate, said: str, scores: Scores
) -> GateVerdict:
    if silent := _passes_by_silence(gate, limit, figure, scores):
        return _unjudged(gate, silent, limit, estimate)
    state: State = "passed" if gate.sign * (figure - limit) >= -_ROUNDING else "missed"
    metric = BY_NAME[gate.metric]
    close = ""
    if state == "missed" and metric.write(figure) == metric.write(limit):
        close = f" (unrounded: {figure:.6g}, limit {limit:.6g})"
    return GateVerdict(gate, state, f"{state.capitalize()}: {_demand(gate, limit)}; {said}{close}.", limit, estimate)


def _unjudged(gate: TrustGate, why: str, limit: float | None = None, estimate: Estimate | None = None) -> GateVerdict:
    sentence = f"Cannot be judged, so not passed: {_demand(gate, limit)}; {why}."
    return GateVerdict(gate, "cannot be judged", sentence, limit, estimate)


def _demand(gate: TrustGate, limit: float | None) -> str:
    """What the gate asks for: `confabulation (all tasks) must be at most 5.0%`."""
    metric = BY_NAME[gate.metric]
    option = "at least" if gate.sign > 0 else "at most"
    if gate.of is None:
        number = metric.write(gate.number)
    else:
        known = "" if limit is None or not gate.number else f" {metric.write(limit / gate.number)}"
        number = f"{gate.number:g} times the {gate.of}'s{known}" + (
            "" if limit is None else f", so {metric.write(limit)}"
        )
    return f"{metric_in_text(metric)} ({task_title(gate.task).lower()}) must be {option} {number}"


def _student_has(gate: TrustGate, own: Estimate) -> str:
    metric = BY_NAME[gate.metric]
    if own.value == 0 and gate.sign < 0 and own.high is not None:
        # A rate of 0 proves no absence: its upper end is what n bears out.
        unit = (MEASURED.get(gate.metric) or AGREEMENT[gate.metric]).unit
        return (
            f"the student has none ({write_n(own)}; n: {unit}), which is compatible with a true rate of up to "
            f"{metric.write(own.high)} (95% upper bound)"
        )
    return f"the student has {write_figure(own, metric)}"


def _end(gate: TrustGate) -> str:
    return f"the {'lower' if gate.sign > 0 else 'upper'} end of the interval"


def _apart(margin: float, metric: MetricInfo) -> str:
    if abs(margin) <= _ROUNDING:
        return "exactly at"
    written = metric.write(abs(margin), signed=True).lstrip("+")
    return f"{written} {'above' if margin > 0 else 'below'}"


def _why(estimate: Estimate | None, arm: str) -> str:
    if estimate is None:
        return f"the {arm} has no such figure in this run"
    return f"the {arm}'s figure is not defined ({estimate.reason or 'no reason recorded'})"
