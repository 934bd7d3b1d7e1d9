"""Deployments over HTTP, with the outside in memory."""

import pytest

from aureus.accounts.models import Grant
from aureus.journal.actor import Role
from deployments.models import Deployment, Installation
from health.models import SmokeRun, Window
from tests.api.conftest import MISSING, person
from tests.deployments.conftest import SPEC

HERE = "/api/deployments"


@pytest.fixture
def two(fleet):
    """Staging, and a production that takes from it."""
    fleet.environment("staging", 2)
    fleet.environment("production", 2, promote_from="staging", approvals=1)
    return fleet


def staged(api, two, number="1.0.0"):
    """A version on staging with its smoke tests passed."""
    deployment = api.deploy(number).json()
    two.run()
    SmokeRun.objects.create(
        subject=deployment["id"],
        content="x",
        tests=[],
        verdict="passed",
        asked_by="cid",
        not_before="2026-01-01T00:00Z",
    )
    return deployment


def test_the_answer_to_a_deployment_is_as_the_guide_shows_it(api, two):
    answer = api.deploy()
    told = answer.json()
    assert answer.status_code == 201
    assert told["status"] == "pending"
    assert told["environment"] == "staging"
    assert told["deployedBy"] == "bot"
    assert told["requestedBy"] == "cid"
    assert told["createdAt"].endswith("Z")
    assert told["health"] == {"status": "unknown", "errorRate": None, "responseTime": None, "lastChecked": None}
    assert not {"outcome", "reverts", "rollback", "window", "promotedBy"} & set(told)


def test_one_deployment_shows_its_plan_its_hosts_and_how_it_is_watched(api, two):
    deployment = api.deploy().json()
    two.run()
    record = {
        "at": "2026-11-23T19:00:00+00:00", "sentence": "fine", "rules": [{"outcome": "pass"}],
        "figures": {"requests": 400, "errors": 1, "error_rate": 0.0025, "p95": 0.2504, "probes": 3,
                    "probe_failures": 0},
    }  # fmt: skip
    Window.objects.filter(subject=deployment["id"]).update(record=record)
    told = api.get(f"{HERE}/{deployment['id']}", as_="vera").json()
    assert told["status"] == "deployed"
    assert told["deployedAt"].endswith("Z")
    assert told["health"] == {
        "status": "healthy", "errorRate": 0.0025, "responseTime": 250, "lastChecked": "2026-11-23T19:00:00Z"
    }  # fmt: skip
    assert told["window"]["status"] == "open"
    assert told["window"]["closesAt"].endswith("Z")
    assert [stage["name"] for stage in told["plan"]["stages"]][:2] == ["check every host", "prepare every host"]
    step = told["plan"]["stages"][0]["steps"][0]
    assert (step["kind"], step["host"], step["status"], step["rule"]) == ("check", "staging-1", "passed", "check")
    assert "staging-1 runs" in step["reason"]
    assert [(t["host"], t["state"]) for t in told["targets"]] == [("staging-1", "on_to"), ("staging-2", "on_to")]
    assert told["targets"][0]["from"] == ""


def test_a_dry_run_answers_the_plan_and_stores_nothing(api, two):
    version = two.version("1.0.0")
    body = {"versionId": str(version.pk), "environment": "staging"}
    answer = api.post(f"{HERE}?dryRun=true", body, as_="cid")
    assert answer.status_code == 200
    assert answer.json()["stages"][0]["steps"][0] == {"kind": "check", "host": "staging-1"}
    assert answer.json()["targets"][0]["to"] == version.content
    assert answer.json()["lossless"] is False, "there is no balancer in front of it"
    assert not Deployment.objects.exists()
    assert api.post(f"{HERE}?dryRun=perhaps", body, as_="cid").status_code == 400


def test_straight_to_production_is_refused_with_what_to_do(api, two):
    answer = api.deploy(environment="production")
    assert answer.status_code == 409
    assert "deploy 1.0.0 to staging first" in answer.json()["detail"]


