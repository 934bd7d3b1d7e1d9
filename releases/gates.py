"""Gates: our judgement of what is known about a version before it may be promoted. Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from releases import bumps, semver
from releases.facts import GateCheck, Piece, SourceFacts, Waived

MOST_SHOWN = 50
"""Changes of a workflow that a gate's answer names."""
Gate = Callable[[SourceFacts], GateCheck]


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


def logs_quiet(facts: SourceFacts) -> GateCheck:
    """The hosts of the source must have written no errors to their journals for half an hour."""
    evidence = {"deployment": facts.deployment, "seconds": facts.numbers.quiet}
    return GateCheck("logs_quiet", facts.quiet is True, f"{facts.environment}: {facts.quiet_said}", evidence)


def tests_passed(facts: SourceFacts) -> GateCheck:
    """Every test passed, and there is at least one. Skipped ones did not run, and count neither way."""

    def wrong(piece: Piece) -> str:
        failed = piece.summary["failed"] + piece.summary["errors"]
        if failed:
            return f"{failed} of {piece.summary['total']} tests did not pass"
        return "" if piece.summary["passed"] else "no test was run"

    return _all_of(facts, "tests_passed", "tests", wrong, "Every test passed.", "send a JUnit file")


def coverage_enough(facts: SourceFacts) -> GateCheck:
    """At least 80 % of the lines were run by tests."""
    least = facts.numbers.coverage

    def wrong(piece: Piece) -> str:
        covered, valid = piece.summary["covered"], piece.summary["valid"]
        # By whole numbers: a rate just below the bound must not be rounded up to it.
        if valid and 100 * covered >= least * valid:
            return ""
        return f"{covered} of {valid} lines are covered, less than {least:g} %"

    return _all_of(facts, "coverage_enough", "coverage", wrong, f"At least {least:g} % of the lines are covered.",
                   "send a Cobertura or coverage.py file")  # fmt: skip


def no_vulnerabilities(facts: SourceFacts) -> GateCheck:
    """No vulnerability that is high, critical, or of unknown severity."""

    def wrong(piece: Piece) -> str:
        counts = [(piece.summary[name], name) for name in ("critical", "high", "unknown") if piece.summary[name]]
        return " and ".join(f"{count} {name}" for count, name in counts) + " found" if counts else ""

    return _all_of(facts, "no_vulnerabilities", "vulnerabilities", wrong, "No high or critical vulnerability is known.",
                   "send a SARIF, npm audit or pip-audit file")  # fmt: skip


def reviewed(facts: SourceFacts) -> GateCheck:
    """Somebody other than who registered the version has approved the change."""
    pieces, least = _of(facts, "review"), facts.numbers.reviews
    fresh = [piece for piece in pieces if piece.digest == facts.digest_now and piece.summary.get("approved")]
    others = {piece.summary["reviewer"].casefold() for piece in fresh} - {n.casefold() for n in facts.registrants}
    if len(others) >= least:
        reason = f"Approved by {', '.join(sorted(others))}."
    elif stale := next((piece for piece in pieces if piece.digest != facts.digest_now), None):
        reason = f"Evidence {stale.id} of {stale.name} is about other bytes: have this version reviewed."
    elif fresh and not others:
        named = ", ".join(sorted(facts.registrants))
        reason = f"The only approval is by {named}, who registered it: ask another person."
    else:
        reason = f"{len(others)} of {least} approving reviews by another person: send evidence of kind review."
    return GateCheck("reviewed", len(others) >= least, reason, _shown(pieces))


def policy_passed(facts: SourceFacts) -> GateCheck:
    """Every rule of the policy tests holds."""

    def wrong(piece: Piece) -> str:
        failed, total = piece.summary["failed"], piece.summary["total"]
        return f"{failed} of {total} rules failed ({', '.join(piece.summary['names'])})" if failed else ""

    return _all_of(facts, "policy_passed", "policy", wrong, "Every rule of the policy holds.", "send its rules")


