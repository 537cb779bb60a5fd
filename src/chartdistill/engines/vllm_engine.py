"""vLLM, in process. The model itself runs in vLLM's own worker processes, which end with the `with` block."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from chartdistill.engines.contract import Generation, Generator, Request
from chartdistill.errors import EngineError


class VllmEngine(BaseModel):
    """Options of a vLLM engine. Left out means vLLM's own default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["vllm"] = "vllm"
    dtype: str = "auto"
    """auto, bfloat16, float16, float32. A CPU without AVX-512 or AMX multiplies bfloat16 very slowly."""
    max_model_len_tokens: int | None = Field(default=None, ge=16)
    """Longest prompt plus answer."""
    max_num_seqs: int | None = Field(default=None, ge=1)
    """Requests decoded at once."""
    max_num_batched_tokens: int | None = Field(default=None, ge=16)
    """Tokens computed in one step."""
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    """Share of the GPU's memory for weights and KV cache."""
    cpu_kv_cache_gib: int = Field(default=1, ge=1)
    """KV cache when running on a CPU."""
    tensor_parallel_size: int = Field(default=1, ge=1)
    """GPUs the model is divided over."""
    quantization: str | None = None
    """For example fp8, to quantise at load time; weights that are quantised on disk need nothing here."""
    enforce_eager: bool | None = None
    """No compilation and no CUDA graphs; None: eager on CPU (starts sooner), compiled on CUDA."""

    @contextmanager
    def open(self, model: Path, lora_rank: int | None = None) -> Iterator[Generator]:
        """Start vLLM on a model folder.

        Args:
            model: a checked model folder.
            lora_rank: the rank of the adapters that `generate` will be given; None when there will be none.

        Raises:
            EngineError: vLLM is not installed, or did not start.
        """
        try:
            import torch
            from vllm import LLM
        except ImportError as error:
            raise EngineError(f"vLLM is not installed here ({error}). Run `make setup`.") from error
        on_cpu = not torch.cuda.is_available()
        arguments: dict[str, Any] = {
            "model": str(model),
            "dtype": self.dtype,
            "max_model_len": self.max_model_len_tokens,
            "tensor_parallel_size": self.tensor_parallel_size,
            "quantization": self.quantization,
            "enforce_eager": on_cpu if self.enforce_eager is None else self.enforce_eager,
            "enable_prefix_caching": True,
            "generation_config": "vllm",  # sampling options come from our config, not from the model folder
            "disable_log_stats": True,
            "use_tqdm_on_load": False,  # one progress bar, ours
            "trust_remote_code": False,
        }
        for name in ("max_num_seqs", "max_num_batched_tokens"):
            if (value := getattr(self, name)) is not None:
                arguments[name] = value
        if lora_rank is not None:
            # vLLM knows a few ranks only, and pads smaller adapters.
            allowed = next((rank for rank in (8, 16, 32, 64, 128, 256, 320, 512) if rank >= lora_rank), lora_rank)
            arguments |= {"enable_lora": True, "max_lora_rank": allowed, "max_loras": 1}
        if on_cpu:
            os.environ["VLLM_CPU_KVCACHE_SPACE"] = str(self.cpu_kv_cache_gib)
            os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # "auto" leaves one of two cores idle
            os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))
            if arguments["enforce_eager"]:
                os.environ["TORCHDYNAMO_DISABLE"] = "1"  # the sampler's small kernels would compile for half a minute
            arguments["block_size"] = 32  # the CPU default of 128 wastes up to 127 shared tokens a record
        else:
            arguments["gpu_memory_utilization"] = self.gpu_memory_utilization
        # Set VLLM_LOGGING_LEVEL=INFO to see how the engine starts; request texts are never logged.
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        os.environ.setdefault("PYTHONWARNINGS", "ignore")
        try:
            engine = LLM(**arguments)
        except (RuntimeError, ValueError, OSError) as error:
            raise EngineError(f"vLLM did not start on {model}: {error}") from error
        try:
            yield _VllmGenerator(engine)
        finally:
            # On CPU a worker never ends by itself within vLLM's own grace period of 5 s.
            engine.llm_engine.engine_core.shutdown(timeout=1.0 if on_cpu else None)


class _VllmGenerator:
    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._max_tokens = int(engine.llm_engine.model_config.max_model_len)
        self._adapters: dict[Path, int] = {}

    def generate(self, requests: Sequence[Request], adapter: Path | None = None) -> list[Generation]:
        from vllm.lora.request import LoRARequest

        answers: list[Generation | None] = [self._too_long(request) for request in requests]
        asked = [number for number, answer in enumerate(answers) if answer is None]
        lora = None
        if adapter is not None:
            number = self._adapters.setdefault(adapter, len(self._adapters) + 1)
            lora = LoRARequest(adapter.name, number, str(adapter))
        outputs = self._engine.generate(
            [{"prompt_token_ids": list(requests[i].prompt_ids)} for i in asked],
            [_sampling(requests[i]) for i in asked],
            use_tqdm=False,
            lora_request=lora,
        )
        for i, output in zip(asked, outputs, strict=True):
            answers[i] = _generation(output)
        return [answer for answer in answers if answer is not None]

    def _too_long(self, request: Request) -> Generation | None:
        needed = len(request.prompt_ids) + request.max_tokens
        if needed <= self._max_tokens:
            return None
        reason = f"prompt_too_long: {needed} tokens with the answer, the engine takes {self._max_tokens}"
        return Generation(None, failure=reason, prompt_tokens=len(request.prompt_ids))


def _sampling(request: Request) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    choices = StructuredOutputsParams(choice=list(request.choices)) if request.choices else None
    return SamplingParams(
        temperature=request.temperature,
        seed=request.seed,
        max_tokens=request.max_tokens,
        stop_token_ids=[request.stop_id],
        structured_outputs=choices,
        logprobs=0 if request.choices else None,
        detokenize=True,
        skip_special_tokens=True,
    )


def _generation(output: Any) -> Generation:
    answer = output.outputs[0]
    if answer.finish_reason not in ("stop", "length"):
        return Generation(None, failure=f"engine ended the request with {answer.finish_reason!r}")
    probability = None
    if answer.logprobs:
        probability = min(1.0, math.exp(answer.logprobs[0][answer.token_ids[0]].logprob))
    return Generation(
        text=answer.text,
        finish_reason=answer.finish_reason,
        probability=probability,
        prompt_tokens=len(output.prompt_token_ids),
        cached_tokens=output.num_cached_tokens or 0,
        completion_tokens=len(answer.token_ids),
    )
