"""What an environment demands and allows. Pure: read from its declaration, tightened by an installation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import timedelta
from typing import Any

from deployments.engine import calendar, voices
from deployments.engine.strategies import STRATEGIES, Options, Unfit, batch_size, weights_wrong
from health import thresholds, verdicts
from health.checks import ChecksInvalid, read_checks
from health.sources import declared
from releases.facts import Numbers
from releases.gates import PRESETS
from releases.signing import wrong_signers

GATES = frozenset(PRESETS)
PERCENT = ("min_coverage", "min_crv")
INCONCLUSIVE = ("rollback", "continue")
SOURCES = declared.SOURCES
ASTRAY = ("drifted", "flapping", "unreachable")
"""States of a host that may open an incident."""
LISTS = ("sources", "incidents", "weights", "pause_at", "signers")
ROWS = ("checks", "deployment_windows")
"""Lists of mappings."""


class PolicyError(ValueError):
    """The policy cannot be used; `errors` names each entry and what is wrong with it."""

    def __init__(self, errors: list[tuple[str, str]]) -> None:
        self.errors = errors
        super().__init__("; ".join(f"{path}: {message}" for path, message in errors))


@dataclass(frozen=True, slots=True)
class Policy:
    """One environment's rules. Times are seconds.

    approvals: how many people must say yes to a plan, for all alike or by the name of each risk. approval_expires: a
    yes counts for so long. deployment_windows: periods of the week or the day in which alone a deployment starts.
    promote_from: the environment a version must come from; None: versions are deployed here directly. gates: the preset
    of gates. min_coverage, min_reviews, min_crv: what the gates of the guide demand (percent, people, percent).
    direct: allow deployments that skip promote_from. prereleases: take versions such as 1.2.0-rc.1.
    queue: "supersede" (the newest waiting deployment wins) or "order" (each has its turn).
    weights: percent of the traffic that a canary gives the new version, one after the other. pause_at: those at which a
    person has to say that it goes on. spread: rest between two batches.
    warm: of two sides the one that served goes on running for so long, and is then stopped; null: for ever.
    soak: the environment that a version comes from must have written no errors to its journals for so long.
    bake: watch after each batch or weight. window: watch after `deployed`. sample: between two samples.
    sources: what is measured by, where an installation says how. prometheus: the server, by url, scrape_interval
    (seconds), token (a reference) and queries. checks: queries of one's own, each judged by itself.
    max_hold: how long an inconclusive window is held, then after_max_hold follows. automatic_rollback: a failed window
    or smoke run undoes the deployment. on_failed_smoke: what a failed run that CI asked for does besides blocking.
    irreversible_without_backup: an irreversible schema change may come where no backup is made.
    incidents: states of a host, found by the looks between deployments, that people are told of.
    signed: only artifacts come here that somebody of `signers` has signed: one `file:/path`, or lines as in
    allowed_signers.
    rules: other thresholds than health/thresholds.py has. checks: rules of one's own, each a query with a bound.
    """

    approvals: voices.Demanded = 0
    approval_expires: float = 86_400.0
    deployment_windows: tuple[Mapping[str, Any], ...] = ()
    promote_from: str | None = None
    gates: str = "basic"
    min_coverage: float = 80.0
    min_reviews: int = 1
    min_crv: float = 100.0
    direct: bool = False
    prereleases: bool = True
    queue: str = "order"
    strategy: str = "rolling"
    batch: str = "1"
    max_failures: int = 0
    weights: tuple[int, ...] = (5, 25, 50, 100)
    pause_at: tuple[int, ...] = ()
    spread: float = 0.0
    warm: float | None = None
    soak: float = 0.0
    bake: float = 10.0
    window: float = 1800.0
    sample: float = 5.0
    sources: tuple[str, ...] = ("probe", "scrape")
    max_hold: float = 1800.0
    after_max_hold: str = "rollback"
    on_inconclusive: Mapping[str, str] = field(default_factory=dict)
    automatic_rollback: bool = True
    on_failed_smoke: str = "block"
    irreversible_without_backup: bool = False
    healthy_within: float = 120.0
    drain_within: float = 60.0
    rules: Mapping[str, float] = field(default_factory=dict)
    incidents: tuple[str, ...] = ASTRAY
    prometheus: Mapping[str, Any] = field(default_factory=dict)
    checks: tuple[Mapping[str, Any], ...] = ()
    signed: bool = False
    signers: tuple[str, ...] = ()

    def needs(self, risk: str) -> int:
        """How many people must say yes to a plan of this risk."""
        return voices.needed(self.approvals, risk)

    def windows(self) -> tuple[calendar.Period, ...]:
        """The periods in which alone a deployment starts; none: at any time."""
        return tuple(calendar.read(window) for window in self.deployment_windows)

    def options(self) -> Options:
        """The strategy's numbers."""
        return Options(self.batch, self.max_failures, self.bake, self.spread, self.weights, self.pause_at)

    def on_unknown(self) -> verdicts.Policy:
        """What follows where a window cannot be judged."""
        return verdicts.Policy(
            actions=dict(self.on_inconclusive),
            max_hold=timedelta(seconds=self.max_hold),
            after_max_hold=self.after_max_hold,
        )

    def gate_numbers(self) -> Numbers:
        """What its gates demand; journals are quiet for as long as `soak` says where that is longer."""
        least = Numbers()
        return Numbers(self.min_coverage, self.min_reviews, self.min_crv, max(least.quiet, self.soak))

    def as_json(self) -> dict[str, Any]:
        """As it is stored with the environment."""
        return {**asdict(self), **{name: list(getattr(self, name)) for name in (*LISTS, *ROWS)}}


