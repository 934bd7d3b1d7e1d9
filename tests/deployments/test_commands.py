"""Commands that tasks of workflows run on an installation's hosts: nothing but what is declared, and once."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.db import transaction

from aureus.journal.refusals import Conflict, Invalid
from deployments import identity, places
from deployments.commands import Place, command, line_of
from deployments.drivers import HostAddress, Site
from deployments.drivers.fake_hosts import FakeHosts
from deployments.models import Installation
from health.models import TaskRun, WorkflowRun
from health.runs.carrying import Boundary, work_on
from health.runs.facts import OPEN
from health.runs.settle import Result
from health.runs.tools import Addresses, Asked, tools
from releases import registry
from tests.deployments.conftest import ALICE
from tests.health.runs.world import hurry

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CONTENT = "1.0.0-0123456789ab"
LINES = {"warm": 'echo "warm ${AUREUS_ARG_shelf:-all}"', "fail": "echo no room >&2; exit 3"}


def address(name):
    return HostAddress(name, name, 22, "deploy", "SHA256:" + "a" * 43, "agent")


@pytest.fixture
def place(tmp_path):
    site = Site(str(tmp_path), restart="true")
    return Place("shop in staging", {name: (address(name), site) for name in ("web-1", "web-2")}, LINES)


@pytest.fixture
def hosts(place):
    found = FakeHosts()
    for name, (_, site) in place.hosts.items():
        here = found.at(name).site(site.root)
        here.releases[CONTENT] = b""
        here.slots["main"], here.live = CONTENT, "main"
    return found


def asked(key="run:forward:warm", earlier=None, **params):
    return Asked(params, 10.0, key, NOW, NOW, earlier or {})


def test_a_declared_command_runs_on_the_first_host_or_on_the_one_that_is_named(place, hosts):
    first = command(asked(command="warm"), place, hosts)
    assert (first.result, dict(first.output)) == (Result.PASSED, {"host": "web-1", "said": "warm all\n"})
    named = command(asked(command="warm", host="web-2", arguments={"shelf": "a; rm -rf '$HOME'"}), place, hosts)
    assert dict(named.output) == {"host": "web-2", "said": "warm a; rm -rf '$HOME'\n"}


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"command": "rm -rf /"}, "shop in staging has no command 'rm -rf /'; declared there: fail, warm"),
        ({}, "has no command None"),
        ({"command": ["warm"]}, "has no command"),
        ({"command": "warm", "host": "web-9"}, "has no host 'web-9'; there is: web-1, web-2"),
        ({"command": "warm", "host": {}}, "has no host"),
        ({"command": "warm", "arguments": ["a"]}, "arguments must be an object"),
        ({"command": "warm", "arguments": {"a;id": "1"}}, "is no name of an argument"),
        ({"command": "warm", "arguments": {"a": "\0"}}, "must be a text of at most 4096 characters"),
        ({"command": "warm", "arguments": {"a": "x" * 4097}}, "must be a text of at most 4096 characters"),
        ({"command": "warm", "arguments": {"a": ["x"]}}, "must be a text"),
    ],
)
def test_what_is_not_declared_or_not_written_as_it_must_be_never_reaches_a_host(place, hosts, params, words):
    answer = command(asked(**params), place, hosts)
    assert (answer.result, answer.final) == (Result.FAILED, True)
    assert words in answer.reason
    assert not [call for name in place.hosts for call in hosts.at(name).calls]


def test_a_failed_command_says_what_it_wrote_and_is_tried_again_by_another_name(place, hosts):
    answer = command(asked(command="fail"), place, hosts)
    assert (answer.result, answer.final, answer.output["run"]) == (Result.FAILED, False, 2)
    assert answer.reason.endswith("exit 3: no room")
    again = command(asked(command="fail", earlier=answer.output), place, hosts)
    assert again.output["run"] == 3
    ledger = hosts.at("web-1").site(place.hosts["web-1"][1].root).ledger
    assert [line[0] for line in ledger if line[4] == "failed"] == ["run:forward:warm:1", "run:forward:warm:2"]


def test_of_a_host_out_of_reach_nothing_is_known_so_it_is_asked_again_by_the_same_name(place, hosts):
    hosts.at("web-1").lose_answers = 1
    lost = command(asked(command="warm"), place, hosts)
    assert (lost.result, lost.output["run"]) == (Result.LATER, 1)
    assert lost.until == NOW + timedelta(seconds=5)
    again = command(asked(command="warm", earlier=lost.output), place, hosts)
    assert again.result is Result.PASSED
    ledger = hosts.at("web-1").site(place.hosts["web-1"][1].root).ledger
    assert [line[4] for line in ledger] == ["started", "done"]


def test_a_command_that_takes_long_is_looked_at_again(place, hosts):
    hosts.at("web-1").once_hangs = True
    answer = command(asked(command="warm"), place, hosts)
    assert (answer.result, answer.until) == (Result.LATER, NOW + timedelta(seconds=1))
    hosts.at("web-1").finish(place.hosts["web-1"][1].root, "run:forward:warm:1")
    assert command(asked(command="warm", earlier=answer.output), place, hosts).result is Result.PASSED


def test_a_key_that_an_author_wrote_in_any_words_is_a_name_that_hosts_take(place, hosts):
    for key in ("order 7 / €", "x" * 400):
        assert command(asked(key=key, command="warm"), place, hosts).result is Result.PASSED
    assert "export 'AUREUS_ARG_a=it'\"'\"'s'; echo" in line_of({"command": "warm", "arguments": {"a": "it's"}}, place)


# --- as a run ------------------------------------------------------------------------------------------------------

numbers = iter(range(1, 1000))


@pytest.fixture
def shop(fleet, tmp_path):
    """A shop that runs in staging and has a command that counts how often it ran, and one that fails twice."""
    fleet.root = str(tmp_path)
    installation = fleet.environment("staging", 2)
    again = f'echo 1 >>{tmp_path}/ran; [ "$(wc -l <{tmp_path}/ran)" -ge 3 ]'
    lines = {"count": f"echo 1 >>{tmp_path}/ran", "third": again, "undo": f"echo 1 >>{tmp_path}/undone"}
    Installation.objects.filter(pk=installation.pk).update(options={"commands": lines})
    fleet.deployed("1.0.0")
    return fleet


def started(*tasks, environment="staging"):
    spec = {"id": "shop", "name": "Shop", "tasks": list(tasks)}
    version, _ = registry.register(spec, f"2.0.{next(numbers)}", actor=ALICE, policy="permissive")
    return places.start(version.pk, {}, environment=environment, actor=ALICE)


def step(shop, run, **how):
    place = places.place_of(str(run.pk))
    assert place is not None
    there = partial(command, place=place, hosts=shop.hosts)
    return work_on(str(run.pk), {**tools(Addresses()), "command": there}, lambda _: None, **how)


def carried(shop, run):
    for _ in range(50):
        step(shop, run)
        run.refresh_from_db()
        if run.status not in OPEN:
            return run
        hurry(run)
    raise AssertionError("it does not end")


def times(shop, name="ran"):
    file = f"{shop.root}/{name}"
    try:
        with open(file) as ran:
            return len(ran.readlines())
    except FileNotFoundError:
        return 0


def test_a_run_carries_a_command_out_on_a_host_of_its_environment(shop):
    run = carried(shop, started({"id": "a", "tool": "command", "params": {"command": "count", "host": "staging-2"}}))
    assert (run.status, run.environment, times(shop)) == ("passed", "staging", 1)
    assert TaskRun.objects.get(run=run).output["host"] == "staging-2"


def test_a_failed_command_is_run_again_as_often_as_the_author_allows(shop):
    task = {"id": "a", "tool": "command", "params": {"command": "third"}}
    run = carried(shop, started({**task, "retry": {"maxAttempts": 3}}))
    assert (run.status, times(shop)) == ("passed", 3)


def test_what_a_command_did_is_taken_back_by_a_command(shop):
    undo = {"compensationAction": {"tool": "command", "params": {"command": "undo"}}}
    run = carried(
        shop,
        started(
            {"id": "a", "tool": "command", "params": {"command": "count"}, **undo},
            {"id": "b", "tool": "command", "params": {"command": "third"}, "dependsOn": ["a"]},
        ),
    )
    assert (run.status, times(shop, "undone")) == ("failed", 1)


def test_a_worker_that_dies_after_the_command_lets_nobody_run_it_a_second_time(shop):
    """The host is this process's own: what the dead worker told it is told again by the one that looks for it."""
    run = started({"id": "a", "tool": "command", "params": {"command": "count"}})
    fates = iter([True])

    def die(boundary, _):
        if boundary is Boundary.BEFORE_SETTLE and next(fates, False):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        step(shop, run, reached=die)
    assert times(shop) == 1
    hurry(run)
    run = carried(shop, run)
    assert (run.status, times(shop)) == ("passed", 1)


def test_no_command_is_run_while_the_record_may_be_an_older_one(shop):
    run = started({"id": "a", "tool": "command", "params": {"command": "count"}})
    with transaction.atomic():
        identity.doubt("it was restored")
    step(shop, run)
    run.refresh_from_db()
    assert (run.status, times(shop)) == ("running", 0)
    assert "is not to be changed" in TaskRun.objects.get(run=run).reason


def test_a_run_is_refused_that_names_no_environment_or_what_is_not_declared_there(shop):
    task = {"id": "a", "tool": "command", "params": {"command": "count"}}
    with pytest.raises(Invalid, match="runs commands on hosts: name the environment"):
        started(task, environment="")
    with pytest.raises(
        Conflict, match=r"has no command 'drop'; declared there: count, third, undo\. An admin declares"
    ):
        started({**task, "params": {"command": "drop"}})
    with pytest.raises(Conflict, match="has no command 'drop'"):
        started({**task, "compensationAction": {"tool": "command", "params": {"command": "drop"}}})
    assert not WorkflowRun.objects.exists()
    filled = carried(shop, started({**task, "params": {"command": "${params.which}"}}))
    assert filled.status == "failed"
