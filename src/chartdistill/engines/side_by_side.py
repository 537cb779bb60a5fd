"""Several engines of one machine answer for a verb: each has a shard of the records, in a process of its own.

The process that runs the verb holds the run folder, starts `VERB --shard I/N` for each engine with the cards that are
its own, and shows one progress line over all; then it takes their rows over. A shard whose process died is asked again
alone, by the same command: a shard that has nothing to ask is not started.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chartdistill.engines.replicas import Replica
from chartdistill.errors import EngineError
from chartdistill.runtime.shards import Shard
from chartdistill.runtime.side_by_side import Child, run_side_by_side

if TYPE_CHECKING:  # training imports this room where there is no rich
    from chartdistill.runtime.progress import ProgressCallback


@dataclass
class SideBySide:
    """The shards of one machine, one for each engine."""

    verb: str
    replicas: Sequence[Replica]
    arguments: Sequence[str]
    """By which the command line names the run."""
    told: dict[Shard, dict[str, Any]] = field(default_factory=dict)
    """What the processes that were started report of themselves: `done` and `tokens`, as they go, and what the verb
    tells at its end."""

    @property
    def shards(self) -> list[Shard]:
        """All, in the order of the engines."""
        return [Shard(replica.index, replica.count) for replica in self.replicas]

    def ask(
        self,
        unfinished: Mapping[Shard, int],
        total: int,
        progress: ProgressCallback,
        finished: Mapping[Shard, int] | None = None,
    ) -> None:
        """Ask the shards that have something to ask; all that are finished stay, whatever becomes of the others.

        Args:
            unfinished: those shards, and how many records each has.
            total: records of all shards.
            finished: of the unfinished shards' records those that nothing is asked about, until the shard itself says
                how far it is: engines start one after the other, and none of it was done since the first one did.

        Raises:
            EngineError: the process of a shard failed: which, on which card.
        """
        shards = list(unfinished)
        self.told = {shard: {"done": (finished or {}).get(shard, 0)} for shard in shards}
        whole = total - sum(unfinished.values())
        if shards:
            print(f"{self.verb}: {self._who(shards)}", file=sys.stderr)

        def on_report(number: int, facts: dict[str, Any]) -> None:
            self.told[shards[number]].update(facts)
            each = self.told.values()
            progress(whole + sum(one.get("done", 0) for one in each), total, sum(one.get("tokens", 0) for one in each))

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

    def _who(self, shards: Sequence[Shard]) -> str:
        """Which engines are started, in words."""
        names = ", ".join(str(self.replicas[shard.index]) for shard in shards)
        count = len(self.replicas)
        return f"{count} engines share the records" + ("" if len(shards) == count else f"; still to ask: {names}")

    def _command(self, shard: Shard) -> list[str]:
        own = ["--shard", str(shard), "--quiet"]
        return [sys.executable, "-m", "chartdistill", self.verb, *self.arguments, *own]


def _end_of(code: int) -> str:
    if code < 0:
        return f"was ended by signal {-code} (9 is also what the kernel sends when memory is out)"
    return f"stopped (exit code {code}; it has said why above)"
