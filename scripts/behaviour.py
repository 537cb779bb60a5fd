"""What the program does without a model, as hashes: did a change that should change nothing change anything?

    .venv/bin/python scripts/behaviour.py OUT [--charts 300] [--study STUDY.json] > hashes.txt

Writes a run of synthetic charts with made-up labels and answers (right ones, and ones with every fault the filters
know) into the new folder OUT, puts it through prepare, curate, audit, the scores, the interventions, the rule baseline
and the report, and prints one line per file: sha256 and name. Times and the checkout's path are no part of a file.
Run it before and after a change, and compare the two lists with diff; the files themselves show what differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chartdistill.clinical.lexica.conditions import CONDITION_NAMES
from chartdistill.clinical.lexica.tests import TEST_NAMES
from chartdistill.config import load_task
from chartdistill.curation.audit import run_audit
from chartdistill.curation.curate import curate
from chartdistill.curation.filters import DEFAULT_FILTERS
from chartdistill.demo.api_version import api_version_lines
from chartdistill.evaluation import rule_baseline
from chartdistill.evaluation.contamination import find_contamination
from chartdistill.evaluation.interventions import score_interventions, write_variants
from chartdistill.evaluation.options import InterventionOptions
from chartdistill.evaluation.trust_gates import TrustGate
from chartdistill.labelling import LabelOptions
from chartdistill.labelling.labeler import Labeler
from chartdistill.metrics.comparison import compare_arms
from chartdistill.prompting.answer_format import NONE_FOUND, format_answer, parse_answer
from chartdistill.prompting.prompts import PromptBuilder
from chartdistill.records.prepare import prepare
from chartdistill.records.sources import PrepareOptions
from chartdistill.records.sources.synthetic import SyntheticSource
from chartdistill.reporting.report import report
from chartdistill.reporting.run_facts import Models
from chartdistill.reporting.study_page import render_study_markdown, render_study_page
from chartdistill.runtime.model_folder import load_tokenizer
from chartdistill.runtime.run_folder import RowWriter, read_rows, write_text
from chartdistill.schema import Gate, Item, ItemCheck, ItemVote, Label, Prediction, Record, Task
from chartdistill.training import TrainOptions

ROOT = Path(__file__).resolve().parents[1]
TASKS = [load_task(ROOT / f"configs/tasks/{name}.yaml") for name in ("medication", "prognosis", "diagnosis", "tests")]
WRONG = ("appendectomy", "Physical therapy", "walker", "normal examination", "general medicine", "follow-up visit",
         "will be seen in two weeks", "The patient is expected to recover fully.", "antibiotics", "5 mg daily",
         "chest pain", "labs", "MRI of the elbow", "The patient was advised to rest and drink fluids at home today",
         "Nosuchdrug 10 mg", "What is this?", "- aspirin", "12345")  # fmt: skip
"""Items that are wrong for some task or other."""
OTHERS_SAY = ("No medications", "N/A", "None.", "none found", "Sure! Here is the list", "", "item | nostatus | more")
"""Answers that do not follow the format."""
ARMS = {"teacher": 0.12, "base": 0.8, "student": 0.25}
"""Arm -> share of its answers that have a fault."""


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--charts", type=int, default=300)
    parser.add_argument("--study", type=Path, help="a study.json, to render its pages too")
    arguments = parser.parse_args()
    out: Path = arguments.out
    out.mkdir(parents=True)
    run = out / "run"
    records = _prepare(run, arguments.charts)
    _label(run, records)
    curate(run, TASKS, DEFAULT_FILTERS)
    _freeze(run / "curated")
    (out / "api.jsonl").write_text("".join(f"{line}\n" for line in api_version_lines(arguments.charts // 4, 5)))
    run_audit(out / "api.jsonl", out / "audit.jsonl")
    _evaluate(run, records)
    gates = (
        TrustGate(metric="joint_f1", at_least=0.9, of="teacher"),
        TrustGate(metric="confabulation_rate", at_most=0.05, by="bound"),
        TrustGate(metric="stop_as_continue_rate", at_most=0, least_n=60),
    )
    for name, shows_text in (("report-private", False), ("report", None)):
        report(run, TASKS, "behaviour", gates, shows_text, Models("teacher", None, "student", None, "apache-2.0"))
        if name != "report":
            (run / "report").rename(run / name)
    _keys(run, records)
    if arguments.study is not None:
        figures = json.loads(arguments.study.read_text(encoding="utf-8"))
        (out / "study.md").write_text(render_study_markdown(figures))
        (out / "study.html").write_text(render_study_page(figures))
    for path in sorted(path for path in out.rglob("*") if path.is_file() and path.name != "manifest.json"):
        text = path.read_text(encoding="utf-8").replace(str(out), "OUT").replace(str(ROOT), "ROOT")
        print(hashlib.sha256(text.encode()).hexdigest()[:24], path.relative_to(out))


def _prepare(run: Path, charts: int) -> list[Record]:
    sources = [
        SyntheticSource(type="synthetic", pool="train", count=charts // 2, seed=1, split="train"),
        SyntheticSource(type="synthetic", pool="heldout", count=charts - charts // 2, seed=3, split="test"),
    ]
    prepare(sources, run / "records", PrepareOptions())
    _freeze(run / "records")
    return list(read_rows(run / "records" / "records.jsonl", Record))


def _freeze(folder: Path, **facts: Any) -> None:
    """A manifest that says nothing of this run's time and place."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps({**manifest, **facts, "seconds": 1.0, "fingerprint": folder.name, "versions": {}}))


