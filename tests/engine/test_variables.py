"""Variables: what is refused, what their digest is of, and that systemd and shells read one file alike."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.engine import variables
from deployments.engine.variables import VariablesInvalid, digest, parse, rendered, unfit

ODD = {
    "EMPTY": "",
    "SPACES": "  two  ",
    "TAB": "a\tb",
    "QUOTES": """it's "quoted" 'twice''""",
    "BACKSLASHES": "\\ \\\\ C:\\new\\table\\",
    "BOTH": "\\'\\''",
    "SHELL": "$HOME `id` $(id) ${X} ; & | > # ! ~ * ?",
    "PERCENT": "%n %i %%",
    "URL": "postgres://u:p%40x@db:5432/shop?sslmode=require#x",
    "UNICODE": "żółć āĂ 日本 🚀 \u2028",
    "LONG": "x'\\" * 8000,
}


def systemd_reads(text: str, *, old: bool) -> dict[str, str]:
    """The states of systemd's parse_env_file_internal() (src/basic/env-file.c) that a file of ours can come to.

    old: before version 241, where a backslash escapes in single quotes and any character in double quotes.
    """
    found = {}
    for line in text.rstrip("\n").split("\n"):
        name, _, rest = line.partition("=")
        value, state, letters = "", "pre", iter(rest)
        for letter in letters:
            match state, letter:
                case "pre", "'" | '"':
                    state = letter
                case "pre", " " | "\t":
                    pass
                case "pre", _:
                    raise AssertionError(f"an unquoted character: from here quotes are read as they are: {letter!r}")
                case ("'", "'") | ('"', '"'):
                    state = "pre"
                case '"', "\\":
                    after = next(letters)
                    value += after if old or after in '"\\`$' else "\\" + after
                case "'", "\\" if old:
                    value += next(letters)
                case _:
                    value += letter
        assert state == "pre", "a quote is left open"
        found[name] = value
    return found


def shell_reads(shell: str, file: Path) -> dict[str, str]:
    words = [shell, "-c", 'set -a; . "$1"; exec env -0', "sh", str(file)]
    done = subprocess.run(words, env={"PATH": os.environ["PATH"]}, capture_output=True, check=True)
    return dict(pair.split("=", 1) for pair in done.stdout.decode().split("\0") if pair)


@pytest.mark.parametrize("shell", [name for name in ("sh", "dash", "bash") if shutil.which(name)])
def test_a_shell_reads_every_value_as_it_was_declared(shell: str, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(rendered("1.0.0-0123456789ab", ODD))
    read = shell_reads(shell, file)
    assert {name: read[name] for name in ODD} == ODD
    assert read["AUREUS_CONTENT"] == "1.0.0-0123456789ab"


@pytest.mark.parametrize("old", [True, False])
def test_systemd_reads_every_value_as_it_was_declared(old: bool) -> None:
    read = systemd_reads(rendered("1.0.0-0123456789ab", ODD).decode(), old=old)
    assert read == {"AUREUS_CONTENT": "1.0.0-0123456789ab", **ODD}


def test_the_quotes_that_shells_are_used_to_are_read_wrong_by_systemd() -> None:
    with pytest.raises(AssertionError, match="unquoted"):
        systemd_reads("A='it'\\''s'\n", old=False)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(alphabet=st.one_of(st.sampled_from("'\"\\$` #"), st.characters(codec="utf-8"))), max_size=8))
def test_whatever_is_not_refused_is_read_alike(tmp_path_factory: pytest.TempPathFactory, values: list[str]) -> None:
    kept = {f"V{n}": value for n, value in enumerate(values) if not unfit(value)}
    text = rendered("1.0.0-0123456789ab", kept)
    file = tmp_path_factory.getbasetemp() / "any.env"
    file.write_bytes(text)
    read = shell_reads("sh", file)
    assert {name: read[name] for name in kept} == kept
    both = [systemd_reads(text.decode(), old=old) for old in (True, False)]
    assert all({name: one[name] for name in kept} == kept for one in both)


@pytest.mark.parametrize(
    ("declared", "path", "word"),
    [
        ([], "variables", "object"),
        ({f"V{n}": {"value": ""} for n in range(201)}, "variables", "at most 200"),
        ({"lower": {"value": "x"}}, "variables.lower", "capital"),
        ({"1A": {"value": "x"}}, "variables.1A", "digit"),
        ({"A=B": {"value": "x"}}, "variables.A=B", "capital"),
        ({"A\n": {"value": "x"}}, "variables.A\n", "capital"),
        ({"A" * 101: {"value": "x"}}, f"variables.{'A' * 100}", "100"),
        ({"PPID": {"value": "x"}}, "variables.PPID", "taken"),
        ({"AUREUS_CONTENT": {"value": "x"}}, "variables.AUREUS_CONTENT", "taken"),
        ({"A": "x"}, "variables.A", '{"value": text}'),
        ({"A": {"value": "x", "secret": "env:X"}}, "variables.A", '{"value": text}'),
        ({"A": {"value": 1}}, "variables.A", "text"),
        ({"A": {"value": "hush\nhush"}}, "variables.A", "line break"),
        ({"A": {"value": "hush\0"}}, "variables.A", "control character"),
        ({"A": {"value": "hush\x85"}}, "variables.A", "control character"),
        ({"A": {"value": "\ud800"}}, "variables.A", "Unicode"),
        ({"A": {"value": "\ufffe"}}, "variables.A", "no character"),
        ({"A": {"value": "ż" * 16385}}, "variables.A", "32768"),
        ({f"V{n}": {"value": "x" * 32000} for n in range(9)}, "variables", "262144"),
        ({"A": {"secret": "hunter2"}}, "variables.A", "never the secret itself"),
        ({"A": {"secret": "file:relative"}}, "variables.A", "file:/path"),
        ({"A": {"secret": "file:/a/../b"}}, "variables.A", "upwards"),
        ({"A": {"secret": "env:A B"}}, "variables.A", "env:NAME"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_its_name_and_never_by_its_value(declared, path, word) -> None:
    with pytest.raises(VariablesInvalid) as caught:
        parse(declared)
    assert caught.value.errors[0][0] == path
    assert word in caught.value.errors[0][1]
    assert "hush" not in str(caught.value) and "hunter2" not in str(caught.value)


def test_a_digest_is_of_names_values_and_references_in_any_order() -> None:
    one = parse({"A": {"value": "1"}, "B": {"secret": "env:B"}})
    assert digest(one) == digest(parse({"B": {"secret": "env:B"}, "A": {"value": "1"}}))
    others = [
        {"A": {"value": "2"}, "B": {"secret": "env:B"}},
        {"A": {"value": "1"}, "B": {"secret": "env:C"}},
        {"A": {"value": "1"}, "B": {"value": "env:B"}},
        {"A": {"value": "1"}},
        {},
    ]
    assert len({digest(one), digest(one, 2), digest(one, 3), *(digest(parse(each)) for each in others)}) == 8


def test_changes_set_and_take_away() -> None:
    before = {"A": {"value": "1"}, "B": {"value": "2"}}
    after = variables.changed(before, {"A": None, "C": {"secret": "env:C"}, "GONE": None})
    assert after == {"B": {"value": "2"}, "C": {"secret": "env:C"}}
