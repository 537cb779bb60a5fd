"""`doctor`: will this config run on this machine? Everything is looked at before anything is started.

Hardware, driver, versions, weights, licences, memory, disk, time, ports, offline state, file modes. One line each, with
what to do where something is amiss; the verdict is go or no-go. Figures of memory and time are estimates whose formula
is shown (see memory_plan.py, time_plan.py); nothing is loaded, ended or downloaded.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace

from chartdistill.config import Run
from chartdistill.doctor.check import Check, State
from chartdistill.doctor.gold_check import check_gold
from chartdistill.doctor.machine import Card, check_hardware, needed_share
from chartdistill.doctor.memory_plan import MemoryPlan, Part, generate_plan, label_plan, parallel_problem, train_plan
from chartdistill.doctor.model_shape import ModelShape
from chartdistill.doctor.models import (
    ROLES,
    Models,
    Role,
    check_embedded,
    check_vocabularies,
    engine_here,
    first_sentence,
    look_at_model,
)
from chartdistill.doctor.surroundings import (
    check_caches_stay,
    check_modes,
    check_nvcc,
    check_offline,
    check_ports,
    check_versions,
    check_writable,
    free_disk,
)
from chartdistill.doctor.time_plan import TimePlan, engine_start, evaluate_time, label_time, train_time
from chartdistill.doctor.workload import Work, charts_to_evaluate, count_work
from chartdistill.engines import TransformersEngine, VllmEngine, divide_cards, num_cards_each
from chartdistill.errors import ConfigError, ModelError
from chartdistill.runtime import privacy
from chartdistill.runtime.machine import GIB, ram_bytes
from chartdistill.training import TrainOptions


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
    models = Models()
    absent: State = "no" if planned is None else "warning"  # what another machine has is not known here
    for role in ROLES:
        found.checks.extend(look_at_model(run, role, cards, hashes, models, absent))
    found.checks.extend(check_embedded(run))
    if not found.planned:
        found.checks.extend(check_nvcc(cards, models.shapes.values()))
    counted_by: Role = "teacher" if run.teacher_labels is None else "student"
    work, said, problem = count_work(run, models.folders.get(counted_by), counted_by)
    found.checks.extend(check_vocabularies(run, models))
    if problem is None:
        found.checks.append(Check("charts", "ok", said))
        found.checks.extend(_check_longest(run, work))
    else:
        found.checks.append(
            Check(
                "charts",
                absent,
                first_sentence(problem)[0],
                "name them: --records PATH (make distill RECORDS=path/to/charts)",
            )
        )
        found.checks.append(Check("amount of work", "warning", said, "time and charts at once are for these"))
    found.checks.extend(check_gold(run, absent) if problem is None else ())
    _plan(found, run, cards, models, work)
    if not found.planned and len(cards) > 1 and run.config.train.parallel == "fsdp" and "student" in models.shapes:
        found.checks.append(check_host_memory(models.shapes["student"], run.config.train, len(cards), ram_bytes()))
    found.checks.append(_check_disk(run, work, models.missing_bytes, found.planned))
    if not found.planned:
        found.checks.append(check_writable(run.dir, bool(cards)))
        if cards:
            found.checks.append(check_caches_stay())
    found.checks.extend(check_ports(run, found.planned))
    found.checks.extend(check_offline(run.config.privacy.allowed_hosts))
    found.checks.extend(check_modes(run))
    return found


def _plan(found: Diagnosis, run: Run, cards: list[Card], models: Models, work: Work) -> None:
    """Memory and time of each verb that uses a model."""
    smallest = min(cards, key=lambda card: card.memory_bytes, default=None)
    for role in models.shapes:
        own = work if role == "teacher" else replace(work, thought_tokens=0, longest_thought_tokens=0)
        _plan_engine(found, run, role, cards, smallest, models, own)
    if "student" in models.shapes:
        _plan_training(found, run, cards, smallest, models, work)
    in_order = ("label", "train", "evaluate")
    found.time = {verb: found.time[verb] for verb in in_order if verb in found.time}


def _plan_engine(
    found: Diagnosis, run: Run, role: Role, cards: list[Card], smallest: Card | None, models: Models, work: Work
) -> None:
    engine, shape, size = engine_here(run, role), models.shapes[role], models.weight_bytes[role]
    ways = num_cards_each(engine)
    if cards and ways > len(cards):
        few = f"tensor_parallel_size {ways}, {len(cards)} found"
        found.checks.append(Check(f"{role} cards", "no", few, "lower it, or add cards"))
        return
    try:
        replicas = len(divide_cards([str(i) for i in range(len(cards))], ways, engine.replicas))
    except ConfigError as error:
        found.checks.append(Check(f"{role} cards", "no", *first_sentence(error)))
        return
    if len(cards) > 1:
        found.checks.append(_use_of_cards(role, len(cards), ways, replicas))
    if isinstance(engine, TransformersEngine):
        plan = generate_plan(shape, engine, _free_bytes(cards), work, size, bool(cards))
        found.memory[f"{role}, engine"] = plan
        found.checks.append(_fits(f"{role} engine memory", plan, "lower engine.batch_size, or use engine vllm"))
        return
    if ways > 1 and (why := parallel_problem(shape, ways)) is not None:
        found.checks.append(Check(f"{role} cards", "no", why, "choose another tensor_parallel_size"))
    plan = label_plan(shape, engine, smallest, work, size, ram_bytes())
    if smallest is None and replicas > 1:
        others = Part("other engines", plan.bytes * (replicas - 1), f"{replicas} side by side on this machine")
        plan = replace(plan, parts=(*plan.parts, others))
    found.memory[f"{role}, engine"] = plan
    found.checks.append(_check_engine(role, plan, engine.max_model_len_tokens or shape.context, bool(cards)))
    if smallest is None:
        return
    cache, eager = plan.cache_tokens or 0, bool(engine.enforce_eager)
    # Each engine has its share of the records; they start at the same time.
    if role == "teacher":
        own = replace(work, records=math.ceil(work.records / replicas))
        start = engine_start(size, eager, with_lora=run.config.teacher.adapter is not None)
        found.add_time("label", label_time(shape, smallest, ways, own, size, cache, start))
    else:
        asked = math.ceil(charts_to_evaluate(run.config, work.records) / replicas)
        start = engine_start(size, eager, with_lora=True)
        asking = evaluate_time(shape, smallest, ways, replace(work, records=asked), size, cache, start)
        found.add_time("evaluate", asking)


def _use_of_cards(role: Role, cards: int, ways: int, replicas: int) -> Check:
    each, verb = f"{ways} card{'' if ways == 1 else 's'}", "label" if role == "teacher" else "evaluate"
    said = f"one engine {verb}s" if replicas == 1 else f"{replicas} engines {verb} side by side, each"
    idle = cards - ways * replicas
    if not idle:
        return Check(f"{role} cards", "ok", f"{said} on {each}")
    found = f"{said} on {each}; {idle} of {cards} cards stand{'s' if idle == 1 else ''} idle meanwhile"
    return Check(f"{role} cards", "warning", found, f"{role}.engine.replicas: auto uses as many as can be")


def _plan_training(
    found: Diagnosis, run: Run, cards: list[Card], smallest: Card | None, models: Models, work: Work
) -> None:
    ways, shape = max(1, len(cards)), models.shapes["student"]
    try:
        options = run.train_options()
    except (ConfigError, ModelError):  # said by the check of the adapter
        options = run.config.train
    if options.dtype == "auto" and any(card.capability is not None and card.capability < (8, 0) for card in cards):
        options = options.model_copy(update={"dtype": "float32"})  # as training/dtype.py chooses
    sharded = options.parallel == "fsdp" and ways > 1
    plan = train_plan(
        shape, options, _free_bytes(cards), work, smallest is not None, ways if sharded else 1,
        models.shapes.get("teacher"),
    )  # fmt: skip
    found.memory["student, training"] = plan
    remedy = "lower train.tokens_per_pass or max_tokens, or set train.gradient_checkpointing: true"
    remedy += ", or train.parallel: fsdp" if ways > 1 and not sharded and not options.load_in_4bit else ""
    remedy += ", or leave out train.on_policy (the teacher lies beside the student)" if options.on_policy else ""
    found.checks.append(_fits("training memory", plan, remedy))
    if smallest is not None:
        parts = run.config.prepare
        trained = max(1, round(work.records * (1 - parts.test_fraction - parts.validation_fraction)))
        found.add_time("train", train_time(shape, smallest, ways, replace(work, records=trained), options))


def _free_bytes(cards: list[Card]) -> float:
    """What others have left of the fullest card; without cards the machine's memory."""
    return float(min((card.memory_bytes - card.used_bytes for card in cards), default=ram_bytes()))


