"""Arms of the student, asked the consolidated questions: one engine life for the base and any number of adapters.

In: sheets (an arm, its adapter, its questions), whole or a shard. Out: one JSONL of predictions per sheet, in the order
of the questions.
Must hold: an answer that is stored is not asked again; when all are stored, no engine is started; after a kill only
what is missing is asked.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from chartdistill.config import Run
from chartdistill.engines import Generation, Generator, Request, Told, require_fit
from chartdistill.errors import ConfigError
from chartdistill.evaluation.confidence import AnswerMark
from chartdistill.evaluation.student_arms import student_constraint
from chartdistill.labelling import SPANS, Constraint, constrained
from chartdistill.prompting.answer_format import parse_answer
from chartdistill.prompting.answer_logprobs import item_logprobs
from chartdistill.prompting.chart_spans import GRAMMAR_VERSION
from chartdistill.prompting.prompts import PromptBuilder
from chartdistill.runtime.adapter_folder import adapter_rank, read_adapter
from chartdistill.runtime.progress import ProgressCallback
from chartdistill.runtime.run_folder import Journal, read_manifest, read_rows, require_manifest
from chartdistill.runtime.shards import Shard, ShardedFile
from chartdistill.schema import Item, ItemLogprobs, Prediction, Record, Task, content_hash

Question = tuple[Record, Task, float]
"""(record, task, temperature)."""
SHARDS = ".shards"
"""How the folder ends in which the shards of a sheet's answers lie, beside the answers."""
_QUESTIONS_PER_WINDOW = 1024
_RowT = TypeVar("_RowT")


@dataclass(frozen=True)
class Sheet:
    """What one arm is asked, and where its answers go."""

    name: str
    """Under which its seconds are reported."""
    path: Path
    arm: str
    adapter: Path | None
    """PEFT folder; None for the model as it is."""
    made_from: Any
    """What the adapter was made from, as plain values: other than before, and everything is asked again."""
    questions: Sequence[Question]
    constrain: Constraint | None = None
    """What its answers are held to; None: what the student's are."""
    logprobs: bool = False
    """Whether the log-probabilities of its items are kept."""
    shard: Shard | None = None
    """Whose records the questions are about; None: all."""

    def of(self, shard: Shard) -> Sheet:
        """What of it an engine is asked that has this shard of the records."""
        return replace(self, shard=shard, questions=[one for one in self.questions if shard.holds(one[0].id)])

    @property
    def file(self) -> ShardedFile[Prediction]:
        """Its answers, and where those of shards lie."""
        return ShardedFile(self.path, self.path.with_suffix(SHARDS), Prediction)

    @property
    def target(self) -> Path:
        """Where its own answers go."""
        return self.path if self.shard is None else self.file.path(self.shard)

    @property
    def ends_repetition(self) -> bool:
        """Whether an answer that only repeats itself is ended. A base model's may do so until there is no more room,
        which takes most of an evaluation's time on a CPU; what was tuned is left to show what it does."""
        return self.arm == "base"


def whose_answers(adapter: Path) -> list[str]:
    """`Sheet.made_from` of an adapter that `train` has finished: what it was made from, and its weights, since one that
    is trained again from the same (on a GPU, say) has others."""
    return [require_manifest(adapter, "train")["fingerprint"], read_adapter(adapter).mark]


def plain_questions(records: Iterable[Record], tasks: Sequence[Task]) -> list[Question]:
    """Every task of every record, answered by the likeliest tokens."""
    return [(record, task, 0.0) for record in records for task in tasks]


def validation_records(run: Run) -> list[Record]:
    """Those that the student's confidence is learned from; none where they are the records scored on."""
    if run.config.evaluate.split == "validation":
        return []
    return [r for r in read_rows(run.dir / "records" / "records.jsonl", Record) if r.split == "validation"]


def stored_answers(path: Path) -> list[Prediction]:
    """The predictions of a sheet that has been answered."""
    return list(read_rows(path, Prediction))


def cost_of(rows: Iterable[Prediction], seconds: float | None, cards: int = 0) -> dict[str, float | None]:
    """Seconds of answering without engine starts, and on cards the same times their number, since all are held until
    the slowest is done; None where they were not measured whole."""
    rows = list(rows)
    on_cards = {"card_seconds": None if seconds is None else round(seconds * cards, 2)} if cards else {}
    return {
        "seconds": None if seconds is None else round(seconds, 2),
        **on_cards,
        "prompt_tokens": sum(row.prompt_tokens for row in rows),
        "completion_tokens": sum(row.completion_tokens for row in rows),
        "failures": sum(row.failure is not None for row in rows),
        "ended_repetitions": sum(row.finish_reason == "repetition" for row in rows),
    }


