"""Who acts in the console: the signed-in person with the grants held at this moment, under the one permission table."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from aureus.accounts.actors import of_user
from aureus.api.permissions import cell_of


class ConsoleActor:
    """Gives each console request `actor`, and `may(route, environment)` read from the table of the API."""

    def __init__(self, answer: Callable[[HttpRequest], HttpResponse]) -> None:
        self.answer = answer

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user = getattr(request, "user", None)
        if user is not None and user.is_authenticated:
            actor = of_user(user)

            def may(route: str, environment: str | None, method: str = "POST") -> bool:
                cell = cell_of(route, method)
                return cell is not None and bool(cell.roles & actor.holds(environment))

            request.actor, request.may = actor, may  # type: ignore[attr-defined]
        return self.answer(request)
