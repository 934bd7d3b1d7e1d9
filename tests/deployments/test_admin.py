"""The console as a release manager uses it."""

import json

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from aureus.accounts.models import Grant
from aureus.journal.models import Event
from deployments import lifecycle, places
from deployments.models import Environment, Freeze, Incident, Installation
from health.runs.carrying import work_on
from health.runs.tools import Addresses, tools
from releases import registry
from tests.deployments.conftest import ALICE, SPEC


def person(name: str, *roles: str) -> Client:
    user = User.objects.create_user(name, password="a-long-enough-word", is_staff=True)
    for role in roles:
        Grant.objects.create(user=user, role=role)
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def deployed(fleet):
    fleet.environment("staging", balanced=True)
    fleet.deployed("1.0.0")
    return fleet.deployed("1.1.0")


def page(client: Client, name: str, *args: object) -> str:
    answer = client.get(reverse(f"admin:{name}", args=args))
    assert answer.status_code == 200, answer
    return answer.content.decode()


LISTS = [
    "deployments_deployment",
    "deployments_environment",
    "deployments_host",
    "deployments_balancer",
    "deployments_installation",
    "deployments_endpoint",
    "deployments_freeze",
    "deployments_incident",
    "releases_application",
    "releases_version",
    "releases_evidence",
    "releases_waiver",
    "health_window",
    "health_smokerun",
    "health_workflowrun",
    "journal_event",
]


def test_every_list_opens_for_everybody_of_the_staff(deployed):
    carol = person("carol", "viewer")
    for name in LISTS:
        assert "Select" in page(carol, f"{name}_changelist"), name


def test_a_deployments_page_says_where_it_is_and_why_with_every_step_and_host(deployed):
    text = page(person("carol", "viewer"), "deployments_deployment_change", deployed.pk)
    for words in ("1.1.0", "staging-2", "on to", "batch 1 of 3: drained", "step.passed", "Monitoring window"):
        assert words in text, words
    assert "Roll back" not in text


def test_a_deployments_page_draws_its_traffic_with_both_versions_named(deployed):
    text = page(person("carol", "viewer"), "deployments_deployment_change", deployed.pk)
    drawn = text[text.index("<svg") : text.index("</svg>")]
    for words in ("1.0.0", "1.1.0", "good below 1%", "undone above 5%"):
        assert words in drawn, words


def test_a_workflow_runs_page_shows_what_each_task_did_and_lets_nobody_edit_it(fleet):
    spec = {"id": "order", "name": "Order", "tasks": [{"id": "reserve", "tool": "noop", "params": {"of": "<tea>"}}]}
    run = places.start(registry.register(spec, "1.0.0", actor=ALICE)[0].pk, {}, environment="", actor=ALICE)
    work_on(str(run.pk), tools(Addresses()), lambda _: None)
    text = page(person("carol", "viewer"), "health_workflowrun_change", run.pk)
    for words in ("order 1.0.0", "reserve", "passed", "&lt;tea&gt;", "every task that was needed has passed"):
        assert words in text, words
    assert 'name="_save"' not in text


def test_a_rollback_over_a_schema_change_needs_its_box_and_the_approver_reads_where_a_failure_leads(fleet):
    here = fleet.environment("staging", hosts=2)
    Installation.objects.filter(pk=here.pk).update(migrate_command="echo renamed the column")
    fleet.deployed("1.0.0")
    declared, _ = registry.register(SPEC, "1.1.0", actor=ALICE, schema_change="contract")
    asked = lifecycle.deploy(declared.pk, "staging", actor=ALICE)
    approver = person("anna", "approver")
    told = "From the migration on: no way back by itself"
    assert told in page(approver, "deployments_deployment_say", asked.pk, "approve")
    fleet.run()
    dora = person("dora", "release_manager")
    text = page(dora, "deployments_deployment_change", asked.pk)
    assert told in text and "renamed the column" in text
    say = reverse("admin:deployments_deployment_say", args=[asked.pk, "rollback"])
    refused = dora.post(say, {"reason": "customers complain"}, follow=True).content.decode()
    assert "1.0.0 last ran before it" in refused
    assert not asked.rollbacks.exists()
    dora.post(say, {"reason": "it works with 1.0.0", "accept": "on"})
    assert asked.rollbacks.exists()