def test_promotion_waits_for_somebody_else_to_approve(api, two):
    source = staged(api, two)
    body = {"promotedBy": "release-manager@example.com", "metadata": {"approvalTicket": "JIRA-123"}}
    answer = api.post(f"{HERE}/{source['id']}/promote", body, as_="rita")
    told = answer.json()
    assert answer.status_code == 201
    assert told["sourceDeploymentId"] == source["id"]
    assert told["environment"] == "production"
    assert told["strategy"] == "rolling"
    assert told["promotedBy"] == "release-manager@example.com"
    again = api.post(f"{HERE}/{source['id']}/promote", body, as_="rita")
    assert (again.status_code, again.json()["id"]) == (200, told["id"])
    two.run()
    assert api.get(f"{HERE}/{told['id']}", as_="vera").json()["status"] == "awaiting_approval"
    assert api.post(f"{HERE}/{told['id']}/approve", {"comment": "fine"}, as_="anna").json()["status"] == "pending"
    two.run()
    assert api.get(f"{HERE}/{told['id']}", as_="vera").json()["status"] == "deployed"


def test_who_asked_for_it_does_not_approve_it_even_as_an_approver(api, two):
    source = staged(api, two)
    Grant.objects.create(user=person("rita"), role=Role.APPROVER)
    promotion = api.post(f"{HERE}/{source['id']}/promote", {}, as_="rita").json()
    answer = api.post(f"{HERE}/{promotion['id']}/approve", {}, as_="rita")
    assert answer.status_code == 403
    assert answer.json()["type"] == "urn:aureus:problem:self_approval"
    assert not Deployment.objects.get(pk=promotion["id"]).approvals.exists()


def test_a_viewer_does_not_promote(api, two):
    source = staged(api, two)
    answer = api.post(f"{HERE}/{source['id']}/promote", {}, as_="vera")
    assert answer.status_code == 403
    assert answer.json()["detail"].startswith("you need the role ci or release_manager")
    assert not Deployment.objects.filter(source=source["id"]).exists()


def test_without_smoke_tests_there_is_no_promotion_and_the_api_says_so_beforehand(api, two):
    deployment = api.deploy().json()
    two.run()
    path = f"{HERE}/{deployment['id']}"
    can = api.get(f"{path}/can-promote", as_="vera").json()
    assert can["canPromote"] is False
    assert "No smoke tests were run" in can["reasons"][0]
    gates = {gate["name"]: gate["passed"] for gate in api.get(f"{path}/gate-checks", as_="vera").json()}
    assert gates == {"source_deployed": True, "smoke_passed": False, "not_withdrawn": True, "digest_unchanged": True}
    answer = api.post(f"{path}/promote", {}, as_="cid")
    assert answer.status_code == 409
    assert answer.json()["errors"][0]["path"] == "gates"
    assert api.get(f"{path}/can-promote?targetEnvironment=staging", as_="vera").json()["canPromote"] is False


def test_a_rollback_in_both_forms_is_one_and_the_same(api, two):
    two.deployed("1.0.0")
    current = api.deploy("1.1.0").json()
    two.run()
    first = api.post(f"{HERE}/rollback", {"deploymentId": current["id"], "reason": "slow"}, as_="cid")
    assert first.status_code == 201
    assert first.json()["reverts"] == current["id"]
    again = api.post(f"{HERE}/{current['id']}/rollback", {"reason": "slow"}, as_="cid")
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    two.run()
    told = api.get(f"{HERE}/{current['id']}", as_="vera").json()
    assert told["status"] == "rolled_back"
    assert told["rollback"] == {"id": first.json()["id"], "status": "deployed"}


def test_over_a_schema_change_nothing_goes_back_until_it_is_accepted(api, two):
    Installation.objects.update(migrate_command="true")
    old = two.deployed("1.0.0")
    declared = {"workflowSpec": SPEC, "version": "1.1.0", "schemaChange": "contract"}
    version = api.post("/api/deployments/versions", declared, as_="cid").json()
    body = {"versionId": version["id"], "environment": "staging"}
    plan = api.post(f"{HERE}?dryRun=true", body, as_="cid").json()
    new = api.post(HERE, body, as_="cid").json()
    assert plan["ifItFails"] == new["plan"]["ifItFails"]
    assert "no way back by itself, since 1.1.0 declares the schema change contract" in plan["ifItFails"]
    two.run()
    for address, asked in ((f"{HERE}/{new['id']}/rollback", {"reason": "slow"}),
                           (HERE, {"versionId": str(old.version_id), "environment": "staging"})):  # fmt: skip
        refused = api.post(address, asked, as_="rita")
        assert (refused.status_code, refused.json()["errors"][0]["path"]) == (409, "acceptSchemaChange")
        assert "1.0.0 last ran before it" in refused.json()["detail"]
        assert api.post(address, {**asked, "acceptSchemaChange": "perhaps"}, as_="rita").status_code == 400
    back = api.post(f"{HERE}/{new['id']}/rollback", {"reason": "slow", "acceptSchemaChange": True}, as_="rita")
    assert (back.status_code, back.json()["version"]) == (201, "1.0.0")


