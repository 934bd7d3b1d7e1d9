"""`Idempotency-Key`: what a key asked for is done once, and its first answer is given to whoever asks again.

The key, the rows of the verb and the answer are committed in one transaction: a request that was cut off in the middle
has done nothing, and one that has done something has an answer.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from datetime import timedelta

from django.db import OperationalError, transaction
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from aureus import clock
from aureus.accounts.models import Replay
from aureus.api import problems
from aureus.journal.refusals import Conflict, Invalid, Refused
from releases.asking import actor_of

HEADER = "Idempotency-Key"
KEPT = timedelta(hours=24)
USABLE = re.compile(r"[\x21-\x7e]{1,200}")
LOCK_NOT_AVAILABLE = "55P03"


class KeyTaken(Refused):
    """The key was used for another request."""

    status = 422


class _Failed(Exception):
    """A fault: nothing of it is kept, so that the next try may do better."""

    def __init__(self, response: Response) -> None:
        self.response = response


def once(request: Request, run: Callable[[], Response], told: Callable[[Exception], Response]) -> Response:
    """Carry a request out, or give its first answer again. told: what a refusal is answered with."""
    key = request.headers.get(HEADER)
    if key is None:
        return run()
    if not USABLE.fullmatch(key):
        raise Invalid(f"{HEADER} must be 1 to 200 visible ASCII characters")
    wanted = _hash_of(request)
    try:
        with transaction.atomic():
            return _kept(request, key, wanted, run, told)
    except _Failed as failed:
        return failed.response
    except OperationalError as error:
        if getattr(error.__cause__, "pgcode", "") != LOCK_NOT_AVAILABLE:
            raise
        raise Conflict(
            f"a request with this {HEADER} is being carried out: ask again in a moment",
            code="in_progress",
            about={"retryAfter": 1},
        ) from error


def _kept(
    request: Request, key: str, wanted: str, run: Callable[[], Response], told: Callable[[Exception], Response]
) -> Response:
    """Two at once: the second waits in the insert until the first has been committed, and then finds its answer."""
    _forget_old()
    row, is_new = Replay.objects.get_or_create(actor=actor_of(request).name, key=key, defaults={"request_hash": wanted})
    if row.request_hash != wanted:
        raise KeyTaken(f"this {HEADER} was used for another request: take a new one", code="key_taken")
    if not is_new and row.status is not None:
        replayed = Response(row.response, status=row.status, headers={"Idempotency-Replayed": "true"})
        if row.status >= 400:
            replayed.content_type = problems.MEDIA_TYPE
        return replayed
    try:
        with transaction.atomic():
            response = run()
    except Exception as error:
        response = told(error)
        if response.status_code >= 500:
            raise _Failed(response) from error
    row.status, row.response = response.status_code, json.loads(JSONRenderer().render(response.data))
    row.save(update_fields=["status", "response"])
    return response


def _hash_of(request: Request) -> str:
    """What makes two requests the same: method, address and body."""
    seen = hashlib.sha256(f"{request.method} {request._request.get_full_path()}\n".encode())
    seen.update(request._request.body)
    return seen.hexdigest()


def _forget_old() -> None:
    old = Replay.objects.filter(at__lt=clock.now() - KEPT).select_for_update(skip_locked=True)
    Replay.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:100])).delete()