def test_a_release_manager_rolls_back_with_a_reason_and_sees_the_rollback(fleet, deployed):
    client = person("dora", "release_manager")
    assert "Roll back" in page(client, "deployments_deployment_change", deployed.pk)
    say = reverse("admin:deployments_deployment_say", args=[deployed.pk, "rollback"])
    assert client.get(say).status_code == 200
    assert b"This field is required" in client.post(say, {"reason": ""}).content
    answer = client.post(say, {"reason": "customers complain"})
    rollback = deployed.rollbacks.get()
    assert answer.headers["Location"] == reverse("admin:deployments_deployment_change", args=[rollback.pk])
    assert (rollback.requested_by, rollback.because) == ("dora", "customers complain")


def test_a_viewer_who_posts_a_verb_is_refused_and_nothing_happens(deployed):
    client = person("carol", "viewer")
    say = reverse("admin:deployments_deployment_say", args=[deployed.pk, "rollback"])
    answer = client.post(say, {"reason": "I want to"}, follow=True)
    assert "You may not roll back" in answer.content.decode()
    assert not deployed.rollbacks.exists()


def test_an_approver_approves_but_not_the_one_who_asked(fleet):
    fleet.environment("staging", approvals=1)
    deployment = lifecycle.deploy(fleet.version("1.0.0").pk, "staging", actor=ALICE)
    say = reverse("admin:deployments_deployment_say", args=[deployment.pk, "approve"])
    own = person("alice", "approver").post(say, {"reason": ""}, follow=True)
    assert "somebody else has to approve" in own.content.decode()
    person("erin", "approver").post(say, {"reason": "looks good"})
    assert deployment.approvals.get().by == "erin"


def test_a_refusal_is_shown_as_the_sentence_it_is(fleet):
    fleet.environment("staging")
    only = fleet.deployed("1.0.0")
    say = reverse("admin:deployments_deployment_say", args=[only.pk, "rollback"])
    answer = person("dora", "release_manager").post(say, {"reason": "bad"}, follow=True)
    assert "There is no way back" in answer.content.decode() or "there is no way back" in answer.content.decode()


def test_an_edit_of_a_policy_is_checked_and_raises_the_revision(fleet):
    here = fleet.environment("staging").environment
    client = person("frank", "admin")
    change = reverse("admin:deployments_environment_change", args=[here.pk])
    wrong = client.post(change, {"name": "staging", "order": 0, "lock_reason": "", "policy": '{"approvals": 99}'})
    assert "must be written in the declaration" in wrong.content.decode()
    right = '{"approvals": 2, "promote_from": null, "gates": "basic"}'
    client.post(change, {"name": "staging", "order": 0, "lock_reason": "", "policy": right})
    here.refresh_from_db()
    assert (here.policy["approvals"], here.revision) == (2, 2)


def test_who_is_no_admin_edits_nothing(fleet):
    here = fleet.environment("staging").environment
    change = reverse("admin:deployments_environment_change", args=[here.pk])
    answer = person("dora", "release_manager").post(change, {"name": "mine", "policy": "{}", "order": 0})
    assert answer.status_code == 403
    assert Environment.objects.get().name == "staging"


def test_an_incident_is_resolved_by_somebody(deployed):
    incident = Incident.objects.create(deployment=deployed, severity="critical", text="look at it")
    where = reverse("admin:deployments_incident_changelist")
    person("dora", "release_manager").post(where, {"action": "resolve", "_selected_action": [incident.pk]})
    incident.refresh_from_db()
    assert incident.resolved_by == "dora"


