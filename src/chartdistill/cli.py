"""The command line: `chartdistill run CONFIG`, each verb alone, and `predict`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from chartdistill import __version__, privacy
from chartdistill.errors import ChartDistillError
from chartdistill.store import private_umask

_VERBS = {
    "prepare": "read and clean the charts, find near-duplicates, split",
    "label": "let the teacher answer every task for every record",
    "curate": "keep good labels, reject the others with a reason",
    "train": "tune the student's adapter on the kept labels",
    "evaluate": "compare teacher, base and student on held-out records",
    "report": "write report.json, report.md and report.html",
}


def build_parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    parser = argparse.ArgumentParser(
        prog="chartdistill",
        description="Distil a large open model's reading of patient charts into a small local model, offline.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    everything = commands.add_parser("run", help="run all verbs of a config, skipping what is done")
    everything.add_argument("--from", dest="first", choices=_VERBS, default="prepare", help="start here")
    everything.add_argument("--until", dest="last", choices=_VERBS, default="report", help="stop after this")
    for name, text in _VERBS.items():
        _common(commands.add_parser(name, help=text, description=text))
    _common(everything)
    everything.add_argument("--dry-run", action="store_true", help="print the resolved plan and stop")
    predict = commands.add_parser("predict", help="answer the tasks for new charts with a trained adapter")
    _common(predict)
    predict.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSONL to write")
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a YAML file, see configs/")
    parser.add_argument("--records", type=Path, metavar="PATH", help="charts to use instead of the config's")
    parser.add_argument("--run-dir", type=Path, metavar="DIR", help="where to write instead of the config's run_dir")
    parser.add_argument("--quiet", action="store_true", help="no summary at the end")


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point. Exit codes: 0 done, 2 wrong usage or config, others by kind of error (see errors.py)."""
    arguments = build_parser().parse_args(argv)
    private_umask()
    try:
        _dispatch(arguments)
    except ChartDistillError as error:
        print(f"chartdistill: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("chartdistill: interrupted; what was finished is kept, run the same command to go on.", file=sys.stderr)
        sys.exit(130)


def _dispatch(arguments: argparse.Namespace) -> None:
    # Before any library is imported: they read the offline variables once, at import.
    privacy.enforce()
    from chartdistill.config import load_run

    run = load_run(arguments.config, arguments.records, arguments.run_dir)
    if run.config.privacy.allowed_hosts:
        privacy.enforce(run.config.privacy.allowed_hosts)
    # `datasets` and others cache in the home folder by default; charts stay in the run folder.
    os.environ["HF_DATASETS_CACHE"] = str((run.dir / "cache").resolve())
    if arguments.command == "predict":
        from chartdistill.predict import predict

        count = predict(run, arguments.records, arguments.out)
        print(f"{count} records answered in {arguments.out}", file=sys.stderr)
        return
    if getattr(arguments, "dry_run", False):
        from chartdistill.summary import plan

        print(json.dumps(plan(run), indent=2, default=str))
        return
    from chartdistill.pipeline import run_all, run_verb
    from chartdistill.summary import print_summary

    if arguments.command == "run":
        run_all(run, _own_arguments(arguments), arguments.first, arguments.last)
    else:
        run_verb(run, arguments.command)
    if not arguments.quiet:
        print_summary(run)


def _own_arguments(arguments: argparse.Namespace) -> list[str]:
    """The arguments that name this run again, for a child process."""
    own = [str(arguments.config)]
    if arguments.records is not None:
        own += ["--records", str(arguments.records)]
    if arguments.run_dir is not None:
        own += ["--run-dir", str(arguments.run_dir)]
    return own
