"""`score`: two JSONL files, answers and gold -> every metric. No engine, no run folder, no network.

    chartdistill score PREDICTIONS.jsonl GOLD.jsonl [--against OTHER.jsonl ...] [--tasks TASK.yaml ...] [--out FILE]
        [--same-as PAIRS.jsonl] [--unmatched FILE.jsonl]

GOLD, one record per line; also the records.jsonl of a run:

    {"id": "chart-1", "gold": {"medication": [{"text": "aspirin", "status": "stop"}], "tests": []}, "text": "..."}

`[]` is gold that says there is none; a task that is left out has no gold. Items of tasks without statuses may be plain
strings; one with `"optional": true` counts neither way. `text`, where given, tells invented items from items of the
wrong kind. `cluster` names near-duplicates; where it is not given, near-duplicates are found by `text`, and a record
without text counts as independent.

PREDICTIONS, either one answer per line, as `evaluate` writes them, or one record per line, as `predict` does:

    {"record": "chart-1", "task": "medication", "arm": "student", "completion": "aspirin | stop"}
    {"record": "chart-1", "task": "medication", "items": [{"text": "aspirin", "status": "stop"}]}
    {"id": "chart-1", "tasks": {"medication": {"items": [...]}, "tests": {"items": null, "failure": "bad_format"}}}

`items` are read as the completion that lists them would be, and win over one. `items: null` is an answer that does not
follow the format, or that filters rejected (a wrong answer); `failure` without `completion` is an engine that failed
(unscored), and so is an answer all of whose items `predict --min-confidence` put into its review file; of one that is
there in part, what was kept counts, and the rest as left out. Without `arm` the arm is called as its file. Every record
and task of the gold that an arm has no line for is unscored too, and counted: an arm that skips hard records must not
look better unnoticed. An answer about a record that GOLD does not have (nobody has read it yet) is left out of every
figure, and counted. PAIRS and FILE: see adjudication.py.

Must hold: a line that cannot be used is an error that names file and line, never skipped; no record text in errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from chartdistill.clinical.vocabulary_file import with_vocabulary
from chartdistill.errors import InputError
from chartdistill.evaluation.adjudication import JudgedPair, as_lines, same_as, unmatched_pairs
from chartdistill.evaluation.review_split import IN_REVIEW
from chartdistill.evaluation.score_lines import Answer, AnswerLine, GoldLine, RecordLine
from chartdistill.metrics.comparison import compare_arms
from chartdistill.metrics.harm import DRUG_STATUSES
from chartdistill.prompting.answer_format import format_answer, parse_answer, says_none_of
from chartdistill.records import cluster_records, shown
from chartdistill.runtime.json_lines import read_json_lines
from chartdistill.runtime.outputs import whole_file
from chartdistill.schema import CUT, Item, Prediction, Record, Task

_ERRORS_SHOWN = 20
_BROKEN = ("truncated", "bad_format", "rejected")
"""How `predict` begins the failures that are the model's, not the engine's."""

_FoundT = TypeVar("_FoundT")


def score_files(
    predictions: Sequence[Path],
    gold: Path,
    tasks: Sequence[Task] | None = None,
    seed: int = 0,
    resamples: int = 2000,
    reference: str | None = None,
    vocabulary: Path | None = None,
    judged: Path | None = None,
    unmatched: Path | None = None,
) -> dict[str, Any]:
    """Score all arms in the files of predictions, and all pairs of them, in the order they first occur.

    `tasks`: None takes them from the gold: every status that occurs there is allowed, with one of a drug's usual
    statuses all of them, and a task called medication (or drug) is about drugs. `reference`: the arm that agreement is
    measured with, for records without gold. `vocabulary`: a file of names, see docs/vocabulary.md. `judged`: pairs of
    names that a person judged; `unmatched`: where to write those that are left to judge (both as in adjudication.py).

    Returns:
        The figures of `metrics.comparison.compare_arms`, and `records`, `tasks`, `missing` (arm -> record-task pairs
        of the gold that it has no line for), `without_gold` (arm -> records it has answers about that the gold file
        does not have), `unmatched` (how many pairs were written; None: not asked for).

    Raises:
        InputError: a file that is missing or empty, or lines that cannot be used, each named.
    """
    records, lines = read_gold(gold)
    tasks = list(tasks) if tasks is not None else _infer_tasks(records)
    check_gold(records, lines, tasks, gold)
    tasks = tasks if vocabulary is None else with_vocabulary(tasks, vocabulary)
    arms: dict[str, dict[tuple[str, str], Prediction]] = {}
    for path in predictions:
        _read_predictions(path, tasks, arms)
    without_gold = _take_out(arms, records, gold)
    if judged is not None and unmatched is not None and judged.resolve() == unmatched.resolve():
        raise InputError(f"{judged} would be overwritten by what is left to judge; give --unmatched another file.")
    pairs_judged = () if judged is None else _lines(judged, JudgedPair.model_validate)
    judgements = {f"{judged}:{number}": pair for number, pair in pairs_judged}
    known = same_as(judgements, tasks)
    pairs: list[JudgedPair] | None = None
    if unmatched is not None:
        pairs = unmatched_pairs((found.values() for found in arms.values()), records, tasks, known)
        with whole_file(unmatched) as stream:
            stream.write(as_lines(pairs))
    missing = {arm: _add_missing(arm, found, records, tasks) for arm, found in arms.items()}
    figures = compare_arms(
        {arm: list(found.values()) for arm, found in arms.items()},
        records, tasks, list(combinations(arms, 2)), seed, resamples, reference, same_as=known,
    )  # fmt: skip
    return {
        "records": len(records),
        "clusters": len({record.cluster for record in records.values()}),
        "with_text": sum(bool(record.text) for record in records.values()),
        "tasks": [task.model_dump(include={"name", "item", "statuses"}) for task in tasks],
        "missing": missing,
        "without_gold": without_gold,
        "unmatched": None if pairs is None else len(pairs),
        **figures,
    }


def _lines(path: Path, read: Callable[[Any], _FoundT]) -> Iterator[tuple[int, _FoundT]]:
    """(line number, what `read` makes of its JSON), for all lines that are not blank.

    Raises:
        InputError: after the last line, naming all lines that could not be read (up to 20).
    """
    problems = []
    num_lines = 0
    for line in read_json_lines(path):
        num_lines += 1
        try:
            if not isinstance(value := line.parsed(), dict):
                raise InputError(f"a JSON {type(value).__name__}; write one object per line")
            yield line.number, read(value)
        except ValidationError as error:
            problems.append(f"{path}:{line.number}: {_fault(error)}")
        except ValueError as error:
            problems.append(f"{path}:{line.number}: {error}")
    _raise_if_any(problems)
    if not num_lines:
        raise InputError(f"{path} is empty; expected one JSON object per line.")


def _fault(error: ValidationError) -> str:
    problem = error.errors(include_input=False, include_context=False, include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"] if part not in ("SaidItem", "Item", "str")) or "line"
    if problem["type"] == "extra_forbidden":
        return f"{where}: unknown key; `chartdistill score --help` shows the forms of both files"
    return f"{where}: {problem['msg']}"


def _raise_if_any(problems: Sequence[str]) -> None:
    if problems:
        more = f"\n... and {len(problems) - _ERRORS_SHOWN} more" if len(problems) > _ERRORS_SHOWN else ""
        raise InputError(f"{len(problems)} lines cannot be used:\n" + "\n".join(problems[:_ERRORS_SHOWN]) + more)


def read_gold(path: Path) -> tuple[dict[str, Record], dict[str, int]]:
    """The records of GOLD by id, with the clusters that it gives, or else those of their texts; and the line of each.
    InputError as `score_files`."""
    found: dict[str, GoldLine] = {}
    lines: dict[str, int] = {}
    twice = []
    for number, row in _lines(path, GoldLine.model_validate):
        if row.id in found:
            twice.append(f"{path}:{number}: record {row.id!r} stands in line {lines[row.id]} already")
        found.setdefault(row.id, row)
        lines.setdefault(row.id, number)
    _raise_if_any(twice)
    rows = list(found.values())
    with_text = [row for row in rows if row.text]
    by_text = dict(zip((row.id for row in with_text), cluster_records(row.text for row in with_text), strict=True))
    clusters = [by_text.get(row.id, f"{place}: {row.id}") for place, row in enumerate(rows)]
    records = {
        row.id: Record(
            id=row.id,
            source=row.source or f"{path.name}:{lines[row.id]}",
            text=row.text,
            cluster=row.cluster or cluster,
            split="test",
            segments=(),
            gold=None
            if row.gold is None
            else {task: tuple(_item(item) for item in items) for task, items in row.gold.items()},
        )
        for row, cluster in zip(rows, clusters, strict=True)
    }
    return records, lines


def _item(item: Item | str) -> Item:
    if isinstance(item, str):
        return Item(text=item)
    return Item(text=item.text, status=item.status, optional=item.optional)


def _infer_tasks(records: Mapping[str, Record]) -> list[Task]:
    """One task per name in the gold, in the order of first occurrence.

    With one of a drug's usual statuses go all of them, or an answer with one that gold happens to lack would be broken,
    and the harm in it not counted.
    """
    statuses: dict[str, dict[str, None]] = {}
    for record in records.values():
        for name, items in (record.gold or {}).items():
            statuses.setdefault(name, {}).update({item.status: None for item in items if item.status is not None})
    if not statuses:
        raise InputError("no record of the gold file has `gold`, so there is no task to score; give --tasks or gold.")
    try:
        return [
            Task(
                name=name,
                item=name,
                statuses=tuple(sorted(set(found) | (DRUG_STATUSES if DRUG_STATUSES & set(found) else set()))),
                gate_question="-",
                extraction_question="-",
                question="-",
            )
            for name, found in statuses.items()
        ]
    except ValidationError as error:
        raise InputError(f"a task of the gold cannot be scored: {_fault(error)}") from None


def check_gold(records: Mapping[str, Record], lines: Mapping[str, int], tasks: Sequence[Task], path: Path) -> None:
    """That tasks and statuses of the gold are those asked for, either all items of a task with a status or none, and
    that each item is one; an InputError names the lines where they are not."""
    by_name = {task.name: task for task in tasks}
    problems = []
    for record in records.values():
        where = f"{path}:{lines[record.id]}"
        for name, items in (record.gold or {}).items():
            if name not in by_name:
                problems.append(f"{where}: gold for the task {name!r}, which is not among {', '.join(by_name)}")
                continue
            problems += [
                f"{where}: task {name!r}: {fault}" for item in items if (fault := _misfit(item, by_name[name]))
            ]
    _raise_if_any(problems)


def _misfit(item: Item, task: Task) -> str:
    """What is wrong with an item of gold; empty when nothing is."""
    if not item.text.strip():
        return "an item is blank; leave it out"
    if says_none_of(item.text, (task.name, task.name)):
        return "an item says none; where there is none, the list is empty"
    if task.statuses and item.status is None:
        return f"an item has no status; give one of {', '.join(task.statuses)}"
    if item.status is not None and item.status not in task.statuses:
        allowed = ", ".join(task.statuses) or "none: the task has no statuses"
        return f"status {shown(item.status)} is not one of {allowed}"
    return ""


def _read_predictions(path: Path, tasks: Sequence[Task], arms: dict[str, dict[tuple[str, str], Prediction]]) -> None:
    """Add the predictions of one file to those of their arms."""
    by_name = {task.name: task for task in tasks}

    def read(value: Any) -> list[Prediction]:
        if "id" in value:
            row = RecordLine.model_validate(value)
            failure = row.failure or (IN_REVIEW if row.in_review else None)  # all of its answers are in that file
            if not row.tasks and failure is None:
                raise InputError("holds neither tasks nor failure")
            answers = row.tasks or {name: Answer(failure=failure) for name in by_name}
            named = [(row.id, name, row.arm, answer) for name, answer in answers.items()]
        else:
            line = AnswerLine.model_validate(value)
            named = [(line.record, line.task, line.arm, line)]
        return [_prediction(*one, path.stem, by_name) for one in named]

    problems = []
    for number, found in _lines(path, read):
        for prediction in found:
            place = (prediction.record, prediction.task)
            if place in arms.setdefault(prediction.arm, {}):
                problems.append(
                    f"{path}:{number}: arm {prediction.arm!r} has an answer for record {place[0]!r}, task {place[1]!r} "
                    "already"
                )
            arms[prediction.arm][place] = prediction
    _raise_if_any(problems)


def _prediction(
    record: str,
    task_name: str,
    arm: str | None,
    answer: Answer,
    default_arm: str,
    tasks: Mapping[str, Task],
) -> Prediction:
    if task_name not in tasks:
        raise InputError(f"task {task_name!r} is not among {', '.join(tasks)}")
    task = tasks[task_name]
    broken = answer.failure is not None and answer.failure.startswith(_BROKEN)
    items: tuple[Item, ...] | None = None
    listing = ""
    if answer.items is not None:
        listed = [_item(item) for item in answer.items]
        listing = format_answer([item.model_copy(update={"text": " ".join(item.text.split())}) for item in listed])
        items = parse_answer(listing, task)
    elif answer.completion is not None and "items" not in answer.model_fields_set:  # null: rejected as a whole
        items = parse_answer(answer.completion, task)
    kept_nothing = bool(answer.in_review) and answer.items == ()  # which is no "None found"
    failure = IN_REVIEW if kept_nothing else answer.failure
    failed = failure is not None and not broken and answer.completion is None and (kept_nothing or answer.items is None)
    cut = answer.finish_reason in CUT or (broken and str(answer.failure).startswith("truncated"))
    return Prediction(
        key="",
        record=record,
        task=task_name,
        arm=arm or default_arm,
        completion=None if failed else answer.completion or listing,
        finish_reason="length" if cut else answer.finish_reason,
        items=None if failed else items,
        failure=failure if failed else None,
    )


def _take_out(
    arms: dict[str, dict[tuple[str, str], Prediction]], records: Mapping[str, Record], gold: Path
) -> dict[str, int]:
    """Remove answers about records that are not in the gold; of how many records they were, by arm."""
    without: dict[str, int] = {}
    for arm, found in arms.items():
        others = {record for record, _ in found} - records.keys()
        arms[arm] = {place: answer for place, answer in found.items() if place[0] not in others}
        without[arm] = len(others)
        if not arms[arm]:
            raise InputError(
                f"{gold} has none of the {len(others)} records that the arm {arm!r} answers about: their ids are "
                f"{min(others)!r}, ..., and those of the gold {min(records)!r}, .... Give gold of the same records."
            )
    return without


def _add_missing(
    arm: str, found: dict[tuple[str, str], Prediction], records: Mapping[str, Record], tasks: Sequence[Task]
) -> int:
    """Failures in the place of answers that the gold asks for and the arm does not have; how many."""
    wanted = [(r.id, task.name) for r in records.values() for task in tasks if task.name in (r.gold or {})]
    missing = [place for place in wanted if place not in found]
    for record, task in missing:
        found[record, task] = Prediction(
            key="", record=record, task=task, arm=arm, completion=None, items=None, failure="missing: no such line"
        )
    return len(missing)
