"""What must hold when it is quiet again: by the rows, by the hosts' ledgers, and by what the hosts serve."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from tests.faults.load import Story
from tests.faults.scene import Scene

STUCK = """
    SELECT d.id::text, i.environment_id, d.status, d.reason FROM deployments_deployment d
    JOIN deployments_installation i ON i.id = d.installation_id
    WHERE d.status IN ('pending', 'awaiting_approval', 'in_progress') AND d.paused_by = ''
      AND NOT EXISTS (SELECT 1 FROM deployments_step s WHERE s.deployment_id = d.id AND s.held)
"""
RECORD = """
    SELECT h.name, e.recorded, e.owed FROM deployments_endpoint e JOIN deployments_host h ON h.id = e.host_id
"""
NOT_UNDONE = """
    SELECT d.id::text, i.environment_id, d.status, w.kind FROM health_window w
    JOIN deployments_deployment d ON d.id = w.subject JOIN deployments_installation i ON i.id = d.installation_id
    WHERE w.verdict = 'fail' AND d.reverts_id IS NULL AND d.status NOT IN ('failed', 'rolled_back')
      AND NOT EXISTS (SELECT 1 FROM deployments_deployment r WHERE r.reverts_id = d.id AND r.status = 'deployed')
      AND NOT EXISTS (SELECT 1 FROM deployments_incident n WHERE n.deployment_id = d.id)
"""
DESIRED = """
    SELECT a.key, p.weights FROM deployments_pool p
    JOIN deployments_installation i ON i.id = p.installation_id JOIN releases_application a ON a.id = i.application_id
"""


def all_of_them(scene: Scene, stories: Sequence[Story]) -> dict[str, list[str]]:
    """Each claim with what contradicts it."""
    return {
        "0 lost": list(_lost(scene, stories)),
        "0 stuck": [" ".join(map(str, row)) for row in scene.rows(STUCK)] + [s.failed for s in stories if s.failed],
        "0 doubled effects": [*_doubled(scene), *_migrated(scene)],
        "fences never fall on a host": list(_falling(scene)),
        "every bad version was undone": list(_not_undone(stories)),
        "every failed verdict was undone": [" ".join(map(str, row)) for row in scene.rows(NOT_UNDONE)],
        "hosts run what the record says, or are owed": list(_astray(scene)),
        "balancers route by what is desired": list(_misrouted(scene)),
        "each status has its event": list(_silent(scene)),
    }


def _lost(scene: Scene, stories: Sequence[Story]) -> Iterator[str]:
    """What was answered is there, and nothing is there that was not asked."""
    known = {str(row[0]) for row in scene.rows("SELECT id FROM deployments_deployment WHERE reverts_id IS NULL")}
    asked = {one.id for story in stories for one in story.asked if one.id}
    yield from (f"{one} was answered and is not there" for one in asked - known)
    converged = {str(row[0]) for row in scene.rows("SELECT id FROM deployments_deployment WHERE strategy = 'converge'")}
    yield from (f"{one} is there and was not asked for" for one in known - asked - converged)


def _doubled(scene: Scene) -> Iterator[str]:
    """One key is one act: it is carried out to its end at most once."""
    for machine in scene.machines():
        done = Counter((line[0], line[2]) for line in machine.ledger() if line[4] == "done" and "activate" in line[2])
        yield from (f"{machine.name}: {key} {verb} {count} times" for (key, verb), count in done.items() if count > 1)


def _migrated(scene: Scene) -> Iterator[str]:
    """A migration runs once for a deployment, and so for each content, since no version is deployed twice here."""
    for machine in scene.machines():
        file = machine.root / "shared" / "migrated"
        ran = Counter(file.read_text().split()) if file.exists() else {}
        yield from (f"{machine.name}: migrated to {what} {count} times" for what, count in ran.items() if count > 1)


def _misrouted(scene: Scene) -> Iterator[str]:
    desired = dict(scene.rows(DESIRED))
    for fleet in scene.fleets():
        if fleet.caddy is not None and (live := scene.live_weights(fleet)) != desired[fleet.application]:
            yield f"{fleet.application} is routed by {live}, desired is {desired[fleet.application]}"


def _falling(scene: Scene) -> Iterator[str]:
    for machine in scene.machines():
        highest = 0
        for line in machine.ledger():
            fence = int(line[1])
            if fence < highest and line[4] in ("started", "done"):
                yield f"{machine.name}: fence {fence} after {highest}: {' '.join(line)}"
            highest = max(highest, fence)


def _not_undone(stories: Sequence[Story]) -> Iterator[str]:
    for story in stories:
        for asked in story.asked:
            if asked.bad and asked.id and asked.status not in ("failed", "rolled_back"):
                yield f"{asked}"


def _astray(scene: Scene) -> Iterator[str]:
    """A host that is owed says so; any other serves what the record names."""
    record = {name: (recorded, owed) for name, recorded, owed in scene.rows(RECORD)}
    for machine in scene.machines():
        recorded, owed = record[machine.name]
        serves = machine.version()
        if not owed and recorded and serves != recorded.rsplit("-", 1)[0]:
            yield f"{machine.name} serves {serves}, the record says {recorded}"


def _silent(scene: Scene) -> Iterator[str]:
    query = """
        SELECT d.id::text, d.status FROM deployments_deployment d WHERE NOT EXISTS (
            SELECT 1 FROM journal_event e WHERE e.stream = 'deployment:' || d.id
              AND e.kind = 'deployment.' || replace(d.status, 'pending', 'requested'))
    """
    yield from (f"{name} is {status} without an event" for name, status in scene.rows(query))
