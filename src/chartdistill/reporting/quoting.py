"""What an arm did not learn, since its decoding or the filters did it: said wherever figures of such an arm stand."""

from __future__ import annotations

from collections.abc import Iterator

from chartdistill.evaluation import StudentArm
from chartdistill.labelling import SPANS
from chartdistill.reporting.run_results import RunResults
from chartdistill.reporting.tables import arm_title

_CONSTRAINED: StudentArm = "student constrained"
_FILTERED: StudentArm = "student filtered"


def quoting_limits(results: RunResults) -> Iterator[str]:
    """One sentence for each way in which items that stand nowhere in a chart were kept out."""
    if results.scores is None:
        return
    asked = (results.manifests.get("labels", {}).get("options") or {}).get("constrain") == SPANS
    own = (results.manifests.get("predictions", {}).get("options") or {}).get("constrain") == SPANS
    held = [
        *(["teacher"] if asked else []),
        *(["base", "student"] if own else []),
        *([_CONSTRAINED] if _CONSTRAINED in results.arms else []),
    ]
    if held:
        names = ", ".join(arm_title(arm) for arm in held)
        yield (
            f"{names}: only words of the chart could be written (constrain: spans). That invented items are down to 0 "
            "is this constraint, which any model would meet; nothing was learned by it. What it costs or gains stands "
            "in recall, abstention and the other two classes, wrong kind and contradicted."
        )
    if _FILTERED in results.arms:
        yield (
            f"{arm_title(_FILTERED)}: the answers of {arm_title('student')} behind the config's filters, which go by "
            "the rule that invented items are counted by. Fewer of them are the filters' doing, not the student's; an "
            "answer that a filter rejects counts as one that cannot be used."
        )
