"""Looking at deployments: status, watch, and the wait of those who asked for one."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from aureus.cli import client
from aureus.cli.ends import DEPLOYED, FAILED, TIMED_OUT, WAITING, Ended
from aureus.cli.output import COLOURS, Json, answer, clean, is_plain, rich_table, say, table, warn, when
from aureus.cli.references import deployment_id

EVERY = 1.0
"""Seconds between two looks."""
OVER = frozenset({"deployed", "failed", "rolled_back"})
COLUMNS = ("STAGE", "STEP", "HOST", "STATE", "SEEN", "RULE", "NEXT")
Said = dict[str, Any]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(status)
    app.command()(watch)


def status(
    deployment: Annotated[str, typer.Argument(help="A deployment's id; without it, the newest are listed.")] = "",
    environment: Annotated[str, typer.Option("--environment", "-e", help="Only those of this environment.")] = "",
    application: Annotated[str, typer.Option("--application", "-a", help="Only those of this workflow id.")] = "",
    current: Annotated[bool, typer.Option("--current", help="Only what runs now, by our record.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many of the newest.")] = 10,
    as_json: Json = False,
) -> None:
    """Show where deployments stand.

    Of one: each step with its host, what was seen, by which rule, and what happens next.
    """
    api = client.from_environment()
    if deployment:
        return _one(api, deployment_id(deployment), as_json)
    query = {"environment": environment or None, "workflowId": application or None}
    rows = list(api.pages("/deployments", most=limit, **query, current="true" if current else None))
    if as_json:
        return answer(rows)
    cells = ((r["environment"], r["workflowId"], r["version"], r["status"], when(r["createdAt"]), r["id"],
              r["reason"]) for r in rows)  # fmt: skip
    table(("ENVIRONMENT", "APPLICATION", "VERSION", "STATUS", "ASKED", "ID", "WHY"), cells)


def watch(
    deployment: Annotated[str, typer.Argument(metavar="DEPLOYMENT", help="The deployment's id.")],
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to watch at most.")] = 86_400.0,
    as_json: Json = False,
) -> None:
    """Follow a deployment until it has ended. It waits through approvals too; the exit code says how it ended."""
    follow(
        client.from_environment(), deployment_id(deployment), timeout=timeout, through_approval=True, as_json=as_json
    )


def _one(api: client.Api, name: str, as_json: bool) -> None:
    now, why = api.get(f"/deployments/{name}"), api.get(f"/deployments/{name}/explain")
    if as_json:
        return answer({**now, "explanation": why})
    for line in head(now):
        say(line)
    say(why["sentence"])
    if why["next"]:
        say(f"next: {why['next']}")
    for line in risk_lines(now):
        say(line)
    say()
    table(COLUMNS, step_rows(now))
    owed = [t for t in now["targets"] if t["state"] == "owed"]
    if owed:
        say()
        table(("OWED", "RUNS", "WHY"), ((t["host"], t["observed"] or "unknown", t["why"]) for t in owed))
    for word in ("health", "window"):
        if now.get(word):
            say(f"{word}: {', '.join(f'{k} {v}' for k, v in now[word].items() if v not in (None, ''))}")


def head(now: Said) -> list[str]:
    """What it is and where it stands."""
    outcome = f" ({now['outcome']})" if now.get("outcome") else ""
    lines = [f"{now['workflowId']}@{now['version']} to {now['environment']}: {now['status']}{outcome}"]
    lines.append(f"{now['id']}, {now['strategy']}, asked by {now['deployedBy']} at {when(now['createdAt'])} UTC")
    again = "completes" if now["strategy"] == "converge" else "tries again"
    for word, name in (("reverts", "undoes"), ("sourceDeploymentId", "comes from"), ("retryOf", again)):
        if now.get(word):
            lines.append(f"{name} {now[word]}")
    if now.get("rollback"):
        lines.append(f"its rollback {now['rollback']['id']} is {now['rollback']['status'].replace('_', ' ')}")
    return lines


def risk_lines(now: Said) -> list[str]:
    """What people read before they say yes: the risk and why, the way back, who said yes, what lets it past."""
    if not now.get("risk"):
        return []
    lines = [f"risk: {now['risk']}", *(f"  {level}: {why}" for level, why in now["riskReasons"])]
    asked = now["approvals"]
    lines += [f"way back: {now['wayBack']}", f"approvals: {asked['given']} of {asked['needed']}"]
    lines += [f"  {'yes' if v['yes'] else 'no'} of {v['by']}{'' if v['counts'] else ', which counts no more'}"
              for v in asked["voices"]]  # fmt: skip
    for one in now["passes"]:
        who = " and ".join(filter(None, (one["by"], one.get("confirmedBy"))))
        lines.append(f"{one['kind'].replace('_', ' ')} by {who} ({', '.join(one['holds'])}): {one['reason']}")
    return [*lines, f"plan: {now['plan']['hash']}"]


def steps_of(now: Said) -> list[tuple[str, Said]]:
    """Each step with the name of its stage, in the order of the plan."""
    return [(stage["name"], step) for stage in now["plan"]["stages"] for step in stage["steps"]]


def step_rows(now: Said) -> list[tuple[str, ...]]:
    """One row per step."""
    return [
        (stage, s["kind"], s["host"] or "", "held" if s["held"] else s["status"], s["reason"], s["rule"], s["next"])
        for stage, s in steps_of(now)
    ]


def follow(api: client.Api, name: str, *, timeout: float, through_approval: bool, as_json: bool) -> None:
    """Show a deployment until it has ended. Ends the command with the code that says how."""
    shown: Screen | Lines = Lines(quiet=as_json) if is_plain() or as_json else Screen()
    now, timed_out = _until_ended(api, name, timeout, through_approval, shown)
    if as_json:
        answer(now)
    code = _code(now, timed_out)
    last = _last_words(now, code, timeout)
    if not as_json:
        say(last)
    elif code != DEPLOYED:
        warn(last)
    if code != DEPLOYED:
        raise Ended(code)


def _until_ended(
    api: client.Api, name: str, timeout: float, through_approval: bool, shown: Screen | Lines
) -> tuple[Said, bool]:
    ends = time.monotonic() + timeout
    now: Said | None = None
    with shown:
        while True:
            try:
                now = api.get(f"/deployments/{name}")
            except client.NoAnswer:
                # A server that restarts loses nothing; only who was never answered gives up at once.
                if now is None or time.monotonic() >= ends:
                    raise
            else:
                shown.show(now)
                if now["status"] in OVER or (now["status"] == "awaiting_approval" and not through_approval):
                    return now, False
            if time.monotonic() >= ends:
                return now, True
            time.sleep(min(EVERY, max(0.0, ends - time.monotonic())))


def _code(now: Said, timed_out: bool) -> int:
    if now["status"] == "awaiting_approval":
        return WAITING
    if timed_out:
        return TIMED_OUT
    return DEPLOYED if now["status"] == "deployed" else FAILED


def _last_words(now: Said, code: int, timeout: float) -> str:
    if code == WAITING:
        plan = f"{now['plan']['ifItFails']} " if now["plan"]["ifItFails"] else ""
        return f"{plan}{now['reason'] or 'waits for approval'}; go on afterwards with: aureus watch {now['id']}"
    if code == TIMED_OUT:
        return f"not ended within {timeout:g} s; it goes on by itself: aureus watch {now['id']}"
    outcome = f" ({now['outcome']})" if now.get("outcome") else ""
    said = f"{now['version']} to {now['environment']}: {now['status'].replace('_', ' ')}{outcome}"
    why = f": {now['reason']}" if now.get("reason") else ""
    undone = f"; its rollback {now['rollback']['id']} is {now['rollback']['status']}" if now.get("rollback") else ""
    return f"{said}{why}{undone}"


class Lines:
    """One line for each thing that changed: for logs of CI."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._status = ""
        self._told: set[tuple[Any, str, str]] = set()

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, now: Said) -> None:
        """Tell what is new since the last look; what is looked at again with the same result is not."""
        steps = [step for _, step in steps_of(now) if step["attempts"]]
        reason = now.get("reason") or ""
        news = now["status"] != self._status or not any(step["reason"] == reason for step in steps)
        if news and now["status"] not in OVER and self._is_new(None, now["status"], reason):
            self._tell(f"{now['status']}{': ' + reason if reason else ''}")
        self._status = now["status"]
        for step in steps:
            self._step(step)

    def _step(self, step: Said) -> None:
        state, reason = "held" if step["held"] else step["status"], step["reason"]
        going_on = state in ("pending", "running")
        if self._is_new(step["id"], "going on" if going_on else state, reason):
            where = f" {step['host']}" if step["host"] else ""
            self._tell(f"{step['kind']}{where}: {state}{': ' + reason if reason else ''}")

    def _is_new(self, what: Any, state: str, reason: str) -> bool:
        one = (what, state, reason)
        is_new = one not in self._told
        self._told.add(one)
        return is_new

    def _tell(self, text: str) -> None:
        line = f"{time.strftime('%H:%M:%S', time.gmtime())} {text}"
        (warn if self._quiet else say)(line)


class Screen:
    """A live table at a terminal."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False)

    def __enter__(self) -> Screen:
        self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._live.__exit__(*error)

    def _part(self, now: Said, done: int) -> list[tuple[str, ...]]:
        """The steps around the current one, as many as fit: a plan of many hosts is longer than a screen."""
        fits = max(self._console.height - 8, 5)
        start = max(0, done - fits // 2)
        return step_rows(now)[start : start + fits]

    def show(self, now: Said) -> None:
        """Draw it anew."""
        title = Text(clean(head(now)[0]), style=COLOURS.get(now["status"], ""))
        steps = steps_of(now)
        done = sum(step["status"] in ("passed", "skipped") for _, step in steps)
        why = Text(clean(now.get("reason") or ""))
        made = rich_table(COLUMNS[:5], [[clean(cell) for cell in row[:5]] for row in self._part(now, done)])
        self._live.update(Group(title, Text(f"{done} of {len(steps)} steps"), why, made), refresh=True)
