"""How much work a run is: records and their tokens, counted where that is possible, else assumed and said so."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from chartdistill.config import Run
from chartdistill.errors import ChartDistillError, InputError
from chartdistill.labelling import thinking_of
from chartdistill.records import SourceEntry, say_passed_over, with_own_names
from chartdistill.run_config import RunConfig
from chartdistill.runtime.run_folder import read_manifest, read_rows
from chartdistill.schema import Record

CHARACTERS_PER_TOKEN = 3.5
"""Where no tokenizer is here. English clinical text has 3.5 to 4.5 with vocabularies of 100,000 and more."""
ASSUMED = (1000, 900)
"""Records and tokens of each, where there are no charts yet."""
ANSWER_TOKENS = 30
"""Of a typical answer."""
THOUGHT_TOKENS = 500
"""Of a typical thought about one question, assumed: public traces of open thinking models have some hundred to some
thousand. labels/manifest.json has what it was (`tokens.thought`)."""
EDITS, SAME_FORMS = 3.2, 6.5
"""Prompts for each arm and task of an edited chart, and of one in forms that must not change the answer, beside the
answers drawn: see `InterventionOptions`."""
_STEPS = {"direct": 1, "chain": 2, "verify": 3}
"""Prompts by strategy; in `verify` about one item of a typical answer is checked."""
_MOST_READ = 20_000
_MOST_ENCODED = 64


@dataclass(frozen=True)
class Work:
    """What is asked of the models."""

    records: int
    record_tokens: int
    """Of a typical record, with the system text."""
    tasks: int
    prompts_per_task: int
    """For one sample. Two in a chain (gate, then extraction), one more where items are checked."""
    question_tokens: int
    answer_tokens: int
    """Of a typical answer."""
    longest_answer_tokens: int
    """Room that is given to an answer."""
    samples: int = 1
    """Answers drawn for each task (`label.samples`)."""
    thought_tokens: int = 0
    """Of a typical thought before each answer; 0 for a teacher that does not think."""
    longest_thought_tokens: int = 0
    """Room that is given to a thought."""
    longest_record_tokens: int = 0
    """Of the longest record that was read; 0 where none was."""


def count_work(
    run: Run, model_folder: Path | None, role: Literal["teacher", "student"] = "teacher"
) -> tuple[Work, str, InputError | None]:
    """The work of a run, in words where its figures come from, and why the charts could not be read.

    Args:
        model_folder: with the tokenizer to count with; None: characters are counted.
        role: whose folder it is.
    """
    problem = None
    texts: list[str] = []
    count, longest = 0, ""
    try:
        for text in islice(_texts(run), _MOST_READ):
            count += 1
            longest = max(longest, text, key=len)
            if len(texts) < _MOST_ENCODED or len(texts) * 50 < count:
                texts.append(text)
        if not count:
            problem = InputError("the sources hold no charts.")
    except InputError as error:
        problem = error
    encode, how = _counter(run, model_folder, role)
    if problem is None:
        sizes = [encode(text) for text in texts[:_MOST_ENCODED]]
        tokens = round(sum(sizes) / len(sizes))
        more = " or more" if count == _MOST_READ else ""
        most = max(*sizes, encode(longest))
        charts = f"{count:,}{more} {'chart' if count == 1 else 'charts'}"
        said = f"{charts} of {tokens} tokens on average, {most} the longest ({how}, {len(sizes)} of them)"
    else:
        (count, tokens), most = ASSUMED, 0
        said = f"{count:,} charts of {tokens} tokens, assumed"
    options = run.config.label
    asked = [task.question for task in run.tasks] + [task.gate_question for task in run.tasks]
    question = max(round(len(text) / CHARACTERS_PER_TOKEN) + 10 for text in asked)
    steps = max(_STEPS[options.strategy_of(task.name)] for task in run.tasks)
    thought = _room_for_thoughts(run, model_folder) if role == "teacher" else 0
    others = "" if problem is not None else say_passed_over(run.config.records)
    said += f"; {others}" if others else ""
    work = Work(
        count, tokens, len(run.tasks), steps, question, ANSWER_TOKENS, options.max_answer_tokens, options.samples,
        min(thought, THOUGHT_TOKENS), thought, most,
    )  # fmt: skip
    said += f"; thoughts of {work.thought_tokens} tokens before each answer, assumed" if thought else ""
    return work, said, problem


def charts_to_evaluate(config: RunConfig, records: int) -> int:
    """How often `evaluate` asks about a chart, all tasks at once: held-out charts by each arm of the student, those of
    validation that its confidence is learned from, and changed charts, as often as `evaluate.interventions` costs."""
    options, parts = config.evaluate, config.prepare
    held_out = records * (parts.test_fraction if options.split == "test" else parts.validation_fraction)
    asked = held_out * (2 + sum(arm != "student filtered" for arm in options.also))
    if options.confidence and options.split != "validation":
        asked += records * parts.validation_fraction
    changes = options.interventions
    edited = min(held_out, 4 * changes.records if changes.edited_records is None else changes.edited_records)
    if changes.records:
        asked += 2 * (EDITS * edited + (SAME_FORMS + changes.resamples) * min(held_out, changes.records))
    return max(1, round(asked))


def _room_for_thoughts(run: Run, model_folder: Path | None) -> int:
    """Tokens of the room for a thought before each of the teacher's answers; 0 where it is not asked for any."""
    options = run.config.label
    try:
        builder = None if model_folder is None else run.prompt_builder("teacher", model_folder)
    except ChartDistillError:
        builder = None
    thinking = thinking_of(options, builder, run.config.teacher.template_options)
    return 0 if thinking is None else thinking.max_tokens


def _texts(run: Run) -> Iterator[str]:
    """Of the charts that the config names: as they were prepared, where it was these that were."""
    records = run.dir / "records"
    described = [source.model_dump(mode="json") for source in with_own_names(run.config.records)]
    if (read_manifest(records) or {}).get("sources") == described:
        for record in read_rows(records / "records.jsonl", Record):
            yield record.text
        return
    with tempfile.TemporaryDirectory() as scratch:  # private to this user
        for source in run.config.records:
            for entry in source.read(run.config.prepare.max_bytes, Path(scratch)):
                if isinstance(entry, SourceEntry):
                    yield entry.text


def _counter(run: Run, folder: Path | None, role: Literal["teacher", "student"]) -> tuple[Any, str]:
    """A function text -> tokens of a prompt's record part, and what it is."""
    if folder is not None:
        try:
            builder = run.prompt_builder(role, folder)
            return (lambda text: len(builder.prefix(text))), f"counted by the {role}'s tokenizer"
        except ChartDistillError:
            pass  # said by the check of the model folder
    around = len(run.config.system)
    return (lambda text: round((len(text) + around) / CHARACTERS_PER_TOKEN) + 10), (
        f"{CHARACTERS_PER_TOKEN} characters per token"
    )
