"""`doctor`: will this config run on this machine? Everything is looked at before anything is started.

Hardware, driver, versions, weights, licences, memory, disk, time, ports, offline state, file modes. One line each, with
what to do where something is amiss; the verdict is go or no-go. Figures of memory and time are estimates whose formula
is shown (see memory_plan.py, time_plan.py); nothing is loaded, started, ended or downloaded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from chartdistill import privacy
from chartdistill.config import Run
from chartdistill.doctor.check import Check, State
from chartdistill.doctor.machine import GIB, Card, check_hardware, ram_bytes
from chartdistill.doctor.memory_plan import MemoryPlan, label_plan, parallel_problem, train_plan
from chartdistill.doctor.model_shape import ModelShape, read_shape
from chartdistill.doctor.surroundings import check_modes, check_offline, check_ports, check_versions, free_disk
from chartdistill.doctor.time_plan import TimePlan, label_time
from chartdistill.doctor.time_plan import train_time as training_time
from chartdistill.doctor.weights import is_permissive, known_hashes, mismatch, read_weights, wrong_files
from chartdistill.doctor.workload import Work, count_work
from chartdistill.engines import OpenAIEngine, TransformersEngine, VllmEngine
from chartdistill.errors import ModelError
from chartdistill.model_folder import licence, read_json

Role = Literal["teacher", "student"]
ROLES: tuple[Role, ...] = ("teacher", "student")
_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Diagnosis:
    """What was found."""

    checks: list[Check] = field(default_factory=list)
    memory: dict[str, MemoryPlan] = field(default_factory=dict)
    time: dict[str, TimePlan] = field(default_factory=dict)

    @property
    def go(self) -> bool:
        """Whether nothing forbids the run."""
        return all(check.state != "no" for check in self.checks)

    def as_json(self) -> str:
        """Everything, as JSON text."""
        memory = {name: asdict(plan) | {"bytes": plan.bytes, "fits": plan.fits} for name, plan in self.memory.items()}
        time = {name: asdict(plan) for name, plan in self.time.items()}
        checks = [asdict(check) for check in self.checks]
        switches = {name: os.environ.get(name) for name in privacy.PROCESS_VARIABLES}
        return json.dumps(
            {"go": self.go, "checks": checks, "memory": memory, "time": time, "offline_switches": switches}, indent=2
        )


def diagnose(run: Run, planned: list[Card] | None = None, hashes: bool = False) -> Diagnosis:
    """Examine a run.

    Args:
        planned: plan for these cards, not for this machine's; empty list: for a CPU.
        hashes: also compare the weights with the hashes their download left behind (reads every byte).
    """
    found = Diagnosis()
    cards, hardware = check_hardware(planned)
    found.checks.extend([*hardware, *check_versions(cards, planned is not None)])
    models = _Models()
    absent: State = "no" if planned is None else "warning"  # what another machine has is not known here
    for role in ROLES:
        found.checks.extend(_look_at_model(run, role, cards, hashes, models, absent))
    work, said, problem = count_work(run, models.folders.get("teacher"))
    found.checks.extend(_check_vocabularies(run, models))
    if problem is None:
        found.checks.append(Check("charts", "ok", said))
    else:
        found.checks.append(
            Check("charts", absent, _first_sentence(problem), "give --records PATH (RECORDS= for make)")
        )
        found.checks.append(Check("amount of work", "warning", said, "time and charts at once are for these"))
    _plan(found, run, cards, models, work)
    if planned is None:
        found.checks.append(_check_disk(run, work, models.missing_bytes))
    found.checks.extend(check_ports(run, cards))
    found.checks.extend(check_offline(run.config.privacy.allowed_hosts))
    found.checks.extend(check_modes(run))
    return found


@dataclass
class _Models:
    """What is known of the teacher and the student."""

    folders: dict[Role, Path] = field(default_factory=dict)
    shapes: dict[Role, ModelShape] = field(default_factory=dict)
    weight_bytes: dict[Role, float] = field(default_factory=dict)
    """In the engine's memory."""
    missing_bytes: float = 0.0
    """Still to be downloaded."""