def crv_passed(facts: SourceFacts) -> GateCheck:
    """Of the validators of Correctness, Reliability and Validity as many say yes as the policy demands."""
    least = facts.numbers.crv

    def wrong(piece: Piece) -> str:
        total, failed = piece.summary["total"], piece.summary["failed"]
        if 100 * (total - failed) >= least * total:
            return ""
        return f"{failed} of {total} validators failed ({', '.join(piece.summary['names'])}), {least:g} % must pass"

    return _all_of(facts, "crv_passed", "crv", wrong, f"At least {least:g} % of the CRV validators passed.",
                   "send its validators")  # fmt: skip


def version_bumped(facts: SourceFacts) -> GateCheck:
    """The number goes up by what the changes of the workflow demand, compared with what the target runs."""
    gate, number, running = "version_bumped", facts.version, facts.running
    if not running:
        return GateCheck(gate, True, f"{number} is the first one in {facts.target}.")
    if number == running:
        return GateCheck(gate, True, f"{number} is what {facts.target} runs.")
    if facts.changes is None:
        return GateCheck(gate, False, f"The workflows of {running} and {number} cannot be compared: this Aureus can no "
                         "longer read one of them.", {"running": running})  # fmt: skip
    needed = bumps.least(facts.changes)
    told = [{"task": one.task, "change": one.said, "demands": one.bump.name} for one in facts.changes[:MOST_SHOWN]]
    evidence = {"running": running, "demands": needed.name, "changes": told}
    newer, where = semver.newer(number, running), f"{running}, which {facts.target} runs."
    if newer and (why := bumps.why_not(number, running, facts.changes)):
        return GateCheck(gate, False, why, evidence)
    return GateCheck(gate, newer, f"{number} {'is newer' if newer else 'is not newer'} than {where}", evidence)


def rollback_ready(facts: SourceFacts) -> GateCheck:
    """There is a way back: a version that proved good there, or a person who says how the way back was tried. Over some
    schema changes nothing goes back by itself, so that only a person can say it.
    """
    if facts.one_way:
        return _attested(facts, "rollback_ready", "rollback_plan_tested",
                         f"{facts.version} declares the schema change {facts.one_way}, over which nothing goes back by "
                         "itself")  # fmt: skip
    if facts.way_back:
        return GateCheck("rollback_ready", True, f"{facts.target} would go back to {facts.way_back}, which proved good "
                         "there.", {"wayBack": facts.way_back})  # fmt: skip
    return _attested(facts, "rollback_ready", "rollback_plan_tested",
                     f"{facts.target or 'The target'} has no version to go back to")  # fmt: skip


def backup_made(facts: SourceFacts) -> GateCheck:
    """The plan makes a backup, or a person says that there is one."""
    if facts.backup_command:
        reason = f"The plan makes a backup in {facts.target} before anything is activated."
        return GateCheck("backup_made", True, reason, {"backupCommand": True})
    return _attested(facts, "backup_made", "backup_made", f"The installation in {facts.target} has no backup command")


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


def _of(facts: SourceFacts, kind: str) -> list[Piece]:
    return [piece for piece in facts.evidence if piece.kind == kind]


def _all_of(
    facts: SourceFacts, gate: str, kind: str, wrong: Callable[[Piece], str], right: str, send: str
) -> GateCheck:
    """Every subject's newest evidence must be about these bytes, and have nothing wrong with it."""
    pieces = _of(facts, kind)
    if not pieces:
        return GateCheck(gate, False, f"There is no evidence of {kind}: {send}.", {"evidence": []})
    told = []
    for piece in pieces:
        if piece.digest != facts.digest_now:
            told.append(f"Evidence {piece.id} of {piece.name} is about other bytes: send it again.")
        elif not piece.summary:
            told.append(f"Evidence {piece.id} of {piece.name} is a free report that cannot be judged: {send}.")
        elif why := wrong(piece):
            told.append(f"{piece.name[0].upper()}{piece.name[1:]}: {why} (evidence {piece.id}).")
    return GateCheck(gate, not told, " ".join(told) or right, _shown(pieces))


