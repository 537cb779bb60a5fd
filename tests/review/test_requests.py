"""Requests to the review server: which are answered, which are refused, and in what words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chartdistill.review.gold import GoldView
from chartdistill.review.guard import MAX_BODY, Guard
from chartdistill.review.labels import LabelView
from chartdistill.review.server import application
from chartdistill.review.trial import TrialView
from review_run import make_run

TOKEN, PORT = "a-token", 4321
HOST = f"127.0.0.1:{PORT}"
JSON = {"host": HOST, "origin": f"http://{HOST}", "content-type": "application/json"}


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


@pytest.fixture
def client(run_dir: Path) -> Iterator[Any]:
    from starlette.testclient import TestClient

    gold, trial = GoldView(run_dir, "Ada"), TrialView(run_dir)
    app = application("<b>run</b>", "Ada", LabelView(run_dir, "Ada", gold.hides), gold, trial)
    guarded: Any = Guard(app, TOKEN, PORT)
    yield TestClient(guarded, base_url=f"http://{HOST}", follow_redirects=False)
    trial.close()


@pytest.mark.parametrize(
    "path", ["/", "/wrong/", "/a-toke/", "/a-tokenn/", "/a-token%20/", "//a-token/", "/\u00e9/", "/api/gold"]
)
def test_without_the_token_nothing_is_answered(client: Any, path: str) -> None:
    found = client.get(path)
    assert found.status_code == 403 and "whole address" in found.text and "Ada" not in found.text


@pytest.mark.parametrize(
    "host", ["evil.example", f"evil.example:{PORT}", "127.0.0.1", "127.0.0.1:1", f"127.0.0.1:{PORT}.evil.example", ""]
)
def test_another_name_for_this_machine_is_refused(client: Any, host: str) -> None:
    assert client.get(f"/{TOKEN}/", headers={"host": host}).status_code == 403


def test_the_page_forbids_itself_everything_from_elsewhere(client: Any) -> None:
    found = client.get(f"/{TOKEN}/", headers={"host": f"localhost:{PORT}"})
    assert found.status_code == 200 and "&lt;b&gt;run" in found.text and "<b>run" not in found.text
    policy = found.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "http" not in policy
    assert found.headers["cache-control"] == "no-store" and found.headers["referrer-policy"] == "no-referrer"
    assert client.get(f"/{TOKEN}").headers["location"] == f"/{TOKEN}/"
    assert client.get(f"/{TOKEN}/static/review.js").headers["content-type"].startswith("text/javascript")
    assert client.get(f"/{TOKEN}/static/../server.py").status_code in (403, 404)
    assert client.get(f"/{TOKEN}/static/%2e%2e/server.py").status_code == 404


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, 400),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"content-type": "text/plain"}, 403),
        ({"content-type": "application/x-www-form-urlencoded"}, 403),
    ],
)
def test_only_the_page_itself_changes_anything(client: Any, change: dict[str, str], status: int) -> None:
    found = client.post(f"/{TOKEN}/api/label/decide", headers=JSON | change, content="{}")
    assert found.status_code == status


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "no JSON"),
        (b"[]", "must be a JSON object"),
        (b"\xff", "UTF-8"),
        (b'{"record": "\\ud800"}', "lone surrogate"),
        (b'{"record": 3}', "`record` must be a text"),
        (b'{"record": "a", "task": "medication", "sample": -1}', "`sample` must be"),
        (b'{"record": "a", "task": "medication", "sample": true}', "`sample` must be"),
        (b'{"record": "a", "task": "medication", "sample": Infinity}', "`sample` must be"),
        (b'{"record": "a", "task": "medication", "sample": 0.5}', "`sample` must be"),
        (b"[" * 100_000, "too deep"),
    ],
)
def test_what_is_no_request_is_answered_in_a_sentence(client: Any, body: bytes, says: str) -> None:
    found = client.post(f"/{TOKEN}/api/label/decide", headers=JSON, content=body)
    assert found.status_code == 400 and says in found.json()["error"]


def test_too_much_is_refused(client: Any) -> None:
    found = client.post(f"/{TOKEN}/api/try/ask", headers=JSON | {"content-length": str(MAX_BODY + 1)}, content="{}")
    assert found.status_code == 413


def test_too_much_without_a_length_is_refused_and_no_fault_of_the_program(
    client: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = (b" " * 1_000_000 for _ in range(MAX_BODY // 1_000_000 + 1))
    found = client.post(f"/{TOKEN}/api/try/ask", headers=JSON, content=parts)
    assert found.status_code == 413 and "16,000,000 bytes" in found.json()["error"]
    assert "fault" not in capsys.readouterr().err


def test_at_the_port_that_browsers_leave_out_the_page_answers(run_dir: Path) -> None:
    from starlette.responses import PlainTextResponse
    from starlette.testclient import TestClient

    guarded: Any = Guard(PlainTextResponse("the page"), TOKEN, 80)
    assert TestClient(guarded, base_url="http://127.0.0.1").get(f"/{TOKEN}/").text == "the page"
    sent = {"content-type": "application/json", "origin": "http://localhost"}
    assert TestClient(guarded, base_url="http://localhost").post(f"/{TOKEN}/", headers=sent).status_code == 200


def test_without_a_student_try_says_why(client: Any) -> None:
    assert "no run folder with a trained student" in client.get(f"/{TOKEN}/api/try").json()["unavailable"]
    found = client.post(f"/{TOKEN}/api/try/ask", headers=JSON, content='{"text": "Stop Yasadol."}')
    assert found.status_code == 409