def test_a_rollback_of_what_is_not_current_names_the_current_one(api, two):
    old = two.deployed("1.0.0")
    new = two.deployed("1.1.0")
    answer = api.post(f"{HERE}/{old.pk}/rollback", {"reason": "x"}, as_="cid")
    assert answer.status_code == 409
    assert str(new.pk) in answer.json()["detail"]
    assert answer.json()["current"] == str(new.pk)


def test_every_word_of_people_is_one_address(api, two):
    deployment = api.deploy().json()
    path = f"{HERE}/{deployment['id']}"
    assert api.post(f"{path}/pause", {"reason": "lunch"}, as_="rita").json()["pausedBy"] == "rita"
    assert api.post(f"{path}/pause", {}, as_="rita").status_code == 409
    assert "pausedBy" not in api.post(f"{path}/resume", {}, as_="rita").json()
    assert api.post(f"{path}/abort", {}, as_="rita").status_code == 400
    assert api.post(f"{path}/abort", {"reason": "wrong one"}, as_="anna").status_code == 200
    two.run()
    assert api.get(path, as_="vera").json()["outcome"] == "cancelled"
    retried = api.post(f"{path}/retry", as_="rita")
    assert retried.status_code == 201
    assert retried.json()["retryOf"] == deployment["id"]
    abandoned = api.post(f"{HERE}/{retried.json()['id']}/abandon", {"reason": "enough"}, as_="rita").json()
    assert (abandoned["status"], abandoned["outcome"]) == ("failed", "abandoned")


def test_a_host_is_excluded_by_its_name_and_with_a_reason(api, two):
    two.deployed("1.0.0")
    deployment = api.deploy("1.1.0").json()
    path = f"{HERE}/{deployment['id']}"
    said = {"host": "staging-2", "reason": "its disk is broken"}
    assert api.post(f"{path}/exclude", said, as_="rita").json()["detail"].startswith("it has not started")
    row = Deployment.objects.get(pk=deployment["id"])
    two.play_until(lambda: row.targets.filter(claimed_at__isnull=False).exists())
    two.play_until(lambda: row.targets.filter(state="on_to", serving=True).exists())
    assert api.post(f"{path}/exclude", {"host": "staging-2"}, as_="rita").status_code == 400
    assert api.post(f"{path}/exclude", said, as_="anna").status_code == 403
    answer = api.post(f"{path}/exclude", said, as_="rita")
    assert answer.status_code == 200
    [owed] = [t for t in answer.json()["targets"] if t["state"] == "owed"]
    assert (owed["host"], owed["why"]) == ("staging-2", "excluded by rita: its disk is broken")


def test_a_rejection_ends_it(api, two):
    source = staged(api, two)
    promotion = api.post(f"{HERE}/{source['id']}/promote", {}, as_="rita").json()
    answer = api.post(f"{HERE}/{promotion['id']}/reject", {"comment": "not on a Friday"}, as_="anna").json()
    assert (answer["status"], answer["outcome"]) == ("failed", "rejected")
    assert "not on a Friday" in answer["reason"]


def test_lists_are_filtered_by_what_is_asked_for(api, two):
    first, second = two.deployed("1.0.0"), two.deployed("1.1.0")
    waiting = api.deploy("1.2.0").json()

    def ids(query):
        return [d["id"] for d in api.get(f"{HERE}?{query}", as_="vera").json()]

    assert ids("") == [waiting["id"], str(second.pk), str(first.pk)]
    assert ids("environment=staging&current=true") == [str(second.pk)]
    assert ids("environment=production") == ids("environment=nowhere") == ids("workflowId=other") == []
    assert ids("status=pending") == [waiting["id"]]
    assert ids(f"versionId={first.version_id}") == [str(first.pk)]
    for wrong in ("status=x", "versionId=1", "current=yes"):
        assert api.get(f"{HERE}?{wrong}", as_="vera").status_code == 400


