"""`train`: tune a LoRA adapter of the student on the kept labels. Reads curated/train.jsonl, writes adapter/.

The student learns the consolidated question only, with the prompts of `prompting`, loss on answer tokens. Several
GPUs: `accelerate launch --config_file configs/accelerate/ddp.yaml -m chartdistill.training.train CONFIG`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chartdistill.config import Run
from chartdistill.engines import require_answer_place
from chartdistill.errors import ArtefactError, ConfigError, TrainingError
from chartdistill.labelling import thinking_of
from chartdistill.prompting.prompts import PromptBuilder
from chartdistill.prompting.worked_examples import example_turns
from chartdistill.runtime.machine import num_cores
from chartdistill.runtime.model_folder import context_tokens, load_tokenizer
from chartdistill.runtime.progress import ProgressCallback
from chartdistill.runtime.run_folder import (
    begin,
    fingerprint,
    finished,
    make_folder,
    require_manifest,
    unfinish,
    versions_of,
    write_manifest,
    write_text,
)
from chartdistill.runtime.tombstones import Tombstones
from chartdistill.training.adapter import BaseName
from chartdistill.training.compiled import compile_errors
from chartdistill.training.distillation import check_vocabularies
from chartdistill.training.dtype import choose_dtype, with_dtype
from chartdistill.training.examples import check_lengths, read_examples
from chartdistill.training.memory import memory_errors
from chartdistill.training.model import is_sharded, load_model, load_teacher, why_not_packed
from chartdistill.training.options import TrainOptions
from chartdistill.training.packing import Example
from chartdistill.training.rows import Rows, check_rows, choose_rows

if TYPE_CHECKING:
    from chartdistill.training.on_policy import OnPolicy


def train(run: Run, progress: ProgressCallback) -> dict[str, Any]:
    """Train the adapter of a run and return the manifest. Under `accelerate launch`, called by every process.

    Raises:
        TrainingError: nothing to train on, an example that is too long or has no answer token, a failed self-check, a
            loss or gradient that is not finite, not enough memory.
    """
    options, student, folder = run.train_options(), run.config.student, run.dir / "adapter"
    model_folder = run.model_folder("student")
    context = context_tokens(model_folder)
    curated = require_manifest(run.dir / "curated", "curate")["fingerprint"]
    distilled = None if options.distillation is None else require_manifest(run.dir / "labels", "label")["fingerprint"]
    builder = run.prompt_builder("student")
    known = (curated, distilled, run.model_mark("student"), run.config.system, student.template_options)
    more = [
        *filter(None, [builder.cut.departures, builder.examples_mark]),
        *filter(None, [Tombstones.of(run.dir).learned()]),  # of records that an earlier adapter knew
        *([] if options.on_policy is None else _marks_of_teacher(run)),
    ]
    mark = fingerprint(*known, options.what_determines_an_adapter(), *more)
    if (done := finished(folder, mark)) is not None:
        _remove_checkpoints(folder)
        return done
    _compute_on_own_cores()
    require_answer_place(builder)
    run.require_usable_adapter()
    # All that can be refused is, before the adapter that is there goes.
    teacher = None if options.distillation is None else load_tokenizer(run.model_folder("teacher"))
    if teacher is not None:
        check_vocabularies(teacher, builder.tokenizer)
    examples = read_examples(run.dir, run.tasks, options, builder)
    check_lengths([*examples.train, *examples.validation], options.max_tokens, context)
    asked = None if options.on_policy is None else _teachers_examples(run, options, examples.train, context)
    started = _begin(folder, fingerprint(*known, options.what_determines_a_checkpoint(), *more), options)
    options = with_dtype(options, folder)
    with memory_errors(options), compile_errors() if options.compile else nullcontext():
        model = load_model(model_folder, options, run.start())
        unfit = why_not_packed(model)
        rows, sharing = choose_rows(model, unfit, examples.train, options, builder.end_id)

        def checked(student: Any) -> Rows:
            return check_rows(student, rows, examples.train, options, sharing)

        if not is_sharded():
            rows = checked(model)
        on_policy, of_teacher = (None, {}) if asked is None else _open_teacher(run, options, asked, model)
    # They import what only training needs.
    from chartdistill.training.trainer import run_training
    from chartdistill.training.validation import AnswerScorer

    score = None
    if examples.validation and options.validation_records:
        score = AnswerScorer(run.tasks, options, builder, examples.validation, examples.validated)
    base = BaseName(run.public_name("student"), student.revision)
    shown = progress if _first_process() else _silent
    facts = run_training(
        model, examples.train, examples.validation, options, folder, rows, shown, score, base,
        # A sharded student is whole on no card: it is checked once it is distributed.
        check=checked if is_sharded() else None, on_policy=on_policy,
    )  # fmt: skip
    _wait_for_all()
    if not _first_process():
        return {}
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    made = write_manifest(
        folder, mark, started,
        model=str(model_folder), options=run.train_options().model_dump(), dtype=options.dtype, sharing=sharing,
        trainable_parameters=trainable, mix=examples.mix, template_departures=builder.cut.departures,
        examples=builder.examples_mark,
        versions=versions_of("chartdistill", "torch", "transformers", "peft", "accelerate"),
        counts=examples.counts(), **run.adapter_facts("student"), **of_teacher, **facts,
    )  # fmt: skip
    _remove_checkpoints(folder)
    return made


def _remove_checkpoints(folder: Path) -> None:
    """Of a finished training. Until its manifest is there, they are all that a killed one can go on from."""
    if _first_process():
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def require_teacher_beside(run: Run) -> None:
    """That on-policy distillation, where the config asks for it, has a teacher that can be asked about the student's
    very tokens.

    Raises:
        TrainingError: teacher and student have other tokens, or end their answers otherwise; the teacher thinks first.
        ModelError: the teacher is not here.
    """
    if run.config.train.on_policy is None:
        return
    run.require_teacher()
    teacher, student = _teachers_builder(run), run.prompt_builder("student")
    options = run.config.teacher.template_options
    if thinking_of(run.config.label, teacher, options) is not None or teacher.cut.thinks_unless_told:
        raise TrainingError(
            "train.on_policy: the teacher thinks before it answers, and reads the student's answers where its thought "
            "would begin, so it finds their first tokens unlikely and would teach the marks of a thought. Set "
            "teacher.template_options: {enable_thinking: false} and leave out label.thinking, or leave out "
            "train.on_policy."
        )
    check_vocabularies(teacher.tokenizer, student.tokenizer, "train.on_policy")
    if teacher.end_id != student.end_id:
        ends = [repr(one.tokenizer.convert_ids_to_tokens(one.end_id)) for one in (teacher, student)]
        raise TrainingError(
            f"train.on_policy: the teacher ends an answer with {ends[0]}, the student with {ends[1]}, so the teacher "
            "finds the end of every answer of the student's unlikely. Take chat models of one family, or leave out "
            "train.on_policy."
        )


def _teachers_builder(run: Run) -> PromptBuilder:
    """Of the teacher's prompts with the questions the student is asked; so its worked examples are asked them, too."""
    builder, options = run.prompt_builder("teacher"), run.config.teacher.template_options
    if not builder.turns:
        return builder
    turns = example_turns(run.tasks, lambda task: False)
    return PromptBuilder.from_tokenizer(builder.tokenizer, run.config.system, options, turns)


