"""What a version changes after another one, and whether its number says so."""

from __future__ import annotations

from releases import bumps, semver, spec
from releases.bumps import Change
from releases.checker import Finding, Severity
from releases.models import Version

RULE = "version_number"


def difference(old: Version, new: Version) -> tuple[Change, ...] | None:
    """The changes from one spec to the other; None where this release of Aureus can read one of them no more."""
    if old.spec == new.spec:
        return ()
    try:
        return bumps.changes(spec.parse(old.spec), spec.parse(new.spec))
    except spec.SpecInvalid:
        return None


def before(version: Version) -> Version | None:
    """The highest release of the application that is not above this version, and was not withdrawn.

    Of the same line where there is one: after 1.2.3 a 1.2.4 is compared with it, though there is a 2.0.0 by now.
    """
    number = semver.parse(version.number)
    there = Version.objects.filter(application=version.application_id, withdrawn_at=None).exclude(pk=version.pk)
    for line in (f"{number.major}.{number.minor}.", f"{number.major}.", ""):
        rows = there.filter(number__startswith=line).values_list("number", "pk")
        known = [(semver.parse(text), pk) for text, pk in rows]
        below = [
            (one.precedence, pk) for one, pk in known if not one.prerelease and one.precedence <= number.precedence
        ]
        if below:
            return Version.objects.get(pk=max(below)[1])
    return None


def warnings(version: Version) -> list[Finding]:
    """What its number says wrongly, compared with the release before it. It is registered all the same."""
    known = before(version)
    changed = difference(known, version) if known else None
    if known is None or changed is None:
        return []
    said = bumps.why_not(version.number, known.number, changed)
    tasks = tuple(dict.fromkeys(change.task for change in changed if change.bump is bumps.least(changed)))
    return [Finding(RULE, Severity.WARNING, said, tasks, "version")] if said else []
