"""Whether a student may be used: its verdicts, and whether they were asked for before the answers existed.

In: verdicts of the trust gates, and when gates and held-out records were set. Out: one `Judgement` for all pages, what
the adapter's manifest says of it, and what is said before the adapter is used. What must hold: approved is only who
passes every gate, by gates and on records that were registered before the answers; an approval that was given by other
gates, or on other scores, does not count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chartdistill.evaluation.registration import NO_TIMING, Timing
from chartdistill.evaluation.trust_gates import GateVerdict, TrustGate
from chartdistill.metrics.catalogue import BY_NAME
from chartdistill.schema import content_hash

APPROVAL = "approval"
"""Key in the adapter's manifest that the report itself writes, so that it never counts as something it reads."""
APPROVED, NOT_APPROVED = "approved", "not-approved"


@dataclass(frozen=True)
class Judgement:
    """Verdicts with the time they were asked for. False where there is nothing to judge: no gates, now or before."""

    verdicts: tuple[GateVerdict, ...] = ()
    timing: Timing = NO_TIMING
    synthetic: bool = False
    """Whether all held-out charts are synthetic: nothing is known of others then."""

    def __bool__(self) -> bool:
        return bool(self.verdicts or self.timing.withheld)

    @property
    def approved(self) -> bool:
        """Whether every gate is passed, and was set in time."""
        return all(verdict.passed for verdict in self.verdicts) and not self.timing.withheld

    @property
    def status(self) -> str:
        """`approved` or `not-approved`."""
        return APPROVED if self.approved else NOT_APPROVED

    @property
    def missed(self) -> tuple[str, ...]:
        """Each gate that is not passed, in a sentence."""
        return tuple(verdict.sentence for verdict in self.verdicts if not verdict.passed)

    @property
    def sentence(self) -> str:
        """The outcome in one line; empty without gates. An approval that says nothing of correctness says so."""
        if not self:
            return ""
        number, why = len(self.verdicts), "; ".join(self.timing.withheld)
        if self.missed:
            also = f"; {why}" if why else ""
            return f"Not approved: {len(self.missed)} of {limits(number)} not passed{also}."
        if why:
            return f"Not approved: {why} ({number} of {limits(number)} passed)."
        about_gold = any(BY_NAME[verdict.gate.metric].needs_gold for verdict in self.verdicts)
        held = "" if about_gold else "not about correctness; "
        charts = "synthetic charts; " if self.synthetic else ""
        which = f"the {limits(number)}" if number > 1 else "the one limit of the config"
        return f"Passed {which} ({held}{charts}not a clinical approval)."

    def as_json(self) -> dict[str, Any] | None:
        """Plain values for report.json and the report's manifest; None where there is nothing to judge."""
        if not self:
            return None
        verdicts = [verdict.as_json() for verdict in self.verdicts]
        return {
            "status": self.status,
            "sentence": self.sentence,
            "synthetic": self.synthetic,
            "verdicts": verdicts,
            **self.timing.as_json(),
        }


def limits(number: int) -> str:
    """So many limits, in words."""
    return f"{number} limit{'' if number == 1 else 's'} of the config"


NOT_JUDGED = Judgement()
"""Without gates."""


def approval(judgement: Judgement, gates: Sequence[TrustGate], evaluation: str | None) -> dict[str, Any] | None:
    """What the adapter's manifest says of its gates; None where there is nothing to judge.

    `evaluation`: fingerprint of the scores they were judged by.
    """
    if not judgement:
        return None
    return {
        "status": judgement.status,
        "synthetic": judgement.synthetic,
        "gates": [verdict.sentence for verdict in judgement.verdicts],
        "missed": len(judgement.missed),
        "missed_gates": list(judgement.missed),
        **judgement.timing.as_json(),
        "judged": {"gates": _mark(gates), "evaluation": evaluation},
    }


def student_warnings(gates: Sequence[TrustGate], manifest: Mapping[str, Any], evaluation: str | None) -> list[str]:
    """What to say before an adapter is used: first the outcome, then each gate. Empty without gates, and where they are
    passed on charts that are not synthetic.

    `manifest`: the adapter's. `evaluation`: fingerprint of the scores there are now; None when there are none.
    """
    if not gates:
        return []
    found = manifest.get(APPROVAL)
    if not found:
        return [
            "the adapter has not been judged yet by the trust gates of this config; run `chartdistill report CONFIG`"
        ]
    if found["judged"] != {"gates": _mark(gates), "evaluation": evaluation}:
        return [
            "the adapter has not been judged yet by these trust gates and scores: one of them changed; report again"
        ]
    if found["status"] == APPROVED:
        only = (
            "the adapter was approved on synthetic charts only: how it reads other charts was not measured. Check its "
            "answers against charts with gold (`chartdistill score`) before anyone relies on them"
        )
        return [only] if found.get("synthetic") else []
    late = found.get("warnings", []) if found.get("withheld") else []
    return ["the adapter is NOT APPROVED by the trust gates of this config", *found["missed_gates"], *late]


def _mark(gates: Sequence[TrustGate]) -> str:
    return content_hash([gate.model_dump() for gate in gates])