def _marks_of_teacher(run: Run) -> list[Any]:
    return [run.model_mark("teacher"), run.config.teacher.template_options, _teachers_builder(run).examples_mark]


def _teachers_examples(
    run: Run, options: TrainOptions, students: Sequence[Example], context: int | None
) -> list[Example]:
    """The training records with the teacher's prompts; whatever can be refused is refused here."""
    from chartdistill.training.on_policy import check_room

    assert options.on_policy is not None
    if is_sharded():
        raise ConfigError(
            "train.on_policy needs a whole student and a whole teacher on each card, but FSDP distributes the weights. "
            "Launch with configs/accelerate/ddp.yaml, or leave out train.on_policy."
        )
    require_teacher_beside(run)
    labels_alone = options.model_copy(update={"distillation": None})
    teachers = read_examples(run.dir, run.tasks, labels_alone, _teachers_builder(run)).train
    limits = {
        "student: train.max_tokens": options.max_tokens,
        "student: its context": context,
        "teacher: its context": context_tokens(run.model_folder("teacher")),
    }
    known = {name: limit for name, limit in limits.items() if limit is not None}
    check_room({"student": students, "teacher": teachers}, known, options.on_policy.max_new_tokens)
    return teachers


def _open_teacher(
    run: Run, options: TrainOptions, examples: Sequence[Example], student: Any
) -> tuple[OnPolicy, dict[str, Any]]:
    """The teacher, loaded and its rows checked, and what the manifest says of it."""
    from chartdistill.training.on_policy import OnPolicy

    adapter, builder = run.adapter("teacher"), _teachers_builder(run)
    teacher = load_teacher(run.model_folder("teacher"), options, None if adapter is None else adapter.folder)
    unfit = why_not_packed(teacher)
    rows, sharing = choose_rows(teacher, unfit, examples, options, builder.end_id, "teacher")
    rows = check_rows(teacher, rows, examples, options, sharing)
    widths = [one.config.get_text_config().vocab_size for one in (teacher, student)]
    vocabulary = min(max(builder.tokenizer.get_vocab().values()) + 1, *widths)
    facts = {"teacher": run.public_name("teacher"), "teacher_sharing": sharing, **run.adapter_facts("teacher")}
    return OnPolicy(teacher, rows, examples, options, vocabulary, builder.end_id), facts