def teacher_seconds(run: Run, num_records: int) -> tuple[float | None, int]:
    """What labelling so many records took, at the speed of `label` and without its engine start; None where not known.
    And on how many cards.

    `label` answers for all splits at once, so the seconds of the scored records are their share.
    """
    labelled = require_manifest(run.dir / "labels", "label")
    speed = labelled.get("speed")
    return (num_records / speed["records_per_second"] if speed else None), labelled.get("cards", 0)


def windows(rows: Iterable[_RowT]) -> Iterator[list[_RowT]]:
    """As many at a time as go to the engine together."""
    left = iter(rows)
    while window := list(islice(left, _QUESTIONS_PER_WINDOW)):
        yield window


def require_same_examples(adapter: Path, builder: PromptBuilder) -> None:
    """Refuse to prompt a student otherwise than it was trained. An adapter without a manifest is not of a run of ours.

    Raises:
        ConfigError: what differs, and what to do.
    """
    trained = read_manifest(adapter)
    if trained is None or trained.get("examples") == builder.examples_mark:
        return
    had, now = trained.get("examples"), builder.examples_mark
    asks = "without" if now is None else "with other ones" if had else "with some"
    raise ConfigError(
        f"student.examples: the adapter in {adapter} was trained {'with' if had else 'without'} worked examples before "
        f"the record, and this config asks {asks}. Set it, and the task files, as they were in training, or run "
        "`chartdistill train` again."
    )


def unanswered(run: Run, sheets: Sequence[Sheet], shards: Iterable[Shard]) -> dict[Shard, int]:
    """The shards in which an answer is missing, and how many questions each has in all."""
    builder, known = _prepare(run, sheets)
    found = {}
    for shard in shards:
        own = [sheet.of(shard) for sheet in sheets]
        if any(_lacks_an_answer(sheet, shard, _keyed(sheet, builder, run, known)) for sheet in own):
            found[shard] = sum(len(sheet.questions) for sheet in own)
    return found


def _lacks_an_answer(sheet: Sheet, shard: Shard, keyed: Iterable[tuple[str, Record, Task, Request]]) -> bool:
    answered = sheet.file.finished_keys(shard)
    return any(key not in answered for key, *_ in keyed)


