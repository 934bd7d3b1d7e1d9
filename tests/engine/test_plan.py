"""Plans, strategies, ways back and weights as tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.engine import weights
from deployments.engine.facts import OnFailure
from deployments.engine.plan import intent, plan, plan_hash
from deployments.engine.plan_back import plan_rollback
from deployments.engine.stages import Site
from deployments.engine.strategies import Fleet, Options, Unfit, batch_size, parts_of
from deployments.engine.way_back import way_back

THREE = ("h1", "h2", "h3")
NAMES = st.lists(st.sampled_from([f"h{n}" for n in range(1, 30)]), min_size=1, max_size=12, unique=True)


def shape(stages):
    return [(s.name, [(p.kind, p.target) for p in s.steps]) for s in stages]


def test_a_rolling_plan_prepares_everywhere_before_it_activates_anywhere():
    stages = plan(Site(THREE, balanced=True), "rolling", Options(bake=5))
    kinds = [p.kind for s in stages for p in s.steps]
    assert kinds[:6] == ["check"] * 3 + ["prepare"] * 3
    assert shape(stages)[2:8] == [
        ("batch 1 of 3: out of the balancer", [("take_out", None)]),
        ("batch 1 of 3: drained", [("drain", None)]),
        ("batch 1 of 3: activated", [("activate", "h1")]),
        ("batch 1 of 3: healthy", [("verify", "h1")]),
        ("batch 1 of 3: back in the balancer", [("put_in", None)]),
        ("batch 1 of 3: watched", [("watch", None)]),
    ]


def test_without_a_balancer_the_restart_itself_takes_the_host_out():
    stages = plan(Site(THREE), "rolling", Options())
    activation = next(s for s in stages if "activated" in s.name)
    assert (activation.min_serving, activation.steps[0].removes) == (2, ("h1",))
    assert not any(p.kind in ("take_out", "drain", "put_in") for s in stages for p in s.steps)


def test_all_hosts_at_once_are_restarted_in_place_since_somebody_must_stay_in_the_balancer():
    kinds = [p.kind for s in plan(Site(THREE, balanced=True), "all-at-once", Options()) for p in s.steps]
    assert "take_out" not in kinds
    assert kinds[-1] == "put_in"


def test_a_migration_runs_once_between_prepare_and_activate_and_its_failure_is_held():
    stages = plan(Site(THREE, once=("backup", "migrate")), "rolling", Options())
    names = [s.name for s in stages]
    assert names[1:4] == ["prepare every host", "backup once", "migrate once"]
    assert stages[3].on_failure is OnFailure.HOLD


def test_declared_smoke_tests_come_last():
    assert plan(Site(THREE, smoke=True), "rolling", Options())[-1].steps[0].kind == "smoke"


def test_a_rollback_looks_first_then_moves_traffic_then_hosts():
    stages = plan_rollback(Site(THREE, balanced=True), ("h1",), untouched_serve=True)
    assert [s.steps[0].kind for s in stages] == ["look", "shift", "take_out", "drain", "activate", "verify", "put_in"]
    assert {s.on_failure for s in stages} == {OnFailure.GO_ON}


def test_where_nobody_serves_the_old_version_one_host_leads_the_way_back_and_halves_follow():
    stages = plan_rollback(Site(THREE, balanced=True), THREE, untouched_serve=False)
    activations = [[p.target for p in s.steps] for s in stages if s.steps[0].kind == "activate"]
    assert activations == [["h1"], ["h2"], ["h3"]]


@given(NAMES, st.sampled_from(["1", "2", "25%", "50%", "100%"]), st.booleans(), st.integers(0, 3))
def test_a_plan_activates_and_verifies_every_host_exactly_once(names, batch, balanced, failures):
    stages = plan(Site(tuple(names), balanced=balanced), "rolling", Options(batch=batch, max_failures=failures))
    for kind in ("check", "prepare", "activate", "verify"):
        assert [p.target for s in stages for p in s.steps if p.kind == kind] == list(names)


@given(NAMES, st.sampled_from(["1", "3", "10%", "50%"]))
def test_a_batch_and_those_who_must_serve_meanwhile_never_exceed_the_fleet(names, batch):
    for part in parts_of("rolling", Fleet(tuple(names)), Options(batch=batch)):
        assert len(part.endpoints) + part.min_serving <= len(names)


@pytest.mark.parametrize(
    ("batch", "hosts", "size"), [("1", 3, 1), ("2", 3, 2), ("9", 3, 3), ("50%", 3, 1), ("1%", 3, 1), ("100%", 3, 3)]
)
def test_a_share_of_hosts_is_rounded_down_but_never_to_nobody(batch, hosts, size):
    assert batch_size(batch, hosts) == size


@pytest.mark.parametrize("batch", ["0", "-1", "0%", "101%", "many", ""])
def test_a_batch_that_means_nothing_is_refused(batch):
    with pytest.raises(Unfit):
        batch_size(batch, 3)


def test_an_unknown_strategy_is_refused_with_those_that_exist():
    with pytest.raises(Unfit, match="all-at-once, blue-green, canary, rolling"):
        parts_of("teleport", Fleet(THREE), Options())


def test_the_unhealthy_go_first_then_the_owed_and_no_batch_spans_two_zones():
    names = ("a1", "b1", "a2", "b2", "a3", "b3")
    zones = {name: name[0] for name in names}
    fleet = Fleet(names, zones, sick=("b3",), owed=("a3",))
    parts = [part.endpoints for part in parts_of("rolling", fleet, Options(batch="2"))]
    assert parts == [("b3",), ("a3", "a1"), ("a2",), ("b1", "b2")]


@pytest.mark.parametrize(
    ("batch", "weights", "expected"),
    [
        ("2", (50, 100), [("a1",), ("b2", "b3"), ("a3",), ("b1",), ("a2",)]),
        ("3", (100,), [("a1",), ("b2", "b3"), ("a3",), ("b1",), ("a2",)]),
        ("1", (17, 100), [("a1",), ("b2",), ("b3",), ("a3",), ("b1",), ("a2",)]),
        ("50%", (33, 100), [("a1",), ("b2",), ("b3",), ("a3",), ("b1",), ("a2",)]),
    ],
)
def test_no_batch_of_a_canary_spans_two_zones(batch, weights, expected):
    names = ("a1", "b1", "a2", "b2", "a3", "b3")
    fleet = Fleet(names, {name: name[0] for name in names}, sick=("a2",), owed=("b1", "a3"), balanced=True)
    parts = parts_of("canary", fleet, Options(batch=batch, weights=weights))
    assert [part.endpoints for part in parts] == expected


@pytest.mark.parametrize("strategy", ["rolling", "canary"])
@given(names=NAMES.filter(lambda names: len(names) > 1), batch=st.sampled_from(["1", "2", "3", "50%"]), data=st.data())
def test_two_zones_are_never_touched_at_once(strategy, names, batch, data):
    zones = {name: data.draw(st.sampled_from("abc")) for name in names}
    ill = data.draw(st.sets(st.sampled_from(names)))
    fleet = Fleet(tuple(names), zones, ill, balanced=True)
    parts = parts_of(strategy, fleet, Options(batch=batch))
    assert all(len({zones[name] for name in part.endpoints}) <= 1 for part in parts)
    assert sorted(name for part in parts for name in part.endpoints) == sorted(names)


def test_hosts_have_a_rest_between_two_batches_and_none_after_the_last():
    rests = [s.name for s in plan(Site(THREE), "rolling", Options(spread=30)) if s.steps[0].kind == "rest"]
    assert rests == ["batch 1 of 3: rest", "batch 2 of 3: rest"]


def canary(names, **options):
    return parts_of("canary", Fleet(tuple(names), balanced=True), Options(**options))


def test_a_canary_on_four_hosts_adds_hosts_only_where_the_weight_needs_them():
    parts = canary(("h1", "h2", "h3", "h4"), weights=(5, 25, 50, 100), pause_at=(25,), bake=60)
    assert [(p.endpoints, p.before, p.weight, p.bake, p.pause) for p in parts] == [
        (("h1",), 0, 5, 60, False),
        ((), 5, 25, 60, True),
        (("h2",), 25, 50, 60, False),
        (("h3",), 50, 75, 0, False),
        (("h4",), 75, 100, 60, False),
    ]


CANARIES = st.lists(st.integers(1, 99), max_size=5, unique=True).map(lambda found: (*sorted(found), 100))


@given(st.integers(2, 40), CANARIES, st.sampled_from(["1", "3", "50%"]))
def test_at_each_weight_of_a_canary_enough_hosts_have_the_new_version(count, shares, batch):
    names = [f"h{n}" for n in range(count)]
    parts = canary(names, weights=shares, batch=batch)
    assert [p.weight for p in parts if p.weight in shares][-1] == 100
    assert {p.weight for p in parts} >= set(shares)
    assert [name for p in parts for name in p.endpoints] == names
    for part in parts:
        assert len(part.arrived) * 100 >= part.weight * count
        assert part.before <= part.weight


def test_a_sick_host_is_no_witness_and_comes_last_in_a_canary():
    fleet = Fleet(THREE, sick=("h1",), balanced=True)
    assert parts_of("canary", fleet, Options(weights=(30, 100)))[0].endpoints == ("h2",)


@pytest.mark.parametrize(
    ("fleet", "options", "said"),
    [
        (Fleet(THREE), {}, "needs a balancer"),
        (Fleet(("h1",), balanced=True), {}, "needs two hosts"),
        (Fleet(THREE, balanced=True), {"weights": (5, 50)}, "to 100"),
        (Fleet(THREE, balanced=True), {"weights": (50, 5, 100)}, "rise"),
        (Fleet(THREE, balanced=True), {"weights": ()}, "rise"),
        (Fleet(THREE, balanced=True), {"weights": (0, 100)}, "from 1"),
        (Fleet(THREE, balanced=True), {"weights": (5, 100), "pause_at": (25,)}, "25"),
    ],
)
def test_a_canary_that_cannot_be_is_refused_with_what_to_do(fleet, options, said):
    with pytest.raises(Unfit, match=said):
        parts_of("canary", fleet, Options(**options))


def test_a_canary_plan_gives_traffic_by_weight_watches_every_new_host_and_waits_for_a_person():
    site = Site(("h1", "h2", "h3", "h4"), balanced=True)
    stages = plan(site, "canary", Options(weights=(25, 50, 100), pause_at=(50,), bake=9, batch="2"))
    steps = [p for s in stages for p in s.steps]
    weighs = [(p.input["share"], p.input["endpoints"]) for p in steps if p.kind == "weigh"]
    assert weighs == [(25, ["h1"]), (50, ["h1", "h2"]), (100, ["h1", "h2", "h3", "h4"])]
    assert [p.input["share"] for p in steps if p.kind == "take_out"] == [0, 25, 50]
    assert [p.input["endpoints"] for p in steps if p.kind == "watch"] == [names for _, names in weighs]
    assert [p.input["weight"] for p in steps if p.kind == "confirm"] == [50]
    assert not any(p.kind == "put_in" for p in steps)


@pytest.mark.parametrize(
    ("goods", "running", "to", "back"),
    [
        (["1.1-a", "1.0-a"], "1.1-a", "1.2-a", "1.1-a"),
        (["1.0-a"], "1.1-a", "1.2-a", "1.0-a"),
        ([], "1.1-a", "1.2-a", None),
        (["1.2-a", "1.1-a"], None, "1.2-a", "1.1-a"),
        (["1.2-a"], None, "1.2-a", None),
        (["1.2-a"], "1.2-a", "1.2-a", "1.2-a"),
    ],
)
def test_the_way_back_is_what_runs_where_it_is_good_else_the_newest_good(goods, running, to, back):
    assert way_back(goods, from_content=running, to_content=to) == back


def test_the_last_serving_host_is_never_taken_out():
    with pytest.raises(weights.NobodyLeft):
        weights.taken_out({"h1": 100, "h2": 0}, ["h1"])
    assert weights.taken_out({"h1": 100, "h2": 100}, ["h1"]) == {"h1": 0, "h2": 100}
    assert weights.taken_out({"h1": 0}, ["h1"]) == {"h1": 0}


def test_of_a_group_only_the_proven_are_put_in():
    assert weights.put_in({"h1": 100, "h2": 0, "h3": 100}, ["h2"], ["h1", "h2"]) == {"h1": 0, "h2": 100, "h3": 100}


@given(st.integers(2, 60), st.integers(1, 100))
def test_a_share_is_met_within_half_a_point(hosts, share):
    names = [f"h{n}" for n in range(hosts)]
    fresh = -(-share * hosts // 100)
    made = weights.shared(dict.fromkeys(names, 100), names[:fresh], share, hosts)
    part = 100 * sum(made[name] for name in names[:fresh]) / sum(made.values())
    assert abs(part - (share if fresh < hosts else 100)) <= 0.5
    assert all(1 <= weight <= weights.HEAVIEST for weight in made.values())


def test_a_side_that_lost_hosts_is_given_no_more_than_it_can_carry():
    made = weights.shared(dict.fromkeys(("h1", "h2", "h3", "h4"), 100), ["h1"], 50, 4)
    assert made["h1"] / sum(made.values()) == 0.25


def test_where_one_side_serves_nothing_the_other_has_everything():
    assert weights.shared({"h1": 0, "h2": 7}, ["h1"], 25, 2) == {"h1": 0, "h2": 100}
    assert weights.shared({"h1": 7, "h2": 0}, ["h1"], 25, 2) == {"h1": 100, "h2": 0}
    assert weights.shared({"h1": 100, "h2": 100}, [], 25, 2) == {"h1": 100, "h2": 100}


def test_a_canarys_shares_end_where_traffic_moves_back():
    assert weights.towards({"h1": 3, "h2": 19, "h3": 19}, ["h2"], ["h1"]) == {"h1": 0, "h2": 100, "h3": 100}


def test_traffic_moves_to_the_proven_side_only_where_there_is_one():
    assert weights.towards({"h1": 100, "h2": 0}, ["h2"], ["h1"]) == {"h1": 0, "h2": 100}
    assert weights.towards({"h1": 100, "h2": 0, "h3": 100}, ["h2"], ["h1"]) == {"h1": 0, "h2": 100, "h3": 100}
    assert weights.towards({"h1": 100}, [], ["h1"]) is None


@pytest.mark.parametrize(
    ("wanted", "owed", "before", "given"),
    [
        ({"h1": 100, "h2": 100}, {"h2"}, {"h1": 100, "h2": 0}, {"h1": 100, "h2": 0}),
        ({"h1": 100, "h2": 100}, {"h1", "h2"}, {"h1": 100, "h2": 0}, {"h1": 100, "h2": 0}),
        ({"h1": 0, "h2": 100}, {"h1", "h2"}, {"h1": 100, "h2": 0}, {"h1": 0, "h2": 100}),
        ({"h1": 100, "h2": 100}, set(), {"h1": 0, "h2": 0}, {"h1": 100, "h2": 100}),
    ],
)
def test_an_owed_host_gets_traffic_only_where_nobody_else_would_serve(wanted, owed, before, given):
    assert weights.without(wanted, owed, before) == given


def test_the_plan_hash_changes_with_every_part_of_the_intent():
    parts = "version configuration hosts strategy options tests revision way_back risk one_way if_it_fails"
    base = dict.fromkeys(parts.split(), "x")
    hashes = {plan_hash(intent(**{**base, name: "y"})) for name in base} | {plan_hash(intent(**base))}
    assert len(hashes) == len(base) + 1
    with pytest.raises(ValueError, match="exactly the parts"):
        intent(version="x")
