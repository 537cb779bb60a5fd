"""The verb `predict`: charts of a source into a file, or one chart from standard input."""

from __future__ import annotations

import argparse
import io
import os
import sys
from contextlib import nullcontext
from pathlib import Path

from chartdistill.commands.config_run import ready
from chartdistill.config import Run, load_run
from chartdistill.errors import ConfigError
from chartdistill.evaluation.one_chart import answer
from chartdistill.evaluation.predict import Student, predict, say_warnings
from chartdistill.run_file import read_run
from chartdistill.runtime.outputs import require_writable, whole_file
from chartdistill.runtime.progress import StageBar
from chartdistill.runtime.run_locks import looking_on


def run_predict(arguments: argparse.Namespace) -> None:
    """What the command line asks for.

    Raises:
        ConfigError: it does not say which run, or where to write.
        ArtefactError: the run has no finished student, or the file cannot be written.
    """
    run = _run(arguments)
    written = [Path(os.path.realpath(path)) for path in (arguments.out, arguments.review_file) if path is not None]
    is_within = any(run.dir.is_dir() and path.is_relative_to(run.dir.resolve()) for path in written)
    with looking_on(run.dir) if is_within else nullcontext():  # of who is erased meanwhile answers would come after
        _answer(run, arguments)


def _answer(run: Run, arguments: argparse.Namespace) -> None:
    if _is_dash(arguments.records) or (_is_dash(arguments.config) and arguments.records is None):
        _answer_one(run, arguments)
        return
    if arguments.out is None:
        raise ConfigError("predict needs --out FILE; one chart is read and answered with `--records -`.")
    with StageBar("predict") as bar:
        count = predict(
            run, arguments.records, arguments.out, arguments.filters, arguments.overwrite, bar,
            arguments.min_confidence, arguments.review_file, arguments.format or "jsonl",
        )  # fmt: skip
    if not arguments.quiet:
        print(f"{count} {'record' if count == 1 else 'records'} answered in {arguments.out}", file=sys.stderr)


def _run(arguments: argparse.Namespace) -> Run:
    """That of CONFIG, or as its student was trained where CONFIG is `-`."""
    if not _is_dash(arguments.config):
        records = None if _is_dash(arguments.records) else arguments.records
        return ready(load_run(arguments.config, records, arguments.run_dir))
    if arguments.run_dir is None:
        raise ConfigError("predict - needs --run-dir DIR: the folder of a run whose student is trained.")
    return ready(read_run(arguments.run_dir))


def _is_dash(path: Path | None) -> bool:
    """Whether standard input is meant."""
    return str(path) == "-"


def _answer_one(run: Run, arguments: argparse.Namespace) -> None:
    """Read one chart from standard input, to its end, and answer it on standard output or in --out."""
    if arguments.min_confidence is not None or arguments.review_file is not None:
        raise ConfigError(
            "--min-confidence and --review-file divide the answers to many charts; of one chart each item is shown "
            "with its confidence. Leave both out, or give --records PATH and --out FILE."
        )
    if arguments.out is not None:
        require_writable("--out", arguments.out, arguments.overwrite, read=(run.dir,))
    form = arguments.format or ("jsonl" if arguments.json else None)
    if sys.stdin.isatty():
        print("paste a chart, then Ctrl-D on a line of its own", file=sys.stderr)
    data = sys.stdin.buffer.read()
    with Student(run, arguments.filters) as student:
        say_warnings(student)
        said = answer(student, data, run.tasks, form)
    if arguments.out is None:
        if form is not None and isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")  # as formats are, whatever signs the terminal has
        print(said, end="")
        return
    with whole_file(arguments.out) as stream:
        stream.write(said)