def _check_longest(run: Run, work: Work) -> Iterator[Check]:
    """Nothing is ever cut off: a record that is too long to ask about fails, one that is too long to train on stops
    `train`, after all labels were made."""
    longest = work.longest_record_tokens + work.question_tokens
    answer = work.longest_answer_tokens + work.longest_thought_tokens
    engine = None if run.teacher_labels is not None else engine_here(run, "teacher")
    limit = engine.max_model_len_tokens if isinstance(engine, VllmEngine) else None
    if run.config.label.window_tokens is None and limit is not None and longest + answer > limit:
        found = f"the longest and its question have {longest} tokens, an answer up to {answer}; "
        found += f"the teacher's engine takes {limit}"
        remedy = "raise teacher.engine.max_model_len_tokens, or set label.window_tokens to read it in passages"
        yield Check("longest chart", "warning", found, remedy)
    if longest > run.config.train.max_tokens:
        found = f"with its question it has {longest} tokens; train.max_tokens is {run.config.train.max_tokens}"
        remedy = f"set train.max_tokens to {longest + work.longest_answer_tokens}, or leave it out"
        yield Check("longest chart", "no", found, remedy)


def _check_engine(role: Role, plan: MemoryPlan, longest: int, on_cards: bool) -> Check:
    name = f"{role} engine memory"
    if plan.cache_tokens is not None and plan.cache_tokens < longest:
        found = f"{plan.cache_tokens:,} tokens of KV cache, one request may have {longest:,}: vLLM will not start"
        remedy = "lower max_model_len_tokens, quantise the weights, or spread them with tensor_parallel_size"
        # Without a card the cache has the size that the config gives it, whatever the weights take.
        return Check(name, "no", found, remedy if on_cards else "raise cpu_kv_cache_gib, or lower max_model_len_tokens")
    return _fits(name, plan, "lower cpu_kv_cache_gib, or choose a smaller model")


def _fits(name: str, plan: MemoryPlan, remedy: str) -> Check:
    found = f"{plan.bytes / GIB:.1f} of {plan.room_bytes / GIB:.1f} GiB"
    if plan.records_at_once is not None:
        found += f", {plan.records_at_once:,} charts at once"
    return Check(name, "ok", found) if plan.fits else Check(name, "no", found, remedy)


def _check_disk(run: Run, work: Work, missing: float, planned: bool) -> Check:
    """Records and labels are text. The 2 GiB are for the adapter with its optimizer, which are there twice while a
    checkpoint is replaced: 1.05 GB at the 44 million parameters of the largest config."""
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
