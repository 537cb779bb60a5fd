"""What a config file may say: its sections and their options.

Every option is documented by the string under it. An unknown key is an error that names the nearest valid one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from chartdistill.curation import DEFAULT_FILTERS, AnyFilter
from chartdistill.engines import (
    AnyEngine,
    OpenAIEngine,
    VllmEngine,
    refused_by_endpoint,
)
from chartdistill.evaluation import InterventionOptions, StudentArm, TrustGate
from chartdistill.labelling import SPANS, Constraint, LabelOptions
from chartdistill.records import AnnotationFile, AnySource, PrepareOptions
from chartdistill.schema import Split
from chartdistill.synthesis import SynthesizeOptions
from chartdistill.training import NEEDS_WEIGHTS, TrainOptions

Role = Literal["teacher", "student"]
TEACHER = "teacher"
"""The arm of a teacher model's answers."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelOptions(_Section):
    """A model and the engine that runs it."""

    model: str
    """Folder (relative to this config), or a hub name that is in the local cache."""
    revision: str | None = None
    """Commit of a hub name."""
    adapter: Path | None = None
    """Folder of a LoRA adapter for this model (relative to this config). The teacher answers with it. The student
    starts from it: training goes on with its weights, the arm `base` is the student with it, and what `train.lora`
    leaves out is as in the adapter (what it says must agree)."""
    engine: AnyEngine = VllmEngine()
    """Who generates."""
    template_options: dict[str, Any] = {}
    """Passed to the chat template. {enable_thinking: false} also closes a thought that the template opens all the same;
    {date_string: 26 Jul 2024} gives a date to templates that would print today's."""
    examples: bool | None = Field(default=None, exclude_if=lambda shown: shown is None)
    """Whether the worked examples of the task files stand before the record in every prompt of this model. Default: in
    the teacher's yes, in the student's (base, training and use alike) no."""


class TeacherOptions(ModelOptions):
    """Who labels: a model, or somebody who has done so already."""

    model: str = ""
    """As for the student; left out where `labels` is given."""
    labels: AnnotationFile | None = Field(default=None, exclude_if=lambda labels: labels is None)
    """Labels that exist, instead of a model: a file, or {path, format, meaning, ...}; see docs/existing-labels.md. No
    engine starts in `label`, and `label:` has no effect but `constrain`, which the student's answers follow."""

    @model_validator(mode="before")
    @classmethod
    def _a_model_will_do(cls, value: Any) -> Any:
        return dict(value) if type(value) is ModelOptions else value

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if self.labels is None and not self.model:
            raise ValueError("needs `model`, or `labels`: a file of labels that exist")
        if self.labels is not None and (beside := sorted(self.model_fields_set - {"labels"})):
            raise ValueError(f"labels that exist are asked of no model; leave out {', '.join(beside)}, or labels")
        return self

    @model_serializer(mode="wrap")
    def _as_it_is_written(self, usual: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What is written down can be read again."""
        values: dict[str, Any] = usual(self)
        return values if self.labels is None else {"labels": values["labels"]}


class EvaluateOptions(_Section):
    """How the arms are compared."""

    split: Split = "test"
    """Records to score on. The student must not have seen them."""
    max_answer_tokens: int = Field(default=256, ge=8)
    """Room for an answer."""
    constrain: Constraint | None = Field(default=None, exclude_if=lambda held_to: held_to is None)
    """What the answers of base and student are held to, here and in `predict`: as label.constrain. null: the answer
    format, unless label.constrain is false."""
    also: tuple[StudentArm, ...] = Field(default=(), exclude_if=lambda arms: not arms)
    """Further arms of the student's adapter, to compare: `student plain` (the answer format), `student constrained`
    (words of the chart), `student filtered` (its answers behind the config's filters)."""
    confidence: bool = True
    """Ask the student about the validation records, too, to learn how sure its items are (calibration.json)."""
    bootstrap_resamples: int = Field(default=2000, ge=100)
    """Resamples of the record clusters behind each interval."""
    seed: int = Field(default=0, ge=0)
    interventions: InterventionOptions = InterventionOptions()
    """Held-out records asked again in changed form, to see what an answer hangs on; `records: 0` for none."""


class PrivacyOptions(_Section):
    """Who may see record text."""

    allowed_hosts: tuple[str, ...] = ()
    """Hosts this run may connect to; empty: this machine only."""


class ReportOptions(_Section):
    """What the report may hold."""

    include_text: bool | None = None
    """Example records with their text, rejected items and raw answers in report.html. null: only when all records are
    synthetic. With true the page must be handled like the charts."""


class RunConfig(_Section):
    """A whole run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Names the run in the report."""
    run_dir: Path
    """Where everything is written, relative to the current folder."""
    system: str = Field(min_length=1)
    """System text of every prompt: teacher's, student's, in training and in use."""
    tasks: tuple[Path, ...] = Field(min_length=1)
    """Task files."""
    vocabulary: Path | None = None
    """Names of your house: YAML, CSV, TSV or JSONL, see docs/vocabulary.md. It wins over the shipped lexica."""
    records: tuple[AnySource, ...] = Field(min_length=1)
    """Where the charts come from."""
    prepare: PrepareOptions = PrepareOptions()
    teacher: TeacherOptions
    student: ModelOptions
    label: LabelOptions = LabelOptions()
    synthesize: SynthesizeOptions | None = None
    """New charts that the teacher writes after it has labelled, see docs/synthetic-charts.md."""
    filters: tuple[AnyFilter, ...] = DEFAULT_FILTERS
    train: TrainOptions = TrainOptions()
    evaluate: EvaluateOptions = EvaluateOptions()
    rounds: int = Field(default=0, ge=0, le=20)
    """`chartdistill rounds`: how often, at most, the student becomes the teacher of what was rejected."""
    gates: tuple[TrustGate, ...] = ()
    """What the student must reach to be approved. When one is not passed, `run` and `report` write everything and then
    end with exit code 10."""
    report: ReportOptions = ReportOptions()
    privacy: PrivacyOptions = PrivacyOptions()

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        if self.evaluate.split == "train":
            raise ValueError("evaluate.split is `train`: the student saw those records; choose test or validation")
        if self.teacher.labels is not None:
            also = ["evaluate.interventions.teacher"] if self.evaluate.interventions.teacher else []
            if asking := [*self.train.ask_a_teacher(), *also]:
                raise ValueError(f"{asking[0]} asks a teacher model, and teacher.labels names a file; leave one out")
        for role in ("teacher", "student"):
            options: ModelOptions = getattr(self, role)
            if not (isinstance(options.engine, OpenAIEngine) and options.engine.urls):
                continue
            if options.adapter is not None:
                raise ValueError(refused_by_endpoint(options.engine, role))
            if role == "teacher" and self.train.on_policy is not None:
                raise ValueError(f"{NEEDS_WEIGHTS}, and teacher.engine.urls names an endpoint; leave out either")
        if refused := self.student.engine.refuses_adapter(self.train.lora.rank, self.train.lora.use_dora):
            raise ValueError(f"train.lora.{refused}, or set student.engine.type: transformers")
        wants_spans = {
            "label.constrain": (self.teacher, self.label.constrain == SPANS),
            "evaluate.constrain": (self.student, self.evaluate.constrain == SPANS),
            "evaluate.also": (self.student, "student constrained" in self.evaluate.also),
        }
        for option, (model, wanted) in wants_spans.items():
            if wanted and not model.engine.takes_spans:
                raise ValueError(
                    f"{option} asks for words of the chart (spans), which an endpoint (engine.type: openai) cannot be "
                    "told; use engine.type vllm or transformers"
                )
        return self
