"""The tools of workflow runs, as this server is configured."""

from __future__ import annotations

from functools import partial
from typing import Any

from health.runs.llm import PROVIDERS, Models, llm
from health.runs.tools import Addresses, Tool, tools


def configured(configuration: Any) -> dict[str, Tool]:
    """Every tool by its name."""
    return {
        **tools(Addresses.of(configuration.WORKFLOW_ADDRESSES)),
        "llm": partial(llm, models=_models(configuration)),
    }


def _models(configuration: Any) -> Models:
    keys = {name: getattr(configuration, f"{name.upper()}_API_KEY") or "" for name in PROVIDERS}
    bases = {name: getattr(configuration, f"{name.upper()}_BASE_URL") for name in PROVIDERS}
    return Models(
        configuration.LLM_PROVIDER, configuration.LLM_MODEL, configuration.LLM_TEMPERATURE,
        configuration.LLM_MAX_TOKENS, keys, bases,
    )  # fmt: skip
