"""What a version may be called, and which of two is newer."""

from itertools import pairwise

import pytest

from releases.semver import NotSemVer, newer, normalise, parse

PRECEDENCE = (
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.0.1",
    "1.2.0",
    "1.10.0",
    "2.0.0",
)


@pytest.mark.parametrize("text", [*PRECEDENCE, "1.2.3+build.007", "1.2.3-0.x-y.z+a-b", "0.0.0", "1.0.0--"])
def test_a_semantic_version_reads_back_as_it_was_written(text):
    assert str(parse(text)) == text


def test_each_version_of_the_specification_is_newer_than_the_one_before():
    for older, later in pairwise(PRECEDENCE):
        assert newer(later, older)
        assert not newer(older, later)


def test_the_build_part_makes_another_version_but_not_a_newer_one():
    assert parse("1.0.0+a") != parse("1.0.0+b")
    assert not newer("1.0.0+b", "1.0.0+a")


def test_one_leading_v_is_dropped():
    assert normalise("v1.2.3") == "1.2.3"


@pytest.mark.parametrize(
    "text",
    [
        "", "1", "1.2", "1.2.3.4", "01.2.3", "1.02.3", "1.2.03", "1.2.3-", "1.2.3-01", "1.2.3-a..b", "1.2.3+",
        "vv1.2.3", "V1.2.3",
        "1.0.0; rm -rf /", "1.0.0\n", " 1.0.0", "1.0.0$(id)", "../1.0.0", "1.0.0/..", "١.٢.٣", "1.0.0-é", "1.0.0\x00",
        "1.0.0-" + "a" * 200, None, 1.0, ["1.0.0"], True,
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_a_sentence(text):
    with pytest.raises(NotSemVer, match="version"):
        parse(text)
