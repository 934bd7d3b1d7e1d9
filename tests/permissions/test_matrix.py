"""Every cell of the permission table, asked over HTTP, and the table against a golden file written by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.urls import URLPattern

from aureus.accounts.models import Grant
from aureus.accounts.tokens import issue
from aureus.api.permissions import TABLE, Cell, Where
from aureus.api.reference import _addresses
from aureus.journal.actor import Role
from aureus.urls import urlpatterns
from deployments import lifecycle
from health.models import WorkflowRun
from tests.api.conftest import MISSING, Api, fleet  # noqa: F401 - a fixture
from tests.deployments.conftest import ALICE, Fleet

GOLDEN = Path(__file__).with_name("golden.txt")
ADDRESSES = _addresses()
ASKED = [cell for cell in TABLE if not cell.public]
PLACED = [cell for cell in TABLE if cell.where is not Where.ANYWHERE]


def name_of(cell: Cell) -> str:
    return f"{cell.method} {ADDRESSES[cell.route]}"


@pytest.fixture
def world(db: None) -> dict[str, str]:
    """Two environments with one deployment each; what the addresses of routes are filled with, by environment."""
    made = Fleet()
    made.environment("here", 1)
    made.environment("there", 1)
    version = made.version("1.0.0")
    ids = {name: str(lifecycle.deploy(version.pk, name, actor=ALICE).pk) for name in ("here", "there")}
    run = WorkflowRun.objects.create(version=version, environment="here", asked_by="alice")
    return {"version": str(version.pk), "run": str(run.pk), **ids}


def ask(cell: Cell, world: dict[str, str], **grants: Role) -> int:
    """The status of a request that concerns the environment `here`, by somebody with a role per environment."""
    token = ""
    if grants:
        user = User.objects.create(username="somebody")
        for environment, role in grants.items():
            Grant.objects.create(user=user, role=role, environment=environment)
        token = issue(user)[0]
    run = world["run"] if cell.where is Where.OF_RUN else MISSING
    path = ADDRESSES[cell.route].replace(":name", "here").replace(":run", run).replace(":evidence", "1")
    path = path.replace(":application", "shop").replace(":number", "1").replace(":freeze", "1")
    path = path.replace(":id", world["version"] if cell.route.startswith("version") else world["here"])
    query = "?targetEnvironment=here" if cell.route in ("deployment-can-promote", "deployment-gate-checks") else ""
    body: dict[str, str] = {}
    if cell.where in (Where.BODY, Where.BODY_IF_NAMED):
        body = {"environment": "here"}
    elif cell.where is Where.TARGET:
        body = {"targetEnvironment": "here"}
    elif cell.where is Where.OF_BODY_DEPLOYMENT:
        body = {"deploymentId": world["here"]}
    return Api()(cell.method, path + query, body if cell.method != "GET" else None, token=token).status_code


def answers(cell: Cell, world: dict[str, str], granted: Callable[[Role], dict[str, Role]]) -> dict[Role, int]:
    """What each role's owner is answered; nothing that one of them did is there when the next one asks."""
    told = {}
    for role in Role:
        with transaction.atomic():
            told[role] = ask(cell, world, **granted(role))
            transaction.set_rollback(True)
    return told


@pytest.mark.parametrize("cell", ASKED, ids=name_of)
def test_a_role_held_there_may_do_what_the_table_says_and_nothing_else(cell, world):
    if cell.where is Where.WHERE_USED:
        world = {**world, "version": MISSING}
    told = answers(cell, world, lambda role: {"here": role})
    assert 401 not in told.values()
    assert {role for role, status in told.items() if status != 403} == cell.roles


@pytest.mark.parametrize("cell", PLACED, ids=name_of)
def test_a_role_held_elsewhere_opens_nothing_here(cell, world):
    told = answers(cell, world, lambda role: {"there": role})
    assert set(told.values()) <= {403, 404}


@pytest.mark.parametrize("cell", [c for c in PLACED if Role.VIEWER not in c.roles], ids=name_of)
def test_who_may_look_here_does_not_use_here_what_he_may_do_elsewhere(cell, world):
    told = answers(cell, world, lambda role: {"here": Role.VIEWER, "there": role})
    assert set(told.values()) == {403}


@pytest.mark.parametrize("cell", TABLE, ids=name_of)
def test_without_a_token_only_what_is_public_answers(cell, world):
    status = ask(cell, world)
    if cell.public:
        assert status in (200, 400, 503)
    else:
        assert status == 401


def test_a_prefix_of_an_environments_name_grants_nothing(world):
    [cell] = [c for c in TABLE if c.route == "deployments" and c.method == "POST"]
    assert ask(cell, world, her=Role.CI) == 403


def test_every_method_of_every_route_is_in_the_table():
    there = set()
    for pattern in urlpatterns:
        if isinstance(pattern, URLPattern):
            view = getattr(pattern.callback, "cls", None)
            methods = [m for m in ("get", "post", "put", "patch", "delete") if hasattr(view, m)] if view else ["get"]
            there |= {(pattern.name, method.upper()) for method in methods}
    assert there == {(cell.route, cell.method) for cell in TABLE}


def test_the_table_is_what_was_written_by_hand():
    wanted = {}
    for line in GOLDEN.read_text().splitlines():
        if line and not line.startswith("#"):
            method, address, *marks = line.split()
            held = {role for role, mark in zip(Role, marks, strict=False) if mark == "Y"}
            assert marks == ["public"] or len(marks) == len(Role), line
            wanted[f"{method} {address}"] = held
    assert {name_of(cell): set(cell.roles) for cell in TABLE} == wanted


def test_no_role_both_asks_for_a_deployment_and_approves_it():
    asks = set().union(
        *(c.roles for c in TABLE if c.route in ("deployments", "deployment-promote") and c.method == "POST")
    )
    approves = set().union(*(c.roles for c in TABLE if c.route == "deployment-approve"))
    assert not asks & approves
