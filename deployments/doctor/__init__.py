"""The doctor: looks at a whole setup before it matters, and says what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from deployments.doctor import looking, measured, record, servers
from deployments.doctor.findings import Finding, State
from deployments.outside import Outside

__all__ = ["Finding", "State", "examine"]


def examine(outside: Outside, tell: Callable[[str], None]) -> Iterator[Finding]:
    """Everything, as it is found; `tell` hears what is looked at now. Changes nothing that is deployed."""
    for title, look in (
        ("this machine", servers.here),
        ("PostgreSQL", servers.postgres),
        ("Redis", servers.redis),
        ("workers", servers.workers),
        ("environments", record.environments),
        ("installations", record.installations),
        ("what waits", record.waiting),
    ):
        tell(title)
        yield from look()
    yield from looking.hosts(outside, tell)
    yield from measured.sources(outside, tell)
