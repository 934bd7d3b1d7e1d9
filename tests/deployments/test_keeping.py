"""What is removed is needed by nobody; what somebody needs stays; and whoever needs what was removed is told."""

from __future__ import annotations

import io
import os
import signal
import threading
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections, transaction

from aureus import clock
from aureus.celery import pruning
from aureus.journal.models import Event
from aureus.journal.refusals import Conflict, Invalid, NotFound
from deployments import keeping, lifecycle
from deployments.gating import checks
from deployments.models import Deployment, Endpoint, Installation
from deployments.snapshot import policy_of
from deployments.tasks import prune_artifacts
from releases import registry, retention
from releases.keeping import Rule
from releases.models import Application, Artifact, Version
from releases.store import ArtifactStore
from releases.store.directory import DirectoryStore
from tests.api.test_versions import archive
from tests.conftest import wait_until
from tests.deployments.conftest import ALICE, BOB, SPEC, Fleet
from tests.deployments.killed import exit_code
from tests.deployments.racing import race
from tests.releases.conftest import s3_server, s3_store

__all__ = ["s3_server", "s3_store"]

RULE = Rule(days=30, newest=0)


@pytest.fixture(params=["directory", "s3"])
def either_store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    if request.param == "directory":
        return DirectoryStore(tmp_path / "store")
    return request.getfixturevalue("s3_store")


@pytest.fixture
def shop(fleet: Fleet, tmp_path: Path) -> Fleet:
    """A fleet with a store of artifacts."""
    fleet.store = DirectoryStore(tmp_path / "store")
    return fleet


@cache
def octets_of(number: str) -> tuple[bytes, str]:
    """The same each time: the archive has the time in it."""
    return archive(text=number.encode())


def send(fleet: Fleet, number: str, *, application: str = "shop", octets: str = "") -> Version:
    """A version with an artifact of its own, or with the one of `octets`."""
    assert fleet.store is not None
    version, _ = registry.register({**SPEC, "id": application}, number, actor=ALICE)
    sent, sha256 = octets_of(octets or number)
    return registry.attach(version.pk, io.BytesIO(sent), sha256=sha256, store=fleet.store, max_size=10**6, actor=ALICE)


def shipped(fleet: Fleet, number: str, *, good: bool = True) -> Deployment:
    """Sent, deployed to staging, and proven good there."""
    send(fleet, number)
    if good:
        return fleet.deployed(number)
    deployment = lifecycle.deploy(fleet.version(number).pk, "staging", actor=ALICE)
    fleet.run()
    return deployment


def served(staging: Installation, version: Version) -> None:
    """The record of a deployment that passed its window, without the time that one takes."""
    now = clock.now()
    Deployment.objects.create(
        installation=staging, version=version, content=version.content, digest=version.digest, strategy="rolling",
        requested_by="alice", status="deployed", started_at=now, deployed_at=now, ended_at=now, good_at=now,
    )  # fmt: skip


def age(days: int = 100) -> None:
    """Let all that is there have happened so many days ago."""
    past = timedelta(days=days)
    for artifact in Artifact.objects.all():
        Artifact.objects.filter(pk=artifact.pk).update(at=artifact.at - past)
    for version in Version.objects.all():
        Version.objects.filter(pk=version.pk).update(created_at=version.created_at - past)
    for one in Deployment.objects.all():
        moved = {name: at - past for name in ("created_at", "started_at", "deployed_at", "ended_at", "good_at")
                 if (at := getattr(one, name))}  # fmt: skip
        Deployment.objects.filter(pk=one.pk).update(**moved)


def prune(fleet: Fleet, rule: Rule = RULE) -> keeping.Pruned:
    assert fleet.store is not None
    return keeping.prune(rule, fleet.store, actor=BOB)


def names(those: Iterable[keeping.Looked]) -> set[str]:
    return {name.removeprefix("shop ") for one in those for name in one.versions}


def is_there(fleet: Fleet, number: str) -> bool:
    """Whether a version's bytes are in the store, and the row says the same."""
    assert fleet.store is not None
    artifact = Version.objects.get(application__key="shop", number=number).artifact
    assert artifact is not None
    found = fleet.store.exists(artifact.store_key)
    assert found == (artifact.removed_at is None), number
    return found


