"""The windows of deployments: opened with what is to be watched, closed when something else takes their place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet

from aureus import clock
from aureus.journal.actor import AUREUS
from aureus.journal.models import record
from deployments.engine.status import TargetState
from deployments.lifecycle import rows
from deployments.models import Deployment, Endpoint, Installation, Target
from deployments.outside import site_of
from deployments.policy import Policy
from deployments.snapshot import policy_of
from health import earlier, windows
from health.models import Window
from health.sources import promql
from health.sources.declared import INTERVAL, QUERIES

BAKE = {"min_requests": 30, "pass_confidence": 0.55}
"""Thresholds of a bake: 30 requests without an error are enough to go on by."""


PROBED = ("health", "content", "field", "proof")


def watched(endpoint: Endpoint, content: str) -> dict[str, Any]:
    """How an endpoint is measured, and which content it must prove to run."""
    installation = endpoint.installation
    policy = policy_of(installation)
    scraped = "scrape" in policy.sources and installation.metrics_path
    found: dict[str, Any] = {
        "health": endpoint.base_url + installation.health_path,
        "metrics": endpoint.base_url + installation.metrics_path if scraped else "",
        "content": content,
        "field": installation.version_field,
        "proof": installation.version_proof,
    }
    if "prometheus" in policy.sources and policy.prometheus:
        found["prometheus"] = {**_server(policy), "queries": _queries(endpoint, content, policy)}
    if "access_log" in policy.sources and installation.options.get("access_log"):
        found["log"] = _log(endpoint, installation.options["access_log"])
    if "journal" in policy.sources and installation.options.get("journal") and installation.unit:
        found["journal"] = {"place": endpoint.host_id, "unit": site_of(endpoint).unit}
    return found


def checks_of(installation: Installation, endpoints: Sequence[Endpoint], content: str) -> list[dict[str, Any]]:
    """The policy's checks with their queries filled in for this content on these endpoints."""
    policy = policy_of(installation)
    values: dict[str, str | list[str]] = {
        "application": installation.application.key,
        "content": content,
        "environment": installation.environment.name,
        "hosts": [endpoint.host.name for endpoint in endpoints],
        "instances": [_instance(endpoint) for endpoint in endpoints],
        "version": content.rsplit("-", 1)[0],
        "window": _span(policy),
    }
    found = []
    for check in policy.checks:
        one = dict(check)
        if one.get("source", "prometheus") == "prometheus":
            one |= {"query": promql.filled(one["query"], values), "prometheus": _server(policy)}
        found.append(one)
    return found


def _server(policy: Policy) -> dict[str, Any]:
    """The server as a window keeps it: its token by reference."""
    said = policy.prometheus
    return {"url": said["url"], "interval": said.get("scrape_interval", INTERVAL), "token": said.get("token", "")}


def _queries(endpoint: Endpoint, content: str, policy: Policy) -> dict[str, str]:
    installation = endpoint.installation
    said = {**QUERIES, **policy.prometheus.get("queries", {}), **installation.options.get("queries", {})}
    address, _, port = _instance(endpoint).rpartition(":")
    values = {
        "address": address,
        "application": installation.application.key,
        "content": content,
        "endpoint": endpoint.name,
        "environment": installation.environment.name,
        "host": endpoint.host.name,
        "port": port,
        "slot": endpoint.slot,
        "version": content.rsplit("-", 1)[0],
        "window": _span(policy),
    }
    return {name: promql.filled(query, values) if query else "" for name, query in said.items()}


def _instance(endpoint: Endpoint) -> str:
    return f"{endpoint.host.address}:{endpoint.port}"


def _span(policy: Policy) -> str:
    """A stretch that holds several scrapes, for queries that need one."""
    return f"{max(60, round(4 * policy.prometheus.get('scrape_interval', INTERVAL)))}s"


