"""Teacher, base and student on the same held-out records. The verbs are evaluate.py, predict.py and score.py.

What other rooms may use: the options and gates a config names, and the scores that `evaluate` wrote.
"""

from chartdistill.evaluation.options import InterventionOptions
from chartdistill.evaluation.scores import Overlap, Scores, read_scores
from chartdistill.evaluation.trust_gates import (
    APPROVAL,
    APPROVED,
    NOT_APPROVED,
    GateVerdict,
    TrustGate,
    approval,
    is_approved,
    judge_gates,
    state_approval,
)  # fmt: skip

__all__ = [
    "InterventionOptions", "Overlap", "Scores", "read_scores", "APPROVAL", "APPROVED", "NOT_APPROVED", "GateVerdict",
    "TrustGate", "approval", "is_approved", "judge_gates", "state_approval",
]  # fmt: skip
