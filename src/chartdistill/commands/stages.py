"""The verb `run` and the six verbs of the flow: plan or do, and what is said at the end."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from chartdistill.commands.config_run import named_run
from chartdistill.config import Run
from chartdistill.curation.curate import curate
from chartdistill.doctor.diagnosis import diagnose
from chartdistill.doctor.page import show
from chartdistill.doctor.plan import show_plan
from chartdistill.errors import NoGoError
from chartdistill.pipeline import run_all, run_evaluation_shard, run_shard, run_verb
from chartdistill.reporting.report import require_approval
from chartdistill.reporting.terminal import plan, print_summary
from chartdistill.runtime import progress
from chartdistill.runtime.run_folder import read_manifest
from chartdistill.runtime.run_locks import lock
from chartdistill.runtime.shards import Shard


def run_stages(arguments: argparse.Namespace) -> None:
    """What the command line asks for.

    Raises:
        ChartDistillError: a verb failed; says which, why and what to do.
    """
    run = named_run(arguments)
    if getattr(arguments, "dry_run", False):
        if arguments.json:
            print(json.dumps(plan(run), indent=2, default=str))
        else:
            print(show_plan(run, plan(run), arguments.config, arguments.first, arguments.last))
        return
    if arguments.command == "run":
        if arguments.json:
            progress.announce_events()
        if arguments.doctor:
            _require_go(run, arguments.config)
        run_all(run, arguments.first, arguments.last)
    elif arguments.command == "curate" and arguments.readmit:
        _curate_again(run, arguments.readmit)
    elif arguments.command == "label" and arguments.shard is not None:
        _label_shard(run, arguments.shard, arguments.quiet)
        return
    elif arguments.command == "evaluate" and arguments.shard is not None:
        run_evaluation_shard(run, Shard.parse(arguments.shard))
        return
    else:
        run_verb(run, arguments.command)
    _say_end(run, arguments)


def _require_go(run: Run, config: Path) -> None:
    """What `doctor --quiet` says, on standard error. In the process of the run, which needs what it loads.

    Raises:
        NoGoError: something stands in the way.
    """
    with progress.StageBar("doctor") as bar:
        found = diagnose(run)
        bar.end("it will run here" if found.go else "no-go")
    print(show(found, config, brief=True), file=sys.stderr)
    if not found.go:
        demo = "" if config.name == "demo.yaml" else " To see the flow without any of this: make demo"
        raise NoGoError(f"nothing was begun. Put right what is marked NO above, then run the same command.{demo}")


def _say_end(run: Run, arguments: argparse.Namespace) -> None:
    reported = arguments.command == "report" or (arguments.command == "run" and arguments.last == "report")
    if not arguments.quiet and not progress.announces():
        print_summary(run, with_report=reported)
    if reported:
        made = read_manifest(run.dir / "report") or {}
        progress.announce("report", folder=str(run.dir / "report"), trust_gates=made.get("trust_gates"))
        require_approval(made)


def _label_shard(run: Run, shard: str, quiet: bool) -> None:
    """The verb `label` for one shard, `I/N`."""
    one = Shard.parse(shard)
    counts = run_shard(run, one)
    if quiet:
        return
    if counts is None:
        print(f"shard {one}: {run.dir / 'labels'} is complete, nothing to do", file=sys.stderr)
        return
    shown = ", ".join(f"{value} {name}" for name, value in counts.items())
    print(
        f"shard {one}: {shown} in {run.dir / 'labels' / one.file_name}. When all {one.count} are done, run `label` "
        "without --shard.",
        file=sys.stderr,
    )


def _curate_again(run: Run, readmit: Sequence[str]) -> None:
    """The verb `curate`, with what a person re-admits."""
    with lock(run.dir), progress.StageBar("curate", unit="labels") as bar:
        curate(run.dir, run.tasks, run.config.filters, bar, readmit, run.config.label.gives_rationales)
