"""Trains a tiny adapter in a process of its own, so that it can be killed, or be one of several.

python tests/material/training_worker.py MODEL FOLDER OPTIONS_JSON [STEP_AT_WHICH_TO_BE_KILLED]

Validation generates answers; of these it logs a number in which any other token shows.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from chartdistill.runtime import privacy
from chartdistill.training import TrainOptions
from chartdistill.training.packing import Example
from training_shapes import make_example


def examples() -> list[Example]:
    """13 records: the last step of an epoch is not full."""
    return [make_example(f"r{i}", 6 + 5 * i % 17, [(2, 3 + i % 3)] * (1 + i % 3), i) for i in range(13)]


def main(arguments: Sequence[str] = sys.argv[1:]) -> Any:
    """Returns the trained model. Computes with one thread, so that every process comes to the same bits."""
    privacy.enforce()
    import torch

    from chartdistill.training.generate import generate_everywhere
    from chartdistill.training.model import load_model, load_teacher
    from chartdistill.training.on_policy import OnPolicy
    from chartdistill.training.rows import Rows, check_rows
    from chartdistill.training.trainer import run_training

    torch.set_num_threads(1)
    model, folder, values = Path(arguments[0]), Path(arguments[1]), arguments[2]
    last = int(arguments[3]) if len(arguments) > 3 else None

    def progress(done: int, total: int | None = None, tokens: int = 0) -> None:
        if done == last:
            os.kill(os.getpid(), signal.SIGKILL)

    asked = [(one, branch) for one in examples()[:3] for branch in one.branches]
    prompts = [[*one.prefix_ids, *branch.question_ids] for one, branch in asked]
    shared = [len(one.prefix_ids) for one, _ in asked]

    def score(student: Any) -> dict[str, float]:
        answers = generate_everywhere(student, prompts, 2, 4, 200, shared=shared)
        return {"answers": sum(i * token for i, token in enumerate(chain.from_iterable(answers), 1))}

    options = TrainOptions.model_validate(json.loads(values))
    student = load_model(model, options)
    rows, sharing = Rows("split", True, 0), dict[str, Any]()

    def check(student: Any) -> Rows:
        sharing["checked"] = sorted({type(parameter.data).__name__ for parameter in student.parameters()})
        return check_rows(student, rows, examples(), options, sharing)

    on_policy = None
    if options.on_policy is not None:
        teacher = load_teacher(model, options)
        draw = torch.Generator().manual_seed(3)
        for parameter in teacher.parameters():  # else it would agree with the student
            parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.05)
        on_policy = OnPolicy(teacher, rows, examples(), options, teacher.config.vocab_size, 2)
    facts = run_training(
        student, examples(), examples()[:3], options, folder, rows, progress, score, check=check, on_policy=on_policy
    )  # fmt: skip
    if os.environ.get("RANK", "0") == "0":
        (folder / "facts.json").write_text(json.dumps(facts | sharing))
    return student


if __name__ == "__main__":
    main()
