"""`aureus config` as people type it."""

from __future__ import annotations

from deployments.models import Configuration
from tests.cli.conftest import run
from tests.deployments.conftest import ROOT

WHERE = ("staging", "shop")


def test_variables_are_set_looked_at_taken_away_and_shipped(world, workers):
    world.environment("staging", hosts=1)
    world.deployed("1.0.0")
    said = run("config", "set", *WHERE, "LOG_LEVEL=info=x", "AT=@@home", "DB=@file:/run/shop/db", "--note", "first")
    assert said.code == 0, said.err
    assert "configuration 1 of shop in staging has 3 variables" in said.out
    assert Configuration.objects.get().variables == {
        "LOG_LEVEL": {"value": "info=x"}, "AT": {"value": "@home"}, "DB": {"secret": "file:/run/shop/db"},
    }  # fmt: skip
    shown = run("config", "show", *WHERE).out
    assert "LOG_LEVEL" in shown and "info=x" not in shown
    whole = run("config", "show", *WHERE, "--values").out
    assert "info=x" in whole and "@file:/run/shop/db" in whole
    assert run("config", "unset", *WHERE, "DB", "AT", "--json").json["names"] == ["LOG_LEVEL"]
    assert run("config", "renew", *WHERE, "--json").json["revision"] == 3
    assert [row["revision"] for row in run("config", "history", *WHERE, "--json").json] == [3, 2, 1]
    with workers():
        shipped = run("config", "ship", *WHERE, "--revision", "2", "--wait", "--json")
    assert shipped.code == 0, shipped.err
    assert b"LOG_LEVEL='info=x'" in world.hosts.at("staging-1").site(ROOT).shared[".env"]


def test_what_cannot_be_done_is_said_with_an_exit_code(world):
    world.environment("staging", hosts=1)
    assert run("config", "set", *WHERE, "LOG_LEVEL").code == 2
    wrong = run("config", "set", *WHERE, "lower=x")
    assert wrong.code != 0 and "capital letters" in wrong.err
    assert "no such revision" in run("config", "show", *WHERE).err
    assert "nothing of shop is deployed" in run("config", "ship", *WHERE).err
    assert "is not installed" in run("config", "history", "staging", "other").err
