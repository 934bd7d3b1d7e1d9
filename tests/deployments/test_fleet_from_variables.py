"""Staging and production out of the deployment guide's variables."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from deployments.fleet.declaration import DeclarationInvalid
from deployments.fleet.from_variables import Options, declaration
from deployments.fleet.known_hosts import fingerprint, fingerprint_of_key

BLOB = b"\0\0\0\x0bssh-ed25519\0\0\0 " + b"k" * 32
OTHER = b"\0\0\0\x07ssh-rsa" + b"r" * 64
KEY = base64.b64encode(BLOB).decode()
SHOWN = fingerprint_of_key(BLOB)
PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\n"
VARIABLES = {
    "STAGING_HOST": "staging.example.com",
    "STAGING_USER": "deploy",
    "STAGING_SSH_KEY": PRIVATE,
    "STAGING_KNOWN_HOSTS": f"staging.example.com ssh-ed25519 {KEY}",
    "PRODUCTION_HOSTS": "prod1.example.com, prod2.example.com:2222",
    "PRODUCTION_USER": "deploy",
    "PRODUCTION_SSH_KEY_FILE": "/run/secrets/production",
    "PRODUCTION_KNOWN_HOSTS": f"prod1.example.com ssh-ed25519 {KEY}\n[prod2.example.com]:2222 ssh-ed25519 {KEY} ci\n",
}
OPTIONS = Options("shop", 8080, approvals=2)


def refused(**changed: str) -> dict[str, str]:
    with pytest.raises(DeclarationInvalid) as caught:
        declaration(VARIABLES | changed, OPTIONS)
    return dict(caught.value.errors)


def test_the_guides_variables_make_staging_and_production():
    made = declaration(VARIABLES, OPTIONS)
    staging, production = made.environments
    assert (staging.policy.approvals, staging.policy.promote_from) == (0, None)
    assert (production.policy.approvals, production.policy.promote_from) == (2, "staging")
    assert [(h.name, h.address, h.port) for h in production.hosts] == [
        ("prod1.example.com", "prod1.example.com", 22),
        ("prod2.example.com-2222", "prod2.example.com", 2222),
    ]
    assert {h.fingerprint for e in made.environments for h in e.hosts} == {SHOWN}
    assert [(i.root, i.unit, i.port) for i in made.installations] == [("/srv/shop", "shop", 8080)] * 2


def test_the_private_key_is_referred_to_and_never_written_down():
    made = declaration(VARIABLES, OPTIONS)
    assert made.environments[0].hosts[0].key == "env:STAGING_SSH_KEY"
    assert made.environments[1].hosts[0].key == "file:/run/secrets/production"
    assert "c2VjcmV0" not in repr(made)


def test_a_host_without_a_known_key_is_refused_with_what_to_do():
    said = refused(PRODUCTION_KNOWN_HOSTS="")["PRODUCTION_KNOWN_HOSTS"]
    assert "ssh-keyscan -t ed25519 -p 2222 prod2.example.com" in said
    assert "ssh-keygen -lf" in said


def test_every_missing_variable_is_named_at_once():
    errors = refused(STAGING_HOST="", STAGING_USER="", STAGING_SSH_KEY="", PRODUCTION_USER="")
    assert {"STAGING_HOST", "STAGING_USER", "STAGING_SSH_KEY", "PRODUCTION_USER"} <= set(errors)


@pytest.mark.parametrize("text", ["a:b", "a:99999", "[::1", "a:1:2"])
def test_what_is_no_host_is_refused(text):
    assert "host:port" in refused(STAGING_HOST=text)["STAGING_HOST"]


def hashed(name: str) -> str:
    salt = b"salt" * 5
    digest = hmac.digest(salt, name.encode(), hashlib.sha1)
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


RSA = base64.b64encode(OTHER).decode()


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (f"h,10.0.0.1 ssh-ed25519 {KEY}", SHOWN),
        (f"H ssh-ed25519 {KEY}", SHOWN),
        (f"{hashed('h')} ssh-ed25519 {KEY}", SHOWN),
        (f"{hashed('other')} ssh-ed25519 {KEY}", ""),
        (f"h ssh-rsa {RSA}\nh ssh-ed25519 {KEY}", SHOWN),
        (f"h ssh-rsa {RSA}", fingerprint_of_key(OTHER)),
        (f"@revoked h ssh-ed25519 {KEY}\nh ssh-ed25519 {KEY}", ""),
        (f"@cert-authority h ssh-ed25519 {KEY}", ""),
        (f"# h ssh-ed25519 {KEY}", ""),
        (f"[h]:2222 ssh-ed25519 {KEY}", ""),
        ("h ssh-ed25519 not-base64!", ""),
        ("h", ""),
    ],
)
def test_known_hosts_lines_are_read_as_openssh_writes_them(lines, found):
    assert fingerprint(lines, "h") == found