def _look_at_model(
    run: Run, role: Role, cards: list[Card], hashes: bool, models: _Models, absent: State
) -> Iterator[Check]:
    options = run.config.teacher if role == "teacher" else run.config.student
    engine = options.engine
    if isinstance(engine, OpenAIEngine) and engine.urls:
        yield Check(f"{role} weights", "ok", f"served by {', '.join(engine.urls)}")
        return
    try:
        folder = run.model_folder(role)
        shape = read_shape(folder)
        yield from _check_weights(role, folder, shape, hashes)
        models.folders[role] = folder
    except ModelError as error:
        yield Check(f"{role} weights", absent, _first_sentence(error), "see the first lines of the config")
        known = run.base / "models" / f"{options.model.replace('/', '--')}.json"
        if not known.is_file():
            return
        shape = read_shape(known)
        models.missing_bytes += shape.weight_bytes("auto") or 0.0
    engine = engine.serve if isinstance(engine, OpenAIEngine) else engine
    at_load = engine.quantization if isinstance(engine, VllmEngine) else None
    size = shape.weight_bytes(engine.dtype, at_load)
    if role in models.folders and shape.quantization:
        size = float(read_weights(models.folders[role]).bytes)
    if size is None:
        scheme = at_load or shape.quantization.get("quant_method")
        yield Check(f"{role} size", "warning", f"the size of {scheme!r} weights is not known", "no plan is made of it")
        return
    models.shapes[role], models.weight_bytes[role] = shape, size
    yield from _check_precision(role, shape, cards)


def _first_sentence(error: Exception) -> str:
    return str(error).split(". ")[0]


def _check_weights(role: Role, folder: Path, shape: ModelShape, hashes: bool) -> Iterator[Check]:
    name = f"{role} weights"
    weights = read_weights(folder)
    wrong = mismatch(weights, shape)
    said = f"{folder}: {weights.bytes / 1e9:.2f} GB, {shape.parameters / 1e6:,.1f} million parameters, all files whole"
    yield Check(name, "no", wrong, "copy or download the model again") if wrong else Check(name, "ok", said)
    if hashes:
        known = known_hashes(folder)
        bad = [path.name for path in wrong_files(known)]
        if bad:
            yield Check(f"{role} hashes", "no", f"damaged: {', '.join(bad)}", "copy or download these files again")
        elif known:
            yield Check(f"{role} hashes", "ok", f"{len(known)} files have the hash they were downloaded with")
        else:
            yield Check(f"{role} hashes", "warning", "the download left no hashes", "compare with the source yourself")
    named = licence(folder)
    if folder.is_relative_to(_PACKAGE):
        yield Check(f"{role} licence", "ok", "part of chartdistill, under its licence")
    elif named is None:
        yield Check(f"{role} licence", "warning", "the folder names none", "make sure that you may use it")
    elif is_permissive(named):
        yield Check(f"{role} licence", "ok", named)
    else:
        yield Check(f"{role} licence", "warning", named, "read it: it is none of the common permissive ones")


def _check_vocabularies(run: Run, models: _Models) -> Iterator[Check]:
    """Distillation compares log-probabilities token by token, so both models must have the same tokens."""
    files = [folder / "tokenizer.json" for folder in models.folders.values()]
    if len(files) < len(ROLES) or not all(path.is_file() for path in files):
        return
    one, other = ((read_json(path).get("model") or {}).get("vocab") for path in files)
    if one == other:
        yield Check("vocabulary", "ok", "teacher and student have the same")
    elif getattr(run.config.train, "distillation", None) is not None:
        remedy = "leave out train.distillation, or choose a student of the teacher's family"
        yield Check("vocabulary", "no", "teacher and student differ", remedy)
    else:
        yield Check("vocabulary", "ok", "teacher and student differ, which only train.distillation would mind")


def _check_precision(role: Role, shape: ModelShape, cards: list[Card]) -> Iterator[Check]:
    """Whether the cards compute in the model's number format."""
    oldest = min((card.capability for card in cards if card.capability), default=None)
    name = f"{role} precision"
    if oldest is None:
        return
    if oldest < (7, 5):
        yield Check(name, "no", f"compute capability {oldest[0]}.{oldest[1]}; vLLM needs 7.5", "use a newer card")
    elif shape.quantization.get("quant_method") == "fp8" and oldest < (8, 9):
        found = f"FP8 weights on compute capability {oldest[0]}.{oldest[1]}: stored in 8 bits, computed in 16"
        yield Check(name, "warning", found, "works, but without FP8's speed")
    elif oldest < (8, 0):
        yield Check(name, "warning", "no bfloat16 on this card", "set dtype: float16 for engines, float32 for train")
    else:
        yield Check(name, "ok", f"{shape.quantization.get('quant_method') or shape.dtype} is native to the card")