def test_the_page_of_a_yes_shows_the_risk_and_the_way_back_and_sends_the_plan_that_was_seen(fleet):
    fleet.environment("production", hosts=1, promote_from="staging", direct=True, approvals=1)
    deployment = lifecycle.deploy(fleet.version("1.0.0").pk, "production", actor=ALICE)
    erin = person("erin", "approver")
    say = reverse("admin:deployments_deployment_say", args=[deployment.pk, "approve"])
    shown = erin.get(say).content.decode()
    for words in ("medium: production takes versions by promotion", "nothing runs there yet", deployment.plan_hash):
        assert words in shown, words
    stale = erin.post(say, {"reason": "", "plan_hash": "0" * 64}, follow=True)
    assert "the plan has changed since you looked at it" in stale.content.decode()
    assert not deployment.approvals.exists()
    erin.post(say, {"reason": "", "plan_hash": deployment.plan_hash})
    assert deployment.approvals.get().by == "erin"


def test_two_people_break_the_glass_in_the_console(fleet):
    fleet.environment("staging", hosts=1, approvals=1)
    deployment = lifecycle.deploy(fleet.version("1.0.0").pk, "staging", actor=ALICE)
    dora, erin = person("dora", "release_manager"), person("erin", "approver")
    change = "deployments_deployment_change"
    assert "Confirm: break the glass" not in page(erin, change, deployment.pk)
    dora.post(reverse("admin:deployments_deployment_say", args=[deployment.pk, "break-glass"]), {"reason": "fire"})
    assert "dora asks, nobody has confirmed: fire" in page(erin, change, deployment.pk)
    confirm = reverse("admin:deployments_deployment_say", args=[deployment.pk, "confirm-break-glass"])
    assert "a second person has to confirm" in dora.post(confirm, {"reason": ""}, follow=True).content.decode()
    erin.post(confirm, {"reason": ""})
    assert "dora and erin: fire" in page(erin, change, deployment.pk)


def test_a_lock_is_set_and_taken_off_without_making_plans_anew(fleet):
    here = fleet.environment("staging").environment
    client = person("frank", "admin")
    change = reverse("admin:deployments_environment_change", args=[here.pk])
    policy = json.dumps(here.policy)
    kept = {"name": "staging", "order": 0, "policy": policy, "initial-policy": policy}
    client.post(change, {**kept, "lock_reason": "moving house"})
    here.refresh_from_db()
    assert (here.locked_by, here.lock_reason, here.revision) == ("frank", "moving house", 1)
    assert "staging is locked by frank since" in page(client, "deployments_environment_changelist")
    client.post(change, {**kept, "lock_reason": ""})
    here.refresh_from_db()
    assert (here.locked_by, here.locked_at, here.revision) == ("", None, 1)


def test_a_freeze_repeats_or_is_single_and_is_lifted_with_an_event(fleet):
    fleet.environment("staging")
    client = person("frank", "admin")
    add = reverse("admin:deployments_freeze_add")
    empty = {"environment": "", "starts_0": "", "starts_1": "", "ends_0": "", "ends_1": "", "days": "[]"}
    form = {**empty, "zone": "Europe/Berlin", "reason": "the weekend"}
    for wrong, said in (({}, "one of both"), ({"first": "someday", "last": "monday"}, "must be such as"),
                        ({"first": "friday", "last": "monday", "zone": "Mars"}, "no time zone")):  # fmt: skip
        assert said in client.post(add, {**form, **wrong}).content.decode()
    assert client.post(add, {**form, "first": "Fri 16:00", "last": "mon 8:00"}).status_code == 302
    freeze = Freeze.objects.get()
    assert (freeze.first, freeze.last, freeze.by) == ("friday 16:00", "monday 08:00", "frank")
    client.post(reverse("admin:deployments_freeze_delete", args=[freeze.pk]), {"post": "yes"})
    assert not Freeze.objects.exists()
    assert Event.objects.get(kind="freeze.lifted").actor == "frank"
