"""The teacher's and the student's folder: weights, hashes, licences, tokens, number formats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from chartdistill.config import Run
from chartdistill.demo.embedded import is_embedded
from chartdistill.doctor.check import Check, State
from chartdistill.doctor.machine import Card
from chartdistill.doctor.model_shape import ModelShape, read_shape
from chartdistill.doctor.time_plan import multiplies_in_8_bits
from chartdistill.doctor.weights import is_permissive, known_hashes, mismatch, read_weights, wrong_files
from chartdistill.engines import OpenAIEngine, TransformersEngine, VllmEngine
from chartdistill.errors import ConfigError, InputError, ModelError
from chartdistill.records import AnnotationFile, read_annotations
from chartdistill.runtime.model_folder import DEMO_HINT, ModelNotHereError, licence, read_json

Role = Literal["teacher", "student"]
ROLES: tuple[Role, ...] = ("teacher", "student")
_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass
class Models:
    """What is known of the teacher and the student."""

    folders: dict[Role, Path] = field(default_factory=dict)
    shapes: dict[Role, ModelShape] = field(default_factory=dict)
    weight_bytes: dict[Role, float] = field(default_factory=dict)
    """In the engine's memory."""
    missing_bytes: float = 0.0
    """Still to be downloaded."""


def embedded_model_warning(run: Run) -> str:
    """Which of the run's models are the demo's, where it is to read other charts than synthetic ones; else empty."""
    if all(source.type == "synthetic" for source in run.config.records):
        return ""
    roles = []
    for role in ROLES:
        try:
            roles += [role] if is_embedded(run.model_folder(role)) else []
        except (ConfigError, ModelError):  # labels that exist, or a model that is not here: said elsewhere
            continue
    if not roles:
        return ""
    are = "is an embedded model" if len(roles) == 1 else "are embedded models"
    return f"the {' and the '.join(roles)} {are} of the demo: they know synthetic charts only, and make up the rest"


def check_embedded(run: Run) -> Iterator[Check]:
    """That models which only know the demo's own charts are not asked about others."""
    if found := embedded_model_warning(run):
        remedy = "take a config with real models; without a GPU configs/cpu-smollm2.yaml, else a configs/gpu-*.yaml"
        yield Check("models for charts", "no", found, remedy)


def look_at_model(
    run: Run, role: Role, cards: list[Card], hashes: bool, models: Models, absent: State
) -> Iterator[Check]:
    if role == "teacher" and (labels := run.teacher_labels) is not None:
        yield _look_at_labels(run, labels, absent)
        return
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
        yield from _check_adapter(run, role)
    except OSError as error:
        yield Check(f"{role} weights", "no", f"{error.filename}: {error.strerror}", "make it readable for you")
        return
    except ModelError as error:
        yield _missing(f"{role} weights", absent, error)
        known = run.base / "models" / f"{options.model.replace('/', '--')}.json"
        if not known.is_file():
            return
        shape = read_shape(known)
        models.missing_bytes += shape.weight_bytes("auto") or 0.0
    if role == "student":
        yield from _check_trainable(shape)
    here = engine_here(run, role)
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


def _look_at_labels(run: Run, labels: AnnotationFile, absent: State) -> Check:
    """Whether a file of labels can be read; `label` asks no model then."""
    name = "teacher labels"
    if not labels.path.exists():
        return Check(name, absent, f"{labels.path} does not exist", "correct teacher.labels")
    try:
        reading = read_annotations(labels, run.tasks)
    except InputError as error:
        return Check(name, "no", *first_sentence(error))
    tasks = {answer.task.name for answer in reading.answers}
    found = f"{labels.path}: {len(reading.answers):,} labels ({reading.format}), no model is asked and no engine starts"
    if lacking := [task.name for task in run.tasks if task.name not in tasks]:
        remedy = "leave them out of `tasks:`, or set teacher.labels.meaning"
        return Check(name, "no", f"{found}; none of {', '.join(lacking)}", remedy)
    if reading.findings:
        found += f"; {len(reading.findings):,} lines or texts give none"
        return Check(name, "warning", found, "`label` names each in labels/findings.jsonl")
    return Check(name, "ok", found)


def _check_adapter(run: Run, role: Role) -> Iterator[Check]:
    """The adapter the teacher answers with, or the student starts from."""
    name = f"{role} adapter"
    try:
        adapter = run.adapter(role)
        if role == "student":
            run.train_options()  # must agree with it
    except (ConfigError, ModelError) as error:
        yield Check(name, "no", *first_sentence(error))
        return
    if adapter is not None:
        yield Check(
            name, "ok", f"{adapter.folder}: rank {adapter.rank}, on {len(adapter.modules)} modules of the model"
        )


