"""Plain `transformers` generation, batched. Slower than vLLM; starts in a second and runs anywhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from chartdistill.engines.answers import decode_answer
from chartdistill.engines.contract import Generation, Generator, Request, Told, refuse_constrained_thought, too_long
from chartdistill.engines.process_variables import THREADS_GIVEN, num_cores
from chartdistill.engines.token_choice import Chooser, Grammars, Row, new_row
from chartdistill.errors import EngineError
from chartdistill.runtime.cpu_products import prefers_bfloat16


class TransformersEngine(BaseModel):
    """Options of the transformers engine.

    Log-probabilities are before temperature, among what choices or pattern allow. A sampled answer depends on
    its own prompt, temperature and seed; seeds do not mean the same as in vLLM.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["transformers"] = "transformers"
    dtype: str = "auto"
    """auto, bfloat16, float16, float32. auto: as stored; on a CPU that multiplies bfloat16 no faster than float32
    (measured, half a second), float32."""
    batch_size: int = Field(default=16, ge=1)
    """Prompts per call; they are sorted by length first."""
    replicas: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(default="auto", exclude_if=lambda n: n == "auto")
    """Engines that label side by side on this machine. auto: one on each card; on a CPU one."""

    makes_prompts: ClassVar[bool] = False
    constrains_from_start: ClassVar[bool] = True
    takes_spans: ClassVar[bool] = True

    def refuses_adapter(self, rank: int, use_dora: bool) -> str | None:
        """None: it takes what PEFT takes."""
        return None

    def what_determines_an_answer(self) -> dict[str, Any]:
        """The options on which answers depend; the others only make it faster or slower."""
        return {"dtype": self.dtype}

    @contextmanager
    def open(self, model: Path, lora_rank: int | None = None, with_spans: bool = False) -> Iterator[Generator]:
        """Load a model folder on the GPU if there is one, else on the CPU. It is always ready for `spans`.

        Raises:
            EngineError: the weights cannot be loaded.
        """
        import torch
        from transformers import GenerationConfig

        loaded = self.load(model)
        loaded.generation_config = GenerationConfig()  # sampling options come from the request, not from the folder
        try:
            yield _TransformersGenerator(loaded, model, self.batch_size)
        finally:
            del loaded
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def load(self, model: Path) -> Any:
        """The model of a folder on its device, ready to answer.

        Raises:
            EngineError: the weights cannot be loaded.
        """
        import torch
        from transformers import AutoModelForCausalLM

        on_cpu = not torch.cuda.is_available()
        if on_cpu and THREADS_GIVEN in os.environ:  # or the engines beside this one would compute on its cores
            torch.set_num_threads(num_cores())
        dtype = "float32" if on_cpu and self.dtype == "auto" and not prefers_bfloat16() else self.dtype
        try:
            loaded = AutoModelForCausalLM.from_pretrained(model, dtype=dtype, local_files_only=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise EngineError(f"transformers did not load {model}: {error}") from error
        return loaded.to("cpu" if on_cpu else "cuda").eval()


class _TransformersGenerator:
    continues = True

    def __init__(self, model: Any, folder: Path, batch_size: int) -> None:
        from chartdistill.runtime.model_folder import load_tokenizer

        self._base, self._batch_size, self._tokenizer = model, batch_size, load_tokenizer(folder)
        self._grammars = Grammars(self._tokenizer, int(model.config.get_text_config().vocab_size))
        self._with_adapter: tuple[Path, Any] | None = None
        self.cache_tokens: int | None = None

    def generate(
        self, requests: Sequence[Request], adapter: Path | None = None, told: Told | None = None
    ) -> list[Generation]:
        refuse_constrained_thought(requests)
        model = self._model(adapter)
        # Models whose positions have no end name no longest sequence.
        longest = int(getattr(model.config.get_text_config(), "max_position_embeddings", None) or sys.maxsize)
        answers = [too_long(request, longest) for request in requests]
        rows: dict[int, Row] = {}
        for i, request in enumerate(requests):
            try:
                if answers[i] is None:
                    rows[i] = new_row(request, self._grammars)
            except ValueError:  # its words may quote the request
                answers[i] = Generation(None, failure="refused: the pattern is no regular expression that is known")
        # One end per batch; long prompts are not padded for short ones.
        order = sorted(rows, key=lambda i: (requests[i].stop_id, len(requests[i].prompt_ids)))
        start = 0
        while start < len(order):
            chosen = order[start : start + self._batch_size]
            chosen = [i for i in chosen if requests[i].stop_id == requests[chosen[0]].stop_id]
            self._batch(model, [rows[i] for i in chosen])
            for i in chosen:
                answers[i] = self._generation(rows.pop(i))
            start += len(chosen)
            if told is not None:
                told(start)
        return [answer for answer in answers if answer is not None]

    def _model(self, adapter: Path | None) -> Any:
        from peft import PeftModel

        if self._with_adapter is not None and self._with_adapter[0] != adapter:
            self._base, self._with_adapter = self._with_adapter[1].unload(), None
        if adapter is not None and self._with_adapter is None:
            self._with_adapter = (adapter, PeftModel.from_pretrained(self._base, adapter).eval())
        return self._base if self._with_adapter is None else self._with_adapter[1]

    def _batch(self, model: Any, rows: list[Row]) -> None:
        """Answer rows with one stop id, in place."""
        import torch
        from transformers import LogitsProcessorList

        prompts = [list(row.request.prompt_ids) for row in rows]
        width = max(map(len, prompts))
        end = rows[0].request.stop_id
        ids = [[end] * (width - len(prompt)) + prompt for prompt in prompts]
        seen = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        try:
            with torch.inference_mode():
                model.generate(
                    input_ids=torch.tensor(ids, device=model.device),
                    attention_mask=torch.tensor(seen, device=model.device),
                    max_new_tokens=max(row.request.max_tokens for row in rows),
                    do_sample=False,
                    eos_token_id=end,
                    pad_token_id=end,
                    logits_processor=LogitsProcessorList([Chooser(rows, end)]),
                )
        except torch.cuda.OutOfMemoryError as error:
            raise EngineError(
                f"the GPU's memory is too small for {len(rows)} prompts of up to {width} tokens at once. Lower the "
                "engine's batch_size; work that was finished before is kept."
            ) from error

    def _generation(self, row: Row) -> Generation:
        request = row.request
        given = Generation(
            text="",
            finish_reason="stop" if row.stopped else "repetition" if row.repeats else "length",
            prompt_tokens=len(request.prompt_ids),
            completion_tokens=len(row.ids),
            token_ids=tuple(row.ids),
            logprobs=tuple(row.logprobs) or None,
            top_logprobs=tuple(row.likeliest) if request.top_logprobs else None,
        )
        return decode_answer(request, given, self._tokenizer)
