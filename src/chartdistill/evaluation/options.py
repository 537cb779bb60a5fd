"""What a config may say about changed charts, and about the student's arms."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

StudentArm = Literal["student plain", "student constrained", "student filtered"]
"""Arms of the same adapter beside `student`: see student_arms.py."""


class InterventionOptions(BaseModel):
    """Asking some held-out records again in changed form: is the answer tied to the chart, and does it stay the same?

    Costs, for each arm and task, about 3.2 prompts per edited record, at most 5 (1.6 of them placebos, at most 2), and
    6.5 + `resamples` for each of `records`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    records: int = Field(default=0, ge=0)
    """Held-out records to ask again in all forms that must not change the answer, drawn by the hash of their id; 0: no
    interventions at all."""
    edited_records: int | None = Field(default=None, ge=1)
    """Held-out records to edit with a known effect (an item deleted, inserted, its status flipped), those of `records`
    among them. None: four times `records`, since an edit is one prompt."""
    resamples: int = Field(default=2, ge=0, le=10)
    """Answers drawn at `temperature` for each record and task."""
    temperature: float = Field(default=0.7, gt=0, le=2)
    teacher: bool = False
    """Ask the teacher too, as it was asked for labels; its engine is then started once more."""
    seed: int = 0
