"""`doctor`: will this config run on this machine? Everything is looked at before anything is started.

Hardware, driver, versions, weights, licences, memory, disk, time, ports, offline state, file modes. One line each, with
what to do where something is amiss; the verdict is go or no-go. Figures of memory and time are estimates whose formula
is shown (see memory_plan.py, time_plan.py); nothing is loaded, ended or downloaded.
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
from chartdistill.doctor.machine import GIB, Card, check_hardware, needed_share, ram_bytes
from chartdistill.doctor.memory_plan import MemoryPlan, label_plan, parallel_problem, train_plan
from chartdistill.doctor.model_shape import ModelShape, read_shape
from chartdistill.doctor.surroundings import check_modes, check_offline, check_ports, check_versions, free_disk
from chartdistill.doctor.time_plan import TimePlan, evaluate_time, label_time, train_time
from chartdistill.doctor.weights import is_permissive, known_hashes, mismatch, read_weights, wrong_files
from chartdistill.doctor.workload import Work, count_work
from chartdistill.engines import OpenAIEngine, TransformersEngine, VllmEngine
from chartdistill.errors import ModelError
from chartdistill.model_folder import DEMO_HINT, licence, read_json
from chartdistill.training import TrainOptions

Role = Literal["teacher", "student"]
ROLES: tuple[Role, ...] = ("teacher", "student")
_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass
class Diagnosis:
    """What was found; it grows while it is being made."""

    checks: list[Check] = field(default_factory=list)
    memory: dict[str, MemoryPlan] = field(default_factory=dict)
    time: dict[str, TimePlan] = field(default_factory=dict)
    planned: bool = False
    """For other cards than this machine's: what may be missing here is then no obstacle."""

    @property
    def go(self) -> bool:
        """Whether nothing forbids the run."""
        return all(check.state != "no" for check in self.checks)

    def add_time(self, verb: str, time: TimePlan | None) -> None:
        """Note how long a verb takes, where that is known."""
        if time is not None:
            self.time[verb] = time

    def as_json(self) -> str:
        """Everything, as JSON text."""
        memory = {name: asdict(plan) | {"bytes": plan.bytes, "fits": plan.fits} for name, plan in self.memory.items()}
        time = {name: asdict(plan) for name, plan in self.time.items()}
        checks = [asdict(check) for check in self.checks]
        switches = {name: os.environ.get(name) for name in privacy.PROCESS_VARIABLES}
        return json.dumps(
            {
                "go": self.go,
                "planned": self.planned,
                "checks": checks,
                "memory": memory,
                "time": time,
                "offline_switches": switches,
            },
            indent=2,
        )


def diagnose(run: Run, planned: list[Card] | None = None, hashes: bool = False) -> Diagnosis:
    """Examine a run.

    Args:
        planned: plan for these cards, not for this machine's; empty list: for a CPU.
        hashes: also compare the weights with the hashes their download left behind (reads every byte).
    """
    found = Diagnosis(planned=planned is not None)
    shares = [needed_share(run.config, verb) for verb in ("label", "train", "evaluate")]
    cards, hardware = check_hardware(planned, max(share for share in shares if share is not None))
    found.checks.extend([*hardware, *check_versions(cards, found.planned)])
    models = _Models()
    absent: State = "no" if planned is None else "warning"  # what another machine has is not known here
    for role in ROLES:
        found.checks.extend(_look_at_model(run, role, cards, hashes, models, absent))
    work, said, problem = count_work(run, models.folders.get("teacher"))
    found.checks.extend(_check_vocabularies(run, models))
    if problem is None:
        found.checks.append(Check("charts", "ok", said))
    else:
        found.checks.append(Check("charts", absent, _split(problem)[0], "give --records PATH (RECORDS= for make)"))
        found.checks.append(Check("amount of work", "warning", said, "time and charts at once are for these"))
    _plan(found, run, cards, models, work)
    if not found.planned and len(cards) > 1 and run.config.train.parallel == "fsdp" and "student" in models.shapes:
        found.checks.append(check_host_memory(models.shapes["student"], run.config.train, len(cards), ram_bytes()))
    found.checks.append(_check_disk(run, work, models.missing_bytes, found.planned))
    found.checks.extend(check_ports(run, found.planned))
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
        yield from _look_at_served_model(run, role, engine, models, absent)
        return
    try:
        folder = run.model_folder(role)
        shape = read_shape(folder)
        yield from _check_weights(role, folder, shape, hashes)
        models.folders[role] = folder
    except ModelError as error:
        yield Check(f"{role} weights", absent, *_split(error))
        known = run.base / "models" / f"{options.model.replace('/', '--')}.json"
        if not known.is_file():
            return
        shape = read_shape(known)
        models.missing_bytes += shape.weight_bytes("auto") or 0.0
    here = _engine_here(run, role)
    at_load = here.quantization if isinstance(here, VllmEngine) else None
    size = shape.weight_bytes(here.dtype, at_load)
    if role in models.folders and shape.quantization:
        size = float(read_weights(models.folders[role]).bytes)
    if size is None:
        scheme = at_load or shape.quantization.get("quant_method")
        yield Check(f"{role} size", "warning", f"the size of {scheme!r} weights is not known", "no plan is made of it")
        return
    models.shapes[role], models.weight_bytes[role] = shape, size
    yield from _check_precision(role, shape, cards)


