"""Login tokens: short JWTs that name a user and nothing of what he may do."""

from __future__ import annotations

import hashlib
import time
import uuid
from functools import cache

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenBackendError, TokenBackendExpiredToken

ALGORITHM, AUDIENCE, ISSUER = "HS256", "aureus-api", "aureus"
LONGEST = 4096
NEEDED = ("sub", "iat", "exp", "jti", "pwd")


class TokenRefused(Exception):
    """The token is none that counts now; the message says why in plain words."""


def issue(user: User) -> tuple[str, int]:
    """A token and the seconds it is valid."""
    seconds = int(settings.JWT_EXPIRY.total_seconds())
    now = int(time.time())
    claims = {"sub": str(user.pk), "iat": now, "exp": now + seconds, "jti": uuid.uuid4().hex, "pwd": fragment(user)}
    return _backends()[0].encode(claims), seconds


def fragment(user: User) -> str:
    """Changes with the user's password, and tells nothing of it. Free of every secret, so that those can rotate."""
    return hashlib.sha256(b"aureus login token\0" + user.password.encode()).hexdigest()[:16]


def user_of(token: str) -> User:
    """The user a token stands for, as he is now. Raises TokenRefused."""
    claims = _checked(token)
    user = get_user_model().objects.filter(pk=claims["sub"], is_active=True).first()
    if user is None or claims["pwd"] != fragment(user):
        raise TokenRefused("the token no longer counts: log in again")
    return user


def _checked(token: str) -> dict[str, str]:
    claims = _decoded(token)
    usable = all(claims.get(name) for name in NEEDED) and claims["sub"].isascii() and claims["sub"].isdigit()
    if not usable or len(claims["sub"]) > 18:
        raise TokenRefused("the token is none of ours")
    # Also after JWT_EXPIRY was made shorter, or for a token that somebody gave a longer life.
    if claims["iat"] + settings.JWT_EXPIRY.total_seconds() < time.time():
        raise TokenRefused("the token has expired: log in again")
    return claims


def _decoded(token: str) -> dict:
    if len(token) > LONGEST:
        raise TokenRefused("the token is none of ours")
    for backend in _backends():
        try:
            return backend.decode(token)  # type: ignore[arg-type]  # it wants the text
        except TokenBackendExpiredToken:
            raise TokenRefused("the token has expired: log in again") from None
        except TokenBackendError:
            continue
    raise TokenRefused("the token is none of ours")


def _backends() -> tuple[TokenBackend, ...]:
    """The secret of today, and the one before a rotation."""
    return tuple(_backend(secret) for secret in (settings.JWT_SECRET, settings.JWT_SECRET_PREVIOUS) if secret)


@cache
def _backend(secret: str) -> TokenBackend:
    return TokenBackend(ALGORITHM, signing_key=secret, audience=AUDIENCE, issuer=ISSUER)
