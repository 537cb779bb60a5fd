"""What vLLM is told of a request, what its output says, and how it tells how far it is."""

from __future__ import annotations

import time
from typing import Any

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


class Counter:
    """The progress bar that vLLM fills: what it uses of tqdm's (vllm/entrypoints/common/offline.py, `_run_engine`). It
    shows nothing, and says how many requests are answered; tqdm's own counts nothing where bars are switched off."""

    def __init__(self, told: Told, **options: Any) -> None:
        self.n, self.postfix, self._told = 0, "", told
        self._begun = time.monotonic()

    @property
    def format_dict(self) -> dict[str, float]:
        """`elapsed`: seconds, by which vLLM divides."""
        return {"elapsed": max(time.monotonic() - self._begun, 1e-6)}

    def update(self, n: int = 1) -> None:
        """So many more are answered."""
        self.n += n
        self._told(self.n)

    def refresh(self) -> None:
        """Nothing is shown."""

    def close(self) -> None:
        """Nothing is open."""