def test_an_actor_sees_only_the_environments_in_which_he_holds_a_role(api, two):
    deployment = api.deploy().json()
    person("paul", "production", role=Role.RELEASE_MANAGER)
    assert api.get(HERE, as_="paul").json() == []
    assert [e["name"] for e in api.get("/api/environments", as_="paul").json()] == ["production"]
    foreign = api.get(f"{HERE}/{deployment['id']}", as_="paul")
    missing = api.get(f"{HERE}/{MISSING}", as_="paul")
    assert foreign.status_code == missing.status_code == 404
    assert foreign.json()["detail"].replace(deployment["id"], MISSING) == missing.json()["detail"]
    assert api.post(f"{HERE}/{deployment['id']}/abort", {"reason": "x"}, as_="paul").status_code == 404
    for path in ("staging", "staging/hosts", "nowhere"):
        assert api.get(f"/api/environments/{path}", as_="paul").status_code == 404


def test_a_list_costs_as_many_queries_for_fifty_as_for_one(api, two, django_assert_max_num_queries):
    version = two.version("1.0.0")
    installation = Installation.objects.get(environment__name="staging")
    for number in range(50):
        made = Deployment.objects.create(
            installation=installation, version=version, strategy="rolling", requested_by="x", digest="x",
            status="failed", outcome="error",
        )  # fmt: skip
        assert made, number
    person("vera")
    with django_assert_max_num_queries(9):
        assert len(api.get(f"{HERE}?limit=50", as_="vera").json()) == 50


def test_one_deployment_costs_a_bounded_number_of_queries(api, two, django_assert_max_num_queries):
    deployment = two.deployed("1.0.0")
    person("vera")
    with django_assert_max_num_queries(14):
        api.get(f"{HERE}/{deployment.pk}", as_="vera")


def test_events_are_followed_by_their_number(api, two):
    deployment = two.deployed("1.0.0")
    path = f"{HERE}/{deployment.pk}/events"
    newest_first = api.get(f"{path}?limit=200", as_="vera").json()
    oldest_first = api.get(f"{path}?after=0", as_="vera").json()
    assert [e["seq"] for e in newest_first] == [e["seq"] for e in reversed(oldest_first)]
    assert oldest_first[0]["kind"] == "deployment.requested"
    last = oldest_first[-1]["seq"]
    assert api.get(f"{path}?after={last}", as_="vera").json() == []
    assert api.get(f"{path}?after=x", as_="vera").status_code == 400


def test_steps_samples_and_logs_can_be_read(api, two):
    deployment = two.deployed("1.0.0")
    window = Window.objects.get(subject=deployment.pk)
    window.samples.create(endpoint="staging-1", source="probe", at=window.opens_at, healthy=True)
    deployment.steps.filter(kind="verify", target="staging-1").update(output={"service": "active", "logs": "line"})
    path = f"{HERE}/{deployment.pk}"
    steps = api.get(f"{path}/steps", as_="vera").json()
    assert [s["position"] for s in steps] == sorted(s["position"] for s in steps)
    assert {s["status"] for s in steps} == {"passed"}
    [sample] = api.get(f"{path}/samples", as_="vera").json()
    assert (sample["host"], sample["healthy"]) == ("staging-1", True)
    [log] = api.get(f"{path}/logs", as_="vera").json()
    assert (log["host"], log["output"]["logs"]) == ("staging-1", "line")


