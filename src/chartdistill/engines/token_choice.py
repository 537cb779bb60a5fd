"""The next token of each row of a batch, inside `transformers` generation: greedy, sampled, constrained, recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from chartdistill.engines.contract import LOWEST_LOGPROB, Request, only_repeats
from chartdistill.engines.span_mask import SpanMasks, masked
from chartdistill.errors import ConfigError
from chartdistill.prompting.span_decoding import SpanMatcher


class Grammars:
    """Compiled constraints of one tokenizer (xgrammar, the library that vLLM uses too), so that engines agree."""

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        self._tokenizer, self._vocabulary = tokenizer, vocabulary
        self._compiler: Any = None
        self.spans = SpanMasks(tokenizer, vocabulary)

    def matcher(self, request: Request) -> Any:
        """A fresh matcher for a request with `choices` or `pattern`; None for a free answer.

        Raises:
            ConfigError: xgrammar is not installed.
            ValueError: the pattern is no regular expression that xgrammar knows.
        """
        if request.constraint is None:
            return None
        try:
            import xgrammar
        except ImportError as error:
            option = "choices" if request.choices else "pattern"
            raise ConfigError(
                f"engine `transformers` needs the package xgrammar to keep an answer to its `{option}` ({error}). "
                "Run `make setup`, or use engine `vllm`."
            ) from error
        if self._compiler is None:
            known = xgrammar.TokenizerInfo.from_huggingface(self._tokenizer, vocab_size=self._vocabulary)
            self._compiler = xgrammar.GrammarCompiler(known)
        try:
            grammar = self._compiler.compile_regex(request.constraint)
        except RuntimeError as error:
            raise ValueError(f"pattern {request.pattern!r}: {error}") from error
        return xgrammar.GrammarMatcher(grammar, override_stop_tokens=sorted(self.ends(request)))

    def span_matcher(self, request: Request) -> SpanMatcher | None:
        """Of a request with `spans`."""
        return None if request.spans is None else self.spans.matcher(request.spans, self.ends(request))

    def ends(self, request: Request) -> frozenset[int]:
        """The ids that end an answer."""
        eos = self._tokenizer.eos_token_id
        return frozenset({request.stop_id, *request.also_stop_ids, *(() if eos is None else (eos,))})


@dataclass
class Row:
    """One request while it is being answered."""

    request: Request
    matcher: Any
    random: Any
    """The torch generator of a sampled answer; None for a greedy one."""
    ends: frozenset[int]
    """The answer ends at any of these."""
    spans: SpanMatcher | None = None
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    likeliest: list[tuple[tuple[int, float], ...]] = field(default_factory=list)

    @property
    def stopped(self) -> bool:
        """An end came."""
        return bool(self.ids) and self.ids[-1] in self.ends

    @property
    def repeats(self) -> bool:
        """It says the same for ever, and the request ends that."""
        return self.request.ends_repetition and only_repeats(self.ids)

    @property
    def done(self) -> bool:
        """Nothing more is wanted."""
        return self.stopped or len(self.ids) == self.request.max_tokens or self.repeats


def new_row(request: Request, grammars: Grammars) -> Row:
    """Raises ValueError when the request's pattern is refused."""
    import torch

    random = None
    if request.temperature > 0:
        # On the CPU, so that a seed means the same answer on every device.
        random = torch.Generator()
        if request.seed is None:
            random.seed()
        else:
            random.manual_seed(request.seed)
    return Row(request, grammars.matcher(request), random, grammars.ends(request), grammars.span_matcher(request))


class Chooser:
    """A logits processor that picks the token of each row itself and leaves greedy search no other.

    Log-probabilities are at temperature 1, among the tokens that a grammar allows. Nothing but the numbers asked for is
    kept, so memory does not grow with the vocabulary times the answer.
    """

    def __init__(self, rows: Sequence[Row], end_id: int) -> None:
        self._rows, self._end = rows, end_id
        self._bitmask: Any = None

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        import torch

        scores = scores.clone()
        open_rows = [number for number, row in enumerate(self._rows) if not row.done]
        chosen = torch.full((len(self._rows),), self._end, device=scores.device)
        greedy = scores.argmax(-1).tolist()
        for number in open_rows:
            row = self._rows[number]
            if row.matcher is not None:
                scores[number] = self._allowed(row, scores[number])
            free = row.matcher is None and row.spans is None and row.random is None
            # What `spans` forbid stays in `scores`, which log-probabilities are taken from.
            within = scores[number] if row.spans is None else masked(row.spans, scores[number])
            token = greedy[number] if free else self._pick(row, within)
            if row.matcher is not None:
                row.matcher.accept_token(token)
            if row.spans is not None:
                row.spans.accept(token)
            row.ids.append(token)
            if not row.done:
                chosen[number] = token
        self._record(open_rows, scores)
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen[:, None], 0.0)

    def _allowed(self, row: Row, scores: Any) -> Any:
        """The scores of one row, minus infinity where the constraint allows no token."""
        import xgrammar

        if self._bitmask is None:
            self._bitmask = xgrammar.allocate_token_bitmask(1, scores.shape[-1])
        row.matcher.fill_next_token_bitmask(self._bitmask)
        allowed = scores.float().cpu().clone()
        xgrammar.apply_token_bitmask_inplace(allowed, self._bitmask[0])
        return allowed.to(scores)

    def _pick(self, row: Row, scores: Any) -> int:
        import torch

        if row.random is None:
            return int(scores.argmax())
        chances = (scores.double().cpu() / row.request.temperature).softmax(-1)
        # By the cumulative sum: torch.multinomial takes no more than 2^24 tokens and reads its generator elsewhere.
        drawn = torch.rand((), generator=row.random, dtype=torch.float64)
        return int(torch.searchsorted(chances.cumsum(-1), drawn).clamp(max=int(chances.nonzero()[-1])))

    def _record(self, numbers: Sequence[int], scores: Any) -> None:
        wanted = [n for n in numbers if self._rows[n].request.logprobs or self._rows[n].request.top_logprobs]
        wanted += [n for n in numbers if self._rows[n].request.choices and len(self._rows[n].ids) == 1]
        for number in dict.fromkeys(wanted):
            row = self._rows[number]
            logs = scores[number].float().log_softmax(-1)
            row.logprobs.append(max(LOWEST_LOGPROB, float(logs[row.ids[-1]])))
            if row.request.top_logprobs:
                values, ids = logs.topk(min(row.request.top_logprobs, logs.shape[-1]))
                pairs = zip(ids.tolist(), values.tolist(), strict=True)
                row.likeliest.append(tuple((i, max(LOWEST_LOGPROB, value)) for i, value in pairs))
