"""Logits held to the words of a chart: the shared core (`prompting.span_decoding`) with tensors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from chartdistill.prompting.chart_spans import SpanGrammar
from chartdistill.prompting.span_decoding import SpanMatcher, SpanVocabulary, token_vocabulary


class SpanMasks:
    """The matchers of one tokenizer; its tokens are read when the first one is wanted."""

    def __init__(self, tokenizer: Any, width: int) -> None:
        """
        Args:
            width: of the logits, which may be more than the tokenizer's tokens.
        """
        self._tokenizer, self._width = tokenizer, width
        self._vocabulary: SpanVocabulary | None = None

    def matcher(self, grammar: SpanGrammar, end_ids: Iterable[int]) -> SpanMatcher:
        """For one answer.

        Raises:
            ConfigError: it is not known what the tokenizer's tokens write.
        """
        if self._vocabulary is None:
            import xgrammar

            known = xgrammar.TokenizerInfo.from_huggingface(self._tokenizer, vocab_size=self._width)
            self._vocabulary = token_vocabulary(self._tokenizer, list(known.decoded_vocab))
        return SpanMatcher(grammar, self._vocabulary, end_ids)


def masked(matcher: SpanMatcher, logits: Any) -> Any:
    """Logits [vocabulary], minus infinity where the matcher allows no token."""
    import torch

    shared, others = matcher.allowed()
    kept = torch.full_like(logits, -torch.inf)
    if shared is not None:
        if shared.prepared is None or shared.prepared.device != logits.device:
            shared.prepared = torch.tensor(shared.ids, dtype=torch.long, device=logits.device)
        kept[shared.prepared] = logits[shared.prepared]
    ids = torch.tensor(sorted(others), dtype=torch.long, device=logits.device)
    kept[ids] = logits[ids]
    return kept
