"""Events of a deployment as lines for people."""

from typing import Any

from aureus.demo.report import Report

SILENT = {"step.started", "step.late_answer", "deployment.requested", "smoke.requested", "window.superseded"}
GOOD = {"deployment.deployed", "deployment.good", "window.pass", "smoke.passed"}
BAD = {"deployment.failed", "deployment.rolled_back", "window.fail", "window.inconclusive", "window.held", "step.held"}
DOUBLED = {"window.pass", "window.fail"}
"""A bake's verdict is told by its step as well."""


def tell(report: Report, where: str, event: dict[str, Any]) -> None:
    """Say one event, if it is worth a line."""
    kind, about = str(event["kind"]), dict(event["about"])
    if kind in SILENT | DOUBLED or (kind == "step.passed" and about.get("kind") == "smoke"):
        return
    report.say(where, sentence(kind, about), tone(kind))


def tone(kind: str) -> str:
    if kind in BAD or kind in ("step.failed", "step.failed_try"):
        return "bad"
    return "good" if kind in GOOD else "plain"


def sentence(kind: str, about: dict[str, Any]) -> str:
    """What happened, in words."""
    why = str(about.get("reason") or about.get("why") or "").strip()
    word = kind.partition(".")[2].replace("_", " ")
    if kind == "step.passed":
        return why or str(about.get("kind"))
    if kind.startswith("step."):
        rule = f" (rule: {about['rule']})" if about.get("rule") else ""
        return f"{about.get('kind')} {about.get('host') or ''} {word}: {why}{rule}".replace("  ", " ")
    if kind.startswith("deployment."):
        return f"{word}: {why}" if why and word != why else word
    return f"{kind.replace('.', ' ').replace('_', ' ')}{f': {why}' if why else ''}"
