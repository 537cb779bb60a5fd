"""vLLM, from Python. On a CPU the engine is in this process; on cards it has processes that end with the block."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from chartdistill.engines.contract import Generation, Generator, Request, Told, refuse_constrained_thought, too_long
from chartdistill.engines.process_variables import cuda_variables, num_cores, set_variable, variables_kept
from chartdistill.engines.vllm_in_process import (
    PROCESSES,
    THREADS,
    borrow_process,
    end_on_failure,
    num_memory_nodes,
    wants_processes,
    what_failed,
)
from chartdistill.engines.vllm_requests import Counter, generation_of, sampling_params
from chartdistill.engines.watch import descendants, ended_with_us, socket_folder
from chartdistill.errors import ConfigError, EngineError
from chartdistill.runtime.cpu_products import prefers_bfloat16
from chartdistill.runtime.model_folder import load_tokenizer
from chartdistill.runtime.processes import children_import_us, children_without_interrupts, interrupts_get_through

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM's `max_lora_rank` may be; a smaller adapter is padded (vllm.config.lora.MaxLoRARanks)."""

DIED = "vLLM's engine process died while it was answering (out of memory, or killed)"
IF_IT_DIES_AGAIN = (
    "If it dies again, set VLLM_LOGGING_LEVEL=INFO to see why, or lower the engine's max_num_seqs, "
    "max_model_len_tokens or cache."
)
_COMPILES_NOTHING = "TORCHDYNAMO_DISABLE"
_SPAN_PROCESSOR = "chartdistill.engines.vllm_span_processor:SpanProcessor"


