"""The run that a command line names: its config, with the charts and the folder that options put in their place."""

from __future__ import annotations

import argparse
import os

from chartdistill.config import Run, load_run
from chartdistill.runtime import privacy


def named_run(arguments: argparse.Namespace) -> Run:
    """The run of CONFIG, --records and --run-dir.

    Raises:
        ConfigError: the config is wrong; says where.
    """
    return ready(load_run(arguments.config, arguments.records, arguments.run_dir))


def ready(run: Run) -> Run:
    """The same run: the machines that it names may be asked, and caches of charts stay in its folder."""
    if run.config.privacy.allowed_hosts:
        privacy.enforce(run.config.privacy.allowed_hosts)
    # `datasets` and others cache in the home folder by default; charts stay in the run folder.
    os.environ["HF_DATASETS_CACHE"] = os.path.abspath(run.dir / "cache")
    return run
