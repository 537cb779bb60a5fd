"""The view Try it: one pasted chart, answered by base and student, and by the teacher where that is asked for.

In: a chart's text. Out: for each arm its items with places, and milliseconds. The student answers as in `predict` and
`Reader`. Must hold: an engine starts with the first chart and not before; one chart at a time; the page always knows
what is being done; all engines live and end in one thread, for the system ends their processes with the thread that
started them; a chart is kept in memory alone, and only the last one.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from chartdistill.config import Run
from chartdistill.engines import Generator
from chartdistill.errors import ChartDistillError, ConfigError
from chartdistill.evaluation.predict import Student, written_items
from chartdistill.labelling import Labeler
from chartdistill.prompting.answer_format import parse_answer
from chartdistill.records import Cleaned, clean
from chartdistill.review.refusal import RefusedError, text_of
from chartdistill.run_config import TEACHER
from chartdistill.run_file import read_run
from chartdistill.runtime import privacy
from chartdistill.schema import Record, Task

MAX_CHART = 2_000_000
"""Characters."""
_Answers = dict[str, dict[str, Any]]


class TrialView:
    """The arms of a run, to be asked about charts that are typed or pasted.

    Without a trained student it says so, and answers nothing. `with_teacher`: the teacher answers too.

    Raises:
        ModelError, ConfigError, ArtefactError: `with_teacher`, and there is no teacher to ask.
    """

    def __init__(self, run_dir: Path, with_teacher: bool = False) -> None:
        self.unavailable: str | None = None
        self._run_dir = run_dir
        self._run: Run | None = None
        self._student: Student | None = None
        self._teacher: _Teacher | None = None
        self._open = ExitStack()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="engines")
        self._guard, self._preparing = threading.Lock(), threading.Lock()
        self._job: dict[str, Any] | None = None
        self._started: set[str] = set()
        if with_teacher:
            self._teacher = _Teacher(read_run(run_dir))

    def _prepare(self) -> None:
        """Look for the student, when somebody first asks: that loads libraries, which the other views do without."""
        with self._preparing:
            if self._run is not None or self.unavailable is not None:
                return
            try:
                run = read_run(self._run_dir)
                if run.config.privacy.allowed_hosts:
                    privacy.enforce(run.config.privacy.allowed_hosts)
                self._student, self._run = Student(run), run
            except ChartDistillError as error:
                self.unavailable = str(error)

    @property
    def arms(self) -> list[str]:
        """Who answers, in the order of the page."""
        return ["base", "student", *([TEACHER] if self._teacher else [])]

    def state(self, given: dict[str, Any]) -> dict[str, Any]:
        """What is there and what is being done; the answers so far. `job`: whose answers are wanted.

        Raises:
            RefusedError: another chart was asked about since, in another window.
        """
        self._prepare()
        tasks = [] if self._run is None else self._run.tasks
        with self._guard:
            job = None if self._job is None else dict(self._job)
        if job is not None and given.get("job") not in (None, job["id"]):
            raise RefusedError("Another window has asked about another chart since. Ask again.", 409)
        if job is not None:
            job["seconds"] = round(time.monotonic() - job.pop("since"), 1)
        return {
            "unavailable": self.unavailable,
            "arms": self.arms,
            "tasks": [{"task": task.name, "statuses": task.statuses} for task in tasks],
            "warnings": [] if self._student is None else _warnings(self._student),
            "job": job,
        }

    def ask(self, given: dict[str, Any]) -> dict[str, Any]:
        """Begin to read a chart; its answers are in `state`.

        Raises:
            RefusedError: there is no student, no text, or another chart is being read.
        """
        text = text_of(given, "text", MAX_CHART)
        self._prepare()
        if self._run is None or self._student is None:
            raise RefusedError(self.unavailable or "There is no trained student.", 409)
        if not text.strip():
            raise RefusedError("There is no chart yet. Paste or type one.")
        with self._guard:
            if self._job is not None and self._job["doing"] is not None:
                raise RefusedError("Another chart is being read. Wait for it to be done.", 409)
            name = uuid.uuid4().hex
            self._job = {"id": name, "doing": "waiting", "since": time.monotonic(), "answers": {}, "milliseconds": {},
                         "error": None}  # fmt: skip
        self._worker.submit(self._read, text)
        return self.state({"job": name})

    def close(self) -> None:
        """End the engines, in the thread that started them."""
        self._worker.submit(self._end)
        self._worker.shutdown(wait=True)

    def _end(self) -> None:
        self._open.close()
        if self._student is not None:
            self._student.__exit__(None, None, None)

    def _read(self, text: str) -> None:
        """In the thread of the engines."""
        try:
            assert self._student is not None
            student = self._student
            self._answer("base", student.start, lambda: student.read([text], as_base=True)[0])
            self._answer("student", student.start, lambda: student.read([text])[0])
            if self._teacher is not None:
                teacher = self._teacher
                self._answer(TEACHER, lambda: teacher.start(self._open), lambda: teacher.read(text))
            self._say(doing=None)
        except ChartDistillError as error:
            self._say(doing=None, error=str(error))
        except BaseException as error:
            self._say(doing=None, error=f"The engine stopped ({type(error).__name__}). Start `review` again.")

    def _answer(self, arm: str, start: Callable[[], None], read: Callable[[], _Answers]) -> None:
        of = TEACHER if arm == TEACHER else "student"
        if of not in self._started:
            self._say(doing=f"starting the {of}'s engine")
            start()
            self._started.add(of)
        self._say(doing=f"{arm} is reading")
        begun = time.monotonic()
        answers = read()
        spent = round(1000 * (time.monotonic() - begun))
        with self._guard:
            assert self._job is not None
            self._job["answers"] = {**self._job["answers"], arm: answers}
            self._job["milliseconds"] = {**self._job["milliseconds"], arm: spent}

    def _say(self, **facts: Any) -> None:
        with self._guard:
            if self._job is not None:
                self._job |= facts


def _warnings(student: Student) -> list[str]:
    without = [f"Items have no confidence: {student.no_confidence}."] if student.no_confidence else []
    return [*student.warnings, *without]


class _Teacher:
    """The teacher model, asked as in `label`.

    Raises:
        ModelError: it is not on this machine.
        ConfigError: the run has labels from a file in its place.
    """

    def __init__(self, run: Run) -> None:
        if run.teacher_labels is not None:
            raise ConfigError("--teacher: this run's labels came from a file, so there is no teacher model to ask.")
        run.require_teacher()
        teacher = run.config.teacher
        self._run, self._generator = run, None
        self._labeler = Labeler(
            run.prompt_builder("teacher"), run.tasks, run.config.label, "", teacher.template_options
        )

    _generator: Generator | None

    def start(self, stack: ExitStack) -> None:
        """Start its engine, which ends with the stack."""
        self._generator = stack.enter_context(self._run.open_teacher())

    def read(self, text: str) -> _Answers:
        """Task -> items with places in the text as given, or a failure."""
        assert self._generator is not None
        chart = clean(text)
        record = Record(id="", source="", text=chart.text, cluster="", split="test", segments=chart.segments)
        labels = self._labeler.ask(self._generator, [(record, task) for task in self._run.tasks])
        return {
            task.name: answer_of(label.completion, label.failure, chart, task)
            for task, label in zip(self._run.tasks, labels, strict=True)
        }


def answer_of(completion: str | None, failure: str | None, chart: Cleaned, task: Task) -> dict[str, Any]:
    """A teacher's answer, with what `predict` says of a student's: places, and what the chart does not have."""
    items = None if completion is None else parse_answer(completion, task)
    if items is None:
        return {"items": None, "failure": failure or "bad_format: the answer does not follow the task's answer format"}
    return {"items": written_items(items, task, chart)}
