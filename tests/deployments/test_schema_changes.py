"""What a version does to its data decides whether the code of before may come back, and who may say so."""

import pytest

from aureus.journal.actor import Actor
from aureus.journal.models import Event
from aureus.journal.refusals import Conflict, NotAllowed
from deployments import lifecycle
from deployments.configuring import configure
from deployments.explain import explain
from deployments.gating import checks, reasons
from deployments.models import Deployment, Endpoint, Environment, Incident, Installation, Pool, Step
from deployments.snapshot import policy_of
from health.models import SmokeRun, Window
from releases import registry
from releases.models import Version
from tests.deployments.conftest import ALICE, BOB, SPEC, Fleet
from tests.deployments.test_watching import backdate, judged, traffic, window_of

PAST = "2026-01-01T00:00:00Z"
ONE_WAY = ["contract", "irreversible"]
LAST_RAN = "1.1.0 has begun its schema change ({}) here, and 1.0.0 last ran before it."


def version(number: str, change: str) -> Version:
    return registry.register(SPEC, number, actor=ALICE, schema_change=change)[0]


@pytest.fixture
def here(fleet: Fleet) -> Installation:
    return commanded(fleet.environment("staging", hosts=2, balanced=True))


@pytest.fixture
def three(fleet: Fleet) -> Installation:
    return commanded(fleet.environment("staging", hosts=3, balanced=True))


def commanded(installation: Installation, backup: str = "echo dump is in /backups/7", migrate: str = "echo migrated"):
    Installation.objects.filter(pk=installation.pk).update(backup_command=backup, migrate_command=migrate)
    installation.refresh_from_db()
    return installation


def ask(fleet: Fleet, number: str, change: str, **wish: object) -> Deployment:
    return lifecycle.deploy(
        version(number, change).pk,
        "staging",
        actor=ALICE,
        wish=lifecycle.Wish(**wish),  # type: ignore[arg-type]
    )


def brought(fleet: Fleet, number: str, change: str = "none") -> Deployment:
    """Deployed, and not proven good."""
    deployment = ask(fleet, number, change)
    fleet.run()
    deployment.refresh_from_db()
    assert deployment.status == "deployed", deployment.reason
    return deployment


def played(fleet: Fleet, deployment: Deployment) -> Deployment:
    """With all deadlines of what is not healthy over."""
    for _ in range(12):
        Step.objects.filter(kind="verify", attempts__gt=0, status="pending").update(deadline_at=PAST)
        fleet.hurry()
        try:
            fleet.run(rounds=3)
        except AssertionError:
            continue
        break
    deployment.refresh_from_db()
    return deployment


def stuck(fleet: Fleet, change: str) -> Deployment:
    """A second host on which the new version does not become healthy."""
    fleet.deployed("1.0.0")
    fleet.sick.add(("staging-2", "1.1.0"))
    return played(fleet, ask(fleet, "1.1.0", change))


def failed_window(fleet: Fleet, deployment: Deployment) -> None:
    judged(window := backdate(window_of(deployment)), traffic(window, requests=50, errors=50))
    fleet.run()
    deployment.refresh_from_db()


@pytest.mark.parametrize(
    ("change", "backup", "migrate", "said"),
    [
        ("expand", "true", "", "declares the schema change expand, and shop in staging has no command for it"),
        ("contract", "true", "", "declares the schema change contract, and shop in staging has no command for it"),
        ("irreversible", "", "true", "declares an irreversible schema change, and shop in staging makes no backup"),
    ],
)
def test_a_change_that_cannot_be_made_or_undone_there_is_refused_before_anything_is_asked_for(
    fleet, change, backup, migrate, said
):
    commanded(fleet.environment("staging"), backup, migrate)
    declared = version("1.0.0", change)
    for refused in (lambda: lifecycle.deploy(declared.pk, "staging", actor=ALICE),
                    lambda: lifecycle.dry_run(declared.pk, "staging")):  # fmt: skip
        with pytest.raises(Conflict, match=said) as refusal:
            refused()
        assert refusal.value.code == "schema_undeclared"
    assert not Deployment.objects.exists()


def test_a_policy_may_let_an_irreversible_change_come_without_a_backup(fleet):
    commanded(fleet.environment("staging", irreversible_without_backup=True), backup="")
    assert brought(fleet, "1.0.0", "irreversible").status == "deployed"


