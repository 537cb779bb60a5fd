"""One YAML file = one run. Read, checked and resolved here, before anything is loaded.

Paths inside a config are relative to the config file, `run_dir` to the current folder; `~/` is the user's own.
What it may say: run_config.py.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from chartdistill.clinical.vocabulary_file import with_vocabulary
from chartdistill.clinical.worked_examples import example_faults
from chartdistill.engines import (
    Generator,
    OpenAIEngine,
    open_with,
    require_served,
)
from chartdistill.errors import ConfigError
from chartdistill.labelling import SPANS
from chartdistill.metrics import ALL_TASKS
from chartdistill.prompting.prompts import PromptBuilder
from chartdistill.prompting.worked_examples import Turn, example_turns
from chartdistill.records import AnnotationFile, clean, source_for
from chartdistill.run_config import TEACHER, ModelOptions, Role, RunConfig
from chartdistill.runtime.adapter_folder import Adapter, read_adapter, require_fit
from chartdistill.runtime.model_folder import load_tokenizer, model_fingerprint, resolve_model
from chartdistill.runtime.yaml_file import checked, read_yaml, require_kind
from chartdistill.schema import LABELS_OF, Task, content_hash
from chartdistill.training import TrainOptions, check_adapter, go_on_from


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
            _require_task(f"gates.{number}.task", gate.task, (ALL_TASKS, *names))
        for task in config.label.strategy_by_task if tasks is None else ():  # of a trained run it decides nothing more
            _require_task("label.strategy_by_task", task, names)  # it would be asked as all others, without a word

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
    values = {name: _at_home(value, name) for name, value in values.items()}
    base = path.resolve().parent
    overrides = {"--records": records, "--run-dir": run_dir}
    arguments = [str(path), *(str(x) for one in overrides.items() if one[1] is not None for x in one)]
    values |= {} if run_dir is None else {"run_dir": str(run_dir)}
    listed = values.get("records")
    for source in listed if isinstance(listed, list) else ():
        _resolve(source, base)
    if records is not None:
        values["records"] = [source_for(records).model_dump()]
    return Run(checked(RunConfig, values, path), base, arguments=arguments)


def _require_task(option: str, task: str, allowed: Sequence[str]) -> None:
    """That an option names a task of the run.

    Raises:
        ConfigError: it does not; which one may be meant.
    """
    if task not in allowed:
        near = difflib.get_close_matches(task, [name for name in allowed if name != ALL_TASKS], n=1, cutoff=0.5)
        hint = f"did you mean `{near[0]}`?" if near else f"allowed: {', '.join(allowed)}"
        raise ConfigError(f"{option}: this run has no such task; {hint} (got {task!r})")


def _with_clean_examples(task: Task) -> Task:
    """Example charts stand in prompts as records do."""
    examples = tuple(one.model_copy(update={"chart": clean(one.chart).text}) for one in task.examples)
    return task.model_copy(update={"examples": examples}) if examples else task


_PATHS = ("run_dir", "tasks", "vocabulary", "model", "adapter", "labels", "path", "gold")
"""Options that are paths, or hold some."""


def _at_home(value: Any, option: str, depth: int = 4) -> Any:
    """The value of an option, with `~/` in its paths as a shell has it: else that is a folder called `~`. `depth`: no
    path stands deeper (of gold, in a source, in `records`), and YAML can hold itself."""
    if isinstance(value, dict) and depth:
        return {name: _at_home(one, name, depth - 1) for name, one in value.items()}
    if isinstance(value, list) and depth:
        return [_at_home(one, option, depth - 1) for one in value]
    is_at_home = option in _PATHS and isinstance(value, str) and value.startswith("~/")
    return os.path.expanduser(value) if is_at_home else value


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
