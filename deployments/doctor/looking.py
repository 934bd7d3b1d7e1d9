"""Asking hosts and balancers, side by side and within bounded time. A look changes nothing that is deployed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from django.db import connections

from deployments.doctor.findings import Finding, ok, warning, wrong
from deployments.doctor.machines import HostSeen, balancer, clock, host
from deployments.drivers import HostError, sudoers
from deployments.drivers.hosts import HostAddress, Site
from deployments.models import BalancerNode, Endpoint, Installation
from deployments.outside import Outside, address_of, site_of
from deployments.snapshot import policy_of
from releases.models import Artifact

SIDE_BY_SIDE = 16
PATIENCE = 10.0
"""Seconds that one host may take for one question, beside connecting to it."""
QUESTIONS = """
at=$2
while [ ! -e "$at" ]; do at=$(dirname "$at"); done
echo "cores=$(nproc)"
echo "memory=$(awk '/^MemTotal:/ {print $2 * 1024}' /proc/meminfo)"
echo "now=$(date +%s)"
df -Pk "$at" 2>/dev/null | awk 'NR == 2 {print "disk=" $2 * 1024; print "free=" $4 * 1024}'
echo "inodes=$(df -Pi "$at" 2>/dev/null | awk 'NR == 2 && $2 > 0 {print $4}')"
[ -n "$1" ] || exit 0
if systemctl cat "$1" >/dev/null 2>&1; then echo unit=known; else echo unit=unknown; fi
"""
"""About a unit ("" for none) and the folder that will be or is its root."""

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
    for found in _side_by_side([partial(_balancer, node, outside) for node in nodes]):
        tell(found[0].about)
        yield from found


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
        told = _told(outside, address, unit, site.root)
        restart = _may(outside, address, "restart", unit)
        halt = _may(outside, address, "stop", unit if _is_cooled(place, site) else "")
    except HostError as error:
        return HostSeen(name, environment, code=error.code, error=error.sentence)
    except ValueError as error:
        return HostSeen(name, environment, code="declaration", error=str(error))
    return HostSeen(
        name, environment, missing_tools=facts.missing_tools, disk_free=facts.disk_free,
        inodes_free=facts.inodes_free, disk_size=_number(told.get("disk")), largest=room[0], files=room[1],
        cores=_number(told.get("cores")), memory=_number(told.get("memory")), clock_off=_clock_off(told),
        unit=unit, unit_known=told.get("unit") != "unknown", restart=restart, halt=halt,
    )  # fmt: skip


def _told(outside: Outside, address: HostAddress, unit: str, root: str) -> dict[str, str]:
    """What a machine says to QUESTIONS; `middle` is our own time when it was asked. Raises HostError."""
    begun = time.time()
    _, said, _ = outside.hosts.run(address, ["sh", "-c", QUESTIONS, "doctor", unit, root], timeout=PATIENCE)
    told = dict(line.split("=", 1) for line in said.decode(errors="replace").splitlines() if "=" in line)
    return told | {"middle": str((begun + time.time()) / 2)}


def _clock_off(told: Mapping[str, str]) -> float | None:
    now = _number(told.get("now"))
    return None if now is None else now - float(told["middle"])


def _may(outside: Outside, address: HostAddress, act: str, unit: str) -> str:
    """Whether sudo lets our user do that to the unit at once; "own" where nobody will ask sudo. Raises HostError."""
    if not unit:
        return "own"
    command = ["systemctl", act, unit]
    status, said, _ = outside.hosts.run(address, sudoers.question(command), timeout=PATIENCE)
    return sudoers.judge(command, status, said.decode(errors="replace"))


def _is_cooled(place: Endpoint, site: Site) -> bool:
    """Whether systemd will be asked to stop the unit, when its side has rested long enough."""
    return place.slot != Endpoint.MAIN and not site.halt and policy_of(place.installation).warm is not None


def _number(text: str | None) -> int | None:
    """awk writes large numbers in its own way."""
    try:
        return int(float(text or ""))
    except ValueError:
        return None


def _balancer(node: BalancerNode, outside: Outside) -> list[Finding]:
    about = f"balancer {node.balancer.name} on {node.host.name} ({node.balancer.environment.name})"
    found = list(_routing(about, node, outside))
    lived_on = Endpoint.objects.filter(host=node.host_id, retired=False).exists()
    return found if lived_on else [*found, *_machine(about, node, outside)]


def _routing(about: str, node: BalancerNode, outside: Outside) -> Iterator[Finding]:
    """What it does with the traffic. The first thing that is wrong is all that is said."""
    served = Installation.objects.filter(balancer=node.balancer).select_related("application", "environment")
    sentences = []
    for installation in served:
        try:
            traffic = outside.traffic(node, installation)
            for sentence, remedy, sure in traffic.shortcomings():
                if sure:
                    yield wrong(about, sentence, remedy)
                    return
                yield warning(about, sentence, remedy)
            weights = traffic.read()
        except HostError as error:
            if error.code == "not_ours":
                sentences.append(f"it does not know {installation.application} yet: its first deployment tells it")
                continue
            yield wrong(about, error.sentence, f"is {node.kind} running there, and may our user reach it?")
            return
        serving = sum(weight > 0 for weight in weights.values())
        sentences.append(f"{serving} of {len(weights)} hosts of {installation.application} get traffic")
        if weights and not serving:
            yield wrong(about, sentences[-1], "nobody gets traffic: deploy, or put a healthy host back in")
            return
    yield ok(about, "; ".join(sentences) or "no installation uses it")


def _machine(about: str, node: BalancerNode, outside: Outside) -> Iterator[Finding]:
    """Disk and clock of a machine that no application lives on: those of others are said with their host."""
    try:
        told = _told(outside, address_of(node.host), "", node.root)
    except (HostError, ValueError):
        return  # why it is not reached was said with its traffic
    size, free, inodes = (_number(told.get(name)) for name in ("disk", "free", "inodes"))
    yield from balancer(about, size, free, inodes)
    yield from clock(about, _clock_off(told))
