"""How one student is trained by several processes: the options of `accelerate launch`, all of them said.

What is left out accelerate would take from the user's own default config, which was made for something else. Must
hold: these options are those of configs/accelerate/ddp.yaml and fsdp.yaml, which a person uses by hand.
"""

from __future__ import annotations

from chartdistill.training.options import Parallel

_ALWAYS = {
    "num_machines": "1",
    "gpu_ids": "all",
    "mixed_precision": "no",  # the student is loaded in the dtype it computes in
    "dynamo_backend": "no",
    "main_process_port": "0",  # any that is free
}
_SHARDED = {
    "fsdp_version": "2",
    "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
    "fsdp_reshard_after_forward": "true",
    "fsdp_cpu_ram_efficient_loading": "false",
    "fsdp_offload_params": "false",
    "fsdp_activation_checkpointing": "false",
    "fsdp_state_dict_type": "FULL_STATE_DICT",
}


def launch_options(processes: int, parallel: Parallel) -> list[str]:
    """What follows `accelerate launch`, before the program.

    Args:
        processes: one for each GPU; two or more.
    """
    options = {"num_processes": str(processes), **_ALWAYS, **(_SHARDED if parallel == "fsdp" else {})}
    kind = "--use_fsdp" if parallel == "fsdp" else "--multi_gpu"
    return [kind, *(word for name, value in options.items() for word in (f"--{name}", value))]
