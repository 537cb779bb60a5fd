"""How every program of ours begins: each verb, each script that opens an engine, Python that asks a student."""

from __future__ import annotations

import os
import sysconfig

from chartdistill.runtime import privacy, quiet


def prepare_process(verbose: bool = False) -> None:
    """What must stand before any library is imported: it keeps quiet, finds the machine as we do, and stays on it.

    Args:
        verbose: show what libraries say. So does the variable `CHARTDISTILL_VERBOSE`.
    """
    quiet.quieten(verbose)
    privacy.enforce()  # libraries read the offline variables once, at import
    # CUDA counts cards by speed unless told; `doctor` and the checks between verbs count as nvidia-smi does.
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    # What compiles kernels looks for tools of this environment (ninja) as if it were activated.
    tools, path = sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)
    if path.split(os.pathsep)[0] != tools:  # a program may begin several times: each `Reader` does
        os.environ["PATH"] = os.pathsep.join([tools, path])
