"""The page's server: which address answers what, on loopback alone.

In: a run folder and a person's name. Out: a page at an address with a token, until Ctrl-C. Must hold: it listens on
127.0.0.1 and nothing else; a fault becomes a sentence on the page, without record text in it or in any log.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from chartdistill import __version__
from chartdistill.errors import ChartDistillError
from chartdistill.review.gold import GoldView
from chartdistill.review.guard import TOO_MUCH, Guard
from chartdistill.review.labels import LabelView
from chartdistill.review.refusal import RefusedError
from chartdistill.review.trial import TrialView
from chartdistill.runtime import quiet
from chartdistill.runtime.json_lines import parse_json
from chartdistill.runtime.listening import listen

HOST = "127.0.0.1"
Answer = Callable[[dict[str, Any]], dict[str, Any]]
Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]
_FOLDER = Path(__file__).parent


def review(run_dir: Path, person: str, port: int = 0, with_teacher: bool = False) -> None:
    """Serve the page until the process is told to end; prints its address first. `port` 0: a free one.

    Raises:
        ArtefactError: the run folder lacks a stage.
        ConfigError: the port is taken, or `with_teacher` and the run's labels came from a file.
        ModelError: `with_teacher`, and there is no teacher here.
    """
    gold = GoldView(run_dir, person)
    labels = LabelView(run_dir, person, gold.hides)
    trial = TrialView(run_dir, with_teacher)
    try:
        with listen(HOST, port) as listener:
            port, token = listener.getsockname()[1], secrets.token_urlsafe(24)
            app = application(run_dir.resolve().name, person, labels, gold, trial)
            server = uvicorn.Server(
                uvicorn.Config(
                    Guard(app, token, port), log_config=None, access_log=False, server_header=False, lifespan="off",
                    ws="none", loop="asyncio", http="h11", timeout_graceful_shutdown=5,
                )
            )  # fmt: skip
            with suppress(KeyboardInterrupt):  # how it is meant to end, from the moment that the address is there
                print(f"http://{HOST}:{port}/{token}/", flush=True)
                said = f"review: open this address in a browser of this machine, {person}. Ctrl-C ends it."
                print(said, file=sys.stderr)
                server.run(sockets=[listener])
    finally:
        trial.close()


def application(run: str, person: str, labels: LabelView, gold: GoldView, trial: TrialView) -> Starlette:
    """What answers behind the guard."""
    templates = Environment(
        loader=PackageLoader("chartdistill", "review"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    page = templates.get_template("page.html.j2").render(run=run, person=person, version=__version__)

    async def show(request: Request) -> Response:
        return HTMLResponse(page)

    reads: dict[str, Answer] = {
        "labels": labels.queue, "label": labels.label, "gold": gold.overview, "gold/record": gold.record,
        "try": trial.state,
    }  # fmt: skip
    writes: dict[str, Answer] = {
        "label/decide": labels.decide, "label/locate": labels.locate, "gold/read": gold.read,
        "gold/settle": gold.settle, "try/ask": trial.ask,
    }  # fmt: skip
    routes = [
        Route("/", show),
        Mount("/static", StaticFiles(directory=_FOLDER / "static")),
        *(Route(f"/api/{name}", _endpoint(answer)) for name, answer in reads.items()),
        *(Route(f"/api/{name}", _endpoint(answer), methods=["POST"]) for name, answer in writes.items()),
    ]
    return Starlette(routes=routes)


def _endpoint(answer: Answer) -> Endpoint:
    """Plain values in and out; faults become sentences."""

    async def respond(request: Request) -> Response:
        try:
            given = dict(request.query_params) if request.method != "POST" else _object(await request.body())
            return JSONResponse(await run_in_threadpool(answer, given))
        except RefusedError as refusal:
            return JSONResponse({"error": str(refusal)}, refusal.status)
        except ChartDistillError as error:
            return JSONResponse({"error": str(error)}, 500)
        except ClientDisconnect:  # cut off by the guard; where the browser itself has gone nobody reads it
            return JSONResponse({"error": TOO_MUCH}, 413)
        except Exception as error:
            if quiet.is_verbose():
                raise
            print(f"review: a fault of the program: {type(error).__name__} (more: -v)", file=sys.stderr)
            return JSONResponse(
                {"error": f"This is a fault of the program ({type(error).__name__}). Reload to see what is saved."}, 500
            )

    return respond


def _object(body: bytes) -> dict[str, Any]:
    """What a page sent.

    Raises:
        RefusedError: it is no JSON object, or has half of a surrogate pair in a text.
    """
    try:
        value = parse_json(body.decode())
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise RefusedError(
            "A text has half of a character (a lone surrogate) in it. Take it out and try again."
        ) from None
    except ValueError as error:
        raise RefusedError(
            f"The request is no JSON: {error}." if not isinstance(error, UnicodeError) else "Not UTF-8."
        ) from None
    if not isinstance(value, dict):
        raise RefusedError("The request must be a JSON object.")
    return value