def _plan(
    found: Diagnosis,
    run: Run,
    cards: list[Card],
    models: _Models,
    work: Work,
) -> None:
    """Memory and time of each verb that uses a model."""
    smallest = min(cards, key=lambda card: card.memory_bytes, default=None)
    for role, shape in models.shapes.items():
        engine = (run.config.teacher if role == "teacher" else run.config.student).engine
        engine = engine.serve if isinstance(engine, OpenAIEngine) else engine
        if isinstance(engine, TransformersEngine):
            continue
        ways = engine.tensor_parallel_size
        if cards and ways > len(cards):
            found.checks.append(
                Check(
                    f"{role} cards", "no", f"tensor_parallel_size {ways}, {len(cards)} found", "lower it, or add cards"
                )
            )
            continue
        if ways > 1 and (why := parallel_problem(shape, ways)) is not None:
            found.checks.append(Check(f"{role} cards", "no", why, "choose another tensor_parallel_size"))
        plan = label_plan(shape, engine, smallest, work, models.weight_bytes[role], ram_bytes())
        found.memory[f"{role}, engine"] = plan
        found.checks.append(_check_engine(role, plan, engine.max_model_len_tokens or shape.context))
        if role == "teacher" and smallest is not None:
            time = label_time(shape, smallest, ways, work, models.weight_bytes[role], plan.cache_tokens or 0)
            if time is not None:
                found.time["label"] = time
    if "student" in models.shapes:
        room = float(smallest.memory_bytes if smallest is not None else ram_bytes())
        plan = train_plan(models.shapes["student"], run.config.train, room, work, smallest is not None)
        found.memory["student, training"] = plan
        remedy = "lower train.tokens_per_pass or max_tokens, or set train.gradient_checkpointing: true"
        found.checks.append(_fits("training memory", plan, remedy))
        if smallest is not None:
            time = training_time(models.shapes["student"], smallest, len(cards), work, run.config.train)
            if time is not None:
                found.time["train"] = time


def _check_engine(role: Role, plan: MemoryPlan, longest: int) -> Check:
    name = f"{role} engine memory"
    if plan.cache_tokens is not None and plan.cache_tokens < longest:
        return Check(
            name,
            "no",
            f"{plan.cache_tokens:,} tokens of KV cache, one request may have {longest:,}: vLLM will not start",
            "lower max_model_len_tokens, quantise the weights, or spread them with tensor_parallel_size",
        )
    return _fits(name, plan, "lower cpu_kv_cache_gib, or choose a smaller model")


def _fits(name: str, plan: MemoryPlan, remedy: str) -> Check:
    found = f"{plan.bytes / GIB:.1f} of {plan.room_bytes / GIB:.1f} GiB"
    if plan.records_at_once is not None:
        found += f", {plan.records_at_once:,} charts at once"
    return Check(name, "ok", found) if plan.fits else Check(name, "no", found, remedy)


def _check_disk(run: Run, work: Work, missing: float) -> Check:
    """Records and labels are text; the adapter with its optimizer is there twice while a checkpoint is replaced."""
    text = work.records * work.record_tokens * 4 * 3 + work.records * work.tasks * 4_000
    needed = text + 2 * GIB + missing
    free = free_disk(run.dir)
    weights = f", {missing / 1e9:.1f} of it for weights" if missing else ""
    said = f"{needed / 1e9:.1f} GB needed{weights}, {free / 1e9:.1f} free"
    return Check("disk", "ok", said) if free > needed else Check("disk", "no", said, f"make room at {run.dir}")


def show(diagnosis: Diagnosis, config: Path, brief: bool = False) -> str:
    """The diagnosis for a person; `brief`: only what is amiss, and the verdict."""
    lines = [f"doctor: {config}"]
    marks = {"ok": " ok ", "warning": "look", "no": " NO "}
    for check in diagnosis.checks:
        if brief and check.state == "ok":
            continue
        lines.append(f"  {marks[check.state]}  {check.name:<22} {check.found}")
        if check.remedy:
            lines.append(f"  {'':<4}  {'':<22} -> {check.remedy}")
    lines += [] if brief else _figures(diagnosis)
    wrong = sum(check.state == "no" for check in diagnosis.checks)
    lines.append(
        "GO" if diagnosis.go else f"NO-GO: {wrong} {'thing' if wrong == 1 else 'things'} to put right, see above"
    )
    return "\n".join(lines)


def _figures(diagnosis: Diagnosis) -> list[str]:
    lines = []
    for name, plan in diagnosis.memory.items():
        lines.append(f"memory, estimate: {name}: {plan.bytes / GIB:.2f} of {plan.room_bytes / GIB:.2f} GiB")
        lines += [f"    {part.bytes / GIB:8.2f} GiB  {part.name}: {part.how}" for part in plan.parts]
    for name, time in diagnosis.time.items():
        lines.append(f"time, estimate: {name}: {in_words(time.likely_s)}, at least {in_words(time.floor_s)}")
        lines.append(f"    {time.how}")
    if not diagnosis.time:
        lines.append("time: not estimated (the peaks of this hardware are not known)")
    return lines


def in_words(seconds: float) -> str:
    """A time as a person says it: seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
