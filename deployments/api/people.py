"""What people say to a deployment: one view per verb, each a line around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from deployments import lifecycle
from deployments.api.bodies import (
    ApproveBody,
    CommentBody,
    ExcludeBody,
    MaybeReasonBody,
    OverrideBody,
    ReasonBody,
    RejectBody,
)
from deployments.api.deployments import TAGS, shown
from deployments.api.shapes import WholeDeploymentShape
from deployments.models import Deployment
from releases.asking import Body, actor_of


class Spoken(APIView):
    """A verb with a body that says why."""

    body: ClassVar[type[Body]]
    verb: ClassVar[Callable[..., Deployment]]

    def post(self, request: Request, deployment_id: UUID) -> Response:
        deployment = type(self).verb(deployment_id, actor=actor_of(request), **self.body.read(request))
        # Only a retry answers with another deployment than the one that was spoken to.
        return Response(shown(deployment), status=200 if deployment.pk == deployment_id else 201)


def spoken(name: str, verb: Callable[..., Deployment], asked: type[Body], summary: str) -> type[Spoken]:
    """The view of a verb."""
    members: dict[str, Any] = {"verb": staticmethod(verb), "body": asked, "__doc__": "", "__module__": __name__}
    view = type(name.title().replace("_", ""), (Spoken,), {**members, "post": _post(name, asked, summary)})
    return view


def _post(name: str, asked: type[Body], summary: str) -> Callable[..., Response]:
    def post(self: Spoken, request: Request, deployment_id: UUID) -> Response:
        return Spoken.post(self, request, deployment_id)

    described = extend_schema(
        operation_id=f"deployments_{name}",
        summary=summary,
        tags=TAGS,
        request=asked,
        responses=WholeDeploymentShape if name != "retry" else {200: WholeDeploymentShape, 201: WholeDeploymentShape},
    )
    return described(post)


Approve = spoken("approve", lifecycle.approve, ApproveBody, "Say yes to the plan as it is now")
Reject = spoken("reject", lifecycle.reject, RejectBody, "Say no, and why: it ends")
Override = spoken("override", lifecycle.override, OverrideBody, "Let it past a freeze, the windows or its soak")
BreakGlass = spoken(
    "break_glass", lifecycle.break_glass, ReasonBody, "In an emergency, ask to let it past approvals, gates and time"
)
ConfirmBreakGlass = spoken(
    "confirm_break_glass", lifecycle.confirm_break_glass, CommentBody, "As a second person, confirm that"
)
Pause = spoken("pause", lifecycle.pause, MaybeReasonBody, "Let no new step start")
Resume = spoken("resume", lifecycle.resume, MaybeReasonBody, "Go on")
Abort = spoken("abort", lifecycle.abort, ReasonBody, "Stop; what was changed goes back")
Abandon = spoken("abandon", lifecycle.abandon, ReasonBody, "End it now; what it left unproven is owed")
Retry = spoken("retry", lifecycle.retry, MaybeReasonBody, "Run what is held again, or try anew what failed")
PromoteFull = spoken(
    "promote_full", lifecycle.promote_full, ReasonBody, "Go to the end without being watched on the way"
)
Exclude = spoken("exclude", lifecycle.exclude, ExcludeBody, "Go on without a host; it is owed")
