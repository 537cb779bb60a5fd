"""What a study file may say, and the students that follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from chartdistill.evaluation import InterventionOptions
from chartdistill.runtime.yaml_file import checked, read_yaml, require_kind

TrainedArm = Literal[
    "distilled_raw", "distilled_filtered", "self_raw", "self_filtered", "imported_raw", "audited", "gold_trained"
]
LABELS_OF: dict[TrainedArm, tuple[str, bool]] = {
    "distilled_raw": ("teacher", False),
    "distilled_filtered": ("teacher", True),
    "self_raw": ("self", False),
    "self_filtered": ("self", True),
    "imported_raw": ("imported", False),
    "audited": ("audited", False),
    "gold_trained": ("gold", False),
}
"""Arm -> (whose labels, whether they go through the config's filters). Raw labels must only follow the format."""

CONTROL: TrainedArm = "distilled_filtered"
"""Whose examples canaries are planted into; the same student without them is the control."""

IMPORTED = frozenset({"imported", "audited"})
"""Whose labels come with charts of their own."""
_USUAL: tuple[TrainedArm, ...] = (
    "distilled_raw", "distilled_filtered", "self_raw", "self_filtered", "gold_trained",
)  # fmt: skip


class CanaryOptions(BaseModel):
    """Made-up secrets planted into the training records of one more student, to see what it keeps of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    per_kind: int = Field(default=10, ge=1)
    """Canaries of each kind (drug, number, name) and number of repeats. Two kinds are learned as answers, so 10 make 20
    for each verdict there; with fewer than 20 the report says that nothing can be judged where nothing shows."""
    size: int | None = Field(default=None, ge=1)
    """Training records of the student and its control, one of `sizes`; None: compared_size. Planting `per_kind` x 3 x
    the sum of `repeats` sentences (10 and 1, 4, 16: 630) into few charts makes other charts of them; in many they are
    thin, and the one more training takes as long as that of so many records."""
    repeats: tuple[int, ...] = Field(default=(1, 4, 16), min_length=1)
    """In how many training records a canary stands."""
    alternatives: int = Field(default=10_000, ge=99)
    """Secrets of the same kind that were never planted; a canary's exposure is at most log2 of so many and one."""

    @model_validator(mode="after")
    def _repeats_are_counts(self) -> Self:
        if min(self.repeats) < 1 or len(set(self.repeats)) < len(self.repeats):
            raise ValueError(f"repeats must be different counts from 1 on, not {list(self.repeats)}")
        return self


class ImportOptions(BaseModel):
    """A fine-tuning file of an API version, for the arms `imported_raw` and `audited`; `path` or `synthetic`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path | None = None
    """JSONL with `prompt` and `completion`, or `messages`, as `chartdistill audit` takes it; relative to the study."""
    synthetic: int | None = Field(default=None, ge=1)
    """Charts of a made-up file with the faults that such files have (see demo/api_version.py)."""
    seed: int = 0
    """Of the made-up file."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.path is None) == (self.synthetic is None):
            raise ValueError("imported needs one of path and synthetic")
        return self


class StudyConfig(BaseModel):
    """A study."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Names the study in its report."""
    config: Path
    """The run that everything is derived from, relative to this file."""
    run_dir: Path
    """Where everything is written, relative to the current folder."""
    sizes: tuple[int, ...] = Field(min_length=1)
    """Training records of the learning curve."""
    compared_size: int | None = None
    """Which of `sizes` the arms are compared at; None: the largest."""
    seeds: tuple[int, ...] = Field(default=(1, 2, 3), min_length=1)
    """Each draws its own training records and its own order of training."""
    arms: tuple[TrainedArm, ...] = _USUAL
    """Arms trained at `compared_size`, with every seed."""
    imported: ImportOptions | None = None
    """Where the labels of `imported_raw` and `audited` come from."""
    curve: tuple[TrainedArm, ...] = ("distilled_filtered",)
    """Arms of `arms` trained at every size."""
    test_records: int | None = Field(default=None, ge=1)
    """Held-out records that all arms answer about, drawn from the run's; None: all."""
    jobs: int = Field(default=1, ge=1)
    """Students trained at once, each with its share of the cores. Small students on a CPU train faster two at a time
    on one core each than one after the other on two. On a GPU leave it at 1."""
    interventions: InterventionOptions = InterventionOptions()
    """Test records asked again in changed form: what answers hang on, and whether they stay the same."""
    changed_arms: tuple[TrainedArm, ...] = ("distilled_raw", "distilled_filtered", "self_filtered")
    """Arms asked about them (with the first seed), beside the teacher and the base student."""
    canaries: CanaryOptions | None = None
    """Measure memorisation; None: not. Needs the arm `distilled_filtered`, whose first seed is the control."""
    limits: tuple[str, ...] = ()
    """What these records and models cannot show, in whole sentences; printed among the limits of the report."""

    @property
    def compared(self) -> int:
        """Training records of the arms that are compared."""
        return max(self.sizes) if self.compared_size is None else self.compared_size

    @model_validator(mode="after")
    def _options_agree(self) -> Self:
        if stray := sorted(set(self.curve) - set(self.arms)):
            raise ValueError(f"curve names {', '.join(stray)}, which `arms` does not")
        if self.compared not in self.sizes:
            raise ValueError(f"compared_size {self.compared} is not among sizes {list(self.sizes)}")
        if self.imported is None and (arms := [arm for arm in self.arms if LABELS_OF[arm][0] in IMPORTED]):
            raise ValueError(f"arms names {', '.join(arms)}, which needs `imported`: a file of an API version")
        if self.canaries is not None and CONTROL not in self.arms:
            raise ValueError(f"canaries needs the arm {CONTROL}: its student, without canaries, is the control")
        if self.canaries is not None:
            self._check_canaries(self.canaries)
        if min(self.sizes) < 1:
            raise ValueError(f"sizes has {min(self.sizes)}; a student needs a record at least")
        return self

    def _check_canaries(self, canaries: CanaryOptions) -> None:
        size = canaries.size or self.compared
        if size != self.compared and (size not in self.sizes or CONTROL not in self.curve):
            raise ValueError(
                f"canaries.size {size}: no control has so many training records; give compared_size ({self.compared}), "
                f"or one of sizes {list(self.sizes)} with {CONTROL} in `curve`"
            )
        if max(canaries.repeats) > size:
            raise ValueError(
                f"canaries.repeats asks for {max(canaries.repeats)} training records, "
                f"{'canaries.size' if canaries.size else 'compared_size'} for {size}"
            )


@dataclass(frozen=True)
class Part:
    """One student to train."""

    arm: TrainedArm
    size: int
    seed: int

    @property
    def name(self) -> str:
        """Folder of the part, and its arm in the predictions."""
        return f"{self.arm}-n{self.size}-s{self.seed}"


def load_study(path: Path) -> StudyConfig:
    """Read a study's YAML file.

    Raises:
        ConfigError: naming file, option and what is wrong.
    """
    values = read_yaml(path)
    require_kind(path, values, "a study")
    study = checked(StudyConfig, values, path)
    base = path.resolve().parent
    changes: dict[str, object] = {"config": base / study.config}
    if study.imported is not None and study.imported.path is not None:
        changes["imported"] = study.imported.model_copy(update={"path": base / study.imported.path})
    return study.model_copy(update=changes)


def parts_of(study: StudyConfig) -> list[Part]:
    """All students of a study: those that are compared first, then the rest of the curve, the largest first."""
    compared = [Part(arm, study.compared, seed) for seed in study.seeds for arm in study.arms]
    curve = [
        Part(arm, size, seed)
        for size in sorted(set(study.sizes), reverse=True)
        for seed in study.seeds
        for arm in study.curve
    ]
    return list(dict.fromkeys([*compared, *curve]))
