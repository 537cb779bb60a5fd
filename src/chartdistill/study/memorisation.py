"""What a student keeps of its training records: canaries planted, a student trained on them, and what it gives away.

    <study>/memorisation/
      canaries.json  records/  curated/  adapter/     a run: the control's examples, with canaries in them
      answers/<student>-<on>.jsonl                    answers on test records, and on training records without canaries

In: the control (a finished part of the study). Out: figures. Must hold: planted student and control differ by the
canaries alone (records, labels, seed, steps); everything is measured on both.

Exposure (Carlini et al., "The Secret Sharer", 2019): log2(N + 1) - log2(rank), where rank is the canary's place among
itself and N alternatives by the student's log-probability; ties count half. Without memorisation the rank is uniform
and exposure is 1.44 bits in the mean; the most it can be is log2(N + 1).
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from chartdistill.config import Run, load_run
from chartdistill.errors import InputError
from chartdistill.evaluation.generation import Sheet, plain_questions, stored_answers, whose_answers
from chartdistill.metrics.bootstrap import Estimate
from chartdistill.metrics.means import mean_difference, mean_estimate, share_estimate
from chartdistill.metrics.significance import SWAPS, PValue, correct_family, p_value
from chartdistill.prompting.prompts import PromptBuilder
from chartdistill.run_file import derive
from chartdistill.runtime.run_folder import (
    RowWriter,
    begin,
    fingerprint,
    is_done,
    read_rows,
    require_manifest,
    write_manifest,
    write_text,
)
from chartdistill.schema import Prediction, Record, Task, TrainExample
from chartdistill.study.canaries import FORMS, KINDS, Canary, CanaryKind, draw_canaries, plant, plant_answers
from chartdistill.study.options import CONTROL, CanaryOptions, Part, StudyConfig
from chartdistill.study.records import held_out
from chartdistill.study.runs import RunVerbs, train_students
from chartdistill.training.generate import generate_everywhere
from chartdistill.training.logprobs import common_prefix, continuation_logprobs, load_trained

FOLDER = "memorisation"
NEUTRAL = "The patient was seen in clinic today."
"""The chart behind which answers are compared: it holds nothing."""
PLACES = ("chart", "answer")
"""Where a secret can be learned: read in a chart, or learned to be answered."""
_SPARE_TOKENS = 4

Alternatives = Mapping[CanaryKind, Sequence[str]]
Logprobs = dict[CanaryKind, dict[str, float]]
"""Kind -> secret (canaries and alternatives) -> log-probability."""


@dataclass(frozen=True)
class Planted:
    """A student trained on canaries, and its control."""

    run: Run
    """Of the planted student; its folder has the planted records."""
    control: Path
    """Run folder of the control, which is called as its arm in the study."""
    canaries: tuple[Canary, ...]
    alternatives: Alternatives
    originals: tuple[Record, ...]
    """The training records that hold canaries, as they were before."""
    test: tuple[Record, ...]

    def students(self) -> dict[str, Path]:
        """Name -> adapter."""
        return {"planted": self.run.dir / "adapter", "control": self.control / "adapter"}

    def sheets(self) -> list[Sheet]:
        """What is asked: both students about the training records without their canaries, the planted one about the
        test records too. The control, a part of the study, is asked about those anyway."""
        about = {"cleared": self.originals, "test": self.test}
        return [
            Sheet(
                f"{name} {on}", self.run.dir / "answers" / f"{name}-{on}.jsonl", name, adapter,
                whose_answers(adapter), plain_questions(records, self.run.tasks),
            )
            for name, adapter in self.students().items()
            for on, records in about.items()
            if (name, on) != ("control", "test")
        ]  # fmt: skip


def plant_and_train(
    options: StudyConfig, shared: Run, folder: Path, failed: Mapping[str, str], run: RunVerbs
) -> Planted | str:
    """Plant canaries into the control's examples and train a student on them, unless that was done.

    Returns:
        What is to be asked and measured; or in words why there is nothing (the control failed, too few examples, the
        training failed), since the rest of the study goes on.
    """
    name = _control(options).name
    if name in failed:
        return f"the control {name} could not be trained: {failed[name]}"
    assert options.canaries is not None
    try:
        planted, config = _plant(options, options.canaries, shared, folder)
    except InputError as error:
        return str(error)
    return train_students({FOLDER: config}, 1, run).get(FOLDER, planted)


def _control(options: StudyConfig) -> Part:
    assert options.canaries is not None
    return Part(CONTROL, options.canaries.size or options.compared, options.seeds[0])


def _plant(options: StudyConfig, wanted: CanaryOptions, shared: Run, folder: Path) -> tuple[Planted, Path]:
    """Write the planted run, and return it with its config."""
    part = folder / "parts" / _control(options).name
    control = load_run(part / "config.yaml")
    records = list(read_rows(part / "records" / "records.jsonl", Record))
    examples = read_rows(part / "curated" / "train.jsonl", TrainExample)
    learned = [row for row in examples if row.split == "train"]
    canaries, alternatives = draw_canaries(records, learned, control.tasks, wanted, options.seeds[0])
    home = folder / FOLDER
    config = derive(control, home, {})
    mark = fingerprint(
        require_manifest(part / "curated", "curate")["fingerprint"], [canary.model_dump() for canary in canaries]
    )
    if not is_done(home / "curated", mark):
        _write_planted(home, mark, records, learned, canaries, control)
    planted_in = {name for canary in canaries for name in canary.records}
    originals = tuple(record for record in records if record.id in planted_in)
    test = tuple(held_out(shared, options))
    return Planted(load_run(config), part, tuple(canaries), alternatives, originals, test), config


def _write_planted(
    home: Path, mark: str, records: Sequence[Record], learned: Sequence[TrainExample], canaries: list[Canary], run: Run
) -> None:
    begun = {name: begin(home / name) for name in ("records", "curated")}
    seed = run.config.train.seed
    changed = {record.id: record for record, _ in plant(records, canaries, seed)}
    with RowWriter(home / "records" / "records.jsonl") as out:
        out.write(*changed.values())
    with RowWriter(home / "curated" / "train.jsonl") as out:
        out.write(*plant_answers(learned, changed, canaries, run.tasks))
    write_text(home / "canaries.json", json.dumps([canary.model_dump() for canary in canaries], indent=1) + "\n")
    for name, started in begun.items():
        write_manifest(home / name, mark, started, counts={"canaries": len(canaries)})


def measure(
    planted: Planted | str | None, plain: Mapping[str, Sequence[Prediction]], shared: Run
) -> dict[str, Any] | None:
    """All figures, once the sheets are answered; {"reason": ...} where nothing was planted, None where nothing was to
    be. `plain`: the answers of the study's arms on the test records.
    """
    if planted is None or isinstance(planted, str):
        return None if planted is None else {"reason": planted}
    seed, resamples = shared.config.evaluate.seed, shared.config.evaluate.bootstrap_resamples
    builder = planted.run.prompt_builder("student")
    answers = {sheet.name: stored_answers(sheet.path) for sheet in planted.sheets()}
    found = {
        name: _of_student(planted, adapter, builder, answers[f"{name} cleared"])
        for name, adapter in planted.students().items()
    }
    estimates = partial(_by_repeats, canaries=planted.canaries, seed=seed, resamples=resamples)
    intrusion = {"planted": answers["planted test"], "control": plain[planted.control.name]}
    exposed = {place: estimates({n: of["exposure"][place] for n, of in found.items()}) for place in PLACES}
    return {
        "canaries": len(planted.canaries),
        "tests": _correct(exposed),
        "alternatives": min(len(names) for names in planted.alternatives.values()),
        "epochs": planted.run.config.train.epochs,
        "exposure": exposed,
        "extracted": {
            place: estimates({n: of["extracted"][place] for n, of in found.items()}, share=True) for place in PLACES
        },
        "intrusion": {name: _intrusion(planted, rows).model_dump() for name, rows in intrusion.items()},
        "rows": [
            {
                "kind": canary.kind,
                "repeats": canary.repeats,
                **{
                    f"{name}_{place}": of["exposure"][place].get(canary.secret)
                    for name, of in found.items()
                    for place in PLACES
                },
            }
            for canary in planted.canaries
        ],
    }


def _of_student(
    planted: Planted, adapter: Path, builder: PromptBuilder, cleared: Sequence[Prediction]
) -> dict[str, dict[str, dict[str, float]]]:
    """What one student gives away: {"exposure" or "extracted": {place: {canary: value}}}."""
    model = load_trained(planted.run.model_folder("student"), adapter, planted.run.config.train)
    return {
        "exposure": {place: _exposures(model, builder, planted, place) for place in PLACES},
        "extracted": {
            "chart": _completed(model, builder, planted),
            "answer": _answered(planted.canaries, cleared, planted.run.tasks),
        },
    }


def _exposures(model: Any, builder: PromptBuilder, planted: Planted, place: str) -> dict[str, float]:
    """Canary -> exposure in bits, for those that stand in this place."""
    found: dict[str, float] = {}
    for kind in KINDS:
        task = FORMS[kind].task(planted.run.tasks)
        if place == "answer" and task is None:
            continue
        own = [canary.secret for canary in planted.canaries if canary.kind == kind]
        names = [*own, *planted.alternatives[kind]]
        if place == "chart":
            rows = [builder.prefix(f"{FORMS[kind].lead} {name}") for name in names]
        else:
            assert task is not None
            asked = builder.prompt(NEUTRAL, task.question)
            rows = [[*asked, *builder.plain(FORMS[kind].item_of(name, task).text)] for name in names]
        shared = common_prefix(rows)
        values = continuation_logprobs(model, rows[0][:shared], [row[shared:] for row in rows])
        others = sorted(values[len(own) :])
        found |= {name: exposure(value, others) for name, value in zip(own, values, strict=False)}
    return found


def exposure(value: float, others: Sequence[float]) -> float:
    """Exposure in bits of a canary with log-probability `value` among alternatives (sorted upwards)."""
    above = len(others) - bisect_right(others, value)
    alike = bisect_right(others, value) - bisect_left(others, value)
    return math.log2(len(others) + 1) - math.log2(1 + above + alike / 2)


def _completed(model: Any, builder: PromptBuilder, planted: Planted) -> dict[str, float]:
    """Canary -> 1 if the student, given a chart it learned from up to the secret, goes on with the secret."""
    prompts, wanted = [], []
    originals = {record.id: record for record in planted.originals}
    for record, places in plant(originals.values(), planted.canaries, planted.run.config.train.seed):
        for canary, place in places:
            prompts.append(builder.prefix(record.text[:place].rstrip()))
            wanted.append(canary.secret)
    room = max(len(builder.plain(secret)) for secret in wanted) + _SPARE_TOKENS
    replies = generate_everywhere(model, prompts, builder.end_id, room, planted.run.config.train.tokens_per_pass)
    found = dict.fromkeys((canary.secret for canary in planted.canaries), 0.0)
    for secret, ids in zip(wanted, replies, strict=True):
        if secret.casefold() in builder.tokenizer.decode(ids).casefold():
            found[secret] = 1.0
    return found


def _answered(canaries: Sequence[Canary], answers: Iterable[Prediction], tasks: Sequence[Task]) -> dict[str, float]:
    """Canary -> 1 if it is in the answer about a record it was planted in, asked without the canary's sentence.

    One that is in no answer, while an answer about one of its records failed in the engine, is left out: unscored.
    """
    rows = list(answers)
    failed = {row.record for row in rows if row.failure is not None}
    found: dict[str, float] = {}
    for canary in canaries:
        if FORMS[canary.kind].task(tasks) is None:
            continue
        if any(_secrets_in(row, [canary.secret]) for row in rows if row.record in canary.records):
            found[canary.secret] = 1.0
        elif failed.isdisjoint(canary.records):
            found[canary.secret] = 0.0
    return found


def _secrets_in(row: Prediction, secrets: Iterable[str]) -> list[str]:
    text = (row.completion or "").casefold()
    return [secret for secret in secrets if secret.casefold() in text]


def _intrusion(planted: Planted, rows: Iterable[Prediction]) -> Estimate:
    """The share of test records with a canary in any answer."""
    hits: dict[str, float] = {}
    secrets = [canary.secret for canary in planted.canaries]
    for row in rows:
        if row.failure is None:
            hits[row.record] = max(hits.get(row.record, 0.0), float(bool(_secrets_in(row, secrets))))
    return share_estimate(hits, {record.id: record.cluster for record in planted.test})


def _by_repeats(
    values: Mapping[str, Mapping[str, float]],
    canaries: Sequence[Canary],
    seed: int,
    resamples: int,
    share: bool = False,
) -> dict[str, dict[str, Any]]:
    """Repeats -> student -> mean over canaries; for exposures also planted minus control, and the test of it: the signs
    of the canaries' differences flipped at random. Canaries are the clusters."""
    found: dict[str, dict[str, Any]] = {}
    for repeats in sorted({canary.repeats for canary in canaries}):
        names = [c.secret for c in canaries if c.repeats == repeats and all(c.secret in own for own in values.values())]
        clusters = {name: name for name in names}
        of = {student: {name: every[name] for name in names} for student, every in values.items()}
        row = {
            student: (
                share_estimate(own, clusters) if share else mean_estimate(own, clusters, seed, resamples)
            ).model_dump()
            for student, own in of.items()
        }
        if not share:
            gap = mean_difference(of["planted"], of["control"], clusters, seed, resamples)
            row |= {"difference": gap.model_dump(), "test": _test(of["planted"], of["control"], seed).model_dump()}
        found[str(repeats)] = row
    return found


def _test(planted: Mapping[str, float], control: Mapping[str, float], seed: int) -> PValue:
    """The p value of the difference of two means over the same canaries; not corrected yet."""
    if not planted:
        return PValue(p=None, holm=None, clusters=0, reason="no canaries")
    above = np.array([[planted[name], control[name]] for name in planted]).T
    ones = np.ones(len(planted))
    return PValue(p=p_value((above[0], above[1]), (ones, ones), SWAPS, seed), holm=None, clusters=len(planted))


def _correct(exposed: Mapping[str, Mapping[str, dict[str, Any]]]) -> int:
    """Correct the tests of all places and numbers of records together, in place; returns how many there are."""
    tests = {f"{place} {n}": {"exposure": of["test"]} for place, cells in exposed.items() for n, of in cells.items()}
    return correct_family(tests, [(name, "exposure") for name in tests])
