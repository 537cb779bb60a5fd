"""Plain `transformers` generation, batched. Slower than vLLM; starts in a second and runs anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from chartdistill.engines.contract import Generation, Generator, Request
from chartdistill.errors import ConfigError


class TransformersEngine(BaseModel):
    """Options of the transformers engine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["transformers"] = "transformers"
    dtype: str = "auto"
    """auto (as stored), bfloat16, float16 or float32."""
    batch_size: int = Field(default=16, ge=1)
    """Prompts per call; they are sorted by length first."""

    @contextmanager
    def open(self, model: Path, lora_rank: int | None = None) -> Iterator[Generator]:
        """Load a model folder on the GPU if there is one, else on the CPU."""
        import torch
        from transformers import AutoModelForCausalLM

        loaded = AutoModelForCausalLM.from_pretrained(model, dtype=self.dtype, local_files_only=True)
        loaded.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        try:
            yield _TransformersGenerator(loaded, model, self.batch_size)
        finally:
            del loaded
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


class _TransformersGenerator:
    def __init__(self, model: Any, folder: Path, batch_size: int) -> None:
        from chartdistill.model_folder import load_tokenizer

        self._base, self._batch_size, self._tokenizer = model, batch_size, load_tokenizer(folder)
        self._with_adapter: tuple[Path, Any] | None = None

    def generate(self, requests: Sequence[Request], adapter: Path | None = None) -> list[Generation]:
        from peft import PeftModel

        if adapter is None and self._with_adapter is not None:
            self._base, self._with_adapter = self._with_adapter[1].unload(), None
        if adapter is not None and (self._with_adapter is None or self._with_adapter[0] != adapter):
            self._with_adapter = (adapter, PeftModel.from_pretrained(self._base, adapter).eval())
        model = self._base if self._with_adapter is None else self._with_adapter[1]
        longest = int(model.config.max_position_embeddings)
        answers: dict[int, Generation] = {}
        order = sorted(range(len(requests)), key=lambda i: (requests[i].choices, len(requests[i].prompt_ids)))
        for i in order:
            needed = len(requests[i].prompt_ids) + requests[i].max_tokens
            if needed > longest:
                reason = f"prompt_too_long: {needed} tokens with the answer, the model takes {longest}"
                answers[i] = Generation(None, failure=reason, prompt_tokens=len(requests[i].prompt_ids))
        order = [i for i in order if i not in answers]
        for start in range(0, len(order), self._batch_size):
            chosen = order[start : start + self._batch_size]
            answers.update(zip(chosen, self._batch(model, [requests[i] for i in chosen]), strict=True))
        return [answers[i] for i in range(len(requests))]

    def _batch(self, model: Any, requests: list[Request]) -> list[Generation]:
        import torch

        if len({(r.temperature, r.stop_id) for r in requests}) > 1 or requests[0].temperature > 0:
            raise ConfigError("engine `transformers` answers at temperature 0 only; use engine `vllm` to sample.")
        width = max(len(request.prompt_ids) for request in requests)
        pad = requests[0].stop_id
        rows = [[pad] * (width - len(r.prompt_ids)) + list(r.prompt_ids) for r in requests]
        seen = [[0] * (width - len(r.prompt_ids)) + [1] * len(r.prompt_ids) for r in requests]
        ids = torch.tensor(rows, device=model.device)
        with torch.inference_mode():
            output = model.generate(
                input_ids=ids,
                attention_mask=torch.tensor(seen, device=model.device),
                max_new_tokens=max(request.max_tokens for request in requests),
                do_sample=False,
                eos_token_id=pad,
                pad_token_id=pad,
                prefix_allowed_tokens_fn=self._only(requests, width),
                return_dict_in_generate=True,
                output_logits=any(request.choices for request in requests),
            )
        first = output.logits[0].float().softmax(-1) if output.logits else None
        results = []
        for number, request in enumerate(requests):
            generated = output.sequences[number, width:].tolist()
            ended = request.stop_id in generated[: request.max_tokens]
            answer = generated[: generated.index(request.stop_id)] if ended else generated[: request.max_tokens]
            probability = float(first[number, generated[0]]) if first is not None and request.choices else None
            results.append(
                Generation(
                    text=self._tokenizer.decode(answer, skip_special_tokens=True),
                    finish_reason="stop" if ended else "length",
                    probability=probability,
                    prompt_tokens=len(request.prompt_ids),
                    completion_tokens=len(answer) + ended,
                )
            )
        return results

    def _only(self, requests: list[Request], width: int) -> Any:
        """Constrain requests with choices to the token sequences of those choices."""
        if not any(request.choices for request in requests):
            return None
        everything = list(range(len(self._tokenizer)))
        allowed = [
            [[*self._tokenizer.encode(c, add_special_tokens=False), r.stop_id] for c in r.choices] for r in requests
        ]

        def next_ids(row: int, ids: Any) -> list[int]:
            done = ids[width:].tolist()
            if not allowed[row]:
                return everything
            following = {c[len(done)] for c in allowed[row] if len(c) > len(done) and c[: len(done)] == done}
            return sorted(following) or [requests[row].stop_id]

        return next_ids
