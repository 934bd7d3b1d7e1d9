"""What every view of the API stands behind: the permission table, known query names, and `Idempotency-Key`.

The apps' views know nothing of it; `aureus/urls.py` puts them behind the door.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from aureus.api import idempotency
from aureus.journal.refusals import Invalid

PAGED = frozenset({"limit", "cursor"})


class Door(APIView):
    # In front of a view; `query` of the view names the parameters it reads. (A docstring would be every route's text.)
    query: frozenset[str] = frozenset()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        known = self.query | (PAGED if request.method in ("GET", "HEAD") and hasattr(self, "ordering") else frozenset())
        for name in request.query_params:
            if name not in known:
                there = f"there is: {', '.join(sorted(known))}" if known else "none is read here"
                raise Invalid(f"there is no such parameter; {there}", errors=[(name[:100], "unknown parameter")])
            if len(request.query_params.getlist(name)) > 1:
                raise Invalid(f"{name} is given twice", errors=[(name, "give it once")])


def door(view: type[APIView], *, repeatable: bool = True) -> Callable[..., Any]:
    """The view behind the door. repeatable: its POST honours `Idempotency-Key`.

    A view's `afterwards` turns the answer of its POST, new or repeated, into what the caller gets, outside of the
    transaction: it may wait.
    """
    inside: dict[str, Any] = {"__module__": view.__module__, "__doc__": view.__doc__ or ""}
    inside["query"] = getattr(view, "query", frozenset())
    if repeatable and hasattr(view, "post"):
        inside["post"] = _once(view.post)
    behind: type[APIView] = type(view.__name__, (Door, view), inside)
    return behind.as_view()


def _once(post: Callable[..., Response]) -> Callable[..., Response]:
    def once(self: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        response = idempotency.once(request, lambda: post(self, request, *args, **kwargs), self.handle_exception)
        afterwards = getattr(self, "afterwards", None)
        return afterwards(response) if afterwards else response

    # drf-spectacular hangs what it was told on the function.
    once.__doc__, once.__name__ = post.__doc__, post.__name__
    once.__dict__.update(post.__dict__)
    return once