def _check_trainable(shape: ModelShape) -> Iterator[Check]:
    method = shape.quantization.get("quant_method")
    if method not in (None, "bitsandbytes"):  # transformers' own list: AutoHfQuantizer, is_trainable
        found = f"its weights are quantised as {method!r}, on which no adapter can be trained"
        remedy = "name the model that is not quantised; train.load_in_4bit: true makes it small"
        yield Check("student training", "no", found, remedy)


def _look_at_served_model(run: Run, role: Role, engine: OpenAIEngine, models: Models, absent: State) -> Iterator[Check]:
    if role == "student":
        found = f"served by {', '.join(engine.urls)}, which cannot be given the adapter that is trained"
        yield Check("student weights", "no", found, "leave out student.engine.urls, or use engine vllm")
        return
    yield Check(f"{role} weights", "ok", f"served by {', '.join(engine.urls)}")
    try:
        models.folders[role] = run.model_folder(role)
        yield Check(f"{role} tokenizer", "ok", f"{models.folders[role]}")
    except ModelError as error:
        yield _missing(f"{role} tokenizer", absent, error)


def _missing(name: str, absent: State, error: ModelError) -> Check:
    """A model that cannot be used; where it is only not here, with the command that gets it."""
    if not isinstance(error, ModelNotHereError):
        return Check(name, absent, *first_sentence(error))
    remedy = "get it here, or on a machine with network and copy the folder here"
    return Check(name, absent, first_sentence(error)[0], remedy, error.command)


def first_sentence(error: Exception) -> tuple[str, str]:
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
        elif without := [path.name for path in sorted(folder.glob("*.safetensors")) if path not in known]:
            found = f"the download left no hash of {', '.join(without)}; {len(known)} other files have theirs"
            yield Check(f"{role} hashes", "warning", found, "compare with the source yourself")
        else:
            yield Check(f"{role} hashes", "ok", f"{len(known)} files have the hash they were downloaded with")
    named = licence(folder)
    if folder.is_relative_to(_PACKAGE):
        yield Check(f"{role} licence", "ok", "part of chartdistill, under its licence")
    elif named is None:
        yield Check(f"{role} licence", "warning", "the folder names none", "make sure that you may use it")
    elif is_permissive(named):
        yield Check(f"{role} licence", "ok", named)
    else:
        yield Check(f"{role} licence", "warning", named, "read it: it is none of the common permissive ones")


def check_vocabularies(run: Run, models: Models) -> Iterator[Check]:
    """Distillation compares log-probabilities token by token, so both models must have the same tokens."""
    asking = " and ".join(run.config.train.ask_a_teacher())
    files = [folder / "tokenizer.json" for folder in models.folders.values()]
    if len(files) < len(ROLES) or not all(path.is_file() for path in files):
        return
    one, other = ((read_json(path).get("model") or {}).get("vocab") for path in files)
    if one == other:
        yield Check("vocabulary", "ok", "teacher and student have the same")
    elif asking:
        remedy = f"leave out {asking}, or choose a student of the teacher's family"
        yield Check("vocabulary", "no", "teacher and student differ", remedy)
    else:
        yield Check(
            "vocabulary", "ok", "teacher and student differ, which only train.distillation and train.on_policy mind"
        )


def _check_precision(role: Role, shape: ModelShape, cards: list[Card]) -> Iterator[Check]:
    """Whether the cards compute in the model's number format."""
    oldest = min((card.capability for card in cards if card.capability), default=None)
    in_8_bits = [multiplies_in_8_bits(shape, card) for card in cards if card.fp8_tflops is not None]
    name = f"{role} precision"
    if not cards and shape.quantization.get("quant_method") == "fp8":
        yield Check(name, "warning", "FP8 weights on a CPU, for which the engines' kernels are not made",
                    "name the model in 16 bits; on a CPU it may be the only one that starts")  # fmt: skip
    if oldest is None:
        return
    if oldest < (7, 5):
        yield Check(name, "no", f"compute capability {oldest[0]}.{oldest[1]}; vLLM needs 7.5", "use a newer card")
    elif shape.quantization.get("quant_method") == "fp8" and (oldest < (8, 9) or not all(in_8_bits)):
        blocks = " in blocks" if shape.quantization.get("weight_block_size") else ""
        found = f"FP8 weights{blocks} on compute capability {oldest[0]}.{oldest[1]}: stored in 8 bits, computed in 16"
        yield Check(name, "warning", found, "works, but without FP8's speed")
    elif oldest < (8, 0):
        yield Check(name, "warning", "no bfloat16 on this card", "set dtype: float16 for engines, float32 for train")
    else:
        yield Check(name, "ok", f"{shape.quantization.get('quant_method') or shape.dtype} is native to the card")


def engine_here(run: Run, role: Role) -> VllmEngine | TransformersEngine:
    """The engine of a role on this machine; where it asks an endpoint, the one that would serve it."""
    engine = (run.config.teacher if role == "teacher" else run.config.student).engine
    return engine.serve if isinstance(engine, OpenAIEngine) else engine
