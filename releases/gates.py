"""Gates: our judgement of what is known about a version before it may be promoted. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What is known of the deployment that a promotion starts from. `smoke` is the status of its newest smoke run."""

    deployment: str
    environment: str
    status: str
    version: str
    digest_deployed: str
    digest_now: str
    smoke: str | None = None
    smoke_run: str | None = None
    withdrawn: bool = False
    withdrawn_reason: str = ""


@dataclass(frozen=True, slots=True)
class GateCheck:
    """One gate's answer: its reason is a sentence, its evidence what the reason was read from."""

    name: str
    passed: bool
    reason: str
    evidence: dict[str, str | None] = field(default_factory=dict)


def source_deployed(facts: SourceFacts) -> GateCheck:
    """The source must be of status `deployed`; it need not be the current one."""
    passed = facts.status == "deployed"
    reason = (
        f"Version {facts.version} was deployed to {facts.environment}."
        if passed
        else f"The deployment to {facts.environment} is {facts.status}, not deployed."
    )
    return GateCheck("source_deployed", passed, reason, {"deployment": facts.deployment, "status": facts.status})


def smoke_passed(facts: SourceFacts) -> GateCheck:
    """The newest finished smoke run of the source must have passed."""
    sentences = {
        "passed": f"The smoke tests passed on {facts.environment}.",
        "failed": f"The smoke tests failed on {facts.environment}: mend the version, or run them again.",
        "running": f"The smoke tests on {facts.environment} are still running.",
        None: f"No smoke tests were run on {facts.environment}: run them first.",
    }
    reason = sentences.get(facts.smoke, f"The smoke tests on {facts.environment} ended as {facts.smoke}.")
    evidence = {"smokeRun": facts.smoke_run, "status": facts.smoke}
    return GateCheck("smoke_passed", facts.smoke == "passed", reason, evidence)


def not_withdrawn(facts: SourceFacts) -> GateCheck:
    """A withdrawn version goes nowhere."""
    why = f": {facts.withdrawn_reason}" if facts.withdrawn_reason else ""
    reason = f"Version {facts.version} was withdrawn{why}." if facts.withdrawn else f"Version {facts.version} stands."
    return GateCheck("not_withdrawn", not facts.withdrawn, reason, {"version": facts.version})


def digest_unchanged(facts: SourceFacts) -> GateCheck:
    """What was tested must be what goes on."""
    passed = bool(facts.digest_now) and facts.digest_now == facts.digest_deployed
    reason = (
        "The version's digest is the one that was deployed."
        if passed
        else f"The version's digest is {facts.digest_now[:12] or 'unknown'}, "
        f"but {facts.digest_deployed[:12] or 'nothing'} was deployed to {facts.environment}: register a new version."
    )
    evidence = {"deployed": facts.digest_deployed, "now": facts.digest_now}
    return GateCheck("digest_unchanged", passed, reason, dict(evidence))


Gate = Callable[[SourceFacts], GateCheck]
PRESETS: dict[str, tuple[Gate, ...]] = {"basic": (source_deployed, smoke_passed, not_withdrawn, digest_unchanged)}


class UnknownPreset(ValueError):
    """No preset has this name; the message lists those that exist."""


def check(preset: str, facts: SourceFacts) -> tuple[GateCheck, ...]:
    """Judge the facts by every gate of a preset. Raises UnknownPreset."""
    if preset not in PRESETS:
        raise UnknownPreset(f"There is no gate preset {preset!r}; there is {', '.join(sorted(PRESETS))}.")
    return tuple(gate(facts) for gate in PRESETS[preset])


def reasons_against(checks: Sequence[GateCheck]) -> tuple[str, ...]:
    """Answer the reasons of the gates that did not pass; none means go."""
    return tuple(answer.reason for answer in checks if not answer.passed)
