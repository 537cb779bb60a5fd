"""Endpoints that refuse, hang, stumble, lie or die: real HTTP servers, and never an error taken for an answer."""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from chartdistill.config import load_run
from chartdistill.engines import OpenAIEngine
from chartdistill.errors import ConfigError, EngineError, PrivacyError
from chartdistill.labelling.label import label
from chartdistill.records.prepare import prepare
from fake_server import REQUEST, SECRET, always, ask, reply, serving
from places import ROOT


def test_a_good_reply_is_an_answer(tokenizer_folder: Path) -> None:
    with serving(always(200, reply())) as server:
        [answer] = ask(server, tokenizer_folder)
    assert answer.text == "aspirin | start" and answer.finish_reason == "stop" and answer.failure is None
    [sent] = server.asked
    assert sent["model"] == "tiny" and sent["prompt"] == [5, 6, 7] and sent["max_tokens"] == 4
    assert isinstance(sent["stop"], str)
    assert not {"stop_token_ids", "structured_outputs", "return_token_ids"} & set(sent), "vLLM's own fields"


@pytest.mark.parametrize(
    "beside",
    [
        {"usage": {"prompt_tokens": 3, "completion_tokens": None}},
        {"logprobs": {}},
        {"logprobs": {"token_logprobs": None, "top_logprobs": None}},
        {"finish_reason": "end_turn"},
    ],
    ids=str,
)
def test_what_a_server_leaves_out_or_calls_otherwise_costs_no_answer(
    beside: dict[str, Any], tokenizer_folder: Path
) -> None:
    whole = reply()
    whole["choices"][0] |= {name: value for name, value in beside.items() if name != "usage"}
    with serving(always(200, whole | {name: value for name, value in beside.items() if name == "usage"})) as server:
        [answer] = ask(server, tokenizer_folder)
    assert answer.text == "aspirin | start" and answer.finish_reason == "stop" and answer.completion_tokens >= 0


