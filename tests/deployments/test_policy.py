"""Policies: demanded, checked all at once, and only ever tightened."""

import pytest

from deployments.policy import DEMANDED, PolicyError, defaults, parse, stored, tightened

GOOD = {"approvals": 0, "promote_from": None, "gates": "basic"}


def errors(**declared) -> dict[str, str]:
    with pytest.raises(PolicyError) as refusal:
        parse({**GOOD, **declared})
    return dict(refusal.value.errors)


def test_who_may_reach_an_environment_is_never_left_to_a_default():
    with pytest.raises(PolicyError) as refusal:
        parse({})
    assert {path for path, _ in refusal.value.errors} == set(DEMANDED)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("approvals", -1),
        ("approvals", True),
        ("approvals", "1"),
        ("gates", "none"),
        ("min_coverage", 79.9),
        ("min_coverage", 101),
        ("min_coverage", "80"),
        ("min_reviews", 0),
        ("min_crv", 0),
        ("queue", 5),
        ("strategy", "teleport"),
        ("batch", "0"),
        ("batch", []),
        ("bake", "soon"),
        ("window", -1),
        ("sample", 0),
        ("sources", 5),
        ("sources", ["tea leaves"]),
        ("sources", [["probe"]]),
        ("max_hold", float("inf")),
        ("on_inconclusive", {"no_data": "shrug"}),
        ("on_inconclusive", "hold"),
        ("rules", 1),
        ("rules", {"max_speed": 1}),
        ("rules", {"alpha": 0}),
        ("rules", {"pass_confidence": 1}),
        ("rules", {"min_requests": 0.5}),
        ("rules", {"max_error_rate": 0.1}),
        ("rules", {"max_p95": float("nan")}),
        ("checks", "queue"),
        ("colour", "blue"),
    ],
)
def test_what_cannot_hold_is_refused_by_name(name, value):
    assert name in errors(**{name: value})


def test_every_error_is_told_at_once():
    assert set(errors(queue="random", sample=0.0, sources=["x"])) == {"queue", "sample", "sources"}


QUEUE = {"name": "queue", "source": "prometheus", "query": "queue_length", "comparison": "<", "bound": 100}
ASKED = {"sources": ["probe", "scrape", "prometheus"], "prometheus": {"url": "http://127.0.0.1:9090"}}


def test_what_is_wrong_in_a_check_is_told_beside_what_is_wrong_elsewhere():
    assert set(errors(queue="random", checks=[{**QUEUE, "bound": "low"}], **ASKED)) == {"queue", "checks[0].bound"}


def test_checks_are_kept_with_the_policy():
    policy = parse({**GOOD, **ASKED, "checks": [QUEUE], "rules": {"max_p95": 1}})
    assert stored(policy.as_json()) == policy


def test_an_installation_may_add_checks_and_neither_remove_nor_replace_one():
    policy = parse({**GOOD, **ASKED, "checks": [QUEUE]})
    added = tightened(policy, {"checks": [{**QUEUE, "name": "rows"}]})
    assert [check["name"] for check in added.checks] == ["queue", "rows"]
    assert tightened(policy, {"checks": []}).checks == policy.checks
    with pytest.raises(PolicyError):
        tightened(policy, {"checks": [{**QUEUE, "bound": 10_000}]})


def test_a_policy_is_the_same_after_it_was_stored():
    policy = parse({**GOOD, "promote_from": "staging", "batch": 2, "sources": ["probe"]})
    assert stored(policy.as_json()) == policy
    assert policy.options().batch == "2"


def test_a_production_is_stricter_than_a_staging_where_the_declaration_is_silent():
    assert defaults("staging").after_max_hold == "rollback"
    assert defaults(None).after_max_hold == "continue"
    assert (defaults("staging").queue, defaults(None).queue) == ("supersede", "order")


def test_an_installation_may_tighten_and_never_loosen():
    policy = parse({**GOOD, "approvals": 1, "max_failures": 1, "bake": 10})
    assert tightened(policy, {"approvals": 2, "bake": 60}).approvals == 2
    for looser in ({"approvals": 0}, {"max_failures": 2}, {"bake": 1}, {"automatic_rollback": False}, {"direct": True}):
        with pytest.raises(PolicyError):
            tightened(policy, looser)


@pytest.mark.parametrize(
    ("name", "less", "more"), [("min_coverage", 85, 95), ("min_reviews", 1, 3), ("min_crv", 50, 99)]
)
def test_an_installation_may_ask_its_gates_for_more_and_never_for_less(name, less, more):
    here = parse({**GOOD, "gates": "guide", "min_coverage": 90, "min_reviews": 2, "min_crv": 98})
    assert getattr(tightened(here, {name: more}), name) == more
    with pytest.raises(PolicyError, match="looser"):
        tightened(here, {name: less})
    with pytest.raises(PolicyError, match="is the environment's to say"):
        tightened(here, {"gates": "basic"})
