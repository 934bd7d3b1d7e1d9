"""SemVer 2.0.0, strictly: what a version's label may be and which of two is newer. Pure."""

import re
from dataclasses import dataclass

# A content (number and digest) is a folder name on a host, so the number keeps a short length.
LONGEST = 100
_NUMBER = r"(0|[1-9][0-9]*)"
_PRERELEASE = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_BUILD = r"[0-9A-Za-z-]+"
_SEMVER = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-({_PRERELEASE}(?:\.{_PRERELEASE})*))?(?:\+({_BUILD}(?:\.{_BUILD})*))?"
)


class NotSemVer(ValueError):
    """The text is no SemVer number; the message says what was expected."""


@dataclass(frozen=True, slots=True)
class SemVer:
    """A parsed number. Equality includes the build part, `precedence` does not (SemVer 2.0.0, 10 and 11)."""

    major: int
    minor: int
    patch: int
    prerelease: tuple[str, ...] = ()
    build: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = f"{self.major}.{self.minor}.{self.patch}"
        if self.prerelease:
            text += "-" + ".".join(self.prerelease)
        if self.build:
            text += "+" + ".".join(self.build)
        return text

    @property
    def precedence(self) -> tuple[int, int, int, bool, tuple[tuple[int, int, str], ...]]:
        """A sort key: numeric identifiers before words, a release after its prereleases."""
        words = tuple((0, int(word), "") if word.isdigit() else (1, 0, word) for word in self.prerelease)
        return (self.major, self.minor, self.patch, not self.prerelease, words)


def parse(text: object) -> SemVer:
    """Read a number such as `1.2.3-rc.1+build.5`; one leading `v` is dropped. Raises NotSemVer."""
    if not isinstance(text, str):
        raise NotSemVer("The version must be text such as 1.2.3.")
    bare = text[1:] if text.startswith("v") else text
    if len(bare) > LONGEST:
        raise NotSemVer(f"The version is {len(bare)} characters long; at most {LONGEST} are allowed.")
    match = _SEMVER.fullmatch(bare)
    if match is None:
        raise NotSemVer(
            f"{text!r} is not a semantic version: write MAJOR.MINOR.PATCH, for example 1.2.3 or 1.2.3-rc.1."
        )
    major, minor, patch, prerelease, build = match.groups()
    return SemVer(int(major), int(minor), int(patch), _identifiers(prerelease), _identifiers(build))


def normalise(text: object) -> str:
    """Answer the number as it is stored: `v1.2.3` becomes `1.2.3`. Raises NotSemVer."""
    return str(parse(text))


def newer(one: str, other: str) -> bool:
    """Say whether `one` has a higher precedence than `other`. Raises NotSemVer."""
    return parse(one).precedence > parse(other).precedence


def _identifiers(text: str | None) -> tuple[str, ...]:
    return tuple(text.split(".")) if text else ()
