"""Labelling with several engines on one machine: each takes a shard of the records, in a process of its own.

The process that runs `label` holds the run folder, starts one `label --shard I/N` for each engine with the cards that
are its own, and shows one progress line over all; then it takes their rows over. A shard whose process died is asked
again alone, by the same command: a shard that has nothing to ask is not started.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chartdistill.engines import Replica
from chartdistill.errors import EngineError
from chartdistill.labelling.shards import Shard
from chartdistill.runtime.progress import ProgressCallback
from chartdistill.runtime.side_by_side import Child, run_side_by_side


@dataclass
class ShardWork:
    """What the process of one shard reports."""

    done: int = 0
    """Records."""
    tokens: int = 0
    asked: int = 0
    """Records that had something missing."""
    seconds: float = 0.0
    """Of asking."""
    engine_start_seconds: float = 0.0


@dataclass
class SideBySide:
    """The shards of one machine, one for each engine."""

    replicas: Sequence[Replica]
    arguments: Sequence[str]
    """By which the command line names the run."""
    work: dict[Shard, ShardWork] = field(default_factory=dict)
    """Of the shards that were started."""

    def label(self, unfinished: Mapping[Shard, int], total: int, progress: ProgressCallback) -> None:
        """Label the shards that have something to ask; all that are finished stay, whatever becomes of the others.

        Args:
            unfinished: those shards, and how many records each has.
            total: records of the run.

        Raises:
            EngineError: the process of a shard failed: which, on which card.
        """
        shards = list(unfinished)
        self.work = {shard: ShardWork() for shard in shards}
        whole = total - sum(unfinished.values())

        def on_report(number: int, facts: dict[str, Any]) -> None:
            for name, value in facts.items():
                setattr(self.work[shards[number]], name, value)
            each = self.work.values()
            progress(whole + sum(one.done for one in each), total, sum(one.tokens for one in each))

        children = [Child(self._command(shard), self.replicas[shard.index].variables()) for shard in shards]
        codes = run_side_by_side(children, on_report)
        died = [
            f"shard {shard} on {self.replicas[shard.index]} {_end_of(code)}"
            for shard, code in zip(shards, codes, strict=True)
            if code
        ]
        if died:
            raise EngineError(
                f"{'; '.join(died)}. What was finished is kept, in the other shards too: run the same command again, "
                "and only what is missing is asked."
            )

    def _command(self, shard: Shard) -> list[str]:
        own = ["--shard", str(shard), "--quiet"]
        return [sys.executable, "-m", "chartdistill", "label", *self.arguments, *own]

    def facts(self) -> dict[str, Any]:
        """For the manifest, as if one engine had done it: engines work at the same time, so the slowest counts."""
        each = list(self.work.values())
        seconds = max((one.seconds for one in each), default=0.0)
        rates = {
            "records_per_second": round(sum(one.asked for one in each) / seconds, 3),
            "tokens_per_second": round(sum(one.tokens for one in each) / seconds, 1),
        } if seconds else None  # fmt: skip
        return {
            "engine_start_seconds": round(max((one.engine_start_seconds for one in each), default=0.0), 2),
            "generate_seconds": round(seconds, 2),
            "speed": rates,
        }


def _end_of(code: int) -> str:
    if code < 0:
        return f"was ended by signal {-code} (9 is also what the kernel sends when memory is out)"
    return f"stopped (exit code {code}; it has said why above)"
