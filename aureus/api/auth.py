"""Who calls: a bearer token (login JWT or API key), and nothing else. No cookie, no session, no header of a proxy."""

from __future__ import annotations

from django.conf import settings
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from aureus.accounts import actors, keys, tokens
from aureus.accounts.models import ApiKey
from aureus.journal.actor import Actor


class Bearer(BaseAuthentication):
    """`Authorization: Bearer …`. A token that does not count is refused, even where nobody needs one."""

    def authenticate(self, request: Request) -> tuple[Actor, str] | None:
        header = request.headers.get("Authorization")
        if header is None:
            return None if settings.AUREUS.ENABLE_AUTH else (actors.ANYBODY, "")
        scheme, _, text = header.partition(" ")
        if scheme.lower() != "bearer" or not text.strip():
            raise AuthenticationFailed("send Authorization: Bearer and a login token or an API key")
        return _actor(text.strip()), "bearer"

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="aureus"'


def _actor(text: str) -> Actor:
    if text.startswith(f"{ApiKey.PREFIX}_"):
        key = keys.key_of(text)
        if key is None:
            raise AuthenticationFailed("the API key is unknown, revoked or expired")
        return actors.of_key(key)
    try:
        return actors.of_user(tokens.user_of(text))
    except tokens.TokenRefused as error:
        raise AuthenticationFailed(str(error)) from error