def _faulty(items: Sequence[Item], task: Task, rng: random.Random) -> list[Item]:
    """An answer with one or two faults."""
    found = list(items)
    for _ in range(rng.choice((1, 1, 2))):
        status = rng.choice(task.statuses) if task.statuses else None
        match rng.randrange(8):
            case 0 if found:
                found.pop(rng.randrange(len(found)))
            case 1 if found and task.statuses:
                place = rng.randrange(len(found))
                found[place] = found[place].model_copy(update={"status": status})
            case 2 if found and task.statuses:
                found.append(found[0].model_copy(update={"status": status}))
            case 3 if found:
                place = rng.randrange(len(found))
                found[place] = found[place].model_copy(update={"text": f"{found[place].text} {rng.randint(1, 90)} mg"})
            case 4:
                pool = [*CONDITION_NAMES, *TEST_NAMES, "good", "lisinopril", "aspirin"]
                found.append(Item(text=rng.choice(pool), status=status))
            case 5 if len(found) > 1:
                found.reverse()
            case 6 if found:
                place = rng.randrange(len(found))
                found[place] = found[place].model_copy(update={"text": found[place].text[:-1] + "x"})
            case _:
                found.append(Item(text=rng.choice(WRONG), status=status))
    return found


def _label(run: Path, records: Sequence[Record]) -> None:
    rng, earlier = random.Random(7), NONE_FOUND
    rows = []
    for record in records:
        for task in TASKS:
            gold = (record.gold or {})[task.name]
            items = _faulty(gold, task, rng) if rng.random() < 0.5 else list(gold)
            said = format_answer(items)
            draw = rng.random()
            facts: dict[str, Any] = {"completion": said, "finish_reason": "stop"}
            if draw < 0.04:
                facts = {"completion": rng.choice(OTHERS_SAY), "finish_reason": "stop"}
            elif draw < 0.06:
                facts["finish_reason"] = "length"
            elif draw < 0.07:
                facts = {"failure": "prompt_too_long: 9 tokens"}
            elif draw < 0.11:
                facts["completion"] = earlier
            elif draw < 0.16:
                facts["completion"] = NONE_FOUND
            elif draw < 0.21 and items:
                facts["votes"] = tuple(ItemVote(item=one, support=rng.randint(1, 5), samples=5) for one in items)
            elif draw < 0.26 and items:
                said_of = [(one, rng.choice(("yes", "no", "unclear"))) for one in items]
                facts["checks"] = tuple(
                    ItemCheck(item=one, answer=answer, quote=rng.choice((one.text, "not in this chart at all", None)))
                    for one, answer in said_of
                )
            answer = "yes" if items else "no"
            gate = Gate(answer=answer if rng.random() < 0.95 else "unclear")
            rows.append(
                Label(key=f"{record.id} {task.name}", record=record.id, task=task.name, strategy="chain", gate=gate,
                      **facts)
            )  # fmt: skip
            earlier = said
    with RowWriter(run / "labels" / "labels.jsonl") as out:
        out.write(*rows)
    _freeze(run / "labels", counts={"labels": len(rows), "failures": 0})


