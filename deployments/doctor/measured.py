"""Asking every declared source once, as a window would, and saying what it could not have measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from aureus import clock
from deployments.doctor.findings import Finding, ok, warning, wrong
from deployments.lifecycle.windows import checks_of, watched
from deployments.models import Environment, Installation
from deployments.outside import Outside, reach_places
from deployments.policy import stored
from health import sampling
from health.measured import COUNTS, FIRST, VALUE, Sample
from health.models import Window
from health.sources.promapi import NoAnswer, Server, ask

BESIDE_THE_PROBE = ("metrics", "prometheus", "log", "journal")
REMEDIES = {
    "scrape": "look at its metrics address, or take metrics out of the declaration",
    "prometheus": "look at the server and its targets, and at the queries in the declaration",
    "access_log": "see docs/sources.md for the formats; our user must be able to read the file",
    "check:journal": "see docs/sources.md; our user must be in the group systemd-journal",
}


def sources(outside: Outside, tell: Callable[[str], None]) -> Iterator[Finding]:
    """What each installation is measured by. A probe is a deployment's own business: nothing may run there yet."""
    for environment in Environment.objects.all():
        yield from _server(environment)
    rows = Installation.objects.select_related("application", "environment", "balancer").order_by("pk")
    for installation in rows:
        window = _window(installation)
        if window is None:
            continue
        tell(f"sources of {installation}")
        reach = reach_places(window.endpoints.values(), outside.hosts)
        [measured] = sampling.measure([window], clock.now(), reach)
        for sample in sorted(measured.samples, key=lambda s: (s.source, s.endpoint)):
            if sample.source != "probe":
                yield _finding(str(installation), sample)


def _server(environment: Environment) -> Iterator[Finding]:
    """Whether the environment's Prometheus answers at all, also before anything is deployed."""
    declared = stored(environment.policy).prometheus
    if not declared:
        return
    about = f"Prometheus of {environment.name}"
    try:
        ask(Server(declared["url"], token=declared.get("token", "")), "vector(1)")
    except NoAnswer as error:
        yield wrong(about, error.sentence, "correct its url or token in the declaration, or start it")
        return
    yield ok(about, "it answers")
    parts = urlsplit(declared["url"])
    if declared.get("token") and parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        yield warning(about, "its token goes over the network unencrypted", "give it an https address")


def _window(installation: Installation) -> Window | None:
    """A window that nobody keeps, over the endpoints that run something; None where nothing would be asked."""
    living = installation.endpoints.filter(retired=False, host__state="active").exclude(recorded="")
    endpoints = list(living.select_related("host", "installation__environment", "installation__application",
                                           "installation__balancer"))  # fmt: skip
    if not endpoints:
        return None
    content = endpoints[0].recorded
    spots = {endpoint.name: watched(endpoint, endpoint.recorded) for endpoint in endpoints}
    checks = checks_of(installation, endpoints, content)
    if not checks and not any(spot.get(name) for spot in spots.values() for name in BESIDE_THE_PROBE):
        return None
    return Window(pk=installation.pk, content=content, endpoints=spots, checks=checks, opens_at=clock.now())


def _finding(about: str, sample: Sample) -> Finding:
    name = f"{sample.source} of {sample.endpoint}" if sample.endpoint else sample.source
    if sample.kind in (COUNTS, FIRST, VALUE):
        return ok(about, f"{name} answers")
    remedy = REMEDIES.get(sample.source, "look at its query in the declaration")
    return warning(about, f"{name} could not be measured ({sample.kind}): {sample.why}", remedy)
