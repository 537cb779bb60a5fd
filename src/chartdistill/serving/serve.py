"""`serve`: answer charts over HTTP with a trained student, until told to end.

In: a run folder, and where to listen. Out: answers, as `predict` writes them. Must hold: what is wrong is said before
the engine starts, which takes half a minute; the engine's processes and sockets are gone when this returns.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys

from chartdistill.config import Run, load_run
from chartdistill.engines import AsyncVllm, ChatCompletions, OpenAIEngine, VllmEngine, open_async
from chartdistill.engines.vllm_engine import DIED, IF_IT_DIES_AGAIN
from chartdistill.errors import ConfigError, EngineError
from chartdistill.evaluation.predict import Student
from chartdistill.run_file import read_run
from chartdistill.runtime import privacy
from chartdistill.runtime.listening import listen
from chartdistill.serving.access import Access, read_access
from chartdistill.serving.admission import Admission
from chartdistill.serving.app import Service
from chartdistill.serving.lifetime import serve_until_ended

_FIRST_CHART = "PLAN: Start aspirin 81 mg daily."
"""Asked before anybody else may: what is computed once is then computed."""
_ENDED_BY = {signal.SIGTERM: 143, signal.SIGINT: 130}


def serve(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes; returns the exit code.

    Raises:
        ConfigError: it may not listen there, or not with this engine.
        ArtefactError: the run has no finished student.
        ModelError: the student's model is not here.
        EngineError: the engine did not start, or died.
    """
    access = read_access(
        arguments.host, arguments.port, arguments.api_key_file, arguments.tls_cert, arguments.tls_key,
        arguments.behind_proxy, os.environ,
    )  # fmt: skip
    run = read_run(arguments.run) if arguments.config is None else load_run(arguments.config, run_dir=arguments.run)
    if run.config.privacy.allowed_hosts:
        privacy.enforce(run.config.privacy.allowed_hosts)
    options = _engine_options(run)
    student = Student(run, arguments.filters)
    _warn(student, access)
    with listen(access.address, access.port) as bound, asyncio.Runner() as runner:
        _say("starting the engine, which takes a while")
        opened = open_async(
            options, run.model_folder("student"), run.dir / "adapter", student.with_spans, run.config.name
        )
        with opened as engine:
            ended_by = runner.run(_answer(run, student, engine, access, bound, arguments))
    if ended_by is None:
        raise EngineError(f"{DIED}; the server has ended. Start it again. {IF_IT_DIES_AGAIN}")
    return _ENDED_BY[ended_by]


async def _answer(
    run: Run,
    student: Student,
    engine: AsyncVllm,
    access: Access,
    bound: socket.socket,
    arguments: argparse.Namespace,
) -> signal.Signals | None:
    admission = Admission(arguments.queue)
    chat = ChatCompletions(engine, f"{run.config.name}-base", run.config.student.template_options)
    service = Service(student, engine, chat, admission, arguments.max_bytes)
    with admission.place() as first:
        await service.read([_FIRST_CHART])
        student.require_as_it_was()
        first.answered()
    url = access.url(bound.getsockname()[1])
    key = "with the key" if access.key is not None else "no key needed"
    _say(f"ready at {url}/extract ({key}); Ctrl-C ends it")
    return await serve_until_ended(service, engine, access, bound, arguments.grace)


def _engine_options(run: Run) -> VllmEngine:
    """Of the engine that `predict` starts, too."""
    engine = run.config.student.engine
    if isinstance(engine, VllmEngine):
        return engine
    if isinstance(engine, OpenAIEngine) and not engine.urls:
        return engine.serve
    other = (
        "asks a server that runs already: send charts to that one" if isinstance(engine, OpenAIEngine) else "is slow"
    )
    raise ConfigError(
        f"student.engine.type is {engine.type}, which {other}; `serve` runs vLLM. Give --config FILE with "
        "student.engine: {type: vllm}, as far as its other options are those of training."
    )


def _warn(student: Student, access: Access) -> None:
    for line in student.warnings:
        _say(f"warning: {line}")
    if student.no_confidence:
        _say(f"items have no confidence: {student.no_confidence}")
    if access.behind_proxy and access.tls is None:
        _say("warning: this server speaks plain HTTP; that its proxy ends TLS is yours to hold")


def _say(line: str) -> None:
    print(f"chartdistill serve: {line}", file=sys.stderr, flush=True)