# Who needs what


def current(fleet: Fleet, staging: Installation) -> None:
    shipped(fleet, "1.0.0", good=False)


def last_three_good(fleet: Fleet, staging: Installation) -> None:
    for number in ("1.0.0", "1.1.0", "1.2.0", "1.3.0"):
        served(staging, send(fleet, number))
    shipped(fleet, "1.4.0")


def reverted(fleet: Fleet, staging: Installation) -> None:
    shipped(fleet, "1.0.0")
    bad = shipped(fleet, "1.1.0")
    lifecycle.roll_back(bad.pk, actor=BOB, reason="bad")
    fleet.run()


def waits_for_approval(fleet: Fleet, staging: Installation) -> None:
    shipped(fleet, "1.0.0")
    staging.environment.policy["approvals"] = 1
    staging.environment.save()
    send(fleet, "1.1.0")
    lifecycle.deploy(fleet.version("1.1.0").pk, "staging", actor=ALICE)


def way_back_of_an_open_one(fleet: Fleet, staging: Installation) -> None:
    """Its way back is named in its plan, though it is not among the last three good ones any more."""
    last_three_good(fleet, staging)
    send(fleet, "1.5.0")
    deployment = lifecycle.deploy(fleet.version("1.5.0").pk, "staging", actor=ALICE)
    deployment.targets.update(back_content=fleet.version("1.0.0").content)


def way_back_of_the_current_one(fleet: Fleet, staging: Installation) -> None:
    last_three_good(fleet, staging)
    newest = staging.deployments.get(version__number="1.4.0")
    newest.targets.update(back_content=fleet.version("1.0.0").content)


def owed_host(fleet: Fleet, staging: Installation) -> None:
    last_three_good(fleet, staging)
    Endpoint.objects.filter(host__name="staging-1").update(
        recorded=fleet.version("1.0.0").content, owed="unreachable", owed_at=clock.now()
    )


def drifted_host(fleet: Fleet, staging: Installation) -> None:
    last_three_good(fleet, staging)
    Endpoint.objects.filter(host__name="staging-1").update(observed=fleet.version("1.0.0").content)


def retired_host(fleet: Fleet, staging: Installation) -> None:
    drifted_host(fleet, staging)
    Endpoint.objects.filter(host__name="staging-1").update(retired=True)


def restored_database(fleet: Fleet, staging: Installation) -> None:
    last_three_good(fleet, staging)
    Installation.objects.update(unproven="restored")


def convergence(fleet: Fleet, staging: Installation) -> None:
    last_three_good(fleet, staging)
    Endpoint.objects.filter(host__name="staging-1").update(observed=fleet.version("1.0.0").content)
    lifecycle.converge(staging, ["staging-1"], actor=BOB, reason="drifted")
    Endpoint.objects.filter(host__name="staging-1").update(observed="")


def withdrawn_good(fleet: Fleet, staging: Installation) -> None:
    """With one of the last three withdrawn, an older one is among them."""
    last_three_good(fleet, staging)
    registry.withdraw(fleet.version("1.3.0").pk, reason="bad", actor=BOB)


def never_deployed(fleet: Fleet, staging: Installation) -> None:
    send(fleet, "1.0.0")


def shared_with_another_application(fleet: Fleet, staging: Installation) -> None:
    """The same bytes run as another application."""
    send(fleet, "1.0.0")
    send(fleet, "7.0.0", application="mail", octets="1.0.0")
    mail = Application.objects.get(key="mail")
    there = Installation.objects.create(
        application=mail, environment=staging.environment, root="/srv/m", url="http://{address}"
    )
    host = staging.environment.hosts.first()
    assert host is not None
    other = Version.objects.get(application=mail)
    Endpoint.objects.create(installation=there, host=host, port=9000, recorded=other.content)


