"""What libraries say that is no concern of a user's: kept from the terminal unless `--verbose` asks for it.

`quieten` is called before any library is imported, as `privacy.enforce` is; children inherit the variables, and
`quieten_child`, called when this package is imported there, sets the rest. Errors are always shown.
"""

from __future__ import annotations

import logging
import os
import warnings

VERBOSE = "CHARTDISTILL_VERBOSE"
_QUIET = "CHARTDISTILL_QUIET"
_VARIABLES = {
    "TORCH_CPP_LOG_LEVEL": "ERROR",  # torch's native warnings, among them vLLM's about NUMA nodes
    "VLLM_LOGGING_LEVEL": "ERROR",
    "TRANSFORMERS_VERBOSITY": "error",
    "BITSANDBYTES_NOWELCOME": "1",
}
_LOGGERS = (
    "vllm",  # speaks, of Triton and NUMA, before its own level is set, which it does from VLLM_LOGGING_LEVEL
    "bitsandbytes.backends.cpu.ops",  # advises to install `kernels`, which gets code from a hub
    "torch.distributed",
    "accelerate",
)


def quieten(verbose: bool = False) -> None:
    """Before any library is imported: keep their lines from the terminal, in this process and its children."""
    if verbose or os.environ.get(VERBOSE):
        os.environ[VERBOSE] = "1"
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "INFO")
        os.environ.pop(_QUIET, None)
        return
    os.environ[_QUIET] = "1"
    for name, value in _VARIABLES.items():
        os.environ.setdefault(name, value)
    quieten_child()


def quieten_child() -> None:
    """The same in a process that a quiet one started."""
    if _QUIET not in os.environ:
        return
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    # Python's warnings are for who writes programs: PEFT's of a base model that is not a folder here, for one.
    warnings.simplefilter("ignore")


def is_verbose() -> bool:
    """Whether the user asked for all there is to say."""
    return bool(os.environ.get(VERBOSE))