def _log(endpoint: Endpoint, said: Mapping[str, Any]) -> dict[str, Any]:
    """Where the log lies, and as whom it knows this endpoint; on its own host every line is its."""
    balancer = endpoint.installation.balancer
    log = {"path": said["path"].replace("{host}", endpoint.host.name), "format": said["format"]}
    if said.get("on", "balancer" if balancer else "host") == "host" or balancer is None:
        return {**log, "places": [endpoint.host_id], "names": []}
    backend = said.get("backend", "")
    known = (f"{backend}/{endpoint.name}" if backend else endpoint.name) if said["format"] == "haproxy" else ""
    places = list(balancer.nodes.order_by("pk").values_list("host_id", flat=True))
    return {**log, "places": places, "names": [known or _instance(endpoint)]}


def open_after(deployment: Deployment) -> Window | None:
    """The long window after `deployed`: it holds no slot, and its failure undoes the deployment by itself.

    A rollback's own window only holds and pages.
    """
    if deployment.is_convergence:
        return None  # the window of the deployment that it completes is the one that counts
    policy = policy_of(deployment.installation)
    everywhere = list(_targets(deployment))
    targets = [t for t in everywhere if t.state == TargetState.ON_TO and t.claimed_at and not t.resting]
    if not targets:
        return None
    now = clock.now()
    armed = policy.automatic_rollback and not deployment.is_rollback
    return Window.objects.create(
        subject=deployment.id,
        kind=Window.Kind.AFTER,
        content=deployment.content,
        endpoints={t.name: watched(t.endpoint, t.to_content) for t in targets},
        baseline=_still_on_from(deployment, everywhere),
        before=_before_start(deployment, everywhere),
        rules=dict(policy.rules),
        checks=checks_of(deployment.installation, [t.endpoint for t in targets], deployment.content),
        armed=armed,
        opens_at=now,
        closes_at=now + timedelta(seconds=policy.window),
        sample_seconds=policy.sample,
        next_sample_at=now,
    )


def open_bake(deployment: Deployment, names: list[str], seconds: float) -> Window:
    """The short window between batches: the changed hosts, beside those that still run the old version."""
    policy = policy_of(deployment.installation)
    targets = list(_targets(deployment))
    changed = [t for t in targets if t.state == TargetState.ON_TO]
    now = clock.now()
    return Window.objects.create(
        subject=deployment.id,
        kind=Window.Kind.BAKE,
        content=deployment.content,
        endpoints={t.name: watched(t.endpoint, t.to_content) for t in changed if t.name in names}
        or {t.name: watched(t.endpoint, t.to_content) for t in changed},
        baseline=_still_on_from(deployment, targets),
        before=_before_start(deployment, targets),
        rules=bake_rules(policy, seconds),
        checks=checks_of(deployment.installation, [t.endpoint for t in changed], deployment.content),
        armed=policy.automatic_rollback,
        opens_at=now,
        closes_at=now + timedelta(seconds=seconds),
        sample_seconds=policy.sample,
        next_sample_at=now,
    )


def _targets(deployment: Deployment) -> QuerySet[Target]:
    return deployment.targets.select_related("endpoint__host", "endpoint__installation__environment")


def _still_on_from(deployment: Deployment, targets: Iterable[Target]) -> dict[str, Any]:
    """Those that run the old version still: no step has claimed them yet, or they are the side that rests.

    That side has lost its traffic and goes on running, until it was cooled: it is probed and nothing else, since what
    it counts then are the probes themselves. Neither what a rollback leaves is a measure, nor a host that is owed.
    """
    if deployment.is_rollback:
        return {}
    runs = [t for t in targets if (t.endpoint.cooled_at is None if t.resting else t.claimed_at is None)]
    witnesses = [t for t in runs if t.from_content and t.state != TargetState.OWED and not t.endpoint.owed]
    spots = {t: watched(t.endpoint, t.from_content) for t in witnesses if not t.endpoint.retired}
    return {t.name: _probed(spot) if t.claimed_at else spot for t, spot in spots.items()}


