"""Load test of `serve`, with curl as the askers: latency at 1, 8 and 32 clients, charts per second beside `predict`.

    chartdistill serve runs/demo                                  # in another terminal
    .venv/bin/python scripts/bench_serve.py runs/demo [--clients 1 8 32] [--rounds 3] [--charts 128] [--url ...]

Every request has a chart of its own (synthetic, never asked before), so that nothing is answered from the prefix cache
but what charts share; tools that send one body again and again (ab, hey) measure that cache. One curl process sends all
requests of a round, so many at a time (`--parallel-max`); it stops when all are answered. `predict` is measured without
the start of its engine, by the same `Student.read`. Rounds alternate, both engines stay open throughout, and each round
has new charts, the same ones for both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from chartdistill import Reader
from chartdistill.records.sources.synthetic import SyntheticSource
from chartdistill.schema import RejectedRecord

CLIENTS = (1, 8, 32)


def charts(count: int, seed: int) -> list[str]:
    """Charts that no run has seen."""
    entries = SyntheticSource(pool="heldout", count=count, seed=seed).read()
    return [entry.text for entry in entries if not isinstance(entry, RejectedRecord)]


def ask(url: str, texts: list[str], clients: int) -> tuple[float, list[float]]:
    """Seconds for all charts, and of each request, asked by so many clients at a time."""
    with TemporaryDirectory() as folder:
        sections = []
        for number, text in enumerate(texts):
            body = Path(folder) / f"{number}.json"
            body.write_text(json.dumps({"text": text}))
            sections.append(
                f'url = "{url}/extract"\nheader = "Content-Type: application/json"\ndata-binary = "@{body}"\n'
                f'output = "{body}.answer"\nwrite-out = "%{{http_code}} %{{time_total}}\\n"\nmax-time = 600\n'
            )
        plan = Path(folder) / "curl"
        plan.write_text("next\n".join(sections))
        begun = time.monotonic()
        done = subprocess.run(
            ["curl", "--silent", "--parallel", "--parallel-immediate", "--parallel-max", str(clients), "-K", str(plan)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        seconds = time.monotonic() - begun
    lines = [line.split() for line in done.stdout.splitlines()]
    if [code for code, _ in lines] != ["200"] * len(texts):
        sys.exit(
            f"curl ended with {done.returncode}; {sum(code == '200' for code, _ in lines)} of {len(texts)} answered"
        )
    return seconds, [float(took) for _, took in lines]


def main() -> None:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8765")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--charts", type=int, default=128, help="in a round")
    parser.add_argument(
        "--clients", type=int, nargs="*", default=CLIENTS, help="of the first table; none: leave it out"
    )
    options = parser.parse_args()
    if options.clients:
        measure_latency(options.url, options.clients, options.charts)
    if options.rounds:
        measure_rounds(options.run, options.url, options.rounds, options.charts)


def measure_latency(url: str, numbers: Sequence[int], most: int) -> None:
    """Print the first table."""
    print("| clients | requests | p50 s | p95 s | charts/s |\n|---|---|---|---|---|")
    for clients in numbers:
        count = min(most, 16 * clients + 16)
        seconds, took = ask(url, charts(count, 9000 + clients), clients)
        cuts = statistics.quantiles(took, n=20, method="inclusive")
        row = f"{statistics.median(took):.2f} | {cuts[18]:.2f} | {count / seconds:.1f}"
        print(f"| {clients} | {count} | {row} |", flush=True)


def measure_rounds(run: Path, url: str, rounds: int, count: int) -> None:
    """Print the second table."""
    print("\n| round | predict charts/s | /extract, 32 clients, charts/s | of it |\n|---|---|---|---|")
    with Reader(run) as reader:
        reader.read_all(charts(8, 8999))  # starts its engine
        ask(url, charts(8, 8998), 8)
        for number in range(rounds):
            texts = charts(count, 9100 + number)
            begun = time.monotonic()
            reader.read_all(texts)
            alone = len(texts) / (time.monotonic() - begun)
            served = len(texts) / ask(url, texts, 32)[0]
            print(f"| {number + 1} | {alone:.1f} | {served:.1f} | {served / alone:.0%} |", flush=True)


if __name__ == "__main__":
    main()