def test_a_promotion_is_refused_with_what_is_missing_there_and_the_gates_say_so_before(fleet):
    commanded(fleet.environment("staging", hosts=1))
    there = fleet.environment("production", hosts=1, promote_from="staging")
    Installation.objects.filter(pk=there.pk).update(migrate_command="true")
    there.refresh_from_db()
    source = brought(fleet, "1.0.0", "irreversible")
    SmokeRun.objects.create(subject=source.pk, tests=[], verdict="passed", status="passed", not_before=PAST)
    [why] = reasons(checks(source, there, policy_of(there)))
    assert "1.0.0 declares an irreversible schema change, and shop in production makes no backup: declare backup" in why
    with pytest.raises(Conflict, match=r"cannot be promoted: 1\.0\.0 declares an irreversible schema change"):
        lifecycle.promote(source.pk, actor=ALICE)
    commanded(there)
    assert lifecycle.promote(source.pk, actor=ALICE)[1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("none", "Whenever it fails: back to 1.0.0."),
        ("expand", "Whenever it fails: back to 1.0.0. Its schema change (expand) is not taken back."),
        (
            "irreversible",
            "Until the migration: back to 1.0.0. From the migration on: no way back by itself, since 1.1.0 declares "
            "the schema change irreversible; what fails is held for a person. A backup is made before it on "
            "staging-1 by “echo dump is in /backups/7”.",
        ),
    ],
)
def test_who_approves_the_plan_reads_where_a_failure_leads_and_approves_that(fleet, here, change, said):
    fleet.deployed("1.0.0")
    declared = version("1.1.0", change)
    plan = lifecycle.dry_run(declared.pk, "staging")
    assert plan["intent"]["if_it_fails"] == said
    asked = lifecycle.deploy(declared.pk, "staging", actor=ALICE)
    assert (asked.intent["if_it_fails"], asked.plan_hash) == (said, plan["plan_hash"])


@pytest.mark.parametrize("change", ["none", "expand"])
def test_what_older_code_does_not_mind_is_rolled_back_by_itself(fleet, here, change):
    deployment = stuck(fleet, change)
    assert deployment.status == "failed"
    assert deployment.rollbacks.get().status == "deployed"
    assert set(fleet.running(here).values()) == {"1.0.0"}


def test_what_fails_before_the_migration_was_claimed_ends_as_ever(fleet, here):
    fleet.deployed("1.0.0")
    fleet.hosts.at("staging-2").missing_tools = ("tar",)
    deployment = played(fleet, ask(fleet, "1.1.0", "irreversible"))
    assert (deployment.status, deployment.outcome) == ("failed", "error")
    assert not deployment.steps.filter(kind="migrate", attempts__gt=0).exists()
    assert not Incident.objects.exists()
    assert lifecycle.deploy(fleet.version("1.0.0").pk, "staging", actor=ALICE).status == "pending"


@pytest.mark.parametrize("change", ONE_WAY)
def test_a_failure_after_the_migration_stops_where_it_is_pages_and_says_what_a_person_can_do(fleet, three, change):
    deployment = stuck(fleet, change)
    assert deployment.status == "in_progress"
    assert deployment.steps.get(held=True).kind == "verify"
    assert not deployment.rollbacks.exists()
    assert fleet.running(three) == {"staging-1": "1.1.0", "staging-2": "1.1.0", "staging-3": "1.0.0"}
    # Who was proven healthy, or was not touched, has its traffic still.
    assert Pool.objects.get().weights == {"staging-1": 100, "staging-2": 0, "staging-3": 100}
    told = deployment.incidents.get()
    assert told.severity == "critical"
    for text in (told.text, explain(deployment).next):
        assert LAST_RAN.format(change) in text
        assert "Deploy a mended version; or restore the backup (made on staging-1: dump is in /backups/7)" in text
        assert "acceptSchemaChange, if 1.0.0 can work with the schema as it is" in text


def test_a_person_mends_the_cause_and_retries(fleet, here):
    deployment = stuck(fleet, "contract")
    fleet.sick.clear()
    lifecycle.retry(deployment.pk, actor=BOB)
    fleet.run()
    deployment.refresh_from_db()
    assert deployment.status == "deployed"
    assert set(fleet.running(here).values()) == {"1.1.0"}


def test_a_rollback_over_it_is_refused_until_a_person_accepts_it_and_that_is_kept(fleet, here):
    deployment = stuck(fleet, "contract")
    with pytest.raises(Conflict, match="last ran before it") as refusal:
        lifecycle.roll_back(deployment.pk, actor=BOB, reason="it hangs")
    assert refusal.value.code == "schema_changed"
    with pytest.raises(NotAllowed, match="not API keys"):
        lifecycle.roll_back(deployment.pk, actor=Actor("ci", "key"), reason="it hangs", accept_schema_change=True)
    deployment.refresh_from_db()
    assert deployment.status == "in_progress"
    rollback, _ = lifecycle.roll_back(deployment.pk, actor=BOB, reason="it hangs", accept_schema_change=True)
    fleet.run()
    rollback.refresh_from_db()
    assert rollback.status == "deployed"
    assert set(fleet.running(here).values()) == {"1.0.0"}
    told = Event.objects.get(stream=rollback.stream, kind="deployment.schema_change_accepted")
    assert (told.actor, told.data) == ("bob", {"version": "1.1.0", "change": "contract", "back": ["1.0.0"]})


