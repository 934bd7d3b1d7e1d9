"""The tools of workflow runs, as this server is configured and where a run belongs."""

from __future__ import annotations

from functools import partial
from typing import Any

from deployments.commands import command
from deployments.drivers import Hosts
from deployments.places import place_of
from health.runs.llm import PROVIDERS, Models, llm
from health.runs.tools import COMMAND, Addresses, Tool, tools


def configured(configuration: Any, run: str, hosts: Hosts) -> dict[str, Tool]:
    """Every tool that a run may use, by its name."""
    place = place_of(run)
    return {
        **tools(Addresses.of(configuration.WORKFLOW_ADDRESSES)),
        "llm": partial(llm, models=_models(configuration)),
        **({COMMAND: partial(command, place=place, hosts=hosts)} if place else {}),
    }


def _models(configuration: Any) -> Models:
    keys = {name: getattr(configuration, f"{name.upper()}_API_KEY") or "" for name in PROVIDERS}
    bases = {name: getattr(configuration, f"{name.upper()}_BASE_URL") for name in PROVIDERS}
    return Models(
        configuration.LLM_PROVIDER, configuration.LLM_MODEL, configuration.LLM_TEMPERATURE,
        configuration.LLM_MAX_TOKENS, keys, bases,
    )  # fmt: skip
