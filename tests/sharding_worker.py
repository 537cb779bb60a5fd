"""One of several processes: FSDP2 around a tiny student, compared with the same student in one piece.

torchrun --nproc-per-node 2 tests/sharding_worker.py
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from chartdistill import privacy
from chartdistill.training.losses import pass_loss
from chartdistill.training.rows import collate
from training_shapes import make_example, make_model


def main() -> None:
    privacy.enforce()
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    examples = [make_example("a", 17, [(3, 4), (2, 9)], 1), make_example("b", 5, [(2, 2), (1, 6)], 2)]
    whole, sharded = make_model("llama"), make_model("llama")
    for layer in sharded.get_base_model().model.layers:
        fully_shard(layer, mesh=dist.init_device_mesh("cpu", (2,)))
    fully_shard(sharded, mesh=dist.init_device_mesh("cpu", (2,)))
    losses = []
    for model in (whole, sharded):
        loss = pass_loss(model, collate(examples, "split")[0])
        loss.backward()
        losses.append(loss.item())
    assert abs(losses[0] - losses[1]) < 1e-5 * abs(losses[0]), losses
    compared = 0
    for (name, one), other in zip(whole.named_parameters(), sharded.parameters(), strict=True):
        if one.requires_grad:
            assert isinstance(other, DTensor) and one.grad is not None and other.grad is not None
            assert (other.grad.full_tensor() - one.grad).norm() <= 1e-5 * one.grad.norm(), name
            compared += 1
    assert compared >= 28
    print("sharded gradients agree")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