def test_what_the_console_draws_can_be_read_as_figures(api, two):
    two.deployed("1.0.0")
    deployment = two.deployed("1.1.0")
    window = Window.objects.get(subject=deployment.pk)
    told = {"endpoint": "staging-1", "content": window.content, "source": "scrape", "at": deployment.deployed_at}
    window.samples.create(**told, requests=50, errors=5, buckets=[[0.1, 10], [0.5, 50], [None, 50]])
    window.samples.create(**told, requests=1, buckets=[[0.1, 0], [None, 1]])
    weights = {"staging-1": 1, "staging-2": 1}
    deployment.steps.filter(kind="verify", target="staging-2").update(output={"weights": weights})
    path = f"{HERE}/{deployment.pk}"
    slow, quick = api.get(f"{path}/samples", as_="vera").json()
    assert (quick["buckets"][0], 0.1 < quick["p95"] <= 0.5, slow["p95"]) == ([0.1, 10], True, None)
    picture = api.get(f"{path}/picture", as_="vera").json()
    versions = {one["version"]: one for one in picture["versions"]}
    assert versions["1.1.0"]["shares"][-1]["percent"] == 100
    [point] = versions["1.1.0"]["points"]
    assert (point["requests"], round(point["errorRate"], 3)) == (51, 0.098)
    assert picture["bounds"] == {"maxErrorRate": 0.01, "rollbackErrorRate": 0.05, "maxP95": 0.5}
    assert picture["begins"] <= versions["1.1.0"]["shares"][0]["at"] <= picture["ends"]


def test_before_a_deployment_has_started_its_picture_is_empty(api, two):
    deployment = api.deploy().json()
    picture = api.get(f"{HERE}/{deployment['id']}/picture", as_="vera").json()
    assert picture == {"begins": None, "ends": None, "versions": [], "decisions": [], "bounds": None}


def test_it_is_explained_in_a_sentence_with_what_the_sentence_was_read_from(api, two):
    deployment = api.deploy().json()
    path = f"{HERE}/{deployment['id']}/explain"
    two.sick.add(("staging-1", "1.0.0"))
    two.play_until(
        lambda: Deployment.objects.get().steps.filter(kind="verify", attempts__gt=0, status="pending").exists()
    )
    told = api.get(path, as_="vera").json()
    assert "on staging-1: staging-1 is not healthy with 1.0.0 yet: it answers 503" in told["sentence"]
    assert told["next"].startswith("looked at again until")
    assert api.get(f"{path}?after={told['seq']}", as_="vera").status_code == 204
    assert api.get(f"{path}?after={told['seq'] - 1}", as_="vera").status_code == 200


def test_every_end_is_explained(api, two):
    current = two.deployed("1.0.0")
    path = f"{HERE}/{current.pk}/explain"
    assert "was deployed on 2 hosts" in api.get(path, as_="vera").json()["sentence"]
    waiting = api.deploy("1.1.0").json()
    assert "has not started" in api.get(f"{HERE}/{waiting['id']}/explain", as_="vera").json()["sentence"]
    api.post(f"{HERE}/{waiting['id']}/abandon", {"reason": "enough"}, as_="rita")
    told = api.get(f"{HERE}/{waiting['id']}/explain", as_="vera").json()
    assert told["sentence"] == "1.1.0 to staging failed (abandoned): abandoned by rita: enough."


def test_environments_show_what_runs_where(api, two):
    deployment = two.deployed("1.0.0")
    staging, production = api.get("/api/environments", as_="vera").json()
    if staging["name"] != "staging":
        staging, production = production, staging
    assert staging["installations"][0]["current"] == {"deploymentId": str(deployment.pk), "version": "1.0.0"}
    assert (production["approvals"], production["promoteFrom"]) == (1, "staging")
    assert production["installations"][0]["current"] is None
    assert api.get("/api/environments/staging", as_="vera").json() == staging
    hosts = api.get("/api/environments/staging/hosts", as_="vera").json()
    assert [host["name"] for host in hosts] == ["staging-1", "staging-2"]
    [endpoint] = hosts[0]["endpoints"]
    assert (endpoint["recordedVersion"], endpoint["observedVersion"], endpoint["drift"]) == ("1.0.0", "1.0.0", False)
    assert (endpoint["state"], endpoint["stateSince"], endpoint["why"]) == ("unseen", None, "")
    assert "credential" not in hosts[0]


def test_an_unknown_environment_is_told(api, two):
    version = two.version("1.0.0")
    answer = api.post(HERE, {"versionId": str(version.pk), "environment": "nowhere"}, as_="cid")
    assert answer.status_code == 404
    assert "there is: " in answer.json()["detail"]
