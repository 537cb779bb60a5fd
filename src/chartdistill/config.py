"""One YAML file = one run. Read, checked and resolved here, before anything is loaded.

Paths inside a config are relative to the config file; `run_dir` is relative to the current folder. Every option is
documented by the string under it. An unknown key is an error that names the nearest valid one.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
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

from chartdistill.clinical.vocabulary_file import with_vocabulary
from chartdistill.clinical.worked_examples import example_faults
from chartdistill.curation import DEFAULT_FILTERS, AnyFilter
from chartdistill.engines import (
    AnyEngine,
    Generator,
    OpenAIEngine,
    VllmEngine,
    open_with,
    refused_by_endpoint,
    require_served,
)
from chartdistill.errors import ConfigError
from chartdistill.evaluation import InterventionOptions, StudentArm, TrustGate
from chartdistill.labelling import SPANS, Constraint, LabelOptions
from chartdistill.metrics import ALL_TASKS
from chartdistill.prompting.prompts import PromptBuilder
from chartdistill.prompting.worked_examples import Turn, example_turns
from chartdistill.records import AnnotationFile, AnySource, PrepareOptions, clean, source_for
from chartdistill.runtime.adapter_folder import Adapter, read_adapter, require_fit
from chartdistill.runtime.model_folder import load_tokenizer, model_fingerprint, resolve_model
from chartdistill.runtime.yaml_file import checked, read_yaml, require_kind
from chartdistill.schema import LABELS_OF, Split, Task, content_hash
from chartdistill.training import NEEDS_WEIGHTS, TrainOptions, check_adapter, go_on_from

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
    seed: int = 0
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


class Run:
    """A config with its tasks and folders: what the verbs take."""

    def __init__(
        self, config: RunConfig, base: Path, tasks: Sequence[Task] | None = None, arguments: Sequence[str] = ()
    ) -> None:
        self.config = config
        self.base = base
        self.arguments = list(arguments)
        """By which the command line names this run, for processes that are to do a part of it."""
        self.dir = config.run_dir
        self._adapters: dict[Role, Adapter] = {}
        self.tasks = self._read_tasks(config, base) if tasks is None else list(tasks)
        names = [task.name for task in self.tasks]
        if len(set(names)) < len(names):
            raise ConfigError(f"tasks: two task files have the same name among {names}. Task names must differ.")
        for number, gate in enumerate(config.gates):
            if gate.task not in (ALL_TASKS, *names):
                near = difflib.get_close_matches(gate.task, names, n=1, cutoff=0.5)
                hint = f"did you mean `{near[0]}`?" if near else f"allowed: {', '.join((ALL_TASKS, *names))}"
                raise ConfigError(f"gates.{number}.task: this run has no such task; {hint} (got {gate.task!r})")

    def _read_tasks(self, config: RunConfig, base: Path) -> list[Task]:
        tasks = [load_task(base / path) for path in config.tasks]
        named = None if config.vocabulary is None else base / config.vocabulary
        tasks = tasks if named is None else with_vocabulary(tasks, named)
        tasks = [_with_clean_examples(task) for task in tasks]
        for path, task in zip(config.tasks, tasks, strict=True):
            if faults := example_faults(task):
                raise ConfigError(f"{base / path}:\n" + "\n".join(f"  - {fault}" for fault in faults))
        return self._with_shown_charts(tasks)

    def _with_shown_charts(self, tasks: list[Task]) -> list[Task]:
        """The tasks, each knowing the example charts that stand in prompts of this run."""
        charts = tuple(dict.fromkeys(example.chart for task in tasks for example in task.examples))
        if not charts or not (self._shows_examples("teacher") or self._shows_examples("student")):
            return tasks
        return [task.model_copy(update={"shown_charts": charts}) for task in tasks]

    def _shows_examples(self, role: Role) -> bool:
        options: ModelOptions = getattr(self.config, role)
        if role == "teacher" and self.config.teacher.labels is not None:
            return False  # nobody is prompted
        return role == "teacher" if options.examples is None else options.examples

    def prompt_builder(self, role: Role, folder: Path | None = None) -> PromptBuilder:
        """Of the teacher's or the student's prompts: the one place that decides what stands in them.

        `folder`: with the tokenizer, where the model itself need not be here.
        """
        options: ModelOptions = getattr(self.config, role)
        turns: tuple[Turn, ...] = ()
        if self._shows_examples(role):
            label = self.config.label
            asked_twice = role == "teacher"
            turns = example_turns(self.tasks, lambda task: asked_twice and label.strategy_of(task) != "direct")
        tokenizer = load_tokenizer(self.model_folder(role) if folder is None else folder)
        return PromptBuilder.from_tokenizer(tokenizer, self.config.system, options.template_options, turns)

    def require_usable_adapter(self) -> None:
        """That the student's engine will take the adapter that `train` is to make.

        Raises:
            ConfigError: which option to change.
            ModelError: the student is not here.
        """
        check_adapter(self.model_folder("student"), self.train_options().lora, self.config.student.engine)

    @property
    def teacher_labels(self) -> AnnotationFile | None:
        """The file of labels that stands in the place of a teacher model; None where there is a model."""
        labels = self.config.teacher.labels
        return None if labels is None else labels.model_copy(update={"path": (self.base / labels.path).resolve()})

    @property
    def teacher_arm(self) -> str:
        """What the teacher's answers about held-out records are called: after the file where they come from one."""
        labels = self.teacher_labels
        return TEACHER if labels is None else f"{LABELS_OF}{labels.path.name}"

    def require_teacher(self) -> None:
        """That the teacher is here: the model's folder and its adapter, or the file of labels.

        Raises:
            ModelError: the model is not here, or its adapter is not fit.
            ConfigError: the file is not here, or the engine cannot load the adapter.
        """
        labels = self.teacher_labels
        if labels is None:
            self.model_folder("teacher")
            self.adapter("teacher")
        elif not labels.path.exists():
            raise ConfigError(
                f"teacher.labels: {labels.path} does not exist. Give a file of labels, or brat's folder of .ann files; "
                "the path is relative to the config."
            )

    def adapter(self, role: Role) -> Adapter | None:
        """The adapter that the teacher answers with, or that the student starts from, held against model and engine;
        None where the config names none.

        Raises:
            ConfigError: the engine cannot load it, or it is the one that this run writes.
            ModelError: it is not whole, or not for this model; the model is not here.
        """
        options: ModelOptions = getattr(self.config, role)
        if options.adapter is None or role in self._adapters:
            return self._adapters.get(role)
        folder = (self.base / options.adapter).resolve()
        if folder == (self.dir / "adapter").resolve():
            raise ConfigError(
                f"{role}.adapter is {folder}, where this run writes its own. Give the run another run_dir (--run-dir), "
                "or copy the adapter elsewhere."
            )
        adapter, model = read_adapter(folder), self.model_folder(role)
        require_fit(adapter, model)
        require_served(adapter, model, options.engine, role)
        self._adapters[role] = adapter
        return adapter

    def start(self) -> Path | None:
        """The adapter folder that the student has before it is trained: that of the arm `base`."""
        adapter = self.adapter("student")
        return None if adapter is None else adapter.folder

    def train_options(self) -> TrainOptions:
        """How the student is tuned: as the config says, and as its starting adapter is."""
        own, start = self.config.train, self.adapter("student")
        return own if start is None else go_on_from(own, start, self.model_folder("student"))

    def model_mark(self, role: Role) -> str:
        """Changes when the model of a role does, or its adapter."""
        mark, adapter = model_fingerprint(self.model_folder(role)), self.adapter(role)
        return mark if adapter is None else content_hash(mark, adapter.mark)

    def adapter_facts(self, role: Role) -> dict[str, dict[str, str]]:
        """For manifests: which adapter; empty where there is none."""
        adapter = self.adapter(role)
        return {} if adapter is None else {f"{role}_adapter": adapter.facts()}

    def open_teacher(self) -> AbstractContextManager[Generator]:
        """The teacher's engine, whose answers come with its adapter if it has one."""
        with_spans = self.config.label.constrain == SPANS
        return open_with(self.config.teacher.engine, self.model_folder("teacher"), self.adapter("teacher"), with_spans)

    def public_name(self, role: Role) -> str:
        """A model's hub name; of a folder or file only its own name, since a path says something of the machine."""
        if role == "teacher" and (labels := self.teacher_labels) is not None:
            return labels.path.name
        model: str = getattr(self.config, role).model
        folder = self.base / model
        return folder.resolve().name if folder.is_dir() or model.count("/") != 1 else model

    def model_folder(self, role: Role) -> Path:
        """The checked folder of the teacher's or the student's model.

        Raises:
            ModelError: it is not here, or not fit.
            ConfigError: the teacher is a file of labels.
        """
        if role == "teacher" and self.config.teacher.labels is not None:
            raise ConfigError("teacher.labels names labels that exist: there is no teacher model that could be asked.")
        options: ModelOptions = getattr(self.config, role)
        served_elsewhere = role == "teacher" and isinstance(options.engine, OpenAIEngine) and bool(options.engine.urls)
        return resolve_model(options.model, self.base, options.revision, with_weights=not served_elsewhere)


