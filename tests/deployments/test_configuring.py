"""Variables are shipped like code: by plan and hash, watched, undone by themselves, and seen by nobody on the way."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from aureus import clock
from aureus.journal.models import Event
from aureus.journal.refusals import Conflict, Invalid, NotFound
from deployments import lifecycle
from deployments.configuring import configure
from deployments.contents import brought
from deployments.explain import explain
from deployments.fleet import adopt, recover
from deployments.models import Configuration, Deployment, Endpoint, Host, Installation, Step
from deployments.picture import picture_of
from deployments.proven import goods
from health.sources.probe import HealthAnswer
from tests.deployments.conftest import ALICE, BOB, ROOT, Fleet
from tests.deployments.test_way_back import play_out

SECRET, PLAIN = "canary-secret-7Qx", "canary-plain-9Zk"


class Configured(Fleet):
    """Hosts whose service falls over when its variables say so, and does not start at all without them."""

    def ask(self, url: str, expected: str | None, **more: object) -> HealthAnswer:
        answer = super().ask(url, expected, **more)
        name = url.split("//")[1].split(":")[0]
        if b"MODE='broken'" in self.read(name):
            return HealthAnswer(False, answer.version, "it answers 503", 0.01)
        return answer

    def read(self, host: str, file: str = ".env") -> bytes:
        """What the service of a host reads."""
        return self.hosts.at(host).site(ROOT).shared.get(file, b"")

    def modes(self, here: Installation) -> dict[str, str]:
        """The MODE of every host, "" without."""
        lines = {e.host.name: self.read(e.host.name).decode() for e in here.endpoints.select_related("host")}
        return {name: text.partition("MODE='")[2].partition("'")[0] for name, text in lines.items()}


@pytest.fixture
def fleet(transactional_db: None) -> Configured:
    return Configured()


def mode(word: str, environment: str = "staging") -> Configuration:
    return configure(environment, "shop", actor=ALICE, changes={"MODE": {"value": word}})[0]


def current(here: Installation) -> Deployment:
    found = lifecycle.current_of(here)
    assert found is not None
    return found


def revision(deployment: Deployment) -> int | None:
    return deployment.configuration.number if deployment.configuration else None


def shipped(fleet: Fleet, version: object, **wish: object) -> Deployment:
    """The newest variables, brought there and proven good."""
    deployment = lifecycle.deploy(version.pk, "staging", actor=ALICE, wish=lifecycle.Wish(**wish))  # type: ignore
    fleet.run()
    Deployment.objects.filter(pk=deployment.pk).update(good_at="2026-01-01T00:00:00Z")
    deployment.refresh_from_db()
    assert deployment.status == "deployed", deployment.reason
    return deployment


def test_without_variables_a_content_has_the_name_that_it_always_had(fleet):
    fleet.environment("staging", hosts=1)
    deployment = fleet.deployed("1.0.0")
    assert deployment.content == deployment.version.content == f"1.0.0-{deployment.version.digest[:12]}"
    assert deployment.intent["configuration"] == ""


def test_a_revision_is_the_same_until_something_differs(fleet):
    here = fleet.environment("staging", hosts=1)
    first, is_new = configure("staging", "shop", actor=ALICE, variables={"B": {"value": "1"}, "A": {"value": "2"}})
    again = configure("staging", "shop", actor=BOB, variables={"A": {"value": "2"}, "B": {"value": "1"}})
    assert (first.number, is_new, again) == (1, True, (first, False))
    second, _ = configure("staging", "shop", actor=BOB, changes={"A": None, "C": {"secret": "env:C"}}, note="why")
    assert (second.number, second.variables) == (2, {"B": {"value": "1"}, "C": {"secret": "env:C"}})
    third, is_new = configure("staging", "shop", actor=BOB, changes={}, again=True)
    assert (third.number, is_new, third.variables) == (3, True, second.variables)
    assert len({row.digest for row in here.configurations.all()}) == 3
    back, _ = configure("staging", "shop", actor=BOB, variables=first.variables)
    assert (back.number, back.digest) == (4, first.digest)


def test_what_cannot_be_kept_writes_nothing(fleet):
    fleet.environment("staging", hosts=1)
    with pytest.raises(Invalid) as caught:
        configure("staging", "shop", actor=ALICE, variables={"a": {"value": PLAIN}, "B": {"value": f"{PLAIN}\n"}})
    assert [path for path, _ in caught.value.errors] == ["variables.a", "variables.B"]
    assert PLAIN not in str(caught.value.errors)
    asked: list[dict[str, Any]] = [{}, {"variables": {}, "changes": {}}, {"changes": []}]
    for wrong in asked:
        with pytest.raises(Invalid):
            configure("staging", "shop", actor=ALICE, **wrong)
    for place in (("nowhere", "shop"), ("staging", "nothing")):
        with pytest.raises(NotFound):
            configure(*place, actor=ALICE, variables={})
    assert not Configuration.objects.exists()


@pytest.mark.parametrize("ours", ["env:DATABASE_URL", "env:JWT_SECRET_FILE", "file:/proc/self/environ"])
def test_no_application_is_given_a_secret_of_aureus_itself(fleet, ours):
    fleet.environment("staging", hosts=1)
    with pytest.raises(Invalid) as caught:
        configure("staging", "shop", actor=ALICE, variables={"A": {"secret": ours}})
    assert "Aureus itself" in caught.value.errors[0][1]


def test_a_revision_is_never_changed_or_deleted(fleet):
    fleet.environment("staging", hosts=1)
    mode("fast")
    for statement in ("UPDATE deployments_configuration SET note = 'x'", "DELETE FROM deployments_configuration"):
        with pytest.raises(IntegrityError, match="write the next revision"), transaction.atomic():
            connection.cursor().execute(statement)


def test_variables_reach_every_host_with_their_version_and_a_change_is_a_deployment_of_its_own(fleet):
    here = fleet.environment("staging", hosts=2)
    mode("slow")
    first = fleet.deployed("1.0.0")
    assert set(fleet.modes(here).values()) == {"slow"}
    assert f"AUREUS_CONTENT='{first.content}'".encode() in fleet.read("staging-1")
    mode("fast")
    assert set(fleet.modes(here).values()) == {"slow"}, "a revision by itself ships nothing"
    second = shipped(fleet, first.version)
    assert set(fleet.modes(here).values()) == {"fast"}
    assert second.content != first.content and second.plan_hash != first.plan_hash
    assert [revision(d) for d in (first, second)] == [1, 2]
    assert "1.0.0 with configuration 2 to staging was deployed" in explain(second).sentence
    assert explain(second).evidence[0]["revision"] == 2


def test_the_hash_that_people_approve_names_the_variables(fleet):
    fleet.environment("staging", hosts=1)
    version = fleet.version("1.0.0")
    bare = lifecycle.dry_run(version.pk, "staging")
    mode("slow")
    slow = lifecycle.dry_run(version.pk, "staging")
    mode("fast")
    named = lifecycle.dry_run(version.pk, "staging", wish=lifecycle.Wish(configuration=1))
    none = lifecycle.dry_run(version.pk, "staging", wish=lifecycle.Wish(configuration=0))
    assert slow["plan_hash"] == named["plan_hash"] != lifecycle.dry_run(version.pk, "staging")["plan_hash"]
    assert none["plan_hash"] == bare["plan_hash"] != slow["plan_hash"]
    with pytest.raises(NotFound, match="the newest one is 2"):
        lifecycle.dry_run(version.pk, "staging", wish=lifecycle.Wish(configuration=9))


def test_what_was_asked_for_keeps_its_variables_while_others_are_written(fleet):
    here = fleet.environment("staging", hosts=1, approvals=1)
    mode("slow")
    deployment = lifecycle.deploy(fleet.version("1.0.0").pk, "staging", actor=ALICE)
    fleet.run()
    mode("fast")
    Installation.objects.filter(pk=here.pk).update(revision=7)
    fleet.run()
    for _ in range(2):  # the first yes is to a plan that is made anew
        lifecycle.approve(deployment.pk, actor=BOB)
        fleet.run()
    deployment.refresh_from_db()
    assert (deployment.status, fleet.modes(here)) == ("deployed", {"staging-1": "slow"})


@pytest.mark.parametrize("before", ["configured", "by hand", "nothing"])
def test_variables_that_make_the_service_fail_are_undone_by_themselves_on_every_host(fleet, before):
    here = fleet.environment("staging", balanced=True, strategy="all-at-once")
    hosts = list(here.endpoints.values_list("host__name", flat=True))
    if before == "configured":
        mode("slow")
    if before == "by hand":
        for name in hosts:
            fleet.hosts.at(name).site(ROOT).shared[".env"] = b"MODE='by hand'\n"
    first = fleet.deployed("1.0.0")
    old = {name: fleet.read(name) for name in hosts}
    mode("broken")
    second = lifecycle.deploy(first.version_id, "staging", actor=ALICE)
    play_out(fleet, second)
    second.refresh_from_db()
    rollback = second.rollbacks.get()
    assert (second.status, rollback.status) == ("failed", "deployed")
    assert {name: fleet.read(name) for name in hosts} == old
    assert (rollback.content, rollback.configuration) == (first.content, first.configuration)
    links = {fleet.hosts.at(name).site(ROOT).slots["main"] for name in hosts}
    assert links == {first.content}
    assert fleet.traffic.read() == dict.fromkeys(hosts, 100)
    assert current(here) == rollback
    assert goods(here) == [first.content]


def test_a_rollback_by_hand_brings_the_variables_that_were_there(fleet):
    here = fleet.environment("staging", hosts=2)
    mode("slow")
    first = fleet.deployed("1.0.0")
    mode("fast")
    second = shipped(fleet, first.version)
    rollback, _ = lifecycle.roll_back(second.pk, actor=BOB, reason="too fast")
    fleet.run()
    second.refresh_from_db()
    assert second.status == "rolled_back" and second.reason.startswith("rolled back to 1.0.0 with configuration 1")
    assert set(fleet.modes(here).values()) == {"slow"}
    assert revision(rollback) == 1
    assert goods(here) == [first.content]


def test_the_version_that_runs_may_be_named_to_go_back_to_where_it_had_other_variables(fleet):
    here = fleet.environment("staging", hosts=1)
    mode("slow")
    first = fleet.deployed("1.0.0")
    mode("fast")
    second = shipped(fleet, first.version)
    lifecycle.roll_back(second.pk, actor=BOB, reason="too fast", target_version="1.0.0")
    fleet.run()
    assert fleet.modes(here) == {"staging-1": "slow"}
    now = current(here)
    Deployment.objects.exclude(content=now.content).update(good_at=None, content=now.content)
    with pytest.raises(Invalid, match="is what runs now"):
        lifecycle.roll_back(now.pk, actor=BOB, reason="again", target_version="1.0.0")


def test_a_retry_ships_the_variables_that_were_tried(fleet):
    here = fleet.environment("staging", hosts=1, strategy="all-at-once")
    first = fleet.deployed("1.0.0")
    mode("broken")
    second = lifecycle.deploy(first.version_id, "staging", actor=ALICE)
    play_out(fleet, second)
    mode("fast")
    again = lifecycle.retry(second.pk, actor=ALICE)
    assert revision(again) == 1
    assert current(here).configuration is None


def test_variables_go_directly_to_where_versions_come_by_promotion_only_with_the_version_that_is_there(fleet):
    fleet.environment("staging", hosts=1)
    fleet.environment("production", hosts=1, promote_from="staging")
    source = fleet.deployed("1.0.0")
    with pytest.raises(Conflict, match="promotion"):
        lifecycle.deploy(source.version_id, "production", actor=ALICE)
    Deployment.objects.create(
        installation=Installation.objects.get(environment__name="production"), version=source.version,
        strategy="rolling", requested_by="x", content=source.content, digest=source.digest, status="deployed",
        deployed_at="2026-01-01T00:00:00Z",
    )  # fmt: skip
    mode("fast", "production")
    deployment = lifecycle.deploy(source.version_id, "production", actor=ALICE)
    assert revision(deployment) == 1


def test_a_secret_is_read_when_it_is_sent_and_stays_what_it_was_on_the_way_back(fleet, monkeypatch):
    fleet.environment("staging", hosts=1)
    configure("staging", "shop", actor=ALICE, variables={"PASSWORD": {"secret": "env:SHOP_DB"}})
    monkeypatch.setenv("SHOP_DB", "first")
    first = fleet.deployed("1.0.0")
    assert b"PASSWORD='first'" in fleet.read("staging-1")
    monkeypatch.setenv("SHOP_DB", "second")
    configure("staging", "shop", actor=ALICE, changes={}, again=True)
    second = shipped(fleet, first.version)
    assert b"PASSWORD='second'" in fleet.read("staging-1")
    monkeypatch.delenv("SHOP_DB")
    lifecycle.roll_back(second.pk, actor=BOB, reason="the old one it was")
    fleet.run()
    assert b"PASSWORD='first'" in fleet.read("staging-1"), "it lies on the host, though nobody else has it any more"


@pytest.mark.parametrize("wrong", ["", f"{SECRET}\nmore"])
def test_a_secret_that_cannot_be_had_fails_before_any_host_is_changed_and_is_named_by_its_reference(
    fleet, monkeypatch, wrong
):
    here = fleet.environment("staging", hosts=2)
    first = fleet.deployed("1.0.0")
    if wrong:
        monkeypatch.setenv("SHOP_DB", wrong)
    configure("staging", "shop", actor=ALICE, variables={"PASSWORD": {"secret": "env:SHOP_DB"}})
    second = lifecycle.deploy(first.version_id, "staging", actor=ALICE)
    play_out(fleet, second)
    second.refresh_from_db()
    assert second.status == "failed" and "the secret env:SHOP_DB" in second.reason
    assert not second.targets.filter(claimed_at__isnull=False).exists()
    assert {fleet.hosts.at(e.host.name).site(ROOT).slots["main"] for e in here.endpoints.all()} == {first.content}


def test_a_secret_in_a_file_is_its_text_without_the_last_line_break(fleet, tmp_path):
    fleet.environment("staging", hosts=1)
    file = tmp_path / "password"
    file.write_text(f" {SECRET}\n")
    configure("staging", "shop", actor=ALICE, variables={"PASSWORD": {"secret": f"file:{file}"}})
    fleet.deployed("1.0.0")
    assert f"PASSWORD=' {SECRET}'".encode() in fleet.read("staging-1")


def test_no_value_lies_in_any_row_but_its_revision_and_no_secret_in_any(fleet, monkeypatch):
    fleet.environment("staging", balanced=True, strategy="all-at-once")
    monkeypatch.setenv("SHOP_DB", SECRET)
    wanted = {"PASSWORD": {"secret": "env:SHOP_DB"}, "GREETING": {"value": PLAIN}, "MODE": {"value": "slow"}}
    configure("staging", "shop", actor=ALICE, variables=wanted)
    first = fleet.deployed("1.0.0")
    mode("broken")
    second = lifecycle.deploy(first.version_id, "staging", actor=ALICE)
    play_out(fleet, second)
    assert SECRET.encode() in fleet.read("staging-1") and PLAIN.encode() in fleet.read("staging-1")
    found = dict(_rows_with((SECRET, PLAIN)))
    assert set(found) == {"deployments_configuration"} and SECRET not in found["deployments_configuration"]


def _rows_with(words: tuple[str, ...]) -> list[tuple[str, str]]:
    found = []
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        tables = [name for (name,) in cursor.fetchall()]
        assert {"deployments_step", "journal_event", "deployments_deployment"} <= set(tables)
        for table in tables:
            cursor.execute(f"SELECT coalesce(string_agg(t::text, E'\\n'), '') FROM \"{table}\" t")
            text = cursor.fetchone()[0]
            found += [(table, text)] if any(word in text for word in words) else []
    return found


def test_a_host_that_lost_its_variables_is_brought_them_again_by_a_convergence(fleet):
    here = fleet.environment("staging", hosts=2)
    mode("slow")
    fleet.deployed("1.0.0")
    site = fleet.hosts.at("staging-2").site(ROOT)
    site.env.clear()
    site.releases.clear()
    site.shared.clear()
    site.before.clear()
    site.slots.clear()
    deployment = lifecycle.converge(here, ["staging-2"], actor=ALICE, reason="its disk was lost")
    fleet.run()
    deployment.refresh_from_db()
    assert (deployment.status, revision(deployment)) == ("deployed", 1)
    assert fleet.modes(here) == {"staging-1": "slow", "staging-2": "slow"}


def test_a_restored_database_knows_a_content_by_both_its_parts(fleet):
    here = fleet.environment("staging", hosts=1)
    mode("slow")
    first = fleet.deployed("1.0.0")
    mode("fast")
    second = shipped(fleet, first.version)
    content, pk = second.content, second.pk
    Step.objects.filter(deployment=pk).delete()
    Deployment.objects.filter(pk=pk).update(content="forgotten")
    found = brought(here, content)
    assert found is not None and (found.version, found.configuration) == (second.version, second.configuration)
    [place] = recover.look(fleet.outside).places
    assert not place.unknown and [one.runs for one in place.differs] == []
    assert brought(here, "1.0.0-000000000000") is None


def test_what_a_person_started_is_not_adopted_beside_hosts_that_have_variables(fleet):
    here = fleet.environment("staging", hosts=1)
    mode("slow")
    fleet.deployed("1.0.0")
    host: Host = fleet._host(here.environment, "staging-9", 9)
    Endpoint.objects.create(installation=here, host=host, port=8000)
    with pytest.raises(Conflict, match="runs with configuration 1"):
        adopt.look("staging", "shop", "1.0.0", fleet.outside)


def test_the_event_of_a_revision_has_its_number_and_names_alone(fleet):
    fleet.environment("staging", hosts=1)
    configure("staging", "shop", actor=ALICE, variables={"GREETING": {"value": PLAIN}}, note="why")
    event = Event.objects.get(kind="installation.configured")
    assert {"revision": 1, "names": ["GREETING"], "note": "why"}.items() <= event.data.items()
    assert PLAIN not in str(event.data)


def test_a_file_behind_a_reference_is_read_no_further_than_a_value_may_be(fleet, tmp_path: Path, monkeypatch):
    fleet.environment("staging", hosts=1)
    file = tmp_path / "large"
    with file.open("wb") as stream:
        stream.truncate(1 << 32)
    configure("staging", "shop", actor=ALICE, variables={"PASSWORD": {"secret": f"file:{file}"}})
    deployment = lifecycle.deploy(fleet.version("1.0.0").pk, "staging", actor=ALICE)
    play_out(fleet, deployment)
    deployment.refresh_from_db()
    assert deployment.status == "failed" and f"the secret file:{file} cannot be sent" in deployment.reason


def test_a_picture_of_changed_variables_keeps_both_sides_of_one_version_apart(fleet):
    fleet.environment("staging", hosts=2, balanced=True)
    first = fleet.deployed("1.0.0")
    mode("slow")
    second = shipped(fleet, first.version)
    third = shipped(fleet, fleet.version("1.1.0"))
    seen = [picture_of(one, clock.now()) for one in (second, third)]
    assert [set(one.shares) for one in seen if one] == [{"1.0.0", "1.0.0 with configuration 1"}, {"1.0.0", "1.1.0"}]


def test_deployments_of_before_are_named_as_their_hosts_know_them(fleet):
    fleet.environment("staging", hosts=1)
    deployment = fleet.deployed("1.0.0-rc.1")
    Deployment.objects.update(content="")
    with connection.cursor() as cursor:
        cursor.execute(import_module("deployments.migrations.0009_configuration").NAMED)
    deployment.refresh_from_db()
    assert deployment.content == deployment.version.content


def test_variables_that_were_undone_are_good_no_more_by_an_earlier_deployment_of_them(fleet):
    here = fleet.environment("staging", hosts=1)
    mode("slow")
    first = fleet.deployed("1.0.0")
    mode("fast")
    shipped(fleet, first.version)
    again = shipped(fleet, first.version)
    lifecycle.roll_back(again.pk, actor=BOB, reason="too fast")
    fleet.run()
    assert goods(here) == [first.content]