@pytest.mark.parametrize(
    "value",
    [
        b'{"choices": [{"index": 0, "text": "aspirin | st',
        b"",
        b"<html>502 Bad Gateway</html>",
        b'"aspirin"',
        {"choices": []},
        {"choices": [reply()["choices"][0]] * 2},
        {"error": {"message": SECRET, "code": 500}},
        {"object": "error", "message": "overloaded", "text": "aspirin"},
        reply(text=None),
        reply(text=7),
        reply(text={"error": "x"}),
        reply(finish_reason=None),
        reply(finish_reason="content_filter"),
        reply(finish_reason="error: " + SECRET),
        {"choices": [{"message": {"content": "aspirin"}, "finish_reason": "stop"}]},
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_reply_that_is_not_in_order_is_a_failure(value: Any, tokenizer_folder: Path) -> None:
    with serving(always(200, value)) as server:
        [answer] = ask(server, tokenizer_folder)
    assert answer.text is None and answer.finish_reason is None
    assert (answer.failure or "").startswith("bad_reply: ")
    assert SECRET not in (answer.failure or "")


@pytest.mark.parametrize("message", [None, {"content": None}, {"content": None, "refusal": "I cannot"}, {}])
def test_a_chat_reply_without_text_is_a_failure(message: Any, tokenizer_folder: Path) -> None:
    with serving(always(200, {"choices": [{"message": message, "finish_reason": "stop"}]})) as server:
        [answer] = ask(server, tokenizer_folder, api="chat")
    assert answer.text is None and (answer.failure or "").startswith("bad_reply: ")
    assert server.asked[0]["messages"] == [{"role": "user", "content": SECRET}]
    assert "prompt" not in server.asked[0]


@pytest.mark.parametrize(("owner", "told"), [("vllm", {"enable_thinking": False}), ("someone", None)])
def test_template_options_go_to_those_who_know_them(
    owner: str, told: dict[str, bool] | None, tokenizer_folder: Path
) -> None:
    request = replace(REQUEST, template_options={"enable_thinking": False})
    message = {"choices": [{"message": {"content": "aspirin"}, "finish_reason": "stop"}]}
    with serving(always(200, message), owner) as server:
        [answer] = ask(server, tokenizer_folder, request, api="chat")
    assert answer.text == "aspirin"
    assert server.asked[0].get("chat_template_kwargs") == told
    with serving(always(200, reply()), owner) as server:
        ask(server, tokenizer_folder, request)
    assert "chat_template_kwargs" not in server.asked[0], "its prompt is made already"


def test_labelling_over_chat_tells_the_template_options(tmp_path: Path, tokenizer_folder: Path) -> None:
    """From the config to the wire."""
    values = yaml.safe_load((ROOT / "configs/demo.yaml").read_text())
    message = {"choices": [{"message": {"content": "no"}, "finish_reason": "stop"}]}
    with serving(always(200, message), "vllm") as server:
        server.max_model_len = 4096
        engine = {"type": "openai", "urls": [server.url], "api": "chat", "max_retries": 0}
        values |= {
            "run_dir": str(tmp_path / "run"),
            "tasks": [str(ROOT / "configs/tasks/tests.yaml")],
            "records": [{"type": "synthetic", "pool": "train", "count": 1, "seed": 4}],
            "teacher": {
                "model": str(tokenizer_folder),
                "engine": engine,
                "template_options": {"enable_thinking": False},
            },
            "student": {"model": str(tokenizer_folder)},
        }
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(values))
        run = load_run(tmp_path / "run.yaml")
        prepare(run.config.records, run.dir / "records", run.config.prepare)
        label(run, lambda done, total=None, tokens=0: None)
    assert [asked["chat_template_kwargs"] for asked in server.asked] == [{"enable_thinking": False}]


@pytest.mark.parametrize(("status", "asked"), [(400, 1), (403, 1), (404, 1), (422, 1), (500, 3), (503, 3), (429, 3)])
def test_a_status_is_a_failure_after_the_retries_it_deserves(status: int, asked: int, tokenizer_folder: Path) -> None:
    with serving(always(status, {"error": {"message": SECRET}}, Retry_After="0.01")) as server:
        [answer] = ask(server, tokenizer_folder, max_retries=2)
    assert answer.failure == f"http_{status}: the endpoint refused, see its own log"
    assert len(server.asked) == asked


def test_retry_after_is_honoured_and_the_answer_comes(tokenizer_folder: Path) -> None:
    def busy_once(handler: Any, body: dict[str, Any], number: int) -> None:
        if number == 1:
            handler.give(429, {"error": {"message": "slow down"}}, Retry_After="1.2")
        else:
            handler.give(200, reply())

    with serving(busy_once) as server:
        [answer] = ask(server, tokenizer_folder)
    assert answer.text == "aspirin | start"
    assert server.times[1] - server.times[0] >= 1.2


def test_a_context_that_is_too_short_is_named(tokenizer_folder: Path) -> None:
    message = "This model's maximum context length is 50 tokens. However, your prompt contains " + SECRET
    with serving(always(400, {"error": {"message": message, "type": "BadRequestError", "code": 400}})) as server:
        told, known = ask(server, tokenizer_folder, REQUEST, replace(REQUEST, prompt_ids=[5] * 97))
    assert told.failure == "prompt_too_long: 7 tokens with the answer are more than the endpoint takes"
    assert known.failure == "prompt_too_long: 101 tokens with the answer, the engine takes 100"
    assert len(server.asked) == 1, "what cannot fit is not sent"


def test_one_that_hangs_on_a_request_fails_it_and_goes_on(tokenizer_folder: Path) -> None:
    released = threading.Event()

    def hang_on_nine(handler: Any, body: dict[str, Any], number: int) -> None:
        if body["prompt"][-1] == 9:
            released.wait(10)
        else:
            handler.give(200, reply())

    with serving(hang_on_nine) as server:
        slow = replace(REQUEST, prompt_ids=[5, 9])
        answers = ask(server, tokenizer_folder, REQUEST, slow, REQUEST, timeout_s=0.5, max_retries=0)
        released.set()
    assert [answer.text for answer in answers] == ["aspirin | start", None, "aspirin | start"]
    assert (answers[1].failure or "").startswith("timeout: ")


def test_one_that_refuses_connections_is_named(tokenizer_folder: Path) -> None:
    with serving(always(200, reply())) as server:
        pass
    with pytest.raises(EngineError, match=rf"{server.url}/models does not answer.*ConnectError.*Check that the server"):
        ask(server, tokenizer_folder, max_retries=0)


def test_when_the_last_endpoint_dies_the_work_stops_with_an_error(tokenizer_folder: Path) -> None:
    def die(handler: Any, body: dict[str, Any], number: int) -> None:
        if number > 3:
            threading.Thread(target=handler.server.shutdown).start()
            handler.server.socket.close()
            handler.connection.close()
        else:
            handler.give(200, reply())

    with serving(die) as server, pytest.raises(EngineError, match=rf"no endpoint answers any more: {server.url}"):
        ask(server, tokenizer_folder, *[REQUEST] * 20, concurrency=1, max_retries=0)


def test_when_one_endpoint_of_two_dies_the_other_takes_its_work(tokenizer_folder: Path) -> None:
    def die(handler: Any, body: dict[str, Any], number: int) -> None:
        threading.Thread(target=handler.server.shutdown).start()
        handler.server.socket.close()
        handler.connection.close()

    requests = [replace(REQUEST, prompt_ids=[i] * 40) for i in range(10)]
    with serving(die) as dying, serving(always(200, reply())) as living:
        answers = ask(dying, tokenizer_folder, *requests, urls=(dying.url, living.url), concurrency=2, max_retries=0)
    assert dying.asked, "it was asked"
    assert all(answer.text == "aspirin | start" for answer in answers)


def test_a_constraint_that_the_endpoint_cannot_keep_is_checked_here(tokenizer_folder: Path) -> None:
    yes_no = replace(REQUEST, choices=("yes", "no"))
    shaped = replace(REQUEST, pattern=r"[a-z]+ \| (start|stop)")
    with serving(always(200, reply())) as server:
        wrong, right = ask(server, tokenizer_folder, yes_no, shaped)
        with pytest.raises(ConfigError, match="is not a vLLM server"):
            ask(server, tokenizer_folder, replace(REQUEST, top_logprobs=2))
    assert (wrong.failure or "").startswith("constraint_not_kept") and wrong.text is None
    assert right.text == "aspirin | start"


def test_missing_log_probabilities_are_a_failure(tokenizer_folder: Path) -> None:
    with serving(always(200, reply(token_ids=[4, 5])), owner="vllm") as server:
        [chosen] = ask(server, tokenizer_folder, replace(REQUEST, logprobs=True))
        [likeliest] = ask(server, tokenizer_folder, replace(REQUEST, top_logprobs=2))
    assert (chosen.failure or "").startswith("bad_reply: 0 log-probabilities for 2 tokens")
    assert (likeliest.failure or "").startswith("bad_reply: 0 lists")
    assert server.asked[0]["stop_token_ids"] == [2] and server.asked[1]["logprobs"] == 2


def test_prompts_are_never_logged_nor_in_errors(
    tokenizer_folder: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(always(500, {"error": {"message": SECRET}}, Retry_After="0.01")) as server:
        [answer] = ask(server, tokenizer_folder, api="chat")
    assert SECRET in json.dumps(server.asked)
    assert SECRET not in repr(answer) + caplog.text + "".join(capfd.readouterr())


def test_redirects_and_proxies_are_not_followed(tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(always(200, reply(text="stolen"))) as thief:
        monkeypatch.setenv("HTTP_PROXY", thief.url)
        monkeypatch.setenv("ALL_PROXY", thief.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with serving(always(307, {}, Location=thief.url + "/completions")) as server:
            [answer] = ask(server, tokenizer_folder)
    assert answer.text is None and (answer.failure or "").startswith("http_307")
    assert len(server.asked) == 1 and thief.asked == []


def test_other_machines_are_refused_unless_the_config_names_them(
    tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PrivacyError, match=r"192\.0\.2\.1.*privacy\.allowed_hosts"):
        OpenAIEngine(urls=("http://192.0.2.1:8000/v1",)).open(tokenizer_folder).__enter__()
    monkeypatch.setenv("CHARTDISTILL_ALLOWED_HOSTS", "192.0.2.1")
    with pytest.raises(ConfigError, match="NO_SUCH_KEY"):  # the next thing that is checked
        OpenAIEngine(urls=("http://192.0.2.1:8000/v1",), api_key_env="NO_SUCH_KEY").open(tokenizer_folder).__enter__()


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x/v1", "http://me:secret@host/v1", "http://h/v1?key=secret"])
def test_a_url_that_is_none_or_holds_a_secret_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        OpenAIEngine(urls=(url,))