def _begin(folder: Path, mark: str, options: TrainOptions) -> float:
    """Mark the folder as in progress, on all processes, and return the start time. The first process does so alone, and
    the others come back when it has: one that looked into the folder meanwhile might find it gone."""
    _wait_for_all()  # before the first process takes the old manifest away
    started = 0.0
    if _first_process():
        unfinish(folder)  # first: what is half removed is not finished
        _drop_stale(folder, mark)
        started = begin(folder)
        choose_dtype(options, folder)
    _wait_for_all()
    return started


def _drop_stale(folder: Path, mark: str) -> None:
    """Checkpoints of other options or data are not continued, nor those of a whole student by a sharded one.

    Raises:
        ArtefactError: something of them cannot be removed.
    """
    stamp, form = folder / "fingerprint", f"{mark} sharded" if is_sharded() else mark
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != form:
        shutil.rmtree(folder, ignore_errors=True)
        make_folder(folder)
        # What is open elsewhere NFS keeps under such a name until it is closed.
        left = [path for path in folder.rglob("*") if not path.is_dir() and not path.name.startswith(".nfs")]
        if left:
            raise ArtefactError(
                f"{left[0]} is of a training with other options or data, and cannot be removed. Remove {folder} (whose "
                "files may be another user's), then run the same command."
            )
        write_text(stamp, form)


def _compute_on_own_cores() -> None:
    """torch takes a thread for each core it may run on, also in a container that has the time of fewer. What the user
    has set stays."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ and num_cores() < torch.get_num_threads():
        torch.set_num_threads(num_cores())


def _silent(done: int, total: int | None = None, tokens: int = 0) -> None:
    """Progress of the other processes."""


def _first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _wait_for_all() -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        import torch
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available()).wait_for_everyone()


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of `accelerate launch -m chartdistill.training.train CONFIG [RUN_DIR]`: this process becomes that of
    the verb `train`, which also writes down what the student was trained for."""
    parser = argparse.ArgumentParser(
        prog="python -m chartdistill.training.train", description="The verb `train`, as `accelerate launch` starts it."
    )
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a YAML file, see configs/")
    parser.add_argument("run_dir", type=Path, nargs="?", metavar="RUN_DIR", help="instead of the config's run_dir")
    arguments = parser.parse_args(argv)
    run_dir = [] if arguments.run_dir is None else ["--run-dir", str(arguments.run_dir)]
    verb = [sys.executable, "-m", "chartdistill", "train", str(arguments.config), *run_dir, "--quiet"]
    os.execv(sys.executable, verb)


if __name__ == "__main__":
    main()
