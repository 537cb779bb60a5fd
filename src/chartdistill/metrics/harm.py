"""Confusions of status that can do harm: what must not be taken is said to be, or what is taken to be stopped."""

from __future__ import annotations

from collections.abc import Mapping

TAKEN = frozenset({"start", "continue", "change", "given-once"})
"""Statuses of a drug that is taken."""

HARMFUL: Mapping[str, frozenset[str]] = {
    "stop": frozenset({"continue", "start", "change"}),
    "avoid": TAKEN,
    "hold": frozenset({"continue", "start"}),
    "past": frozenset({"continue", "start"}),
    "continue": frozenset({"stop"}),
}
"""Gold status -> emitted statuses that can do harm."""

DRUG_STATUSES = TAKEN | HARMFUL.keys()
"""What a drug's status usually is."""


def harmful_statuses(status: str | None) -> frozenset[str]:
    """The emitted statuses that can do harm where gold has this one; none where it has another or none."""
    return HARMFUL.get(status or "", frozenset())
