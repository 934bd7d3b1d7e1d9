"""Drained means two zero readings apart in time; unknown is not zero; a limit ends it."""

import pytest

from deployments.drivers.fake_traffic import FakeTraffic
from deployments.drivers.traffic import Drain, TrafficError, wait_drained


def after(*readings, ends_at=100.0):
    drain = Drain(ends_at)
    for reading, at in readings:
        drain = drain.see(reading, at)
    return drain


@pytest.mark.parametrize(
    ("readings", "drained"),
    [
        ([(0, 1.0)], False),
        ([(0, 1.0), (0, 1.05)], False),
        ([(0, 1.0), (0, 1.05), (0, 1.125)], True),
        ([(0, 1.0), (0, 1.125)], True),
        ([(0, 1.0), (1, 1.05), (0, 1.125)], False),
        ([(0, 1.0), (None, 1.05), (0, 1.125)], False),
        ([(0, 1.0), (None, 1.05), (0, 1.125), (0, 1.25)], True),
        ([(None, 1.0), (None, 2.0)], False),
        ([(3, 1.0), (2, 2.0)], False),
    ],
)
def test_two_zero_readings_apart_and_nothing_between_them_mean_drained(readings, drained):
    assert after(*readings).drained is drained


def test_a_drain_goes_on_where_another_worker_left_it():
    half = after((0, 1.0))
    assert Drain.from_row(half.as_row()).see(0, 1.2).drained


class Clock:
    def __init__(self):
        self.now = 50.0

    def __call__(self):
        return self.now

    def pause(self, seconds):
        self.now += seconds


def traffic_with(reading):
    traffic = FakeTraffic({"a": "h:1"}, {"a": 1})
    traffic.flights["a"] = reading
    return traffic


def test_waiting_ends_as_soon_as_the_endpoint_is_drained():
    clock = Clock()
    drain = wait_drained(traffic_with(0), "a", Drain(60.0), clock=clock, pause=clock.pause)
    assert drain.drained
    assert clock.now < 51


def test_waiting_comes_back_after_its_slice_without_a_verdict():
    clock = Clock()
    drain = wait_drained(traffic_with(2), "a", Drain(90.0), clock=clock, pause=clock.pause, slice_seconds=15)
    assert (drain.drained, drain.last) == (False, 2)
    assert 64 < clock.now <= 65


@pytest.mark.parametrize(("reading", "words"), [(2, "still has 2 requests"), (None, "an unknown number")])
def test_past_its_limit_waiting_is_an_error_and_never_a_silent_going_on(reading, words):
    clock = Clock()
    with pytest.raises(TrafficError, match=words) as error:
        wait_drained(traffic_with(reading), "a", Drain(55.0), clock=clock, pause=clock.pause)
    assert (error.value.code, error.value.retry) == ("not_drained", False)
