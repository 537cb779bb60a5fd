"""training_worker.py under FSDP on CPUs. `accelerate launch --config_file configs/accelerate/fsdp.yaml` runs it.

accelerate offers FSDP to several accelerators only, though torch shards over CPUs too; so it is told that these are
some. All else is as on GPUs: its FSDP plugin, the shipped config, our trainer.
"""

from __future__ import annotations

from typing import Any

from accelerate import PartialState
from accelerate.utils import DistributedType
from torch.distributed.tensor import DTensor

import training_worker

_begin = PartialState.__init__


def _begin_as_accelerators(state: Any, *arguments: Any, **options: Any) -> None:
    _begin(state, *arguments, **options)
    if state.distributed_type == DistributedType.MULTI_CPU:
        state.distributed_type = DistributedType.MULTI_GPU


if __name__ == "__main__":
    PartialState.__init__ = _begin_as_accelerators
    model = training_worker.main()
    kinds = {type(parameter.data) for parameter in model.parameters()}
    assert all(issubclass(kind, DTensor) for kind in kinds), f"not sharded: {kinds}"
