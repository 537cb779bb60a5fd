"""The verb `erase`: asks a person before anything goes."""

from __future__ import annotations

import argparse
import sys

from chartdistill.erasure.erase import erase
from chartdistill.errors import ConfigError


def run_erase(arguments: argparse.Namespace) -> None:
    """What the command line asks for.

    Raises:
        ConfigError: nobody confirmed it.
        InputError, ArtefactError, LeftoverError: as `erase` says.
    """
    erase(
        arguments.folders,
        arguments.record,
        arguments.group,
        arguments.near_duplicates,
        arguments.dry_run,
        (lambda question: True) if arguments.yes else _confirm,
    )


def _confirm(question: str) -> bool:
    """Ask a person; without a terminal nobody can be asked.

    Raises:
        ConfigError: there is no terminal.
    """
    if not sys.stdin.isatty():
        raise ConfigError("erase asks for a yes, and this is no terminal. Look with --dry-run, then give --yes.")
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() == "yes"