def _predict(record: Record, task: Task, arm: str, rng: random.Random) -> Prediction:
    gold = (record.gold or {})[task.name]
    items: Sequence[Item] | None = _faulty(gold, task, rng) if rng.random() < ARMS[arm] else gold
    said = format_answer(list(items or ()))
    if rng.random() < ARMS[arm] / 12:
        said = rng.choice(OTHERS_SAY)
    return Prediction(key=f"{arm} {record.id} {task.name}", record=record.id, task=task.name, arm=arm, completion=said,
                      finish_reason="stop", items=parse_answer(said, task) if said else None)  # fmt: skip


def _evaluate(run: Path, records: Sequence[Record]) -> None:
    rng = random.Random(11)
    test = {record.id: record for record in records if record.split == "test"}
    learned = [record for record in records if record.split == "train"]
    arms = {arm: [_predict(record, task, arm, rng) for record in test.values() for task in TASKS] for arm in ARMS}
    gates = {place: "yes" if rng.random() < 0.5 else "no" for place in ((r, t.name) for r in test for t in TASKS)}
    scores = compare_arms(arms, test, TASKS, (("student", "base"), ("student", "teacher")), 0, 200, "teacher",
                          {"teacher": gates})  # fmt: skip
    for arm, rows in arms.items():
        scores["arms"][arm]["cost"] = {"seconds": 1.0, "prompt_tokens": len(rows)}
        with RowWriter(run / "predictions" / f"{arm}.jsonl") as out:
            out.write(*rows)
    scores["overlap"] = find_contamination(learned, list(test.values()))
    teacher = {(row.record, row.task): row for row in arms["teacher"]}
    options = InterventionOptions(records=40, edited_records=80)
    variants = write_variants(run / "predictions" / "variants", list(test.values()), TASKS, teacher, options)
    names = rule_baseline.known_names(
        (name, items) for record in learned for name, items in (record.gold or {}).items()
    )
    scores["interventions"] = {}
    for arm in ("base", "student"):
        before = {(row.record, row.task): row for row in rule_baseline.predict_by_rules(test.values(), TASKS, names)}
        changed = [test[v.record].model_copy(update={"id": v.id, "text": v.text}) for v in variants]
        after = {(row.record, row.task): row for row in rule_baseline.predict_by_rules(changed, TASKS, names)}
        scores["interventions"][arm] = score_interventions(variants, before, after, test, TASKS, 0, 200)
    baseline = rule_baseline.predict_by_rules(test.values(), TASKS, names)
    write_text(run / "rules.jsonl", "".join(row.line() + "\n" for row in baseline))
    write_text(run / "rules-scores.json", json.dumps(compare_arms({"rules": baseline}, test, TASKS, (), 0, 200)))
    write_text(run / "predictions" / "scores.json", json.dumps(scores, indent=1) + "\n")
    _freeze(run / "predictions", counts={"records": len(test)})
    log = "".join(json.dumps({"step": i, "loss": 2.4 * 0.97**i}) + "\n" for i in range(1, 60))
    (run / "adapter").mkdir()
    write_text(run / "adapter" / "training_log.jsonl", log)
    _freeze(run / "adapter", options=TrainOptions().model_dump(mode="json"))


def _keys(run: Path, records: Sequence[Record]) -> None:
    """By which labels are known again: what a resumed run must not change."""
    folder = ROOT / "src/chartdistill/demo/models/student"
    builder = PromptBuilder.from_tokenizer(load_tokenizer(folder), "Answer from this chart alone.")
    labeler = Labeler(builder, TASKS, LabelOptions(), "asked with")
    keys = [labeler.key(record, task) for record in records for task in TASKS]
    prompts = [builder.prompt(record.text, task.question) for record in records[:20] for task in TASKS]
    write_text(run / "keys.json", json.dumps({"keys": keys, "prompts": prompts}))


if __name__ == "__main__":
    main()