def test_an_abort_after_it_ends_without_taking_anything_back(fleet, three):
    deployment = stuck(fleet, "irreversible")
    lifecycle.abort(deployment.pk, actor=BOB, reason="enough")
    fleet.run()
    deployment.refresh_from_db()
    assert (deployment.status, deployment.outcome) == ("failed", "aborted")
    assert not deployment.rollbacks.exists()
    assert fleet.running(three) == {"staging-1": "1.1.0", "staging-2": "1.1.0", "staging-3": "1.0.0"}
    assert Pool.objects.get().weights == {"staging-1": 100, "staging-2": 0, "staging-3": 100}
    assert list(three.endpoints.exclude(owed="").values_list("host__name", flat=True)) == ["staging-2"]
    assert LAST_RAN.format("irreversible") in explain(deployment).next
    # Nor does a convergence, which would bring them to what is deployed by the record, unless a person says so.
    with pytest.raises(Conflict, match="last ran before it"):
        lifecycle.converge(three, ["staging-1", "staging-2"], actor=BOB, reason="astray")
    lifecycle.converge(three, ["staging-1", "staging-2"], actor=BOB, reason="back it is", accept_schema_change=True)
    fleet.run()
    assert set(fleet.running(three).values()) == {"1.0.0"}


def test_an_abort_before_any_activation_puts_back_in_what_was_only_taken_out(fleet, here):
    fleet.deployed("1.0.0")
    deployment = ask(fleet, "1.1.0", "contract")
    deployment.steps.filter(kind="activate").update(held=True)
    fleet.run()
    assert Pool.objects.get().weights["staging-1"] == 0
    lifecycle.abort(deployment.pk, actor=BOB, reason="wrong one")
    fleet.run()
    assert Pool.objects.get().weights == {"staging-1": 100, "staging-2": 100}


def test_an_owed_host_that_was_only_taken_out_counts_as_changed_since_nobody_knows_what_it_runs(fleet, here):
    fleet.deployed("1.0.0")
    deployment = ask(fleet, "1.1.0", "contract")
    fleet.play_until(lambda: deployment.steps.filter(kind="take_out", attempts__gt=0, status="passed").exists())
    assert not deployment.steps.filter(kind="activate", attempts__gt=0).exists()
    first = deployment.targets.get(claimed_at__isnull=False)
    Endpoint.objects.filter(pk=first.endpoint_id).update(owed="abandoned by bob: it hung")
    with pytest.raises(Conflict, match=r"1\.0\.0 last ran before it"):
        lifecycle.roll_back(deployment.pk, actor=BOB, reason="not today")
    Endpoint.objects.filter(pk=first.endpoint_id).update(owed="")
    rollback, _ = lifecycle.roll_back(deployment.pk, actor=BOB, reason="not today")
    fleet.run()
    rollback.refresh_from_db()
    assert rollback.status == "deployed"


def test_nor_does_a_person_name_an_older_version_before_any_activation_without_a_word(fleet, here):
    fleet.deployed("1.0.0")
    fleet.deployed("1.0.1")
    deployment = ask(fleet, "1.1.0", "contract")
    deployment.steps.filter(kind="activate").update(held=True)
    fleet.run()
    with pytest.raises(Conflict, match="last ran before it"):
        lifecycle.roll_back(deployment.pk, actor=BOB, reason="older", target_version="1.0.0")
    rollback, _ = lifecycle.roll_back(deployment.pk, actor=BOB, reason="as it was")
    fleet.run()
    rollback.refresh_from_db()
    assert (rollback.status, set(fleet.running(here).values())) == ("deployed", {"1.0.1"})


def test_a_failed_window_after_it_pages_and_takes_nothing_back(fleet, here):
    change = "irreversible"
    fleet.deployed("1.0.0")
    second = brought(fleet, "1.1.0", change)
    assert explain(second).next.endswith("if 1.0.0 can work with the schema as it is")
    failed_window(fleet, second)
    assert second.status == "deployed"
    assert set(fleet.running(here).values()) == {"1.1.0"}
    assert LAST_RAN.format(change) in second.incidents.get().text
    assert "though its monitoring window failed" in explain(second).next
    rollback, _ = lifecycle.roll_back(second.pk, actor=BOB, reason="it is bad", accept_schema_change=True)
    fleet.run()
    assert set(fleet.running(here).values()) == {"1.0.0"}
    rollback.refresh_from_db()
    assert rollback.status == "deployed"


