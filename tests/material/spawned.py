"""What a process that `multiprocessing` spawns finds when it begins; it imports nothing of this package itself."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any


def look(answers: Any, depth: int) -> None:
    """Put whether our package was there, and what a library's logger is set to; then the same from a child's child."""
    import multiprocessing

    named = "__mp_main__" in sys.modules and sys.modules["__mp_main__"].__spec__
    level = logging.getLogger("vllm.triton_utils.importing").getEffectiveLevel()
    guarded = getattr(sys.modules.get("chartdistill.runtime.privacy"), "_installed", None)
    answers.put((os.getpid(), getattr(named, "name", None), guarded, level))
    if depth:
        child = multiprocessing.get_context("spawn").Process(target=look, args=(answers, depth - 1))
        child.start()
        child.join()
