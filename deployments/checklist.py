"""The release checklist of the deployment guide, each item answered from facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deployments import gating
from deployments.models import Installation
from deployments.policy import Policy
from deployments.snapshot import policy_of
from releases import evidence
from releases.facts import GateCheck, Piece
from releases.models import Version


@dataclass(frozen=True, slots=True)
class Item:
    """One line of the list. `attest`: the kind by which a person can say that it is done; "" where facts alone do."""

    title: str
    done: bool
    said: str
    attest: str = ""


def items(version: Version, to: Installation, checks: Mapping[str, GateCheck]) -> tuple[Item, ...]:
    """The guide's ten, in its order. checks: gating.of_version's answers."""
    policy = policy_of(to)
    said = {piece.kind: piece for piece in evidence.pieces(version) if piece.digest == version.digest and piece.summary}
    return (
        _by_gate("All tests pass in the CI pipeline", checks["tests_passed"]),
        _by_gate("Security scans completed with no critical issues", checks["no_vulnerabilities"]),
        _attested("Documentation updated", "documentation_updated", said),
        _by_gate("Version number bumped appropriately", checks["version_bumped"]),
        _by_gate("Staging deployment successful", checks["source_deployed"]),
        _by_gate("Smoke tests pass in staging", checks["smoke_passed"]),
        _way_back(to, checks["rollback_ready"], said),
        _watched(to, policy),
        _attested("On-call engineer identified", "on_call_named", said),
        _attested("Stakeholders notified of the deployment", "stakeholders_told", said),
    )


def gates_of(version: Version, to: Installation) -> dict[str, GateCheck]:
    """Every gate of the guide for a version that would go there."""
    return gating.of_version(version, to, policy_of(to))


def _by_gate(title: str, check: GateCheck) -> Item:
    return Item(title, check.passed, check.reason)


def _attested(title: str, kind: str, said: Mapping[str, Piece]) -> Item:
    piece = said.get(kind)
    if piece is None:
        return Item(title, False, "Nobody has attested it for these bytes.", kind)
    person = f"{piece.summary['person']}: " if "person" in piece.summary else ""
    return Item(title, True, f"{piece.by} attests: {person}{piece.summary['note']}", kind)


def _way_back(to: Installation, check: GateCheck, said: Mapping[str, Piece]) -> Item:
    """Documented by the way back of the plan, tested by a person or by a rollback that was carried out there."""
    title, kind = "Rollback plan documented and tested", "rollback_plan_tested"
    if kind in said:
        return _attested(title, kind, said)
    last = to.deployments.filter(reverts__isnull=False, status="deployed").order_by("-deployed_at").first()
    if last is not None and check.passed and last.deployed_at:
        return Item(
            title, True, f"{check.reason} The last rollback there was at {last.deployed_at:%Y-%m-%d %H:%M} UTC."
        )
    return Item(title, False, f"{check.reason} Nobody has tried it for these bytes.", kind)


def _watched(to: Installation, policy: Policy) -> Item:
    sources, told = ", ".join(policy.sources), ", ".join(policy.incidents)
    undone = "undone by itself" if policy.automatic_rollback else "held for a person"
    said = (
        f"{to.environment} is watched for {policy.window / 60:g} minutes by {sources}; what fails is {undone}. "
        f"Incidents are opened for: {told or 'nothing'}."
    )
    return Item("Monitoring and alerts configured", policy.window > 0 and bool(policy.incidents), said)
