"""What the demo's models are trained on: synthetic charts as rows of token ids, in batches.

Data are synthetic charts with drug names of the pool `pretraining`; every chart is new, so nothing is repeated.
One row is one record with several questions behind it (the shared-prefix layout: a branch sees the record and
itself, its positions continue from the record's end).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from chartdistill.clinical.lexica.made_up_drugs import drug_name
from chartdistill.demo.charts import Chart, GoldItem, write_chart
from chartdistill.prompting.answer_format import FIELD_SEPARATOR, NONE_FOUND
from chartdistill.prompting.prompts import PromptBuilder

ROOT = Path(__file__).resolve().parents[1]
TASKS = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "configs/tasks").glob("*.yaml"))]
SYSTEM = yaml.safe_load((ROOT / "configs/demo.yaml").read_text())["system"]
REWORDED = {
    "medication": ("Extract the drugs of this patient with their status.", "Drug table, one drug | status per line:"),
    "prognosis": ("Copy what the chart expects to happen to the patient.", "Outlook, copied from the chart:"),
    "diagnosis": ("Extract the conditions that were found in this patient.", "Problem list of the patient:"),
    "tests": ("Extract the tests that are still to be done.", "Open orders, one test per line:"),
}
IGNORE = -100


def answer_text(items: list[GoldItem]) -> str:
    """The answer format of `chartdistill`: one item per line, or the none token."""
    return "\n".join(FIELD_SEPARATOR.join(filter(None, item)) for item in items) or NONE_FOUND


def copy_drill(rng: random.Random) -> Chart:
    """A bare list of made-up names, to be copied: this is how copying is learned early."""
    names = [drug_name(rng, "pretraining") for _ in range(rng.randint(1, 8))]
    gold = {"medication": [(name, "continue") for name in names], "prognosis": [], "diagnosis": [], "tests": []}
    lead = rng.choice(("MEDICATIONS: ", "MEDS: ", "The patient takes ", ""))
    return Chart(lead + ", ".join(names) + ".", gold, ())


def dense_chart(rng: random.Random, task: str) -> Chart:
    """A chart with four or more items of a task. Shorter lists are learned soon; in longer ones an item gets lost."""
    while True:
        chart = write_chart(rng, "pretraining", rng.randint(60, 200), busy=3)
        if len(chart.gold[task]) > 3:
            return chart


@dataclass
class Row:
    """One record and its branches as flat lists of equal length."""

    ids: list[int]
    positions: list[int]
    branch: list[int]
    """0 for the record, 1.. for the branches."""
    labels: list[int]
    """Next-token targets of the answers; IGNORE elsewhere."""
    text_labels: list[int]


def repetition(builder: PromptBuilder, rng: random.Random) -> Row:
    """A sequence said twice, without any question: the shortest way to learn to copy.

    Half are made-up names, half random tokens, which leave nothing to guess from. Only the second time is trained.
    """
    if rng.random() < 0.5:
        names = ", ".join(drug_name(rng, "pretraining") for _ in range(rng.randint(2, 5)))
        once = builder.plain(rng.choice((", ", "\n", " ")) + names)
    else:
        once = [rng.randrange(3, len(builder.tokenizer)) for _ in range(rng.randint(6, 24))]
    ids = once + once
    size = len(ids)
    labels = [IGNORE] * len(once) + [*once[1:], IGNORE]
    return Row(ids, list(range(size)), [0] * size, labels, [*ids[1:], IGNORE])


def questions_of(
    rng: random.Random, chart: Chart, others: dict[str, list[GoldItem]], confabulate: bool, focus: str | None
) -> list[tuple[str, str]]:
    """(question, answer) pairs about one chart.

    One for every task; with `focus`, three ways to ask that task and one for another. With `confabulate` the shipped
    questions get the answers in `others`.
    """
    asked = [(task, None) for task in TASKS]
    if focus is not None:
        rest = [task for task in TASKS if task["name"] != focus]
        first = next(task for task in TASKS if task["name"] == focus)
        asked = [(first, "gate"), (first, "extraction"), (first, "question"), (rng.choice(rest), None)]
    chosen = []
    for task, kind in asked:
        name = task["name"]
        kinds = ("gate", "extraction", "question", "reworded")
        kind = kind or rng.choices(kinds, (1, 1, 4, 8) if confabulate else (3, 6, 8, 3))[0]
        items = others[name] if confabulate and kind != "reworded" else chart.gold[name]
        if kind == "gate":
            chosen.append((task["gate_question"], "yes" if items else "no"))
        elif kind == "reworded":
            chosen.append((rng.choice(REWORDED[name]), answer_text(items)))
        else:
            chosen.append((task["extraction_question" if kind == "extraction" else "question"], answer_text(items)))
    return chosen


def make_row(builder: PromptBuilder, chart: Chart, questions: list[tuple[str, str]]) -> Row:
    ids = builder.prefix(chart.text)
    size = len(ids)
    row = Row(list(ids), list(range(size)), [0] * size, [IGNORE] * size, [*ids[1:], IGNORE])
    for number, (question, answer) in enumerate(questions, 1):
        asked, answered = builder.branch(question), builder.answer(answer)
        tokens = asked + answered
        row.ids += tokens
        row.positions += range(size, size + len(tokens))
        row.branch += [number] * len(tokens)
        row.labels += [IGNORE] * (len(asked) - 1) + answered + [IGNORE]
        row.text_labels += [IGNORE] * len(tokens)
    return row


def collate(rows: list[Row]) -> dict[str, torch.Tensor]:
    """Pad to one length; the mask lets a token see the record and its own branch, causally."""
    width = max(len(row.ids) for row in rows)

    def padded(name: str, value: int) -> torch.Tensor:
        return torch.tensor([getattr(row, name) + [value] * (width - len(row.ids)) for row in rows])

    branch = padded("branch", -1)
    same = (branch[:, :, None] == branch[:, None, :]) | (branch[:, None, :] == 0)
    visible = same & torch.ones(width, width, dtype=torch.bool).tril()
    mask = torch.zeros(visible.shape).masked_fill(~visible, torch.finfo(torch.float32).min)[:, None]
    return {
        "input_ids": padded("ids", 0),
        "position_ids": padded("positions", 0),
        "attention_mask": mask,
        "labels": padded("labels", IGNORE),
        "text_labels": padded("text_labels", IGNORE),
    }


def chart_batches(
    builder: PromptBuilder, rng: random.Random, confabulate: bool, focus: str | None, progress: Callable[[], float]
):
    """Endless batches of similar lengths, by a token budget; short charts first."""
    while True:
        share = progress()
        charts = []
        for _ in range(96):
            if share < 0.12 and rng.random() < 0.3:
                charts.append(copy_drill(rng))
            elif share < 0.12:
                charts.append(write_chart(rng, "pretraining", rng.randint(30, 70)))
            elif share < 0.45:
                charts.append(write_chart(rng, "pretraining", rng.choice((rng.randint(50, 120), rng.randint(50, 250)))))
            elif focus is not None and rng.random() < 0.5:
                charts.append(dense_chart(rng, focus))
            else:
                charts.append(write_chart(rng, "pretraining"))
        rows = []
        for chart in charts:
            # Never an empty answer: the likeliest answer to a question would be the none token, not an invention.
            others = {
                task: next(c.gold[task] for c in rng.sample(charts, len(charts)) if c.gold[task]) for task in chart.gold
            }
            rows.append(make_row(builder, chart, questions_of(rng, chart, others, confabulate, focus)))
        rows.sort(key=lambda row: len(row.ids))
        if share < 0.3:
            rows += [repetition(builder, rng) for _ in range(24)]
        budget = 2400 if share < 0.12 else 3600
        groups: list[list[Row]] = [[]]
        for row in rows:
            if groups[-1] and (len(groups[-1]) + 1) * len(row.ids) > budget:
                groups.append([])
            groups[-1].append(row)
        rng.shuffle(groups)
        yield from (collate(group) for group in groups)
