"""What people type for a version or a deployment, as the API wants it."""

from __future__ import annotations

from uuid import UUID

from aureus.cli.client import Api
from aureus.cli.ends import FAILED, USAGE, Ended


def is_id(text: str) -> bool:
    """It is a UUID."""
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def deployment_id(text: str) -> str:
    """Checked here, so that a typing error is no question to the server."""
    if not is_id(text):
        raise Ended(USAGE, f"{text} is no id of a deployment; aureus status lists them")
    return text


def version_id(api: Api, text: str) -> str:
    """The id behind an id or workflowId@1.2.3."""
    if is_id(text):
        return text
    workflow, _, number = text.rpartition("@")
    if not workflow or not number:
        raise Ended(USAGE, f"{text} is neither a version's id nor WORKFLOW@NUMBER, such as my-workflow@1.2.3")
    number = number.removeprefix("v")
    for row in api.pages("/deployments/versions", workflowId=workflow):
        if row["version"] == number:
            return str(row["id"])
    raise Ended(FAILED, f"there is no version {number} of {workflow}: register it with aureus version register")
