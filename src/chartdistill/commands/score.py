"""The verb `score`: where its files go, and what is said of them."""

from __future__ import annotations

import argparse
import json

from chartdistill.config import load_task
from chartdistill.errors import ArtefactError
from chartdistill.evaluation.score import score_files
from chartdistill.evaluation.score_summary import write_summary
from chartdistill.runtime.outputs import require_writable, whole_file


def run_score(arguments: argparse.Namespace) -> None:
    """What the command line asks for.

    Raises:
        ArtefactError: a file cannot be written.
        InputError: a file cannot be scored; says where.
    """
    read = (arguments.predictions, arguments.gold, *arguments.against, arguments.same_as, arguments.vocabulary)
    for option, path in (("--out", arguments.out), ("--unmatched", arguments.unmatched)):
        if path is not None:
            require_writable(option, path, arguments.overwrite, read=read)
    if None not in (arguments.out, arguments.unmatched) and arguments.out.resolve() == arguments.unmatched.resolve():
        raise ArtefactError(f"--out and --unmatched both name {arguments.out}; give one of them another file.")
    tasks = None if arguments.tasks is None else [load_task(path) for path in arguments.tasks]
    figures = score_files(
        [arguments.predictions, *arguments.against],
        arguments.gold,
        tasks=tasks,
        vocabulary=arguments.vocabulary,
        judged=arguments.same_as,
        unmatched=arguments.unmatched,
    )
    if arguments.out is not None:
        with whole_file(arguments.out) as stream:
            stream.write(json.dumps(figures, indent=1) + "\n")
    print(write_summary(figures))
    if arguments.unmatched is not None:
        number = figures["unmatched"]  # not read back from the file, which may be a pipe
        what = "for `same` write true or false, and give the file back with --same-as" if number else "nothing to judge"
        print(f"{number} unmatched pairs in {arguments.unmatched}: {what}.")
