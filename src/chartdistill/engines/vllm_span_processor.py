"""`spans` in vLLM's workers: a logits processor that asks the shared core what may come next.

vLLM loads this module in its workers, since the engine's argument `logits_processors` names the class below; a request
brings its grammar among its `extra_args`. Structured outputs would not do: vLLM compiles one grammar per request there,
and none that can say "not twice".
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch
from vllm import SamplingParams
from vllm.config import VllmConfig
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from chartdistill.engines.span_mask import SpanMasks, masked
from chartdistill.engines.vllm_requests import SPANS_ARGUMENT
from chartdistill.prompting.chart_spans import SpanGrammar
from chartdistill.prompting.span_decoding import SpanMatcher
from chartdistill.runtime.model_folder import load_tokenizer


class _Answer:
    """One request of the batch."""

    def __init__(self, matcher: SpanMatcher, written: Sequence[int]) -> None:
        self.matcher = matcher
        self._written, self._read = written, 0

    def catch_up(self) -> None:
        """Read what has been written since; vLLM goes on with the same list. A request that comes back after vLLM took
        its memory has written already."""
        while self.matcher.is_open and self._read < len(self._written) and self._written[self._read] >= 0:
            with suppress(ValueError):  # the answer is then a failure (`kept_or_failed`), and not the engine's end
                self.matcher.accept(self._written[self._read])
            self._read += 1


class SpanProcessor(LogitsProcessor):  # type: ignore[misc]  # vLLM says no types
    """Holds each request that has spans to them; leaves the others alone."""

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        config = vllm_config.model_config
        self._masks = SpanMasks(load_tokenizer(config.tokenizer), int(config.get_vocab_size()))
        self._answers: dict[int, _Answer] = {}

    def is_argmax_invariant(self) -> bool:
        """No: it takes the likeliest token away where it is not allowed."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Requests come, go and change places."""
        process_dict_updates(self._answers, batch_update, self._new_answer)

    def _new_answer(self, params: SamplingParams, prompt_ids: list[int] | None, written: list[int]) -> _Answer | None:
        values: dict[str, Any] | None = (params.extra_args or {}).get(SPANS_ARGUMENT)
        if values is None:
            return None
        return _Answer(self._masks.matcher(SpanGrammar.from_plain(values), params.all_stop_token_ids), written)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits [requests, vocabulary], in place."""
        for row, answer in self._answers.items():
            answer.catch_up()
            if answer.matcher.is_open:  # one that ended may stay for a step
                logits[row] = masked(answer.matcher, logits[row])
        return logits