def load_run(path: Path, records: Path | None = None, run_dir: Path | None = None) -> Run:
    """Read a config file. `records` and `run_dir` override the file's.

    Raises:
        ConfigError: naming file, option and what is allowed.
    """
    values = read_yaml(path)
    require_kind(path, values, "a config of one run")
    base = path.resolve().parent
    overrides = {"--records": records, "--run-dir": run_dir}
    arguments = [str(path), *(str(x) for one in overrides.items() if one[1] is not None for x in one)]
    values |= {} if run_dir is None else {"run_dir": str(run_dir)}
    for source in values.get("records") or []:
        _resolve(source, base)
    if records is not None:
        values["records"] = [source_for(records).model_dump()]
    return Run(checked(RunConfig, values, path), base, arguments=arguments)


def _with_clean_examples(task: Task) -> Task:
    """Example charts stand in prompts as records do."""
    examples = tuple(one.model_copy(update={"chart": clean(one.chart).text}) for one in task.examples)
    return task.model_copy(update={"examples": examples}) if examples else task


def _resolve(source: Any, base: Path) -> None:
    """A source's paths are relative to `base`, and so is that of its gold."""
    for name in ("path", "gold") if isinstance(source, dict) else ():
        if isinstance(source.get(name), str):
            source[name] = os.path.normpath(base / source[name])
        _resolve(source.get(name), base)


def load_task(path: Path) -> Task:
    """Read a task file."""
    values = read_yaml(path)
    if "vocabulary" in values:
        raise ConfigError(f"{path}: vocabulary: unknown option; it is one for all tasks, and stands in the config")
    if "shown_charts" in values:
        raise ConfigError(f"{path}: shown_charts: unknown option; did you mean `examples`?")
    return checked(Task, values, path)
