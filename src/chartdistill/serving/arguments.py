"""The options of `serve`."""

from __future__ import annotations

import argparse
from pathlib import Path

from chartdistill.runtime.option_values import port, positive

DEFAULT_PORT = 8765
DEFAULT_QUEUE = 256
DEFAULT_MAX_BYTES = 5_000_000
"""As large as a chart may be that `prepare` takes."""
DEFAULT_GRACE_S = 60
KEY_VARIABLE = "CHARTDISTILL_API_KEY"


def add_arguments(verb: argparse.ArgumentParser) -> None:
    """Those that `serve` knows."""
    verb.add_argument("run", type=Path, metavar="RUN", help="a run folder in which `train` has finished")
    verb.add_argument("--config", type=Path, metavar="FILE", help="instead of what training left beside the adapter")
    verb.add_argument("--filters", action="store_true", help="put the config's filters on the answers")
    verb.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen at [127.0.0.1]")
    verb.add_argument(
        "--port",
        type=port,
        default=DEFAULT_PORT,
        metavar="N",
        help=f"0: any that is free [{DEFAULT_PORT}]",
    )
    verb.add_argument(
        "--api-key-file", type=Path, metavar="FILE", help=f"its line is the key that askers must send [{KEY_VARIABLE}]"
    )
    verb.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate (PEM), with its chain")
    verb.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key (PEM)")
    verb.add_argument("--behind-proxy", action="store_true", help="a proxy of yours ends TLS before this server")
    verb.add_argument(
        "--queue", type=positive, default=DEFAULT_QUEUE, metavar="N",
        help=f"charts in work or waiting at once; more are told when to come back (429) [{DEFAULT_QUEUE}]",
    )  # fmt: skip
    verb.add_argument(
        "--max-bytes", type=positive, default=DEFAULT_MAX_BYTES, metavar="N",
        help=f"size of a request; larger ones are refused (413) [{DEFAULT_MAX_BYTES}]",
    )  # fmt: skip
    verb.add_argument(
        "--grace", type=positive, default=DEFAULT_GRACE_S, metavar="S",
        help=f"seconds that running requests have to end after SIGTERM or Ctrl-C [{DEFAULT_GRACE_S}]",
    )  # fmt: skip