DEMANDED = ("approvals", "promote_from", "gates")
"""Written in each environment's declaration, since a default would decide who may reach production."""


def defaults(promote_from: str | None) -> Policy:
    """What holds where a declaration is silent: a production is promoted to, a staging is not."""
    if promote_from is None:
        return Policy(strategy="all-at-once", after_max_hold="continue", window=600.0, incidents=())
    return Policy(promote_from=promote_from, prereleases=False, queue="supersede", on_failed_smoke="rollback")


def parse(given: Mapping[str, Any]) -> Policy:
    """A declaration's policy. Raises PolicyError with everything that is wrong."""
    errors = [(name, "must be written in the declaration") for name in DEMANDED if name not in given]
    known = {f.name for f in fields(Policy)}
    errors += [(name, "there is no such policy") for name in given if name not in known]
    if errors:
        raise PolicyError(errors)
    policy = defaults(given["promote_from"])
    values = dict(given)
    values |= {name: tuple(values[name]) for name in (*LISTS, *ROWS) if isinstance(values.get(name), list)}
    if isinstance(values.get("signers"), str):
        values["signers"] = (values["signers"],)
    if type(values.get("batch")) is int:
        values["batch"] = str(values["batch"])
    policy = replace(policy, **values)
    if errors := [*_wrong(policy), *errors]:
        raise PolicyError(errors)
    return policy


def stored(values: Mapping[str, Any]) -> Policy:
    """A policy as kept in a row; what was added to Policy since then has its default."""
    known = {f.name for f in fields(Policy)}
    kept: dict[str, Any] = {
        name: tuple(value) if name in (*LISTS, *ROWS) else value for name, value in values.items() if name in known
    }
    # Environments that were declared before there was this rule: by the default of a declaration.
    kept.setdefault("prereleases", values.get("promote_from") is None)
    return replace(Policy(), **kept)


WRONG = {
    int: "must be a whole number",
    bool: "must be true or false",
    float: "must be a number of seconds",
    str: "must be text",
    tuple: "must be a list",
    dict: "must be a mapping",
}


