"""What vLLM is told of a request, what its output says, and how it tells how far it is."""

from __future__ import annotations

import os
from typing import Any

from tqdm import tqdm

from chartdistill.engines.answers import decode_answer
from chartdistill.engines.contract import LONGEST_REPEATED, LOWEST_LOGPROB, REPEATS, Generation, Request, Told
from chartdistill.schema import CUT

SPANS_ARGUMENT = "chartdistill_spans"
"""Under which a request's `extra_args` hold its spans."""


def sampling_params(request: Request) -> Any:
    """What vLLM is told of a request."""
    from vllm import SamplingParams
    from vllm.sampling_params import RepetitionDetectionParams, StructuredOutputsParams

    constraint = None if request.constraint is None else StructuredOutputsParams(regex=request.constraint)
    loops = RepetitionDetectionParams(LONGEST_REPEATED, 1, REPEATS) if request.ends_repetition else None
    wanted = bool(request.choices or request.logprobs or request.top_logprobs)
    return SamplingParams(
        temperature=request.temperature,
        seed=request.seed,
        max_tokens=request.max_tokens,
        stop_token_ids=[request.stop_id, *request.also_stop_ids],
        structured_outputs=constraint,
        repetition_detection=loops,
        extra_args=None if request.spans is None else {SPANS_ARGUMENT: request.spans.as_plain()},
        logprobs=request.top_logprobs if wanted else None,
        detokenize=False,  # decoded here, so that every engine gives the same text for the same ids
        skip_special_tokens=True,
    )


def generation_of(request: Request, output: Any, tokenizer: Any) -> Generation:
    """What vLLM's output says."""
    answer = output.outputs[0]
    if answer.finish_reason not in ("stop", *CUT):
        return Generation(None, failure=f"engine ended the request with {answer.finish_reason!r}")
    ids = tuple(answer.token_ids)
    chosen = None
    if answer.logprobs:
        chosen = tuple(max(LOWEST_LOGPROB, at[i].logprob) for at, i in zip(answer.logprobs, ids, strict=True))
    given = Generation(
        text="",
        finish_reason=answer.finish_reason,
        prompt_tokens=len(output.prompt_token_ids),
        cached_tokens=output.num_cached_tokens or 0,
        completion_tokens=len(ids),
        token_ids=ids,
        logprobs=chosen,
        top_logprobs=tuple(_likeliest(at, request.top_logprobs) for at in answer.logprobs)
        if request.top_logprobs
        else None,
    )
    return decode_answer(request, given, tokenizer)


def _likeliest(at: Any, count: int) -> tuple[tuple[int, float], ...]:
    """vLLM adds the token it took to the `count` likeliest, in any order."""
    ordered = sorted(((int(i), max(LOWEST_LOGPROB, entry.logprob)) for i, entry in at.items()), key=lambda e: -e[1])
    return tuple(ordered[:count])


class Counter(tqdm):  # type: ignore[misc]
    """The progress bar that vLLM fills (its `use_tqdm`; vLLM and transformers bring tqdm): it shows nothing, and says
    how many requests are answered."""

    monitor_interval = 0  # else tqdm starts a thread

    def __init__(self, told: Told, **options: Any) -> None:
        self._told = told
        self._nowhere = open(os.devnull, "w")  # noqa: SIM115
        super().__init__(**options | {"file": self._nowhere})

    def update(self, n: float | None = 1) -> None:
        super().update(n)
        self._told(int(self.n))

    def close(self) -> None:
        super().close()
        self._nowhere.close()
