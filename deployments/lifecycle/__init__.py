"""The verbs on deployments: the only writers of their status."""

from deployments.contents import current_of
from deployments.lifecycle.advancing import Claim, Turn, advance, settle
from deployments.lifecycle.approvals import approve, reject
from deployments.lifecycle.converging import belongs, converge
from deployments.lifecycle.passing import break_glass, confirm_break_glass, override
from deployments.lifecycle.people import abandon, abort, exclude, pause, promote_full, resume, retry, roll_back
from deployments.lifecycle.requests import Wish, deploy, dry_run, promote

__all__ = [
    "Claim",
    "Turn",
    "Wish",
    "abandon",
    "abort",
    "advance",
    "approve",
    "belongs",
    "break_glass",
    "confirm_break_glass",
    "converge",
    "current_of",
    "deploy",
    "dry_run",
    "exclude",
    "override",
    "pause",
    "promote",
    "promote_full",
    "reject",
    "resume",
    "retry",
    "roll_back",
    "settle",
]
