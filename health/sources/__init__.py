"""Where measurements come from: a probe of the health address, and a scrape of a host's own counters."""

from health.sources.probe import HealthAnswer, Observation, check_health, probe
from health.sources.scrape import Counters, Difference, MetricNames, Scraped, difference, scrape

__all__ = [
    "Counters", "Difference", "HealthAnswer", "MetricNames", "Observation", "Scraped",
    "check_health", "difference", "probe", "scrape",
]  # fmt: skip
