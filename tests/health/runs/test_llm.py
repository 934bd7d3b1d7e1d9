"""The llm tool against a local server that speaks the protocols of OpenAI and Anthropic."""

import json
from datetime import UTC, datetime

import pytest

from health.runs.facts import Cause
from health.runs.llm import Models, llm
from health.runs.settle import Result
from health.runs.tools import Asked
from tests.health.web import raw, site

NOW = datetime(2030, 1, 1, tzinfo=UTC)
SAID = {
    "openai": {"choices": [{"message": {"role": "assistant", "content": "Yes."}}],
               "usage": {"prompt_tokens": 5, "completion_tokens": 2}},
    "anthropic": {"content": [{"type": "text", "text": "Yes."}], "usage": {"input_tokens": 5, "output_tokens": 2}},
}  # fmt: skip
ROUTES = {"openai": "/chat/completions", "anthropic": "/v1/messages"}
KEYS = {"openai": "sk-secret-of-openai", "anthropic": "secret-of-anthropic"}


def models(url, **how):
    return Models(keys=KEYS, bases=dict.fromkeys(ROUTES, url), **how)


def asked(timeout=5.0, **params):
    return Asked(params, timeout, "run:forward:ask", NOW, NOW)


@pytest.mark.parametrize("provider", ROUTES)
def test_a_question_is_put_as_the_provider_wants_it_and_answered_alike(provider):
    with site({ROUTES[provider]: lambda _: (200, SAID[provider])}) as web:
        who = models(web.url, provider=provider, model="m", max_tokens=9)
        answer = llm(asked(prompt="Is it so?", system="Be short."), who)
    assert answer.result is Result.PASSED
    assert answer.output == {"text": "Yes.", "provider": provider, "model": "m", "inputTokens": 5, "outputTokens": 2}
    [one] = web.asked
    body = json.loads(one.body)
    question = {"role": "user", "content": "Is it so?"}
    assert (one.method, body["model"], body["temperature"], body["max_tokens"]) == ("POST", "m", 0.7, 9)
    assert one.headers["idempotency-key"] == "run:forward:ask"
    if provider == "openai":
        assert one.headers["authorization"] == f"Bearer {KEYS[provider]}"
        assert body["messages"] == [{"role": "system", "content": "Be short."}, question]
    else:
        assert (one.headers["x-api-key"], one.headers["anthropic-version"]) == (KEYS[provider], "2023-06-01")
        assert (body["system"], body["messages"]) == ("Be short.", [question])


def test_a_task_may_name_another_provider_model_and_temperature():
    with site({"/v1/messages": lambda _: (200, SAID["anthropic"])}) as web:
        messages = [{"role": role, "content": role} for role in ("user", "assistant", "user")]
        params = {"provider": "anthropic", "model": "big", "temperature": 0, "maxTokens": 3, "messages": messages}
        assert llm(asked(**params), models(web.url)).output["model"] == "big"
    assert json.loads(web.asked[0].body) == {"model": "big", "temperature": 0, "max_tokens": 3, "messages": messages}


@pytest.mark.parametrize(
    ("status", "final"), [(401, True), (400, True), (404, True), (429, False), (500, False), (529, False)]
)
@pytest.mark.parametrize("provider", ROUTES)
def test_a_refusal_is_told_without_the_key_and_tried_again_where_that_may_help(provider, status, final):
    said = {"error": {"message": f"wrong key {KEYS[provider]}"}}
    with site({ROUTES[provider]: lambda _: (status, said)}) as web:
        answer = llm(asked(prompt="x"), models(web.url, provider=provider))
    assert (answer.result, answer.final, answer.cause) == (Result.FAILED, final, Cause.ERROR)
    assert answer.reason == f"{provider} answered {status}: wrong key …."


@pytest.mark.parametrize("body", ["no json", [], {}, {"choices": []}, {"choices": [{"message": {"content": None}}]}])
def test_an_answer_without_a_text_is_a_failure(body):
    with site({"/chat/completions": lambda _: (200, body)}) as web:
        answer = llm(asked(prompt="x"), models(web.url))
    assert (answer.result, answer.reason) == (Result.FAILED, "openai answered without a text.")


def test_a_server_that_breaks_off_is_a_failure_that_is_tried_again():
    with raw(lambda peer: peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")) as url:
        answer = llm(asked(prompt="x"), models(url))
    assert (answer.result, answer.final) == (Result.FAILED, False)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "either a prompt or messages"),
        ({"prompt": "a", "messages": []}, "either a prompt or messages"),
        ({"prompt": 7}, "a prompt text"),
        ({"messages": []}, "must be a list"),
        ({"messages": [{"role": "system", "content": "x"}]}, "must be a list"),
        ({"messages": [{"role": "user", "content": "x", "tools": []}]}, "must be a list"),
        ({"prompt": "a", "provider": "other"}, "must be one of openai, anthropic"),
        ({"prompt": "a", "model": 7}, "model must be"),
        ({"prompt": "a", "system": 7}, "system must be"),
        ({"prompt": "a", "url": "http://example.com"}, "no field 'url'"),
    ],
)
def test_what_cannot_be_asked_is_refused_for_good_and_nobody_is_asked(params, words):
    with site({}) as web:
        answer = llm(asked(**params), models(web.url))
    assert (answer.result, answer.final, web.asked) == (Result.FAILED, True, [])
    assert words in answer.reason


def test_without_a_key_it_says_which_variable_is_missing():
    answer = llm(asked(prompt="a"), Models(bases={"openai": "http://127.0.0.1:1"}))
    assert "set OPENAI_API_KEY" in answer.reason