def _attested(facts: SourceFacts, gate: str, kind: str, without: str) -> GateCheck:
    pieces = _of(facts, kind)
    piece = next((one for one in pieces if one.digest == facts.digest_now and one.summary), None)
    if piece is not None:
        return GateCheck(gate, True, f"{piece.by} attests: {piece.summary['note']}", _shown(pieces))
    stale = " What was attested is about other bytes." if pieces else ""
    reason = f"{without}, and nobody has attested {kind}.{stale}"
    return GateCheck(gate, False, reason, _shown(pieces))


def _shown(pieces: Iterable[Piece]) -> dict[str, Any]:
    return {
        "evidence": [
            {"id": piece.id, "subject": piece.subject, "by": piece.by, "summary": dict(piece.summary)}
            for piece in pieces
        ]
    }


GATES: dict[str, Gate] = {
    "source_deployed": source_deployed,
    "smoke_passed": smoke_passed,
    "logs_quiet": logs_quiet,
    "tests_passed": tests_passed,
    "coverage_enough": coverage_enough,
    "no_vulnerabilities": no_vulnerabilities,
    "reviewed": reviewed,
    "policy_passed": policy_passed,
    "crv_passed": crv_passed,
    "version_bumped": version_bumped,
    "rollback_ready": rollback_ready,
    "backup_made": backup_made,
    "not_withdrawn": not_withdrawn,
    "digest_unchanged": digest_unchanged,
}
PRESETS: dict[str, tuple[str, ...]] = {
    "basic": ("source_deployed", "smoke_passed", "not_withdrawn", "digest_unchanged"),
    "guide": tuple(GATES),
}
OF_TIME = frozenset({"logs_quiet"})
"""Judged when a promotion is asked for; afterwards they hold it, and do not break it."""
NEVER_WAIVED = frozenset({"not_withdrawn", "digest_unchanged"})
WAIVABLE = tuple(name for name in GATES if name not in NEVER_WAIVED)


class UnknownPreset(ValueError):
    """No preset has this name; the message lists those that exist."""


def check(
    preset: str, facts: SourceFacts, waivers: Sequence[Waived] = (), *, now: datetime | None = None, again: bool = False
) -> tuple[GateCheck, ...]:
    """Judge the facts by every gate of a preset; a gate that failed passes by a waiver of these bytes that has not
    expired. Raises UnknownPreset.

    again: it was judged when it was asked for; gates of time hold it since then.
    """
    if preset not in PRESETS:
        raise UnknownPreset(f"There is no gate preset {preset!r}; there is {', '.join(sorted(PRESETS))}.")
    names = [name for name in PRESETS[preset] if not (again and name in OF_TIME)]
    return tuple(_waived(GATES[name](facts), facts, waivers, now) for name in names)


def standing(waivers: Iterable[Waived], gate: str, digest: str, now: datetime) -> Waived | None:
    """The waiver of a gate that counts now, for these bytes."""
    return next((w for w in waivers if w.gate == gate and w.digest == digest and now < w.until), None)


def _waived(answer: GateCheck, facts: SourceFacts, waivers: Sequence[Waived], now: datetime | None) -> GateCheck:
    mine = [one for one in waivers if one.gate == answer.name]
    if answer.passed or not mine or now is None or answer.name in NEVER_WAIVED:
        return answer
    stands = standing(mine, answer.name, facts.digest_now, now)
    if stands is None:
        last = max(mine, key=lambda one: one.until)
        why = f"expired at {_minute(last.until)}" if now >= last.until else "is about other bytes"
        return replace(answer, reason=f"{answer.reason} A waiver by {last.by} {why}.")
    told = {"by": stands.by, "owner": stands.owner, "until": stands.until.isoformat(), "reason": stands.reason}
    reason = f"Waived by {stands.by} until {_minute(stands.until)}: {stands.reason} ({answer.reason})"
    return replace(answer, passed=True, reason=reason, evidence={**answer.evidence, "waiver": told})


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def reasons_against(checks: Sequence[GateCheck]) -> tuple[str, ...]:
    """Answer the reasons of the gates that did not pass; none means go."""
    return tuple(answer.reason for answer in checks if not answer.passed)
