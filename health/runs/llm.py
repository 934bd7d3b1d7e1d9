"""The llm tool: one question to a language model, by the HTTP protocols of OpenAI and Anthropic.

Formats: OpenAI's `POST /chat/completions`, Anthropic's `POST /v1/messages` of its version 2023-06-01.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aureus.fetch import Answer as Fetched
from aureus.fetch import FetchError, fetch
from health.runs.choosing import at
from health.runs.facts import Cause
from health.runs.settle import Answer, Result
from health.runs.tools import KEY, Asked

ANTHROPIC_VERSION = "2023-06-01"
PROVIDERS = ("openai", "anthropic")
FIELDS = frozenset({"prompt", "system", "messages", "provider", "model", "temperature", "maxTokens"})
AGAIN = frozenset({408, 409, 429})
"""Statuses below 500 after which another try may do better."""


@dataclass(frozen=True, slots=True)
class Models:
    """Who is asked where no task says otherwise, and by which key. `bases` are addresses without the route."""

    provider: str = "openai"
    model: str = "gpt-4"
    temperature: float = 0.7
    max_tokens: int = 2048
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    bases: Mapping[str, str] = field(default_factory=dict)


class Wrong(ValueError):
    """The task's params cannot be asked; the message is a sentence."""


def llm(asked: Asked, models: Models) -> Answer:
    """Ask once. The result has `text`, `provider`, `model`, `inputTokens`, `outputTokens`."""
    try:
        provider, url, headers, body = _request(asked.params, models)
    except Wrong as wrong:
        return Answer(Result.FAILED, str(wrong), final=True)
    headers |= {"Content-Type": "application/json", KEY: asked.key}
    try:
        # Where to ask is declared by whoever runs Aureus, and may be a server of his own.
        answer = fetch(
            "POST", url, headers=headers, body=json.dumps(body).encode(), timeout=asked.timeout, allow_private=True
        )
    except FetchError as error:
        final = error.kind in ("url", "request", "address")
        return Answer(Result.FAILED, error.sentence, cause=Cause.ERROR, final=final)
    return _read(answer, provider, str(body["model"]), models.keys[provider])


def _request(params: Mapping[str, Any], models: Models) -> tuple[str, str, dict[str, str], dict[str, Any]]:
    if unknown := sorted(set(params) - FIELDS):
        raise Wrong(f"An llm task has no field {unknown[0]!r}; there is: {', '.join(sorted(FIELDS))}.")
    provider = params.get("provider", models.provider)
    if provider not in PROVIDERS:
        raise Wrong(f"The provider must be one of {', '.join(PROVIDERS)}.")
    if not (key := models.keys.get(provider)):
        raise Wrong(f"There is no key for {provider}: set {provider.upper()}_API_KEY for the workers.")
    body: dict[str, Any] = {
        "model": params.get("model", models.model),
        "temperature": params.get("temperature", models.temperature),
        "max_tokens": params.get("maxTokens", models.max_tokens),
        "messages": _messages(params),
    }
    if not isinstance(body["model"], str):
        raise Wrong("model must be the name of a model.")
    system, base = params.get("system"), models.bases[provider].rstrip("/")
    if system is not None and not isinstance(system, str):
        raise Wrong("system must be text.")
    if provider == "anthropic":
        body |= {"system": system} if system else {}
        return provider, f"{base}/v1/messages", {"x-api-key": key, "anthropic-version": ANTHROPIC_VERSION}, body
    first = [{"role": "system", "content": system}] if system else []
    body["messages"] = [*first, *body["messages"]]
    return provider, f"{base}/chat/completions", {"Authorization": f"Bearer {key}"}, body


def _messages(params: Mapping[str, Any]) -> list[dict[str, str]]:
    """The prompt as one message, or messages as they were written."""
    if ("prompt" in params) == ("messages" in params):
        raise Wrong("An llm task needs either a prompt or messages.")
    given = params.get("messages", [{"role": "user", "content": params.get("prompt")}])
    if not isinstance(given, list) or not given or not all(_is_message(one) for one in given):
        raise Wrong("messages must be a list of {role: user or assistant, content: text}, and a prompt text.")
    return given


def _is_message(one: object) -> bool:
    if not isinstance(one, Mapping) or set(one) != {"role", "content"}:
        return False
    return one["role"] in ("user", "assistant") and isinstance(one["content"], str)


_PLACES = {
    "openai": ("choices.0.message.content", "usage.prompt_tokens", "usage.completion_tokens"),
    "anthropic": ("content.0.text", "usage.input_tokens", "usage.output_tokens"),
}


def _read(answer: Fetched, provider: str, model: str, key: str) -> Answer:
    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        said = None
    if not answer.ok:
        why = at(said, "error.message")
        # Providers like to repeat a wrong key in what they say of it.
        told = f": {why.replace(key, '…')[:300]}" if isinstance(why, str) else ""
        final = answer.status < 500 and answer.status not in AGAIN
        return Answer(Result.FAILED, f"{provider} answered {answer.status}{told}.", cause=Cause.ERROR, final=final)
    text, *counts = (at(said, place) for place in _PLACES[provider])
    if not isinstance(text, str):
        return Answer(Result.FAILED, f"{provider} answered without a text.", cause=Cause.ERROR)
    tokens = [count if isinstance(count, int) else None for count in counts]
    output = {"text": text, "provider": provider, "model": model, "inputTokens": tokens[0], "outputTokens": tokens[1]}
    return Answer(Result.PASSED, output=output)
