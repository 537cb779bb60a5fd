"""Which records make up an optimizer step, and their way from example to passes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from chartdistill.training.packing import Example, MicroBatch


class StepSampler(torch.utils.data.Sampler[list[int]]):
    """For each optimizer step, the indices of one process's share of the step's records.

    A step's records are the same for any number of processes, the last step of an epoch may have fewer, and then a
    process may have none. The order of epoch e depends on seed + e alone, so a resumed run sees the same one.
    """

    def __init__(self, count: int, records_per_step: int, seed: int, process: int = 0, processes: int = 1) -> None:
        self._count, self._per_step, self._seed = count, records_per_step, seed
        self._process, self._processes = process, processes
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return math.ceil(self._count / self._per_step)

    def __iter__(self) -> Iterator[list[int]]:
        draw = torch.Generator().manual_seed(self._seed + self._epoch)
        order = torch.randperm(self._count, generator=draw).tolist()
        for start in range(0, self._count, self._per_step):
            yield order[start : start + self._per_step][self._process :: self._processes]


class StepLoader(torch.utils.data.DataLoader[Any]):
    """Batches of `StepSampler`, as `{"passes": [...], "examples": [...]}`."""

    def __init__(
        self,
        examples: Sequence[Example],
        batch_sampler: StepSampler,
        collate_passes: Callable[[Sequence[Example]], list[MicroBatch]],
    ) -> None:
        super().__init__(
            examples,  # type: ignore[arg-type]
            batch_sampler=batch_sampler,
            collate_fn=lambda chosen: {"passes": collate_passes(chosen) if chosen else [], "examples": list(chosen)},
        )

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