def _wrong(p: Policy) -> list[tuple[str, str]]:
    """Everything about a policy that cannot hold."""
    kinds = {
        int: ("max_failures", "min_reviews"),
        bool: ("direct", "automatic_rollback", "signed", "prereleases", "irreversible_without_backup"),
        float: ("approval_expires", "bake", "spread", "soak", "window", "sample", "max_hold", "healthy_within",
                "drain_within"),
        str: ("gates", "queue", "strategy", "batch", "after_max_hold", "on_failed_smoke"),
        tuple: (*LISTS, *ROWS),
        dict: ("on_inconclusive", "rules", "prometheus"),
    }  # fmt: skip
    wrong_warm = p.warm is not None and not _is(p.warm, float)
    errors = [("warm", "must be a number of seconds, or null")] if wrong_warm else []
    errors += [("approvals", message)] if (message := voices.wrong(p.approvals)) else []
    errors += [(name, "must be a percentage") for name in PERCENT if not _is(getattr(p, name), float)]
    errors += [
        (name, WRONG[kind]) for kind, names in kinds.items() for name in names if not _is(getattr(p, name), kind)
    ]
    if errors:
        return errors
    checks = {
        "approval_expires": (60 <= p.approval_expires <= 2_592_000, "must be from 60 to 2592000 seconds"),
        "promote_from": (
            p.promote_from is None or isinstance(p.promote_from, str),
            "must be an environment or null",
        ),
        "gates": (p.gates in GATES, f"must be one of {', '.join(sorted(GATES))}"),
        "min_coverage": (80 <= p.min_coverage <= 100, "must be from 80, as the guide demands, to 100 percent"),
        "min_reviews": (1 <= p.min_reviews <= 10, "must be from 1 to 10 people"),
        "min_crv": (0 < p.min_crv <= 100, "must be more than 0, and at most 100 percent"),
        "queue": (p.queue in ("supersede", "order"), "must be supersede or order"),
        "strategy": (p.strategy in STRATEGIES, f"must be one of {', '.join(sorted(STRATEGIES))}"),
        "batch": (_batch(p.batch), 'must be a number of hosts or a percentage such as "25%"'),
        "max_failures": (p.max_failures >= 0, "must not be negative"),
        "sample": (0.2 <= p.sample <= 300, "must be from 0.2 to 300 seconds"),
        "sources": (
            _sources(p.sources),
            f"must be some of {', '.join(sorted(SOURCES))}",
        ),
        "incidents": (
            all(isinstance(one, str) and one in ASTRAY for one in p.incidents),
            f"must be some of {', '.join(ASTRAY)}, or none",
        ),
        "soak": (
            0 <= p.soak <= 604_800 and (not p.soak or p.promote_from is not None),
            "must be from 0 to 604800 seconds, and needs an environment to promote from",
        ),
        "warm": (p.warm is None or 0 <= p.warm <= 2_592_000, "must be from 0 to 2592000 seconds, or null"),
        "spread": (0 <= p.spread <= 86_400, "must be from 0 to 86400 seconds"),
        "weights": _weights(p),
        "after_max_hold": (p.after_max_hold in INCONCLUSIVE, "must be rollback or continue"),
        "on_failed_smoke": (p.on_failed_smoke in ("rollback", "block"), "must be rollback or block"),
        "on_inconclusive": (
            _causes(p.on_inconclusive),
            "must map causes to hold, continue or rollback",
        ),
        "bake": (0 <= p.bake <= 86_400, "must be from 0 to 86400 seconds"),
        "window": (0 <= p.window <= 604_800, "must be from 0 to 604800 seconds"),
        "max_hold": (0 <= p.max_hold <= 86_400, "must be from 0 to 86400 seconds"),
        "healthy_within": (1 <= p.healthy_within <= 3600, "must be from 1 to 3600 seconds"),
        "drain_within": (1 <= p.drain_within <= 3600, "must be from 1 to 3600 seconds"),
    }
    errors = [(name, message) for name, (good, message) in checks.items() if not good]
    errors += [("rules", message) for message in thresholds.wrong(p.rules)]
    errors += _wrong_sources(p)
    errors += _wrong_signers(p)
    errors += _wrong_windows(p)
    return errors + [(path, message) for path, message in _wrong_checks(p) if path not in dict(errors)]


def _wrong_windows(p: Policy) -> Iterator[tuple[str, str]]:
    for number, window in enumerate(p.deployment_windows):
        path = f"deployment_windows[{number}]"
        if not isinstance(window, Mapping):
            yield path, "must be a mapping of from, to, zone and perhaps days"
            continue
        yield from ((f"{path}.{name}", "there is no such field") for name in window if name not in calendar.FIELDS)
        try:
            period = calendar.read(window)
        except calendar.Unreadable as unreadable:
            yield from ((f"{path}.{name}", message) for name, message in unreadable.errors)
            continue
        if period.first.kind not in ("week", "day"):
            yield f"{path}.from", 'must be a weekday or a time of the day, such as "tuesday 09:00" or "09:00"'


def _wrong_checks(p: Policy) -> list[tuple[str, str]]:
    """What is wrong with how the values of checks are judged."""
    try:
        read_checks(p.checks)
    except ChecksInvalid as invalid:
        return invalid.errors
    return []