@pytest.mark.parametrize(
    ("scene", "removed"),
    [
        (current, set()),
        (last_three_good, {"1.0.0", "1.1.0"}),
        (reverted, set()),
        (waits_for_approval, set()),
        (way_back_of_an_open_one, {"1.1.0"}),
        (way_back_of_the_current_one, {"1.1.0"}),
        (owed_host, {"1.1.0"}),
        (drifted_host, {"1.1.0"}),
        (retired_host, {"1.0.0", "1.1.0"}),
        (restored_database, set()),
        (convergence, {"1.1.0"}),
        (withdrawn_good, {"1.0.0"}),
        (never_deployed, {"1.0.0"}),
        (shared_with_another_application, set()),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_somebody_needs_stays_and_the_rest_goes(
    shop: Fleet, scene: Callable[[Fleet, Installation], None], removed: set[str]
) -> None:
    scene(shop, shop.environment("staging", hosts=1))
    age()
    asked = keeping.look(RULE)
    done = prune(shop)
    assert names(asked.removed) == names(done.removed) == removed
    numbers = set(Version.objects.filter(application__key="shop").values_list("number", flat=True))
    assert {number for number in numbers if not is_there(shop, number)} == removed
    assert all(one.kept for one in done.kept)


def test_what_is_young_or_among_the_newest_stays(shop: Fleet) -> None:
    shop.environment("staging", hosts=1)
    for number in ("1.0.0", "1.1.0", "1.2.0"):
        send(shop, number)
    assert names(prune(shop).removed) == set()
    age(40)
    assert names(prune(shop, Rule(90, 0)).removed) == set()
    [*_, kept] = prune(shop, Rule(30, 2)).kept
    assert not is_there(shop, "1.0.0") and is_there(shop, "1.1.0") and is_there(shop, "1.2.0")
    assert "is one of the 2 newest" in kept.kept


def test_a_dry_run_changes_nothing_and_an_unusable_rule_is_refused(shop: Fleet) -> None:
    shop.environment("staging", hosts=1)
    send(shop, "1.0.0")
    age()
    assert names(keeping.look(RULE).removed) == {"1.0.0"}
    assert is_there(shop, "1.0.0")
    with pytest.raises(Invalid, match="days must be at least 1"):
        prune(shop, Rule(0, 0))


# What was removed


@pytest.fixture
def pruned(shop: Fleet) -> Fleet:
    """1.0.0 served long ago and was removed, and so was 0.9.0, which failed; 1.4.0 is current."""
    staging = shop.environment("staging", hosts=1)
    send(shop, "0.9.0")
    failed = lifecycle.deploy(shop.version("0.9.0").pk, "staging", actor=ALICE)
    lifecycle.abandon(failed.pk, actor=ALICE, reason="no")
    last_three_good(shop, staging)
    age()
    assert names(prune(shop).removed) == {"0.9.0", "1.0.0", "1.1.0"}
    return shop


def test_whoever_needs_what_was_removed_is_told_to_send_it_again(pruned: Fleet) -> None:
    pruned.environment("production", hosts=1, promote_from="staging")
    numbers = ("0.9.0", "1.0.0", "1.4.0")
    failed, old, now = (Deployment.objects.get(version__number=number) for number in numbers)
    ways: list[Callable[[], Any]] = [
        lambda: lifecycle.deploy(old.version_id, "staging", actor=ALICE),
        lambda: lifecycle.dry_run(old.version_id, "staging"),
        lambda: lifecycle.promote(old.pk, actor=ALICE),
        lambda: lifecycle.roll_back(now.pk, actor=BOB, reason="bad", target_version="1.0.0"),
        lambda: lifecycle.retry(failed.pk, actor=BOB),
    ]
    before = Deployment.objects.count()
    for way in ways:
        with pytest.raises(Conflict, match=r"send it again with aureus version upload") as refused:
            way()
        assert refused.value.code in ("artifact_removed", "gates_failed")
    assert Deployment.objects.count() == before
    to = Installation.objects.get(environment__name="production")
    [gone] = [one for one in checks(old, to, policy_of(to)) if one.name == "artifact_kept"]
    assert not gone.passed


def test_a_rollback_goes_past_what_was_removed(shop: Fleet) -> None:
    """A good content without its bytes is no way back: the next good one is."""
    shop.environment("staging", hosts=2)
    for number in ("1.0.0", "1.1.0"):
        shipped(shop, number)
    bad = shipped(shop, "1.2.0")
    Artifact.objects.filter(versions__number="1.1.0").update(removed_at=clock.now())
    rollback, _ = lifecycle.roll_back(bad.pk, actor=BOB, reason="bad")
    shop.run()
    rollback.refresh_from_db()
    assert (rollback.status, rollback.version.number) == ("deployed", "1.0.0")


@pytest.mark.usefixtures("transactional_db")
def test_what_was_removed_and_is_sent_again_is_there_again(fleet: Fleet, either_store: ArtifactStore) -> None:
    fleet.store = either_store
    fleet.environment("staging", hosts=1)
    version = send(fleet, "1.0.0")
    age()
    assert names(prune(fleet).removed) == {"1.0.0"}
    assert not is_there(fleet, "1.0.0")
    known = {"sha256": octets_of("1.0.0")[1], "store": either_store, "actor": ALICE}
    with pytest.raises(NotFound, match="send the archive itself"):
        registry.attach_known(version.pk, **known)  # type: ignore[arg-type]
    send(fleet, "1.0.0")
    assert is_there(fleet, "1.0.0")
    assert names(prune(fleet).removed) == set()
    assert fleet.deployed("1.0.0").version_id == version.pk
    kinds = Event.objects.filter(stream=version.stream).order_by("seq").values_list("kind", flat=True)
    assert [kind.partition("artifact_")[2] for kind in kinds if "artifact_" in kind] == [
        "attached", "removed", "sent_again"
    ]  # fmt: skip


def test_what_comes_in_again_before_its_bytes_are_deleted_is_not_deleted(shop: Fleet) -> None:
    shop.environment("staging", hosts=1)
    send(shop, "1.0.0")
    age()
    artifact = Artifact.objects.get()
    assert shop.store is not None
    with transaction.atomic():
        retention.mark(Artifact.objects.select_for_update().get(), BOB)
    retention.expect(artifact.sha256)  # an upload of it has begun
    assert retention.delete_marked(shop.store) == (0, "")
    assert shop.store.exists(artifact.store_key)
    send(shop, "1.0.0")
    prune(shop)
    assert is_there(shop, "1.0.0")


# Cut off


@pytest.mark.parametrize("after_the_bytes", [False, True], ids=["before the bytes", "after the bytes"])
def test_a_run_that_is_killed_between_mark_and_delete_is_made_good_by_the_next(
    shop: Fleet, after_the_bytes: bool
) -> None:
    shop.environment("staging", hosts=1)
    for number in ("1.0.0", "1.1.0"):
        send(shop, number)
    age()

    class Dies(DirectoryStore):
        def delete(self, key: str) -> None:
            if after_the_bytes:
                super().delete(key)
            os.kill(os.getpid(), signal.SIGKILL)

    assert isinstance(shop.store, DirectoryStore)
    dying = Dies(shop.store.root)
    assert exit_code(lambda _: keeping.prune(RULE, dying, actor=BOB), {}) == -signal.SIGKILL
    marked = Artifact.objects.filter(removed_at__isnull=False)
    assert marked.count() == 2 and not marked.exclude(deleted_at=None).exists()
    with pytest.raises(Conflict, match="send it again"):
        lifecycle.deploy(shop.version("1.0.0").pk, "staging", actor=ALICE)
    done = prune(shop)
    assert (done.removed, done.deleted, done.left) == ([], 2, "")
    assert not is_there(shop, "1.0.0") and not is_there(shop, "1.1.0")
    assert prune(shop).deleted == 0


def test_a_store_that_does_not_answer_leaves_the_bytes_to_the_next_run(shop: Fleet) -> None:
    from releases.store import StoreDown

    shop.environment("staging", hosts=1)
    send(shop, "1.0.0")
    age()

    class Down(DirectoryStore):
        def delete(self, key: str) -> None:
            raise StoreDown("no answer")

    assert isinstance(shop.store, DirectoryStore)
    done = keeping.prune(RULE, Down(shop.store.root), actor=BOB)
    assert (names(done.removed), done.deleted) == ({"1.0.0"}, 0)
    assert "asked again by the next run: no answer" in done.left
    assert prune(shop).deleted == 1


# At the same instant


def in_a_thread(verb: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    said: list[Any] = []

    def run() -> None:
        try:
            said.append(verb())
        except BaseException as error:
            said.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return thread, said


def somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'")
        return bool(cursor.fetchone()[0])


@pytest.fixture
def old(shop: Fleet) -> Deployment:
    """1.4.0 is current, and 1.0.0 served long ago; nothing was removed yet."""
    last_three_good(shop, shop.environment("staging", hosts=1))
    shop.environment("production", hosts=1, promote_from="staging")
    age()
    return Deployment.objects.get(version__number="1.0.0")


WAYS: dict[str, Callable[[Deployment], Any]] = {
    "deploy": lambda old: lifecycle.deploy(old.version_id, "staging", actor=ALICE),
    "named rollback": lambda old: lifecycle.roll_back(
        Deployment.objects.get(version__number="1.4.0").pk, actor=BOB, reason="bad", target_version="1.0.0"
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_who_plans_while_an_artifact_is_being_removed_waits_and_is_told(shop: Fleet, old: Deployment, way: str) -> None:
    with transaction.atomic():
        artifact = Artifact.objects.select_for_update().get(sha256=octets_of("1.0.0")[1])
        assert retention.take([old.version.application_id])
        thread, said = in_a_thread(lambda: WAYS[way](old))
        wait_until(somebody_waits, seconds=10, what="it waits for the removal")
        retention.mark(artifact, BOB)
    thread.join(10)
    [refused] = said
    assert isinstance(refused, Conflict) and "send it again" in refused.sentence
    assert Deployment.objects.exclude(status__in=["deployed", "rolled_back"]).count() == 0


@pytest.mark.parametrize("way", WAYS)
def test_what_somebody_plans_with_at_this_moment_is_not_removed(shop: Fleet, old: Deployment, way: str) -> None:
    planned, go_on = threading.Event(), threading.Event()

    def plan() -> None:
        with transaction.atomic():
            WAYS[way](old)
            planned.set()
            assert go_on.wait(10)

    thread, said = in_a_thread(plan)
    assert planned.wait(10)
    done = prune(shop)
    go_on.set()
    thread.join(10)
    assert said == [None]
    assert "somebody plans" in {one.versions[0]: one.kept for one in done.kept}["shop 1.0.0"]
    assert names(prune(shop).removed) <= {"1.1.0"}
    assert is_there(shop, "1.0.0")


def test_of_a_removal_and_those_who_need_the_bytes_nobody_is_left_without_them(shop: Fleet, old: Deployment) -> None:
    """Rounds on connections of their own: an accepted plan has its bytes, a refused one says what to do."""
    for _ in range(12):
        before = list(Deployment.objects.values_list("pk", flat=True))
        came = race([lambda who: WAYS["deploy"](old), lambda who: prune(shop), lambda who: prune(shop)], jitter=0.1)
        new = Deployment.objects.exclude(pk__in=before)
        assert is_there(shop, "1.0.0") == new.exists()
        assert new.exists() or any("send it again" in one.sentence for one in came if not one.won)
        for deployment in new:
            lifecycle.abort(deployment.pk, actor=BOB, reason="again")
            shop.run()
        send(shop, "1.0.0")
        age()


def test_of_a_removal_and_a_version_that_takes_the_same_bytes_nobody_is_left_without_them(shop: Fleet) -> None:
    shop.environment("staging", hosts=1)
    send(shop, "1.0.0")
    store, sha256 = shop.store, octets_of("1.0.0")[1]
    assert store is not None
    for round_ in range(12):
        age()
        taker = shop.version(f"2.0.{round_}")
        verbs: list[Callable[..., Any]] = [
            lambda who, taker=taker: registry.attach_known(taker.pk, sha256=sha256, store=store, actor=who),
            lambda who: prune(shop),
        ]
        race(verbs, jitter=0.01)
        taker.refresh_from_db()
        if taker.artifact_id:
            assert is_there(shop, taker.number)
        else:
            assert not is_there(shop, "1.0.0")
            send(shop, "1.0.0")


def test_the_beat_removes_nothing_unless_it_was_switched_on() -> None:
    assert pruning(0) == {}
    assert pruning(90)["prune"]["task"] == prune_artifacts.name
