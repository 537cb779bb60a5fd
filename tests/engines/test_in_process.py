"""vLLM's engine in the process that asks: it gives back what it borrows, and its failure is as final as a death."""

from __future__ import annotations

import gc
import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

from chartdistill.engines import Request, VllmEngine
from chartdistill.engines.vllm_in_process import PROCESSES, borrow_process, num_memory_nodes
from chartdistill.errors import EngineError

pytestmark = pytest.mark.slow

ENGINE = VllmEngine(dtype="float32", max_model_len_tokens=256, max_num_seqs=8)
REQUESTS = [Request(tuple(range(5 + n, 60 + n)), 12, stop_id=1) for n in range(4)]


@pytest.fixture(autouse=True)
def _as_nobody_has_set_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PROCESSES, raising=False)


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True) if "VLLM" in child.name()}


def state_of_this_process() -> dict[str, Any]:
    import torch
    import torch._dynamo

    return {
        "threads": torch.get_num_threads(),
        "sets threads": torch.set_num_threads,
        "random": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),  # type: ignore[index]
        "torch": torch.get_rng_state().tolist(),
        "dtype": torch.get_default_dtype(),
        "compiles nothing": torch._dynamo.config.disable,
        "groups": torch.distributed.is_initialized(),
        "frozen": gc.get_freeze_count(),
        "environment": dict(os.environ),
    }


def test_all_that_vllm_changes_of_its_process_is_as_before(served_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    import vllm  # noqa: F401  (to load it sets variables too)

    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    before, threads = state_of_this_process(), children()
    torch.set_num_threads(1)
    before["threads"] = 1
    with ENGINE.open(served_model) as generator:
        first = generator.generate(REQUESTS)
        assert torch.get_num_threads() == 2
        assert children() == threads, "no process was needed"
    assert state_of_this_process() == before
    with ENGINE.open(served_model) as generator:
        assert generator.generate(REQUESTS) == first
    assert state_of_this_process() == before


def test_a_closed_engine_leaves_its_memory(served_model: Path) -> None:
    """Its cache of a GiB would be there again with each engine."""
    import torch

    def large_tensors() -> list[torch.Size]:
        gc.unfreeze()  # vLLM hides what it has at its start
        gc.collect()
        return [o.shape for o in gc.get_objects() if type(o) is torch.Tensor and o.nbytes > 2**26]

    with ENGINE.open(served_model) as generator:
        generator.generate(REQUESTS)
        assert large_tensors(), "of an open engine the cache is seen"
    del generator
    assert large_tensors() == []


def test_what_the_environment_was_it_is_again(served_model: Path) -> None:
    """Or training, which comes next, would start its processes with what vLLM wants of its own."""
    before = dict(os.environ)
    with ENGINE.open(served_model, with_spans=True):
        assert dict(os.environ) != before
    assert dict(os.environ) == before


def test_two_threads_that_ask_are_both_answered(served_model: Path) -> None:
    with ENGINE.open(served_model) as generator, ThreadPoolExecutor(4) as together:
        alone = [generator.generate([request])[0].token_ids for request in REQUESTS]
        asked = [together.submit(generator.generate, REQUESTS) for _ in range(8)]
        for answers in asked:
            assert [answer.token_ids for answer in answers.result(60)] == alone


def test_a_second_engine_has_processes_and_answers_alike(served_model: Path) -> None:
    with ENGINE.open(served_model) as first:
        expected = [answer.token_ids for answer in first.generate(REQUESTS)]
        before = children()
        with ENGINE.open(served_model) as second:
            assert children() - before
            assert [answer.token_ids for answer in second.generate(REQUESTS)] == expected
        assert [answer.token_ids for answer in first.generate(REQUESTS)] == expected
    assert PROCESSES not in os.environ


def test_what_fails_as_it_computes_ends_it(served_model: Path) -> None:
    """A seeded request whose prompt is computed in two steps fails in vLLM's CPU worker; see VllmEngine.arguments."""
    in_steps = ENGINE.model_copy(update={"max_num_batched_tokens": 32})
    seeded = [Request(request.prompt_ids, 12, stop_id=1, temperature=1.0, seed=7) for request in REQUESTS]
    with in_steps.open(served_model) as generator:
        assert all(answer.failure is None for answer in generator.generate(REQUESTS))
        for asked in (seeded, REQUESTS):
            with pytest.raises(EngineError, match=r"failed .*\(RuntimeError at .+\.py:\d+\).*finished before is kept"):
                generator.generate(asked)
    with ENGINE.open(served_model) as generator:
        assert all(answer.failure is None for answer in generator.generate(REQUESTS))


def test_one_that_compiles_has_processes_that_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM refuses to start where torch was told to compile nothing, as an eager engine of this process tells it."""
    monkeypatch.delenv("TORCHDYNAMO_DISABLE", raising=False)
    seen = []

    def make(_: dict[str, Any]) -> tuple[Any, Any]:
        seen.append((os.environ.get("TORCHDYNAMO_DISABLE"), os.environ[PROCESSES]))
        return None, SimpleNamespace(shutdown=lambda timeout: None)

    for engine in (ENGINE, ENGINE.model_copy(update={"enforce_eager": False})):
        with engine.started(Path("unused"), None, False, make):
            pass
    assert seen == [("1", "0"), (None, "1")]


def test_one_that_was_interrupted_says_so(served_model: Path) -> None:
    """Not that it died, out of memory or killed."""
    with ENGINE.open(served_model) as generator:
        client = generator._engine.llm_engine.engine_core  # type: ignore[attr-defined]
        core = client.engine_core
        step = core.step_fn

        def interrupted() -> None:
            raise KeyboardInterrupt

        core.step_fn = interrupted
        with pytest.raises(KeyboardInterrupt):
            generator.generate(REQUESTS)
        core.step_fn = step
        with pytest.raises(EngineError, match="interrupted"):
            generator.generate(REQUESTS)


def test_a_switch_that_is_no_number_is_named(served_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROCESSES, "no")
    with pytest.raises(EngineError, match=rf"{PROCESSES} is 'no'; allowed are 0"), ENGINE.open(served_model):
        pass
    assert os.environ[PROCESSES] == "no"


def test_one_that_does_not_start_leaves_the_process_as_it_was(served_model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in served_model.iterdir():
        if file.suffix != ".safetensors":
            (broken / file.name).write_bytes(file.read_bytes())
    (broken / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}              ")
    before = state_of_this_process()
    with pytest.raises(EngineError, match=r"(?s)did not start on .*broken"), ENGINE.open(broken):
        pass
    assert state_of_this_process() == before
    with ENGINE.open(served_model) as generator:
        assert all(answer.failure is None for answer in generator.generate(REQUESTS))


def test_the_process_is_not_lent_where_vllm_would_take_what_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    assert num_memory_nodes() >= 1
    with borrow_process() as lent, borrow_process() as again:
        assert lent and not again
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        with borrow_process() as lent:
            assert not lent
        assert torch.distributed.is_initialized(), "a group that somebody else made stays"
    finally:
        torch.distributed.destroy_process_group()
