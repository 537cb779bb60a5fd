"""Teacher, base and student on the same held-out records. The verbs are evaluate.py, predict.py and score.py.

What other rooms may use: the options and gates a config names, and the scores that `evaluate` wrote.
"""

from chartdistill.evaluation.confidence import AGREES, CALIBRATION, Confidence
from chartdistill.evaluation.contamination import refuse_shown_records
from chartdistill.evaluation.judgement import APPROVAL, NOT_JUDGED, Judgement, approval
from chartdistill.evaluation.options import InterventionOptions, StudentArm
from chartdistill.evaluation.registration import (
    REGISTERED,
    REGISTRATIONS,
    compare_timing,
    forget_held_out,
    read_registrations,
    register,
)
from chartdistill.evaluation.scores import MADE_FROM, Overlap, Scores, read_scores
from chartdistill.evaluation.trust_gates import GateVerdict, TrustGate, judge_gates

__all__ = [
    "AGREES", "CALIBRATION", "Confidence",
    "InterventionOptions", "Overlap", "Scores", "read_scores", "APPROVAL", "NOT_JUDGED", "REGISTERED", "REGISTRATIONS",
    "GateVerdict", "Judgement", "StudentArm", "TrustGate", "approval", "compare_timing", "forget_held_out",
    "judge_gates", "read_registrations", "refuse_shown_records", "register", "MADE_FROM",
]  # fmt: skip