def test_a_later_version_does_not_go_back_past_it_either(fleet, here):
    fleet.deployed("1.0.0")
    brought(fleet, "1.1.0", "contract")
    third = brought(fleet, "1.2.0")
    assert third.intent["if_it_fails"].startswith("Whenever it fails: no way back")
    failed_window(fleet, third)
    assert third.status == "deployed"
    assert set(fleet.running(here).values()) == {"1.2.0"}
    assert LAST_RAN.format("contract") in third.incidents.get().text


def test_a_later_version_goes_back_by_itself_to_what_proved_good_since(fleet, here):
    fleet.deployed("1.0.0")
    second = brought(fleet, "1.1.0", "contract")
    Deployment.objects.filter(pk=second.pk).update(good_at=PAST)
    third = brought(fleet, "1.2.0")
    assert third.intent["if_it_fails"] == "Whenever it fails: back to 1.1.0."
    failed_window(fleet, third)
    assert third.status == "rolled_back"
    assert set(fleet.running(here).values()) == {"1.1.0"}


def test_the_same_version_again_has_changed_nothing_that_it_could_not_go_back_over(fleet, here):
    fleet.deployed("1.0.0")
    second = brought(fleet, "1.1.0", "irreversible")
    Deployment.objects.filter(pk=second.pk).update(good_at=PAST)
    again = lifecycle.deploy(second.version_id, "staging", actor=ALICE)
    assert again.intent["one_way"] is False
    assert again.intent["if_it_fails"].startswith("Whenever it fails: back to 1.1.0.")


def test_a_version_of_before_is_not_deployed_again_without_a_word(fleet, here):
    first = fleet.deployed("1.0.0")
    brought(fleet, "1.1.0", "contract")
    with pytest.raises(Conflict, match="last ran before it"):
        lifecycle.deploy(first.version_id, "staging", actor=ALICE)
    wish = lifecycle.Wish(accept_schema_change=True)
    back = lifecycle.deploy(first.version_id, "staging", actor=BOB, wish=wish)
    assert Event.objects.filter(stream=back.stream, kind="deployment.schema_change_accepted").exists()
    fleet.run()
    assert set(fleet.running(here).values()) == {"1.0.0"}
    # It was said once, and 1.0.0 has run on that schema since.
    assert lifecycle.deploy(first.version_id, "staging", actor=ALICE).status == "pending"


def test_a_failed_bake_after_it_is_held_and_watched_anew_when_a_person_retries(fleet, here):
    fleet.deployed("1.0.0")
    environment = here.environment
    Environment.objects.filter(pk=environment.pk).update(policy={**environment.policy, "bake": 10.0})
    deployment = ask(fleet, "1.1.0", "contract")
    bakes = Window.objects.filter(kind="bake", closed_at=None)
    fleet.play_until(bakes.exists)
    judged(backdate(window := bakes.get(), 15), traffic(window, requests=50, errors=50))
    fleet.play_until(lambda: deployment.steps.filter(kind="watch", held=True).exists())
    assert not deployment.rollbacks.exists()
    lifecycle.retry(deployment.pk, actor=BOB)
    fleet.play_until(bakes.exists)
    assert bakes.get().pk != window.pk
    assert fleet.running(here)["staging-1"] == "1.1.0"


def test_secrets_are_struck_out_of_what_a_migration_wrote(fleet, here, monkeypatch):
    monkeypatch.setenv("SHOP_DB", "canary-7Qx")
    configure("staging", "shop", actor=ALICE, variables={"PASSWORD": {"secret": "env:SHOP_DB"}})
    commanded(here, migrate="echo connected with canary-7Qx")
    deployment = brought(fleet, "1.0.0")
    assert deployment.steps.get(kind="migrate").output["said"] == "connected with ***"
    assert deployment.steps.get(kind="backup").output["said"] == "dump is in /backups/7"


def test_what_a_command_wrote_is_not_kept_when_its_secrets_cannot_be_read(fleet, here, monkeypatch):
    monkeypatch.setenv("SHOP_DB", "canary-7Qx")
    configure("staging", "shop", actor=ALICE, variables={"PASSWORD": {"secret": "env:SHOP_DB"}})
    commanded(here, migrate="echo connected with canary-7Qx")
    deployment = ask(fleet, "1.0.0", "none")
    fleet.play_until(lambda: deployment.steps.filter(kind="prepare", status="passed").count() == 2)
    monkeypatch.delenv("SHOP_DB")
    fleet.run()
    assert deployment.steps.get(kind="migrate").output["said"].startswith("(not kept")
