"""What `doctor` says where a server answers instead of a model that is here."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from chartdistill.doctor.diagnosis import diagnose
from chartdistill.doctor.surroundings import (
    check_ports,
)
from doctor_run import named, run_with


@contextmanager
def serving(models: dict[str, Any]) -> Iterator[str]:
    """An endpoint that tells its models under /v1 and fails elsewhere."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(models).encode()
            self.send_response(200 if self.path == "/v1/models" else 500)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def test_an_endpoint_must_be_up_and_allowed(tmp_path: Path, tiny_model: Path) -> None:
    served = {"data": [{"id": "reader", "owned_by": "someone"}]}
    with serving(served) as up:
        run = run_with(tmp_path, tiny_model, teacher={"engine": {"type": "openai", "urls": [up]}})
        checks = {check.name: check for check in check_ports(run)}
        assert checks["teacher endpoint"].state == checks["teacher endpoint's model"].state == "ok"
        assert checks["teacher endpoint's model"].found == "reader"
        for option, value, said in (
            ("model_name", "another", "serves no model 'another'"),
            ("api_key_env", "NO_SUCH_KEY_HERE", "'NO_SUCH_KEY_HERE' is not set"),
            ("urls", [up.removesuffix("/v1") + "/v2"], "does not answer as an OpenAI-compatible endpoint"),
        ):
            wrong = run_with(tmp_path, tiny_model, teacher={"engine": {"type": "openai", "urls": [up], option: value}})
            [check] = [check for check in check_ports(wrong) if check.name == "teacher endpoint's model"]
            assert check.state == "no" and said in check.found, check
    [check] = [check for check in check_ports(run) if check.name == "teacher endpoint"]
    assert check.state == "no"
    [check] = [check for check in check_ports(run, planned=True) if check.name == "teacher endpoint"]
    assert check.state == "warning"  # another machine may have it
    away = {"engine": {"type": "openai", "urls": ["http://192.0.2.1:8000/v1"]}}
    run = run_with(tmp_path, tiny_model, teacher=away)
    [check] = [check for check in check_ports(run) if check.name == "teacher endpoint"]
    assert "allowed_hosts: [192.0.2.1]" in check.remedy


def test_what_an_endpoint_cannot_bring_must_be_here(tmp_path: Path, tiny_model: Path) -> None:
    served = {"engine": {"type": "openai", "urls": ["http://127.0.0.1:9/v1"]}}
    found = diagnose(run_with(tmp_path, tiny_model, teacher={**served, "model": "Some/Teacher"}, student=served))
    tokenizer = named(found, "teacher tokenizer")
    assert tokenizer.state == "no"
    assert "--include '*.json' --local-dir models/Teacher" in tokenizer.command
    student = named(found, "student weights")
    assert student.state == "no"
    assert "cannot be given the adapter" in student.found
    found = diagnose(run_with(tmp_path, tiny_model, teacher=served))
    assert named(found, "teacher tokenizer").found == str(tiny_model)
    assert named(found, "vocabulary").state == "ok"
