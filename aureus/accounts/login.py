"""Login by user name and password, with five wrong tries per quarter of an hour for a name and for an address."""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta

from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.db.models import Min, Q
from django.http import HttpRequest

from aureus import clock
from aureus.accounts.models import LoginTry
from aureus.journal.actor import Actor
from aureus.journal.models import record
from aureus.journal.refusals import Refused

MOST = 5
WITHIN = timedelta(minutes=15)


class WrongLogin(Refused):
    """The same for a wrong password, an unknown user and one who may not log in."""

    status = 401


class TooManyTries(Refused):
    """Wait; the password is not even looked at."""

    status = 429


def login(request: HttpRequest, username: str, password: str, *, address: str) -> User:
    """The user. Raises WrongLogin, TooManyTries."""
    name, network = username.lower()[:150], network_of(address)
    now = clock.now()
    # Written before the password is looked at: many guesses at once are counted like one after the other.
    mine = LoginTry.objects.create(name=name, network=network, at=now)
    if wait := _seconds_to_wait(mine, now):
        mine.delete()
        raise TooManyTries(
            f"too many wrong logins: try again in {wait} s", code="too_many_tries", about={"retryAfter": wait}
        )
    user = authenticate(request, username=username, password=password)
    if user is None:
        record("logins", "login.failed", Actor("unknown", "system"), name=name, network=network)
        raise WrongLogin("the user name or the password is wrong", code="wrong_login")
    LoginTry.objects.filter(Q(name=name) | Q(pk=mine.pk)).delete()
    LoginTry.objects.filter(at__lt=now - WITHIN).delete()
    record("logins", "login", Actor(user.get_username()), network=network)
    return user


def _seconds_to_wait(mine: LoginTry, now: datetime) -> int:
    """How long this name or this network has to wait; 0: it may try."""
    earlier = LoginTry.objects.filter(at__gt=now - WITHIN, pk__lt=mine.pk)
    longest = 0.0
    for one in (earlier.filter(name=mine.name), earlier.filter(network=mine.network)):
        newest = list(one.order_by("-pk").values_list("pk", flat=True)[:MOST])
        if len(newest) == MOST:
            first = LoginTry.objects.filter(pk__in=newest).aggregate(at=Min("at"))["at"]
            longest = max(longest, (first + WITHIN - now).total_seconds())
    return int(longest) + 1 if longest > 0 else 0


def network_of(address: str) -> str:
    """Whom tries are counted for: an IPv4 address, or the /64 that one holder of IPv6 has whole."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    mapped = getattr(ip, "ipv4_mapped", None)
    if mapped is not None or ip.version == 4:
        return str(mapped or ip)
    return str(ipaddress.ip_network((ip, 64), strict=False))