def _probed(spot: Mapping[str, Any]) -> dict[str, Any]:
    """The same without its sources of traffic."""
    return {name: spot[name] for name in PROBED}


def _before_start(deployment: Deployment, targets: Sequence[Target]) -> list[dict[str, Any]]:
    """What served here before: of two sides the one that rests now. What a rollback undid is no measure."""
    if deployment.is_rollback or deployment.started_at is None:
        return []
    served = [t for t in targets if t.resting] or targets
    contents = Counter(t.from_content for t in served if t.from_content).most_common(1)
    subjects = deployment.installation.deployments.exclude(pk=deployment.pk).values("id")
    return earlier.before_start(subjects, contents[0][0], deployment.started_at) if contents else []


def bake_rules(policy: Policy, seconds: float) -> dict[str, Any]:
    """A bake is short: fewer requests have to do, the long window afterwards asks for more."""
    return {**BAKE, "min_probes": max(2, int(seconds)), **policy.rules}


def lock_watched(installation: Installation, *, by: Deployment) -> None:
    """Lock the deployments that are watched here: before the installation and their windows, as everywhere."""
    others = installation.deployments.exclude(pk=by.pk)
    watched_ones = Window.objects.filter(subject__in=others.values("id"), closed_at=None)
    list(others.filter(pk__in=watched_ones.values("subject")).select_for_update().order_by("pk"))


def supersede(installation: Installation, *, by: Deployment) -> None:
    """The next start closes the open window, after judging it on what it has: a pass makes its content good.

    The caller has locked what is watched.
    """
    now = clock.now()
    others = installation.deployments.exclude(pk=by.pk)
    open_ones = Window.objects.filter(subject__in=others.values("id"), closed_at=None)
    for window in open_ones.select_for_update():
        verdict = windows.verdict_of(window, now, close_now=True)
        result = Window.Verdict.PASS if verdict.result == "pass" else Window.Verdict.SUPERSEDED
        if windows.close(window, result, verdict, now):
            _tell(window, result, verdict.sentence)
            if result == Window.Verdict.PASS:
                make_good(window)


def without_retired(window: Window, installation: Installation) -> bool:
    """Watch no more what was retired since; False where nothing is left, and the window is closed."""
    living = {e.name for e in rows.endpoints_of(installation)}
    if living >= {*window.endpoints, *window.baseline}:
        return True
    window.endpoints = {name: spot for name, spot in window.endpoints.items() if name in living}
    window.baseline = {name: spot for name, spot in window.baseline.items() if name in living}
    Window.objects.filter(pk=window.pk).update(endpoints=window.endpoints, baseline=window.baseline)
    if not window.endpoints and windows.close(window, Window.Verdict.SUPERSEDED, None, clock.now()):
        _tell(window, Window.Verdict.SUPERSEDED, "every host that it watched was retired")
    return bool(window.endpoints)


def close_for_rollback(origin: Deployment, reason: str) -> None:
    """A rollback takes the place of whatever was still watched of the deployment it undoes."""
    now = clock.now()
    for window in Window.objects.select_for_update().filter(subject=origin.id, closed_at=None):
        if windows.close(window, Window.Verdict.SUPERSEDED, None, now):
            _tell(window, Window.Verdict.SUPERSEDED, reason)


def close_step(window: Window, reason: str) -> None:
    """Watch no more while a step waits: it goes on."""
    if windows.close(window, Window.Verdict.SUPERSEDED, None, clock.now()):
        _tell(window, Window.Verdict.SUPERSEDED, reason)


def make_good(window: Window) -> None:
    """The content passed: from now on it is a place that an automatic rollback may go to."""
    if window.kind != Window.Kind.AFTER:
        return
    Deployment.objects.filter(pk=window.subject, good_at=None).update(good_at=clock.now())
    record(f"deployment:{window.subject}", "deployment.good", AUREUS, content=window.content)


def _tell(window: Window, result: str, why: str) -> None:
    record(f"deployment:{window.subject}", f"window.{result}", AUREUS, window=window.pk, why=why[:500])
