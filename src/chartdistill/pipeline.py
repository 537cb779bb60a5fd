"""The main path: six verbs in order, each reading one artefact and writing the next.

    sources -> prepare -> label -> curate -> train -> evaluate -> report

A verb whose inputs and options have not changed since it finished has nothing to do. Where there is a card, `label`,
`train` and `evaluate` run in processes of their own, so that its memory is free again before the next begins; where
there is none, and no engine has processes either, all run in this one, which loads torch and vLLM once.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from chartdistill.config import Run
from chartdistill.curation.curate import curate
from chartdistill.doctor import embedded_model_warning, needed_cards, needed_share, require_free_cards
from chartdistill.engines import AnyEngine, OpenAIEngine, VllmEngine
from chartdistill.errors import ArtefactError, ChartDistillError, ConfigError, InputError
from chartdistill.evaluation import REGISTERED, refuse_shown_records, register
from chartdistill.evaluation.arms import shards_lock_folder
from chartdistill.evaluation.evaluate import evaluate, evaluate_shard
from chartdistill.labelling.label import label, label_shard
from chartdistill.records.prepare import prepare
from chartdistill.reporting.report import report_run
from chartdistill.run_file import write_run
from chartdistill.runtime.processes import run_launched, run_to_end
from chartdistill.runtime.progress import ProgressCallback, StageBar
from chartdistill.runtime.run_folder import MADE_BY, amend_manifest, read_manifest, read_rows
from chartdistill.runtime.run_locks import lock
from chartdistill.runtime.shards import Shard
from chartdistill.runtime.side_by_side import Reports
from chartdistill.schema import Record
from chartdistill.synthesis.synthesize import synthesize
from chartdistill.training import Parallel, launch_options
from chartdistill.training.examples import check_task_weights
from chartdistill.training.train import require_teacher_beside, train

Verb = Callable[[Run, ProgressCallback], dict[str, Any]]


def _label(run: Run, bar: ProgressCallback) -> dict[str, Any]:
    """Label the records; then have new charts written, where the config asks for them."""
    made = label(run, bar)
    synthesize(run, bar)
    return made


VERBS: dict[str, Verb] = {
    "prepare": lambda run, bar: prepare(run.config.records, run.dir / "records", run.config.prepare, bar, run.tasks),
    "label": _label,
    "curate": lambda run, bar: curate(
        run.dir, run.tasks, run.config.filters, bar, rationales=run.config.label.gives_rationales
    ),
    "train": train,
    "evaluate": evaluate,
    "report": lambda run, bar: report_run(run),
}
FOLDERS = {
    "prepare": "records", "label": "labels", "curate": "curated", "train": "adapter", "evaluate": "predictions",
    "report": "report",
}  # fmt: skip
"""Where each verb writes, in the run folder."""
REGISTERING = ("prepare", "train")
"""Verbs after which the gates and the held-out records are registered; `evaluate` does so before it asks."""
OWN_PROCESS = ("label", "train", "evaluate")
"""Verbs that use cards."""


def run_verb(run: Run, verb: str) -> dict[str, Any]:
    """Run one verb here, holding the run folder, and return its manifest."""
    # Under `accelerate launch` the first process holds the folder for all of them.
    is_first = os.environ.get("RANK", "0") == "0"
    if verb == "label" and (warning := embedded_model_warning(run)):
        print(f"chartdistill: warning: {warning}", file=sys.stderr)
    held = lock(run.dir) if is_first else nullcontext()
    with held, StageBar(verb, unit="steps" if verb == "train" else "records", muted=not is_first) as bar:
        before = read_manifest(run.dir / FOLDERS[verb])
        _require_own(run, verb, before)
        manifest = VERBS[verb](run, bar)
        if before is not None and before == read_manifest(run.dir / FOLDERS[verb]):
            bar.end("was done before, nothing to do")
        if is_first and verb == "train":
            write_run(run)
        if is_first and verb in REGISTERING:
            _register(run, verb)
        return manifest


def _require_own(run: Run, verb: str, before: dict[str, Any] | None) -> None:
    """That a verb does not make anew what another command put into its folder.

    Raises:
        ArtefactError: it would.
    """
    if before is not None and (maker := before.get(MADE_BY)) is not None:
        following = list(VERBS)[list(VERBS).index(verb) + 1]
        raise ArtefactError(
            f"{run.dir / FOLDERS[verb]} was written by `chartdistill {maker}`, and `{verb}` would replace it. Begin "
            f"after it (`chartdistill run CONFIG --from {following}`), or give the run another --run-dir."
        )


def _register(run: Run, verb: str) -> None:
    """Write down what the gates and the held-out records are, before any arm answers about them."""
    path, split = run.dir / "records" / "records.jsonl", run.config.evaluate.split
    held_out = [record for record in read_rows(path, Record) if record.split == split]
    refuse_shown_records(held_out, run.tasks)
    registered = register(run.dir, run.config.gates, held_out, verb)
    if verb == "train":
        amend_manifest(run.dir / "adapter", REGISTERED, registered.facts())


def run_shard(run: Run, shard: Shard) -> dict[str, Any] | None:
    """Label one shard here, holding only that, and return counts and seconds; None when the whole run is labelled.

    Where `label` has started this process for one of several engines, it holds the run folder and shows the progress.
    """
    if (reports := Reports.of_this_process()) is not None:
        with shard.lock(run.dir, run.dir / "labels", within=True):
            return label_shard(run, shard, reports, reports)
    with shard.lock(run.dir, run.dir / "labels"), StageBar(f"shard {shard}") as bar:
        return label_shard(run, shard, bar)


def run_evaluation_shard(run: Run, shard: Shard) -> None:
    """Answer for one shard of the held-out records, for the process of `evaluate` that has started this one.

    Raises:
        ConfigError: nobody has.
    """
    if (reports := Reports.of_this_process()) is None:
        raise ConfigError(
            "evaluate --shard is for the processes that `evaluate` itself starts, one for each engine "
            "(student.engine.replicas). Run `evaluate` without it."
        )
    with shard.lock(run.dir, shards_lock_folder(run), within=True):
        evaluate_shard(run, shard, reports)


def run_all(run: Run, first: str = "prepare", last: str = "report", apart: bool = False) -> None:
    """Run the verbs from `first` to `last`.

    Args:
        apart: verbs that use cards have processes of their own also where there is none, so that one which is killed
            for memory ends nothing else.
    """
    names = list(VERBS)
    chosen = names[names.index(first) : names.index(last) + 1]
    # Missing weights, and an adapter that could not be used, are said now, not after an hour of other work.
    if "label" in chosen:
        run.require_teacher()
    if "train" in chosen or "evaluate" in chosen:
        run.model_folder("student")
        run.adapter("student")
    if "train" in chosen:
        check_task_weights(run.tasks, run.config.train)
        run.require_usable_adapter()
        require_teacher_beside(run)
    if "prepare" not in chosen:
        _require_splits(run, chosen)
    # Torch is asked for cards, since it decides where models are put: nvidia-smi may be missing in a container, names
    # no MIG device, and may fail where no card is wanted.
    if not apart and not {*OWN_PROCESS}.isdisjoint(chosen):
        apart = _gpu_count() > 0 or any(
            _has_processes(role.engine) for role in (run.config.teacher, run.config.student)
        )
    for verb in chosen:
        if apart and verb in OWN_PROCESS:
            _run_in_child(run, verb)
            continue
        if verb in OWN_PROCESS:
            # Models and engines stand in circles of references, which Python leaves for later: two would be held.
            gc.collect()
        run_verb(run, verb)
        if verb == "prepare":
            _require_splits(run, chosen)


def _has_processes(engine: AnyEngine) -> bool:
    """Whether an engine has processes also without a card. While they start, Ctrl-C reaches a verb only by the process
    that started it."""
    if isinstance(engine, OpenAIEngine):
        return not engine.urls
    return isinstance(engine, VllmEngine) and engine.has_processes_on_a_cpu()


def _require_splits(run: Run, chosen: Sequence[str]) -> None:
    """That there are records to train on and to score on, before a teacher is asked about any.

    Raises:
        InputError: a split that a later verb needs is empty.
    """
    counts = (read_manifest(run.dir / "records") or {"counts": {}})["counts"]
    by_split = counts.get("by_split")
    if by_split is None:
        return  # nothing is prepared, as the first verb says; or a study wrote the records, and has counted them itself
    needed = {"train": "train", "evaluate": run.config.evaluate.split}
    lacking = [split for verb, split in needed.items() if verb in chosen and not by_split.get(split)]
    if lacking:
        splits = ", ".join(f"{split} {number}" for split, number in by_split.items())
        raise InputError(
            f"{run.dir / 'records'} has no record in the split {' and in '.join(map(repr, lacking))} ({splits}), so "
            f"{'nothing could be trained' if 'train' in lacking else 'there would be nothing to score on'}. Its "
            f"{counts['kept']} records form {counts['clusters']} clusters (near-duplicates, charts of one patient), "
            "which are never parted. Give charts of more patients, change prepare.test_fraction, or set `split` of a "
            "source."
        )


def _run_in_child(run: Run, verb: str) -> None:
    if (share := needed_share(run.config, verb)) is not None:
        require_free_cards(share, needed_cards(run.config, verb))
    gpus = _gpu_count() if verb == "train" else 1
    command = child_command(verb, run.arguments, gpus, run.config.train.parallel)
    if code := run_to_end(command) if gpus < 2 else run_launched(command):
        raise ChildError(verb, code)


def child_command(verb: str, arguments: list[str], gpus: int, parallel: Parallel) -> list[str]:
    """The command line of a verb in a process of its own, or in one for each GPU.

    Args:
        arguments: name the run.
        gpus: that the verb uses.
        parallel: `train.parallel`.
    """
    command = [sys.executable, "-m", "chartdistill", verb, *arguments, "--quiet"]
    if gpus < 2:
        return command
    accelerate = Path(sys.executable).with_name("accelerate")
    return [str(accelerate), "launch", *launch_options(gpus, parallel), *command[1:]]


def _gpu_count() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


class ChildError(ChartDistillError):
    """A verb's own process failed; it has already said why."""

    def __init__(self, verb: str, code: int) -> None:
        super().__init__(f"`{verb}` stopped (exit code {code}); what it had finished is kept.")
        self.exit_code = code if code > 0 else 1
