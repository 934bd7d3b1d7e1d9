"""Asking hosts and balancers, side by side and within bounded time. A look changes nothing that is deployed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from django.db import connections

from deployments.doctor.findings import Finding, ok, wrong
from deployments.doctor.machines import HostSeen, host
from deployments.drivers import HostError
from deployments.drivers.hosts import Site
from deployments.models import BalancerNode, Endpoint, Installation
from deployments.outside import Outside, address_of, site_of
from deployments.snapshot import policy_of
from releases.models import Artifact

SIDE_BY_SIDE = 16
PATIENCE = 10.0
"""Seconds that one host may take for one question, beside connecting to it."""
QUESTIONS = """
echo "cores=$(nproc)"
echo "memory=$(awk '/^MemTotal:/ {print $2 * 1024}' /proc/meminfo)"
echo "now=$(date +%s)"
echo "disk=$(df -Pk "$2" 2>/dev/null | awk 'NR == 2 {print $2 * 1024}')"
[ -n "$1" ] || exit 0
if systemctl cat "$1" >/dev/null 2>&1; then echo unit=known; else echo unit=unknown; fi
may() { [ "$(id -u)" = 0 ] || sudo -n -l systemctl "$1" "$2" >/dev/null 2>&1; }
if may restart "$1"; then echo restart=yes; else echo restart=no; fi
if may stop "$1"; then echo halt=yes; else echo halt=no; fi
"""

Told = Callable[[str], None]


def hosts(outside: Outside, tell: Told) -> Iterator[Finding]:
    """Every place where an application lives, and every balancer's machine."""
    living = Endpoint.objects.filter(retired=False, host__state="active")
    places = list(living.select_related("host__environment", "host__bastion", "installation__application",
                                        "installation__environment").order_by("host__order", "pk"))  # fmt: skip
    rooms = {key: _room(key) for key in {place.installation.application_id for place in places}}
    asked = [partial(_seen, place, rooms[place.installation.application_id], outside) for place in places]
    for seen in _side_by_side(asked):
        tell(seen.name)
        yield from host(seen)
    nodes = list(BalancerNode.objects.select_related("balancer__environment", "host__environment", "host__bastion"))
    for finding in _side_by_side([partial(_balancer, node, outside) for node in nodes]):
        tell(finding.about)
        yield finding


def _side_by_side[Answer](questions: Iterable[Callable[[], Answer]]) -> Iterator[Answer]:
    def ask(question: Callable[[], Answer]) -> Answer:
        try:
            return question()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="doctor") as pool:
        yield from pool.map(ask, list(questions))


def _room(application: int) -> tuple[int, int]:
    """Bytes and files of the application's largest version."""
    artifacts = Artifact.objects.filter(versions__application=application)
    largest = max(artifacts, key=lambda one: one.unpacked_size + one.size, default=None)
    return (largest.unpacked_size + largest.size, largest.files) if largest else (0, 0)


def _seen(place: Endpoint, room: tuple[int, int], outside: Outside) -> HostSeen:
    name, environment = place.host.name, place.installation.environment.name
    try:
        address, site = address_of(place.host), site_of(place)
        facts = outside.hosts.facts(address, site, seconds=PATIENCE)
        # An installation's own command wins over the unit, and is nobody's business but its owner's.
        unit = "" if site.restart else site.unit
        begun = time.time()
        _, said, _ = outside.hosts.run(address, ["sh", "-c", QUESTIONS, "doctor", unit, site.root], timeout=PATIENCE)
    except HostError as error:
        return HostSeen(name, environment, code=error.code, error=error.sentence)
    except ValueError as error:
        return HostSeen(name, environment, code="declaration", error=str(error))
    told = dict(line.split("=", 1) for line in said.decode(errors="replace").splitlines() if "=" in line)
    now = _number(told.get("now"))
    middle = (begun + time.time()) / 2
    return HostSeen(
        name, environment, missing_tools=facts.missing_tools, disk_free=facts.disk_free,
        inodes_free=facts.inodes_free, disk_size=_number(told.get("disk")), largest=room[0], files=room[1],
        cores=_number(told.get("cores")), memory=_number(told.get("memory")),
        clock_off=None if now is None else now - middle, unit=unit, unit_known=told.get("unit") != "unknown",
        restart=told.get("restart", "own"), halt=told.get("halt", "own") if _is_cooled(place, site) else "own",
    )  # fmt: skip


def _is_cooled(place: Endpoint, site: Site) -> bool:
    """Whether systemd will be asked to stop the unit, when its side has rested long enough."""
    return place.slot != Endpoint.MAIN and not site.halt and policy_of(place.installation).warm is not None


def _number(text: str | None) -> int | None:
    """awk writes large numbers in its own way."""
    try:
        return int(float(text or ""))
    except ValueError:
        return None


def _balancer(node: BalancerNode, outside: Outside) -> Finding:
    about = f"balancer {node.balancer.name} on {node.host.name} ({node.balancer.environment.name})"
    served = Installation.objects.filter(balancer=node.balancer).select_related("application", "environment")
    sentences = []
    for installation in served:
        try:
            traffic = outside.traffic(node, installation)
            for sentence, remedy in traffic.shortcomings():
                return wrong(about, sentence, remedy)
            weights = traffic.read()
        except HostError as error:
            if error.code == "not_ours":
                sentences.append(f"it does not know {installation.application} yet: its first deployment tells it")
                continue
            return wrong(about, error.sentence, f"is {node.kind} running there, and may our user reach it?")
        serving = sum(weight > 0 for weight in weights.values())
        sentences.append(f"{serving} of {len(weights)} hosts of {installation.application} get traffic")
        if weights and not serving:
            return wrong(about, sentences[-1], "nobody gets traffic: deploy, or put a healthy host back in")
    return ok(about, "; ".join(sentences) or "no installation uses it")
