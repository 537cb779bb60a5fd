"""What a config may say under `synthesize:`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class SynthesizeOptions(BaseModel):
    """New charts, written by the teacher from plans that are drawn."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = Field(ge=1)
    """Plans to draw; each gives one chart or none."""
    seed: int = 0
    """Of the plans and of what is drawn in writing."""
    drugs: Literal["known", "made_up"] = "known"
    """Names of drugs in plans: of the shipped lexicon, or invented ones that no real drug has."""
    rare_share: float = Field(default=0.6, ge=0, le=1)
    """Share of plans with something that real charts seldom have: a drug for another one, a hold, a taper, an allergy,
    a relative's drug, something denied, a pending test, a guarded prognosis."""
    temperature: float = Field(default=0.8, ge=0, allow_inf_nan=False)
    """Of writing. Reading is as `label:` says."""
    max_tokens: int = Field(default=1024, ge=16)
    """Room for a chart. One that is cut is rejected."""
    min_plan_read: float = Field(default=1.0, ge=0, le=1)
    """Share of the plan's findings that the reading must have, with their status."""
    min_reading_planned: float = Field(default=0.8, ge=0, le=1)
    """Share of what was read that must be in the plan."""
    most_shared_words: int = Field(default=12, ge=4)
    """Words in a row that a chart may share with a chart of the run, of any split."""
    length_factors: tuple[float, float] = (0.4, 2.0)
    """Least and most words of a chart, as multiples of those planned."""
    min_distinct_words: float = Field(default=0.3, ge=0, le=1)
    """Distinct words among the first 200 of a chart, as a share; fewer is a model that repeats itself."""

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Self:
        low, high = self.length_factors
        if not 0 <= low < high:
            raise ValueError(f"length_factors must be two numbers, the smaller first, not {low} and {high}")
        return self
