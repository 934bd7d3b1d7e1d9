"""The permission table applied: where a request needs its role, looked up from the address, the body and the rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from aureus.api.permissions import Cell, Where, cell_of
from aureus.journal.actor import Actor
from aureus.journal.refusals import Invalid, NotAllowed, NotFound
from deployments.models import Deployment
from health.models import WorkflowRun

TO = "production"
"""Where a promotion goes that does not say so."""


class ByTable(BasePermission):
    """The default permission: what the table does not allow is not allowed."""

    def has_permission(self, request: Request, view: Any) -> bool:
        match = request.resolver_match
        cell = cell_of(match.url_name or "", request.method or "") if match else None
        handled = request.method != "OPTIONS" and hasattr(view, (request.method or "").lower())
        if cell is None and not handled:
            view.http_method_not_allowed(request)  # raises
        if cell is not None and cell.public:
            return True
        if not isinstance(request.user, Actor):
            raise NotAuthenticated("log in: POST /api/auth/login answers a token for the Authorization header")
        if cell is None:
            raise NotAllowed("no role may do this")
        if request.method == "POST":
            request._request.body  # noqa: B018 - kept whole: the key of a repeated request is compared by its bytes
        check(cell, request.user, request, view.kwargs)
        return True


def check(cell: Cell, actor: Actor, request: Request, kwargs: Mapping[str, Any]) -> None:
    """Raises NotAllowed, or NotFound for what this actor may not even know of. Public cells never come here."""
    if not cell.roles & actor.holds():
        raise _not_allowed(cell, "any environment")
    _LOOK_UPS[cell.where](cell, actor, request, kwargs)


def _anywhere(cell: Cell, actor: Actor, request: Request, kwargs: Mapping[str, Any]) -> None:
    """Held somewhere, which was checked already."""


def _of_deployment(cell: Cell, actor: Actor, request: Request, kwargs: Mapping[str, Any]) -> None:
    _demand(cell, actor, environment_of(actor, kwargs["deployment_id"]))


def _of_body_deployment(cell: Cell, actor: Actor, request: Request, kwargs: Mapping[str, Any]) -> None:
    named = _field(request, "deploymentId")
    try:
        chosen = UUID(named)
    except ValueError:
        raise Invalid("deploymentId is no id", errors=[("deploymentId", "must be a deployment's id")]) from None
    _demand(cell, actor, environment_of(actor, chosen))


def _named(cell: Cell, actor: Actor, request: Request, kwargs: Mapping[str, Any]) -> None:
    if not actor.holds(kwargs["name"]):
        raise NotFound(f'there is no environment "{kwargs["name"]}"', code="no_environment")
    _demand(cell, actor, kwargs["name"])


def _body(cell: Cell, actor: Actor, request: Request, kwargs: Mapping[str, Any]) -> None:
    _demand(cell, actor, _field(request, "environment"))


def _body_if_named(cell: Cell, actor: Actor, request: Request, kwargs: Mapping[str, Any]) -> None:
    body = request.data
    if isinstance(body, dict) and body.get("environment"):
        _demand(cell, actor, _field(request, "environment"))


def _of_run(cell: Cell, actor: Actor, request: Request, kwargs: Mapping[str, Any]) -> None:
    name = WorkflowRun.objects.filter(pk=kwargs["run_id"]).values_list("environment", flat=True).first()
    if name and not actor.holds(name):
        raise NotFound(f"there is no workflow run {kwargs['run_id']}")
    if name:
        _demand(cell, actor, name)


def _target(cell: Cell, actor: Actor, request: Request, kwargs: Mapping[str, Any]) -> None:
    environment_of(actor, kwargs["deployment_id"])
    _demand(cell, actor, _field(request, "targetEnvironment", TO))


def _where_used(cell: Cell, actor: Actor, request: Request, kwargs: Mapping[str, Any]) -> None:
    used = Deployment.objects.filter(version=kwargs["version_id"]).order_by()
    for name in used.values_list("installation__environment__name", flat=True).distinct():
        _demand(cell, actor, name)


def environment_of(actor: Actor, deployment_id: UUID) -> str:
    """A deployment's environment. One in an environment where the actor holds nothing is as one that is not there."""
    found = Deployment.objects.filter(pk=deployment_id).values_list("installation__environment__name", flat=True)
    name = found.first()
    if name is None or not actor.holds(name):
        raise NotFound(f"there is no deployment {deployment_id}")
    return name


def _field(request: Request, name: str, default: str = "") -> str:
    """A text of the body; whether the body is right otherwise is for the view to say."""
    body = request.data
    value = body.get(name, default) if isinstance(body, dict) else default
    if not isinstance(value, str) or not value:
        raise Invalid(f"{name} is missing", errors=[(name, "must be given as text")])
    return value


def _demand(cell: Cell, actor: Actor, environment: str) -> None:
    if not cell.roles & actor.holds(environment):
        raise _not_allowed(cell, f"the environment {environment[:60]}")


def _not_allowed(cell: Cell, place: str) -> NotAllowed:
    roles = " or ".join(sorted(cell.roles))
    return NotAllowed(f"you need the role {roles} in {place}: ask an admin for the grant", code="missing_role")


_LOOK_UPS: dict[Where, Callable[[Cell, Actor, Request, Mapping[str, Any]], None]] = {
    Where.ANYWHERE: _anywhere,
    Where.OF_DEPLOYMENT: _of_deployment,
    Where.OF_BODY_DEPLOYMENT: _of_body_deployment,
    Where.NAMED: _named,
    Where.BODY: _body,
    Where.BODY_IF_NAMED: _body_if_named,
    Where.OF_RUN: _of_run,
    Where.TARGET: _target,
    Where.WHERE_USED: _where_used,
}
