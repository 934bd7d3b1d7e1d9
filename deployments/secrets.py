"""Secrets of applications by their reference: read by workers when they are sent to a host, and kept nowhere."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from django.conf import settings

from deployments.drivers.errors import SecretRefused
from deployments.engine.variables import LARGEST_VALUE, unfit


def resolved(variables: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The values of all variables. Raises SecretRefused, which names a reference and shows nothing of a value."""
    return {name: said["value"] if "value" in said else _secret(said["secret"]) for name, said in variables.items()}


def without_secrets(text: str, variables: Mapping[str, Mapping[str, str]]) -> str:
    """A text in which no secret of these variables stands any more. Raises SecretRefused where one cannot be read."""
    secrets = [_secret(said["secret"]) for said in variables.values() if "secret" in said]
    # The longest first: one may be a part of another. Each line of one that has several is a secret too.
    parts = {line for secret in secrets for line in (secret, *secret.splitlines()) if line.strip()}
    for part in sorted(parts, key=len, reverse=True):
        text = text.replace(part, "***")
    return text


def _secret(reference: str) -> str:
    if why := is_ours(reference):
        raise _refused(reference, why)
    kind, _, rest = reference.partition(":")
    value = os.environ.get(rest) if kind == "env" else _from_file(reference, rest)
    if value is None:
        raise _refused(reference, "is not set: give it to the workers of Aureus and start them again")
    if why := unfit(value):
        raise _refused(reference, f"cannot be sent: {why}")
    return value


def _from_file(reference: str, path: str) -> str:
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            text = stream.read(LARGEST_VALUE + 2)
    except (OSError, UnicodeDecodeError) as error:
        raise _refused(reference, f"cannot be read by the workers of Aureus: {type(error).__name__}") from None
    return text.removesuffix("\n")


def is_ours(reference: str) -> str:
    """Why a reference leads to what is a secret of Aureus itself; "" where it does not."""
    kind, _, rest = reference.partition(":")
    if kind == "env":
        own = hasattr(settings.AUREUS, rest) or hasattr(settings.AUREUS, rest.removesuffix("_FILE"))
        return "is a variable of Aureus itself, which no application is given" if own else ""
    path = Path(rest).resolve()
    home = Path(settings.AUREUS.AUREUS_HOME).resolve()
    named = {Path(value).resolve() for name, value in os.environ.items() if value and _names_a_file_of_ours(name)}
    inside = path.is_relative_to(home) or path in named or path.is_relative_to("/proc")
    return "is a file of Aureus itself, which no application is given" if inside else ""


def _names_a_file_of_ours(variable: str) -> bool:
    return variable.endswith("_FILE") and hasattr(settings.AUREUS, variable.removesuffix("_FILE"))


def _refused(reference: str, why: str) -> SecretRefused:
    return SecretRefused(f"the secret {reference} {why}", code="no_secret")