def _wrong_signers(p: Policy) -> Iterator[tuple[str, str]]:
    if not all(isinstance(line, str) for line in p.signers):
        yield "signers", "must be file:/path, or a list of lines as in allowed_signers"
    elif wrong := wrong_signers(p.signers):
        yield "signers", wrong
    elif p.signed and not p.signers:
        yield "signers", "must say whose signatures count, since signed demands one"


def _wrong_sources(p: Policy) -> Iterator[tuple[str, str]]:
    """What is wrong with how the sources are reached."""
    if p.prometheus:
        yield from ((f"prometheus.{path}", message) for path, message in declared.wrong_prometheus(p.prometheus))
    asks = any(isinstance(one, Mapping) and one.get("source", "prometheus") == "prometheus" for one in p.checks)
    if not p.prometheus and ("prometheus" in p.sources or asks):
        yield "prometheus", "must be declared, with the url of the server that is asked"
    if p.prometheus and not ("prometheus" in p.sources or p.checks):
        yield "sources", "must name prometheus, or its declaration measures nothing"
    if "journal" not in p.sources and any(
        isinstance(one, Mapping) and one.get("source") == "journal" for one in p.checks
    ):
        yield "sources", "must name journal, since a check counts its errors"
    yield from ((f"checks{path}", message) for path, message in declared.wrong_checks(p.checks))


def _is(value: object, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, kind) if kind is dict else type(value) is kind


def _batch(batch: str) -> bool:
    try:
        return batch_size(batch, 10) > 0
    except Unfit:
        return False


def _weights(p: Policy) -> tuple[bool, str]:
    if not all(type(weight) is int for weight in (*p.weights, *p.pause_at)):
        return False, "weights and pause_at must be whole percentages"
    wrong = weights_wrong(p.weights, p.pause_at)
    return not wrong, wrong


def _sources(sources: tuple[Any, ...]) -> bool:
    return bool(sources) and all(isinstance(one, str) and one in SOURCES for one in sources)


def _causes(actions: object) -> bool:
    return isinstance(actions, Mapping) and all(
        cause in verdicts.CAUSES and action in ("hold", "continue", "rollback") for cause, action in actions.items()
    )


def _some_of(value: object, signers: tuple[str, ...]) -> bool:
    lines = [value] if isinstance(value, str) else value
    return isinstance(lines, list | tuple) and bool(lines) and all(line in signers for line in lines)


NEVER_LESS = ("window", "bake", "soak", "min_coverage", "min_reviews", "min_crv")
"""Numbers of which an installation may demand more."""
NEVER_MORE = ("max_failures", "approval_expires")
"""Numbers of which an installation may allow itself less."""
THEIRS = (
    "promote_from", "gates", "direct", "automatic_rollback", "prometheus", "deployment_windows",
    "irreversible_without_backup",
)  # fmt: skip
"""What an installation does not say for itself."""


def tightened(policy: Policy, overrides: Mapping[str, Any]) -> Policy:
    """An installation's own policy: it may tighten, never loosen. Raises PolicyError naming each loosening."""
    looser = []
    for name, value in overrides.items():
        before = getattr(policy, name, None)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        fewer = name in NEVER_LESS and number and value < before
        more = name in NEVER_MORE and number and value > before
        fewer = fewer or (name == "approvals" and voices.looser(value, policy.approvals))
        if fewer or more:
            looser.append((name, f"{value} is looser than the environment's {before}"))
        elif name in THEIRS and value != before:
            looser.append((name, "is the environment's to say"))
        elif name == "signed" and policy.signed and value is not True:
            looser.append((name, "is demanded by the environment"))
        elif name == "prereleases" and not policy.prereleases and value is not False:
            looser.append((name, "are not taken by the environment"))
        elif name == "signers" and policy.signers and not _some_of(value, policy.signers):
            looser.append((name, "must be some of those that the environment names"))
    if looser:
        raise PolicyError(looser)
    declared = {**policy.as_json(), **overrides}
    if isinstance(overrides.get("checks"), list | tuple):
        # Its own come on top: one of the environment's can neither be left out nor be replaced by its name.
        declared["checks"] = [*policy.as_json()["checks"], *overrides["checks"]]
    return parse(declared)
