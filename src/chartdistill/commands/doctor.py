"""The verb `doctor`: a diagnosis as a page or as JSON."""

from __future__ import annotations

import argparse

from chartdistill.commands.config_run import named_run
from chartdistill.doctor import parse_cards
from chartdistill.doctor.diagnosis import diagnose
from chartdistill.doctor.page import show


def run_doctor(arguments: argparse.Namespace) -> bool:
    """What the command line asks for; whether it is a go."""
    run = named_run(arguments)
    planned = parse_cards(arguments.cards) if arguments.cards else None
    found = diagnose(run, planned, arguments.hashes)
    print(found.as_json() if arguments.json else show(found, arguments.config, arguments.quiet))
    return found.go
