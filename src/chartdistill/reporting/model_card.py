"""adapter/README.md: the model card, in the form that the Hugging Face hub and PEFT expect.

In: `RunResults`, findings, the judgement, the models' names. Out: YAML front matter, then Markdown. What
must hold: the card goes where the adapter goes, so it holds no record text, no item text and no path of this machine;
every figure has its interval and n, and one that is not defined says why; what was not recorded is said not to be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import indent
from typing import Any

import yaml

from chartdistill.evaluation import Judgement
from chartdistill.reporting.error_summary import Confusion, confusions, plain_figures, weakest_task
from chartdistill.reporting.findings import Findings
from chartdistill.reporting.markdown import bullets, inline, write_grids, write_judgement, write_rows, write_table
from chartdistill.reporting.run_facts import NOT_RECORDED, Models
from chartdistill.reporting.run_results import RunResults
from chartdistill.reporting.stages import curated_grid, stage_grid, version_grid
from chartdistill.reporting.tables import PAIRED, headline_tables

CARD = "README.md"
WEIGHTS = "adapter_model.safetensors"

NOT_FOR = (
    "Decisions about a patient without a person who reads the chart: it lists what it found, leaves things out and "
    "lists things that are not there, at the rates above.",
    "Charts unlike those it was measured on (other sites, specialties, languages, templates), before it has been "
    "measured on them.",
    "Other tasks than those named here, other prompts, or another base model or revision.",
    "Publication without a review for privacy: an adapter can repeat words of the charts it was trained on.",
)


def render_card(
    results: RunResults,
    findings: Findings,
    judgement: Judgement,
    models: Models | None,
    adapter: Path,
) -> str:
    """The whole card. `models`: None where the report was not made from a config."""
    parts = [
        f"# {inline(results.title)}: LoRA adapter{_of_whom(models)}",
        f"A student model's reading of patient charts, {_taught(results, models)}. It lists what a chart says of: "
        f"{', '.join(task.name for task in results.tasks)}. Made by chartdistill.",
        inline(findings.verdict),
        *(f"**{inline(sentence)}**" for sentence in findings.cautions),
    ]
    nothing = "No limits (`gates:`) were set in the config: whether this is good enough to be used was not decided."
    parts += write_judgement(judgement, nothing)
    parts += bullets("What it gets right and wrong", list(_plainly(results)), "Not known: not scored.")
    parts += bullets("What it is not for", NOT_FOR, "")
    parts += ["## How to use", *_how_to_use(results, models)]
    parts += bullets("What cannot be claimed", findings.limits, "No limits beyond the intervals.")
    parts += ["## Figures", *_figures(results)]
    parts += ["## Data", *_data(results)]
    parts += ["## Models and training", *_training(results, models)]
    parts += ["## Where it comes from", *_origin(results, adapter)]
    return _front_matter(models) + "\n\n".join(parts) + "\n"


def _of_whom(models: Models | None) -> str:
    return f" of {inline(models.student)}" if models is not None and models.student else ""


def _taught(results: RunResults, models: Models | None) -> str:
    """By whom the student was taught."""
    if results.label_file is None:
        teacher = f", {inline(models.teacher)}" if models is not None and models.teacher else ""
        return f"distilled from a larger teacher{teacher}"
    return f"taught by labels that existed ({inline(results.label_file['file'])}); no teacher model was asked"


def _plainly(results: RunResults) -> Iterator[str]:
    scores = results.scores
    if scores is None:
        return
    yield from (figure.line() for figure in plain_figures(results, scores))
    yield from (_confusion_line(row) for row in confusions(results, scores))
    if weakest := weakest_task(results, scores):
        yield weakest


def _confusion_line(row: Confusion) -> str:
    said = ", ".join(f"{word} {number}" for word, number in row.said if number)
    share = f" ({row.share})" if row.share else ""
    return f"Dangerous status, {row.chart_says}: {row.count}{share}{f'; called {said}' if said else ''}."


def _how_to_use(results: RunResults, models: Models | None) -> list[str]:
    """With chartdistill, which asks as in training; and with PEFT alone, with what must then be kept to."""
    base, revision = (models.student, models.student_revision) if models is not None else ("", None)
    if "/" not in base:  # no name of the hub's, which is the only one that says where the model is
        base = f"path/to/{base or 'the base model'}"
    pinned = "" if revision is None else f", revision={revision!r}"
    # As code, to the letter: asked otherwise (a `|` escaped, a line joined to the next) the student answers otherwise.
    questions = [part for task in results.tasks for part in (f"{task.name}:", indent(task.question, "    "))]
    return [
        "With chartdistill; CONFIG is the config that made the adapter, RUN the folder of its run:",
        "```\nchartdistill predict CONFIG --run-dir RUN --records new_charts/ --out answers.jsonl\n```",
        "With PEFT alone:",
        "```python\n"
        "from peft import PeftModel\n"
        "from transformers import AutoModelForCausalLM\n\n"
        f"base = AutoModelForCausalLM.from_pretrained({base!r}{pinned})\n"
        'model = PeftModel.from_pretrained(base, "path/to/this/folder")\n'
        "```",
        "Then the prompt must be as in training: the config's system text, the chart, and last one of these questions, "
        "in the base model's chat template; greedy decoding. The figures above hold for nothing else. An answer is one "
        "item per line, fields split by ` | `, or `None found`.",
        *questions,
    ]


def _front_matter(models: Models | None) -> str:
    values: dict[str, Any] = {}
    if models is not None and models.student:
        values["base_model"] = models.student
        if "/" in models.student:
            values["base_model_relation"] = "adapter"
        if models.student_licence:
            values["license"] = models.student_licence
    values["library_name"] = "peft"
    values["pipeline_tag"] = "text-generation"
    values["tags"] = ["lora", "peft", "distillation", "information-extraction", "clinical", "chartdistill"]
    return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True)}---\n\n"


def _figures(results: RunResults) -> list[str]:
    scores = results.scores
    if scores is None:
        return ["Not scored: no figure is known."]
    about = (
        f"On {results.held_out_in_words('record')}, with 95% intervals (over clusters of near-duplicates, and of "
        f"groups where the split is by them) and n. {PAIRED}"
    )
    return [about, *map(write_table, headline_tables(results, scores))]


def _data(results: RunResults) -> list[str]:
    records, curated, grid = results.counts("records") or {}, results.counts("curated"), curated_grid(results)
    splits = ", ".join(f"{split} {number}" for split, number in (records.get("by_split") or {}).items())
    counts = {
        "Records kept": records.get("kept"),
        "of these synthetic": results.num_synthetic,
        "Clusters of near-duplicates": records.get("clusters"),
        **({"Groups (patients), each in one cluster": records["groups"]} if "groups" in records else {}),
        "Splits (no cluster is in two)": splits or None,
    }
    if curated is None:
        return [_facts("Count", counts)]
    counts |= {
        ("Teacher's labels read" if results.label_file is None else "Labels read"): curated.get("read"),
        "Labels kept": curated.get("kept"),
        "Labels rejected": curated.get("rejected"),
        **{f"Rejected for {name}": str(n) for name, n in (curated.get("by_reason") or {}).items()},
    }
    found = [_facts("Count", counts), "A label that two reasons speak against counts for both."]
    return [*found, write_rows(grid.columns, grid.rows)] if grid.rows else found


def _training(results: RunResults, models: Models | None) -> list[str]:
    labelled, curated, trained = (results.manifests.get(stage) or {} for stage in ("labels", "curated", "adapter"))
    options, named = labelled.get("options") or {}, models or Models("")
    if (source := results.label_file) is not None:
        counts = results.counts("labels") or {}
        options = {name: value for name, value in options.items() if name != "path"}  # which is of this machine
        whose: dict[str, object] = {
            "Teacher": f"none was asked: labels that existed, {source['file']} ({source['format']})",
            "sha256 of the labels": source["sha256"],
            "Records without a label": counts.get("records_without_label"),
            "Statuses read from the chart by rules": counts.get("statuses_from_chart"),
        }
    else:
        whose = {
            "Teacher": named.teacher or None,
            "Teacher's revision": named.teacher_revision,
            "Strategy of its questions": options.get("strategy") or labelled.get("strategy"),
        }
    facts = {
        **whose,
        "Student (base model)": named.student or None,
        "Student's revision": named.student_revision,
        "Student's licence": named.student_licence,
        **_adapters(labelled, trained),
        "Trainable parameters": trained.get("trainable_parameters"),
    }
    blocks = [_facts("What", facts)]
    filters = (curated.get("options") or {}).get("filters")
    set_by = {"Label options": options, "Filters": filters, "Training options": trained.get("options")}
    for title, values in set_by.items():
        blocks += [f"### {title}", _yaml_block(values) if values else f"{NOT_RECORDED.capitalize()}."]
    return blocks


def _adapters(labelled: Mapping[str, Any], trained: Mapping[str, Any]) -> dict[str, str]:
    """The adapters that teacher and student came with; empty where they were plain models."""
    named = {"Teacher's adapter": labelled.get("teacher_adapter"),
             "Adapter the student started from": trained.get("student_adapter")}  # fmt: skip
    return {what: f"{one['name']}, SHA-256 {one['sha256']}" for what, one in named.items() if one}


def _origin(results: RunResults, adapter: Path) -> list[str]:
    weights = adapter / WEIGHTS
    marks = {f"Fingerprint of {stage}/": str(found["fingerprint"]) for stage, found in results.manifests.items()}
    marks[f"sha256 of {WEIGHTS}"] = _sha256(weights) if weights.is_file() else f"{WEIGHTS} is not there"
    versions = replace(version_grid(results), absent=f"{NOT_RECORDED.capitalize()}.")
    return [_facts("What", marks), *write_grids((stage_grid(results), versions), "###")]


def _facts(head: str, values: Mapping[str, object]) -> str:
    return write_rows((head, "Value"), [(name, _written(value)) for name, value in values.items()])


def _yaml_block(values: Mapping[str, Any] | Sequence[Any]) -> str:
    return f"```yaml\n{yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=110).rstrip()}\n```"


def _written(value: object) -> str:
    return NOT_RECORDED if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
