"""`aureus judge --replay` as people type it."""

import pytest

from tests.cli.conftest import run
from tests.deployments.conftest import Fleet
from tests.deployments.test_replay import passing

WORDS = ("judge", "--replay", "--environment", "staging")


@pytest.fixture
def passed(transactional_db: None):
    """Works on the database: no server has to answer."""
    return passing(Fleet())


@pytest.fixture
def strict(tmp_path):
    file = tmp_path / "strict.yaml"
    file.write_text("rules: {max_error_rate: 0.001, rollback_error_rate: 0.002}\n")
    return str(file)


def test_it_says_what_a_policy_would_have_stopped(passed, strict):
    said = run(*WORDS, "--policy", strict)
    assert said.code == 0, said.err
    assert "this policy would have stopped 1 of your last" in said.out
    assert "1 of them later good" in said.out
    told = run(*WORDS, "--policy", strict, "--json").json
    assert told["summary"]["stopped"] == 1
    row = next(row for row in told["windows"] if row["version"] == "1.1.0")
    assert (row["then"], row["now"], row["rule"], row["laterGood"]) == ("pass", "fail", "error_rate", True)
    assert any(rule["outcome"] == "fail" for rule in row["rules"])


def test_a_policy_file_that_cannot_be_used_is_refused_with_every_error(passed, tmp_path):
    file = tmp_path / "wrong.yaml"
    file.write_text("queue: random\nrules: {alpha: 2}\n")
    said = run(*WORDS, "--policy", str(file))
    assert said.code == 2
    assert "queue: must be supersede or order" in said.err and "alpha must lie between 0 and 1" in said.err
    file.write_text("a: [")
    assert run(*WORDS, "--policy", str(file)).code == 2
    assert "cannot be read" in run(*WORDS, "--policy", str(tmp_path / "none.yaml")).err


def test_an_environment_that_is_not_there_is_named_with_those_that_are(passed):
    said = run("judge", "--replay", "--environment", "moon")
    assert said.code == 1 and "There is no environment moon; there is: staging." in said.err


def test_without_replay_it_says_what_to_say():
    said = run("judge", "--environment", "staging")
    assert said.code == 2