def ask_sheets(
    run: Run, sheets: Sequence[Sheet], progress: ProgressCallback, count: int | None = None
) -> dict[str, float | None]:
    """Answer all sheets with the run's student, held to what `student_constraint` says, or the sheet.

    Args:
        count: of the shards that were just answered here; what failed in them is taken over, too.

    Returns:
        The seconds of each sheet, without those of starting the engine; None where some of its answers were stored
        already, since the time of the rest says nothing of the whole.

    Raises:
        EngineError: the engine did not start, or died; answers given before are kept.
    """
    student = run.config.student
    model = run.model_folder("student")
    builder, known = _prepare(run, sheets)
    ranks = [adapter_rank(sheet.adapter) for sheet in sheets if sheet.adapter is not None]
    with_spans = SPANS in (_students(run), *(sheet.constrain for sheet in sheets))
    seconds: dict[str, float | None] = {}
    total, done, tokens = sum(len(sheet.questions) for sheet in sheets), 0, 0
    tasks = max(1, len(run.tasks))
    with ExitStack() as stack:
        generator: Generator | None = None
        for sheet in sheets:
            begun, num_stored = time.monotonic(), 0
            journal = stack.enter_context(Journal(sheet.target, Prediction))
            sheet.file.take_over(journal, sheet.shard, count)
            keys: list[str] = []
            for window in windows(_keyed(sheet, builder, run, known)):
                keys += [key for key, *_ in window]
                missing = [one for one in window if one[0] not in journal]
                num_stored += len(window) - len(missing)
                if missing and generator is None:
                    waited = time.monotonic()
                    opened = student.engine.open(model, lora_rank=max(ranks, default=None), with_spans=with_spans)
                    generator = stack.enter_context(opened)
                    begun += time.monotonic() - waited  # no arm's cost: it starts once for all
                    progress(done // tasks, total // tasks)
                done += len(window) - len(missing)
                if missing and generator is not None:

                    def told(answered: int, before: int = done, tokens: int = tokens) -> None:
                        progress((before + answered) // tasks, total // tasks, tokens)

                    tokens += _answer(sheet, missing, generator, journal, builder, told)
                done += len(missing)
                progress(done // tasks, total // tasks, tokens)
            journal.finish(keys)
            seconds[sheet.name] = None if num_stored else time.monotonic() - begun
    return seconds


def _prepare(run: Run, sheets: Sequence[Sheet]) -> tuple[PromptBuilder, str]:
    """What builds the prompts, and a hash of what all answers depend on.

    Raises:
        ConfigError: an adapter was trained with other prompts, or the engine cannot be asked as the config says.
    """
    student, builder = run.config.student, run.prompt_builder("student")
    for sheet in sheets:
        if sheet.adapter is not None:
            require_same_examples(sheet.adapter, builder)
    require_fit(student.engine, builder, "student", constrained=bool(_students(run)))
    asked_by = student.engine.model_dump(exclude={"replicas": True, "serve": {"replicas"}})  # no answer hangs on these
    return builder, content_hash(run.model_mark("student"), asked_by, student.template_options)


def _students(run: Run) -> Constraint:
    return student_constraint(run.config.evaluate.constrain, run.config.label.constrain)


def _keyed(sheet: Sheet, builder: PromptBuilder, run: Run, known: str) -> Iterator[tuple[str, Record, Task, Request]]:
    """Each question with the content hash of all that determines its answer."""
    room = run.config.evaluate.max_answer_tokens
    held_to = _students(run) if sheet.constrain is None else sheet.constrain
    for record, task, temperature in sheet.questions:
        ids = builder.prompt(record.text, task.question)
        seed = zlib.crc32(f"{record.id} {task.name}".encode()) if temperature else None
        request = Request(
            ids,
            room,
            builder.end_id,
            temperature=temperature,
            seed=seed,
            messages=builder.messages(record.text, task.question),
            template_options=run.config.student.template_options,
            ends_repetition=sheet.ends_repetition,
            logprobs=sheet.logprobs,
        )
        request = constrained(request, held_to, task, record.text)
        key = content_hash(
            known, sheet.made_from, sheet.arm, record.id, task.name, ids, room, temperature, seed,
            request.pattern if request.spans is None else (SPANS, GRAMMAR_VERSION),
            *(["ends_repetition"] if sheet.ends_repetition else []), *(["logprobs"] if sheet.logprobs else []),
        )  # fmt: skip
        yield key, record, task, request


def _answer(
    sheet: Sheet,
    missing: Sequence[tuple[str, Record, Task, Request]],
    generator: Generator,
    journal: Journal[Prediction],
    builder: PromptBuilder,
    told: Told,
) -> int:
    """Ask what is missing; the answers are on disk when this returns. Returns tokens."""
    answers = generator.generate([request for *_, request in missing], sheet.adapter, told)
    rows = [
        _prediction(key, sheet.arm, record, task, answer, builder)
        for (key, record, task, _), answer in zip(missing, answers, strict=True)
    ]
    journal.add(rows)
    return sum(row.prompt_tokens + row.completion_tokens for row in rows)


def logprobs_of(answer: Generation, items: Sequence[Item], task: Task, builder: PromptBuilder) -> list[ItemLogprobs]:
    """One for each item of an answer; none where the engine gave none, or its tokens are not known."""
    found = item_logprobs(
        str(answer.text), answer.token_ids, answer.logprobs, task, builder.tokenizer, builder.end_id
    )  # fmt: skip
    return [found[item] for item in items if item in found] if len(found) == len(items) else []


def answer_mark(run: Run, adapter: Path) -> AnswerMark:
    """What the log-probabilities of a student's answers depend on; not what only makes it faster, nor how much room
    there is."""
    student, held_to = run.config.student, _students(run)
    rules = content_hash(
        run.model_mark("student"), student.template_options, student.engine.type,
        student.engine.what_determines_an_answer(), run.config.system, [task.model_dump() for task in run.tasks],
        run.prompt_builder("student").examples_mark, [held_to, GRAMMAR_VERSION] if held_to == SPANS else held_to,
    )  # fmt: skip
    return AnswerMark(read_adapter(adapter).mark, rules)


def _prediction(
    key: str, arm: str, record: Record, task: Task, answer: Generation, builder: PromptBuilder
) -> Prediction:
    items = None if answer.text is None else parse_answer(answer.text, task)
    return Prediction(
        key=key,
        record=record.id,
        task=task.name,
        arm=arm,
        completion=answer.text,
        finish_reason=answer.finish_reason,
        items=items,
        logprobs=tuple(logprobs_of(answer, items, task, builder)) or None if items and answer.logprobs else None,
        failure=answer.failure,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
    )
