"""The verb that pins a host's key: shown by the host, compared by a person, stored."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from django.db import transaction

from aureus.journal.actor import Actor
from aureus.journal.models import record
from aureus.journal.refusals import Conflict, Invalid, NotFound
from deployments.drivers import HostError
from deployments.drivers.ssh import fingerprint_of
from deployments.models import Host

FINGERPRINT = re.compile(r"SHA256:[0-9A-Za-z+/]{43}")
Fetch = Callable[[str, int], str]


@dataclass(frozen=True, slots=True)
class Look:
    """A host's key: the one trusted so far ("" none) and the one the host shows now."""

    host: Host
    trusted: str
    shown: str

    @property
    def is_new(self) -> bool:
        """Nobody has trusted any key of this host yet."""
        return not self.trusted

    @property
    def changed(self) -> bool:
        """It shows another key than the trusted one: set up anew, or somebody stands in between."""
        return bool(self.trusted) and self.trusted != self.shown


def find(name: str, environment: str = "") -> Host:
    """An active host by its name. Raises NotFound, or Conflict where several environments have one of that name."""
    hosts = Host.objects.filter(name=name, state=Host.State.ACTIVE).select_related("environment", "bastion")
    found = list(hosts.filter(environment__name=environment) if environment else hosts)
    if not found:
        where = f" in {environment}" if environment else ""
        raise NotFound(f"there is no host {name}{where}: declare it and run aureus apply")
    if len(found) > 1:
        names = ", ".join(host.environment.name for host in found)
        raise Conflict(f"{name} stands in {names}: say which with --environment", code="ambiguous")
    return found[0]


def look(host: Host, *, fingerprint: str = "", fetch: Fetch = fingerprint_of) -> Look:
    """Ask a host for its key without logging in; nothing is stored.

    fingerprint: what a person read on the machine; the host must show the same. Behind a bastion it is all there is.
    Raises Invalid, Conflict.
    """
    if fingerprint and not FINGERPRINT.fullmatch(fingerprint):
        raise Invalid("that is no fingerprint", errors=[("fingerprint", "must look like SHA256: and 43 characters")])
    if host.bastion is not None:
        if not fingerprint:
            raise Conflict(
                f"{host.name} is reached through {host.bastion.name}, so its key cannot be fetched from here: run "
                f"`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on it and give the result with --fingerprint",
                code="behind_bastion",
            )
        return Look(host, host.fingerprint, fingerprint)
    try:
        shown = fetch(host.address, host.port)
    except HostError as error:
        raise Conflict(f"the key of {host.name} cannot be fetched: {error.sentence}", code=error.code) from None
    if fingerprint and shown != fingerprint:
        raise Conflict(
            f"{host.name} shows {shown}, not {fingerprint}: nothing was stored. Is this the right machine?",
            code="other_key",
        )
    return Look(host, host.fingerprint, shown)


@transaction.atomic
def store(seen: Look, *, actor: Actor, replace: bool = False) -> bool:
    """Trust the key that was seen; whether that changed anything.

    Raises Conflict for a changed key without `replace`, and where somebody else has trusted another one meanwhile.
    """
    if seen.trusted == seen.shown:
        return False
    if seen.changed and not replace:
        raise Conflict(
            f"{seen.host.name} showed {seen.trusted} when it was trusted and shows {seen.shown} now. If it was really "
            f"set up anew, compare that on the machine and run this again with --replace",
            code="host_key_changed",
        )
    stored = Host.objects.filter(pk=seen.host.pk, fingerprint=seen.trusted).update(fingerprint=seen.shown)
    if not stored:
        raise Conflict("somebody else has trusted another key meanwhile: look again", code="changed_meanwhile")
    about = {"name": seen.host.name, "before": seen.trusted, "after": seen.shown}
    record(f"environment:{seen.host.environment.name}", "host.trusted", actor, **about)
    return True
