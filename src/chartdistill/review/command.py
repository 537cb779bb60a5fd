"""The verb `review`: decisions or gold into a file, decisions from one, or else the page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from chartdistill.curation import checked_name
from chartdistill.errors import ArtefactError, ConfigError
from chartdistill.review.exchange import export_decisions, import_decisions
from chartdistill.review.gold import write_gold
from chartdistill.runtime.run_locks import looking_on


def run_review(arguments: argparse.Namespace) -> None:
    """What the command line asks for.

    Raises:
        ArtefactError: the folder is no run folder, lacks a stage, or something is being erased from it.
        ConfigError: there is no name of who reviews.
    """
    run_dir: Path = arguments.run
    if not (run_dir / "records").is_dir():
        raise ArtefactError(
            f"{run_dir} is no run folder: it has no folder `records`. Name the folder of a run (its run_dir), for "
            "example runs/demo."
        )
    with looking_on(run_dir):
        _do(arguments, run_dir)


def _do(arguments: argparse.Namespace, run_dir: Path) -> None:
    if arguments.export is not None:
        number = export_decisions(run_dir, arguments.export, arguments.overwrite)
        print(f"{number} decisions in {arguments.export}; they hold words of charts.", file=sys.stderr)
    elif arguments.bring_in is not None:
        print(import_decisions(run_dir, arguments.bring_in).sentence(), file=sys.stderr)
    elif arguments.gold is not None:
        number, unsettled = write_gold(run_dir, arguments.gold, arguments.overwrite)
        more = f"; {unsettled} more were read by two and differ: settle them in the view Gold" if unsettled else ""
        print(f"gold of {number} records in {arguments.gold}, with the text of the charts{more}.", file=sys.stderr)
    else:
        from chartdistill.review.server import review

        review(run_dir, _name(arguments.name), arguments.port, arguments.teacher)


def _name(given: str | None) -> str:
    if given is None:
        if not sys.stdin.isatty():
            raise ConfigError("review needs --name NAME: every decision is written down with who made it.")
        try:
            given = input("Your name, which stands beside every decision: ")
        except EOFError:  # Ctrl-D
            raise KeyboardInterrupt from None
    try:
        return checked_name(given)
    except ValueError as error:
        raise ConfigError(f"--name: {error}.") from None