def _look_at_served_model(
    run: Run, role: Role, engine: OpenAIEngine, models: _Models, absent: State
) -> Iterator[Check]:
    if role == "student":
        found = f"served by {', '.join(engine.urls)}, which cannot be given the adapter that is trained"
        yield Check("student weights", "no", found, "leave out student.engine.urls, or use engine vllm")
        return
    yield Check(f"{role} weights", "ok", f"served by {', '.join(engine.urls)}")
    try:
        models.folders[role] = run.model_folder(role)
        yield Check(f"{role} tokenizer", "ok", f"{models.folders[role]}")
    except ModelError as error:
        yield Check(f"{role} tokenizer", absent, *_split(error))


def _split(error: Exception) -> tuple[str, str]:
    """What is wrong, and what to do: an error's first sentence, and its others."""
    found, _, remedy = str(error).removesuffix(DEMO_HINT).strip().partition(". ")
    return found, remedy[:1].lower() + remedy[1:].removesuffix(".")


def _check_weights(role: Role, folder: Path, shape: ModelShape, hashes: bool) -> Iterator[Check]:
    name = f"{role} weights"
    weights = read_weights(folder)
    wrong = mismatch(weights, shape)
    size = f"{weights.bytes / 1e9:.2f} GB" if weights.bytes >= 1e8 else f"{weights.bytes / 1e6:.1f} MB"
    said = f"{folder}: {size}, {shape.parameters / 1e6:,.1f} million parameters, safetensors, all files whole"
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


def _engine_here(run: Run, role: Role) -> VllmEngine | TransformersEngine:
    """The engine of a role on this machine; where it asks an endpoint, the one that would serve it."""
    engine = (run.config.teacher if role == "teacher" else run.config.student).engine
    return engine.serve if isinstance(engine, OpenAIEngine) else engine


def _plan(found: Diagnosis, run: Run, cards: list[Card], models: _Models, work: Work) -> None:
    """Memory and time of each verb that uses a model."""
    smallest = min(cards, key=lambda card: card.memory_bytes, default=None)
    for role in models.shapes:
        _plan_engine(found, run, role, cards, smallest, models, work)
    if "student" in models.shapes:
        _plan_training(found, run, cards, smallest, models.shapes["student"], work)
    in_order = ("label", "train", "evaluate")
    found.time = {verb: found.time[verb] for verb in in_order if verb in found.time}


def _plan_engine(
    found: Diagnosis, run: Run, role: Role, cards: list[Card], smallest: Card | None, models: _Models, work: Work
) -> None:
    engine, shape, size = _engine_here(run, role), models.shapes[role], models.weight_bytes[role]
    if isinstance(engine, TransformersEngine):
        return
    ways = engine.tensor_parallel_size
    if cards and ways > len(cards):
        few = f"tensor_parallel_size {ways}, {len(cards)} found"
        found.checks.append(Check(f"{role} cards", "no", few, "lower it, or add cards"))
        return
    if ways > 1 and (why := parallel_problem(shape, ways)) is not None:
        found.checks.append(Check(f"{role} cards", "no", why, "choose another tensor_parallel_size"))
    plan = label_plan(shape, engine, smallest, work, size, ram_bytes())
    found.memory[f"{role}, engine"] = plan
    found.checks.append(_check_engine(role, plan, engine.max_model_len_tokens or shape.context))
    if smallest is None:
        return
    cache = plan.cache_tokens or 0
    if role == "teacher":
        found.add_time("label", label_time(shape, smallest, ways, work, size, cache))
    else:
        held_out = run.config.prepare.test_fraction
        found.add_time("evaluate", evaluate_time(shape, smallest, ways, work, size, cache, held_out))


def _plan_training(
    found: Diagnosis, run: Run, cards: list[Card], smallest: Card | None, shape: ModelShape, work: Work
) -> None:
    options, ways = run.config.train, max(1, len(cards))
    sharded = options.parallel == "fsdp" and ways > 1
    room = float(smallest.memory_bytes if smallest is not None else ram_bytes())
    plan = train_plan(shape, options, room, work, smallest is not None, ways if sharded else 1)
    found.memory["student, training"] = plan
    remedy = "lower train.tokens_per_pass or max_tokens, or set train.gradient_checkpointing: true"
    remedy += ", or train.parallel: fsdp" if ways > 1 and not sharded and not options.load_in_4bit else ""
    found.checks.append(_fits("training memory", plan, remedy))
    if smallest is not None:
        found.add_time("train", train_time(shape, smallest, ways, work, options))


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


def _check_disk(run: Run, work: Work, missing: float, planned: bool) -> Check:
    """Records and labels are text; the adapter with its optimizer is there twice while a checkpoint is replaced."""
    text = work.records * work.record_tokens * 4 * 3 + work.records * work.tasks * 4_000
    needed = text + 2 * GIB + missing
    said = f"{needed / 1e9:.1f} GB needed" + (f", {missing / 1e9:.1f} of it for weights" if missing else "")
    if planned:
        return Check("disk", "ok", said)
    free = free_disk(run.dir)
    said += f", {free / 1e9:.1f} free at {run.dir}"
    return Check("disk", "ok", said) if free > needed else Check("disk", "no", said, f"make room at {run.dir}")


def check_host_memory(shape: ModelShape, options: TrainOptions, processes: int, ram: int) -> Check:
    """Under FSDP each process reads the whole student into the machine's memory before it is distributed."""
    needed = processes * (shape.weight_bytes("float32" if options.dtype == "float32" else "bfloat16") or 0.0)
    said = f"{processes} processes load the student: {needed / GIB:.1f} of {ram / GIB:.1f} GiB"
    if needed < ram:
        return Check("memory to load", "ok", said)
    return Check("memory to load", "no", said, "show fewer cards with CUDA_VISIBLE_DEVICES, or set train.parallel: ddp")
