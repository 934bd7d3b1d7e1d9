"""Words reach a host's shell as they are, whatever they hold."""

from __future__ import annotations

import shlex
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.drivers import HostAddress, Site, quote

WORDS = st.lists(st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"])), min_size=1, max_size=6)


@given(WORDS)
def test_a_command_line_splits_into_the_words_it_was_made_of(words: list[str]) -> None:
    assert shlex.split(quote(words)) == words


@pytest.mark.parametrize("shell", ["sh", "bash"])
@settings(max_examples=40, deadline=None)
@given(words=WORDS)
def test_a_real_shell_agrees(shell: str, words: list[str]) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    line = quote(["printf", "%s\\0", *words])
    said = subprocess.run([shell, "-c", line], capture_output=True, check=True).stdout
    assert said == b"".join(word.encode() + b"\0" for word in words)


def test_what_no_shell_can_carry_is_refused() -> None:
    for words in ([], ["a\0b"]):
        with pytest.raises(ValueError):
            quote(words)


GOOD = HostAddress("h1", "10.0.0.1", 22, "deploy", "", "file:/key")
EVIL = [
    "-oProxyCommand=x",
    "a;id",
    "$(id)",
    "a\nb",
    "a\0b",
    "",
    "a b",
    "a`id`",
    "é" * 3,
    "user@host",
    "a" * 300,
    "$HOME",
]


@pytest.mark.parametrize("evil", EVIL)
@pytest.mark.parametrize("field", ["name", "address", "user", "key_ref"])
def test_a_host_cannot_carry_an_option_or_a_command(field: str, evil: str) -> None:
    known = {name: getattr(GOOD, name) for name in ("name", "address", "port", "user", "fingerprint", "key_ref")}
    with pytest.raises(ValueError, match="not acceptable"):
        HostAddress(**(known | {field: evil}))


@pytest.mark.parametrize("root", ["", "/", "srv/app", "/srv/../etc", "/srv/app/", "/srv//app", "/srv/a\nb", "-x"])
def test_a_root_is_a_plain_absolute_path(root: str) -> None:
    with pytest.raises(ValueError, match="root"):
        Site(root)


@pytest.mark.parametrize("unit", ["-x", "a b", "a;b", "a\nb", "$(id)"])
def test_a_unit_is_a_plain_name(unit: str) -> None:
    with pytest.raises(ValueError, match="unit"):
        Site("/srv/app", unit=unit)