class VllmEngine(BaseModel):
    """Options of a vLLM engine. Left out means vLLM's own default.

    Log-probabilities are vLLM's `raw_logprobs`: before temperature, but among what choices or pattern allow. `spans`
    are a logits processor, which comes after them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["vllm"] = "vllm"
    dtype: str = "auto"
    """auto, bfloat16, float16, float32. auto: as stored; on a CPU that multiplies bfloat16 no faster than float32
    (measured, half a second), float32."""
    max_model_len_tokens: int | None = Field(default=None, ge=16)
    """Longest prompt plus answer."""
    max_num_seqs: int | None = Field(default=None, ge=1)
    """Requests decoded at once."""
    max_num_batched_tokens: int | None = Field(default=None, ge=16)
    """Tokens computed in one step. On a CPU leave it out where answers are drawn at a temperature."""
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    """Share of the GPU's memory for weights and KV cache."""
    cpu_kv_cache_gib: int = Field(default=1, ge=1)
    """KV cache when running on a CPU."""
    tensor_parallel_size: int = Field(default=1, ge=1)
    """GPUs the model is divided over."""
    replicas: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(default="auto", exclude_if=lambda n: n == "auto")
    """Engines that label side by side on this machine, each on `tensor_parallel_size` cards of its own. auto: as many
    as there are cards for; on a CPU one."""
    quantization: str | None = None
    """For example fp8, to quantise at load time; weights that are quantised on disk need nothing here."""
    enforce_eager: bool | None = None
    """No compilation and no CUDA graphs; None: eager on CPU (starts sooner), compiled on CUDA."""
    prefix_caching: bool = True
    """Compute the tokens that prompts share once. Off: only to measure what that is worth."""

    makes_prompts: ClassVar[bool] = False
    constrains_from_start: ClassVar[bool] = True
    takes_spans: ClassVar[bool] = True

    def refuses_adapter(self, rank: int, use_dora: bool) -> str | None:
        """Which of an adapter's options vLLM cannot serve, and what it can; None when all is well."""
        if rank > LORA_RANKS[-1]:
            return f"rank is {rank}, and vLLM serves adapters of a rank up to {LORA_RANKS[-1]}: lower it"
        return "use_dora is true, and vLLM serves no DoRA adapters: set it to false" if use_dora else None

    def what_determines_an_answer(self) -> dict[str, Any]:
        """The options on which answers depend; the others only make it faster or slower."""
        return {"dtype": self.dtype, "quantization": self.quantization}

    @contextmanager
    def open(self, model: Path, lora_rank: int | None = None, with_spans: bool = False) -> Iterator[Generator]:
        """Start vLLM on a model folder.

        Args:
            model: a checked model folder.
            lora_rank: the rank of the adapters that `generate` will be given; None when there will be none.
            with_spans: requests may have `spans`.

        Raises:
            EngineError: vLLM is not installed, or did not start.
        """

        with ExitStack() as borrowed:

            def make(arguments: dict[str, Any]) -> tuple[Any, Any]:
                from vllm import LLM, envs

                if not wants_processes() and not borrowed.enter_context(borrow_process()):
                    os.environ[PROCESSES] = "1"
                    envs.disable_envs_cache()  # one that is open in this process has filled it
                engine = LLM(model=str(model), use_tqdm_on_load=False, **arguments)
                return engine, engine.llm_engine.engine_core

            with self.started(model, lora_rank, with_spans, make) as (engine, client):
                if _engine_processes(client):
                    threading.Thread(target=_report_death, args=(client,), daemon=True).start()
                else:
                    end_on_failure(client)
                yield _VllmGenerator(engine, load_tokenizer(model), with_spans)

    @contextmanager
    def started(
        self,
        model: Path,
        lora_rank: int | None,
        with_spans: bool,
        make: Callable[[dict[str, Any]], tuple[Any, Any]],
    ) -> Iterator[tuple[Any, Any]]:
        """What `make` makes of the engine arguments, and vLLM's client of the engine's processes, which end with the
        block.

        Raises:
            EngineError: vLLM is not installed, or did not start.
        """
        try:
            import torch
            import vllm  # noqa: F401
        except ImportError as error:
            raise EngineError(f"vLLM is not installed here ({error}). Run `make setup`.") from error
        on_cpu = not torch.cuda.is_available()
        with socket_folder() as sockets, variables_kept() as (before, started):
            os.environ.update(self.environment(on_cpu, sockets))
            arguments = self.arguments(on_cpu, lora_rank)
            if with_spans:
                os.environ["VLLM_USE_V2_MODEL_RUNNER"] = "0"  # each of vLLM's two runners has its own interface
                arguments["logits_processors"] = [_SPAN_PROCESSOR]
            try:
                # Theirs would be tracebacks.
                with interrupts_get_through(), children_import_us(), children_without_interrupts():
                    engine, client = make(arguments)
            except EngineError:
                raise
            except Exception as error:  # of vLLM, torch and the model's own code
                raise EngineError(f"vLLM did not start on {model}: {error}") from error
            finally:
                started()
            for name in (THREADS, PROCESSES, _COMPILES_NOTHING):  # a second engine of this process has its own
                set_variable(name, before.get(name))
            with ended_with_us(_engine_processes(client)):
                try:
                    yield engine, client
                finally:
                    # On CPU a worker never ends by itself within vLLM's own grace period of 5 s.
                    client.shutdown(timeout=1.0 if on_cpu else None)

    def arguments(self, on_cpu: bool, lora_rank: int | None) -> dict[str, Any]:
        """vLLM's engine arguments, by the names that both `vllm.LLM` and the command line know."""
        arguments: dict[str, Any] = {
            "dtype": self._dtype_on_cpu() if on_cpu else self.dtype,
            "tensor_parallel_size": self.tensor_parallel_size,
            "enforce_eager": on_cpu if self.enforce_eager is None else self.enforce_eager,
            "enable_prefix_caching": self.prefix_caching,
            "generation_config": "vllm",  # sampling options come from our config, not from the model folder
            "disable_log_stats": True,
            "trust_remote_code": False,
        }
        optional = {
            "max_model_len": self.max_model_len_tokens,
            "max_num_seqs": self.max_num_seqs,
            "max_num_batched_tokens": self.max_num_batched_tokens,
            "quantization": self.quantization,
        }
        arguments |= {name: value for name, value in optional.items() if value is not None}
        if lora_rank is not None:
            allowed = next((rank for rank in LORA_RANKS if rank >= lora_rank), lora_rank)
            arguments |= {"enable_lora": True, "max_lora_rank": allowed, "max_loras": 1}
            if on_cpu:
                arguments["worker_extension_cls"] = "chartdistill.engines.cpu_lora.OneAdapter"
        if on_cpu:
            if self.max_num_batched_tokens is None:
                # A seeded request whose prompt is computed in two steps kills vLLM's CPU worker: it winds the random
                # generator back, which those of a CPU cannot. So a prompt waits for a step that has room for all of it.
                arguments["enable_chunked_prefill"] = False
            arguments["block_size"] = 32  # the CPU default of 128 wastes up to 127 shared tokens a record
        else:
            arguments["gpu_memory_utilization"] = self.gpu_memory_utilization
        return arguments

    def has_processes_on_a_cpu(self) -> bool:
        """Whether it has processes of its own also where there is no card."""
        return self.environment(True, "")[PROCESSES] != "0" or num_memory_nodes() > 1

    def _dtype_on_cpu(self) -> str:
        return "float32" if self.dtype == "auto" and not prefers_bfloat16() else self.dtype

    def environment(self, on_cpu: bool, sockets: str) -> dict[str, str]:
        """Variables of the process vLLM runs in. What the user has set stays, but for what is a matter of this engine.

        Args:
            on_cpu: whether there is no GPU.
            sockets: the engine's own folder (see `watch.socket_folder`).
        """
        variables = {
            # Set VLLM_LOGGING_LEVEL=INFO to see how the engine starts; request texts are never logged.
            "VLLM_LOGGING_LEVEL": "ERROR",
            "PYTHONWARNINGS": "ignore",
        }
        if on_cpu:
            variables["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"  # "auto" counts physical cores only
            variables[THREADS] = str(num_cores())
            # What compiles does so in a process of its own: in this one torch may have been told before not to.
            here = self.tensor_parallel_size == 1 and self.enforce_eager is not False
            variables[PROCESSES] = "0" if here else "1"
        else:
            variables |= cuda_variables()
        variables = {name: os.environ.get(name, value) for name, value in variables.items()}
        variables["VLLM_RPC_BASE_PATH"] = sockets
        if on_cpu:
            variables["VLLM_CPU_KVCACHE_SPACE"] = str(self.cpu_kv_cache_gib)
            if self.enforce_eager is not False:
                variables[_COMPILES_NOTHING] = "1"  # the sampler's small kernels would compile for half a minute
        return variables


def _engine_processes(client: Any) -> list[int]:
    """The process ids of an engine and its workers; none where the engine is this process."""
    manager = getattr(getattr(client, "resources", None), "engine_manager", None)
    cores = [process.pid for process in manager.processes] if manager is not None else []
    return cores + [pid for core in cores for pid in descendants(core)]


def _report_death(client: Any) -> None:
    """Wait for an engine process to end, then wake whoever waits for its answers with an error.

    vLLM does so only where the process could still say that it dies. When it is killed (by the kernel for memory, say)
    vLLM's own monitor closes the sockets, but leaves `SyncMPClient.get_output` waiting on its queue for ever. An
    engine that we stop ends here too, with nobody left to read the error.
    """
    from vllm.v1.engine.exceptions import EngineDeadError

    processes = client.resources.engine_manager.processes
    while all(process.is_alive() for process in processes):
        # Not by sentinels alone: one is a pipe, which forked workers inherit and may keep open.
        wait([process.sentinel for process in processes], timeout=1)
    client.resources.engine_dead = True  # from now on requests are refused
    client.outputs_queue.put(EngineDeadError())


class _VllmGenerator:
    continues = True

    def __init__(self, engine: Any, tokenizer: Any, with_spans: bool) -> None:
        self._engine, self._tokenizer, self._with_spans = engine, tokenizer, with_spans
        self._max_tokens = int(engine.llm_engine.model_config.max_model_len)
        self._adapters: dict[Path, int] = {}
        self._turn = threading.Lock()  # vLLM's own is for one asker
        self.cache_tokens: int | None = _cache_tokens(engine.llm_engine.vllm_config.cache_config)

    def generate(
        self, requests: Sequence[Request], adapter: Path | None = None, told: Told | None = None
    ) -> list[Generation]:
        import zmq
        from vllm.lora.request import LoRARequest
        from vllm.v1.engine.exceptions import EngineDeadError

        refuse_constrained_thought(requests)
        if not self._with_spans and any(request.spans is not None for request in requests):
            raise ConfigError("a request has `spans`, and this engine was not opened with_spans.")
        answers = [too_long(request, self._max_tokens) for request in requests]
        asked = [number for number, answer in enumerate(answers) if answer is None]
        lora = None
        if adapter is not None:
            number = self._adapters.setdefault(adapter, len(self._adapters) + 1)
            # vLLM tells adapters apart by name, and the folders of two runs may have the same one.
            lora = LoRARequest(f"adapter-{number}", number, str(adapter))
        try:
            with self._turn:
                given = self._ask([requests[i] for i in asked], lora, told)
        except (EngineDeadError, zmq.ZMQError) as error:  # ZMQError: its sockets were closed as we sent
            raise EngineError(
                f"{what_failed(error) or DIED}. Work that was finished before is kept: run the same command again. "
                f"{IF_IT_DIES_AGAIN}"
            ) from error
        for i, answer in zip(asked, given, strict=True):
            answers[i] = answer
        return [answer for answer in answers if answer is not None]

    def _ask(self, requests: list[Request], lora: Any, told: Told | None, before: int = 0) -> list[Generation]:
        """vLLM refuses a whole batch for one bad request, so a refused batch is halved until that one is alone."""
        from vllm import RequestOutput
        from vllm.exceptions import VLLMClientError

        if not requests:
            return []
        try:
            self._engine.enqueue(
                [{"prompt_token_ids": list(request.prompt_ids)} for request in requests],
                [sampling_params(request) for request in requests],
                use_tqdm=False,
                lora_request=lora,
            )
            counts = told is not None and partial(Counter, lambda done: told(before + done))
            outputs = self._engine.wait_for_completion(RequestOutput, use_tqdm=counts)
        except (ValueError, VLLMClientError) as error:  # its words may quote the request
            if len(requests) == 1:
                return [Generation(None, failure=f"refused: {type(error).__name__}")]
            half = len(requests) // 2
            first = self._ask(requests[:half], lora, told, before)
            return first + self._ask(requests[half:], lora, told, before + half)
        return [
            generation_of(request, output, self._tokenizer) for request, output in zip(requests, outputs, strict=True)
        ]


def _cache_tokens(cache: Any) -> int | None:
    if cache.kv_cache_size_tokens is not None:
        return int(cache.kv_cache_size_tokens)
    return int(cache.num_gpu_blocks * cache.block_size) if cache.num_gpu_blocks else None
