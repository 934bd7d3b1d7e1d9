"""What every host driver keeps: in memory, through the demo's SSH server, through a real sshd."""

from __future__ import annotations

import io
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from deployments.drivers import ActFailed, ActRefused, ActTimedOut, Answer, Base, KeyRefused, ReleaseFiles, Unreachable
from deployments.drivers.fake_hosts import FakeHosts
from tests.conftest import wait_until
from tests.drivers.conftest import Bed
from tests.drivers.releases import content, made_from, packed, release

ONE, TWO, THREE, FOUR, FIVE = (content(number) for number in range(1, 6))
FAR = 60.0


def prepare(bed: Bed, what: str, *, fence: int = 1) -> None:
    bed.hosts.prepare(bed.host, bed.site, release(what), fence=fence, key=f"prepare:{what}", deadline=FAR)


def activate(bed: Bed, what: str, expected: str | None, *, fence: int, key: str) -> str:
    return bed.hosts.activate(bed.host, bed.site, what, expected=expected, fence=fence, key=key, deadline=FAR).state


def refused(code: str) -> pytest.RaisesExc[ActRefused]:
    return pytest.RaisesExc(ActRefused, check=lambda error: error.code == code and not error.retry)


def test_a_new_host_has_nothing_and_lacks_nothing(bed: Bed) -> None:
    facts = bed.hosts.facts(bed.host, bed.site)
    assert (facts.current, facts.previous, facts.releases, facts.fence) == (None, None, (), 0)
    assert facts.missing_tools == ()
    assert facts.disk_free > 0


def test_a_prepared_release_is_listed_and_not_yet_current(bed: Bed) -> None:
    made = bed.hosts.prepare(bed.host, bed.site, release(ONE), fence=7, key="p", deadline=FAR)
    facts = bed.hosts.facts(bed.host, bed.site)
    assert made.state == "done"
    assert (facts.releases, facts.current, facts.fence) == ((ONE,), None, 7)


def test_preparing_twice_changes_nothing(bed: Bed) -> None:
    prepare(bed, ONE)
    again = bed.hosts.prepare(bed.host, bed.site, release(ONE), fence=2, key="other", deadline=FAR)
    assert again.state == "already"


def test_a_version_without_artifact_is_its_workflow(bed: Bed) -> None:
    bare = release(ONE, archive=b"", workflow=b'{"id":"bare"}')
    bare = replace(bare, archive=None, sha256="", size=0, unpacked_size=0, files=0)
    bed.hosts.prepare(bed.host, bed.site, bare, fence=1, key="p", deadline=FAR)
    activate(bed, ONE, None, fence=2, key="a")
    assert bed.hosts.read_workflow(bed.host, bed.site) == (ONE, b'{"id":"bare"}')


def test_an_archive_with_another_sha256_is_refused_and_leaves_nothing(bed: Bed) -> None:
    wrong = release(ONE, sha256="0" * 64)
    with refused("sha256"):
        bed.hosts.prepare(bed.host, bed.site, wrong, fence=1, key="p", deadline=FAR)
    assert bed.hosts.facts(bed.host, bed.site).releases == ()


def test_an_archive_that_breaks_off_may_be_sent_again(bed: Bed) -> None:
    whole = packed({"a": b"1" * 100})
    cut = replace(release(ONE, whole), archive=lambda: io.BytesIO(whole[:-5]))
    with pytest.raises(ActFailed) as caught:
        bed.hosts.prepare(bed.host, bed.site, cut, fence=1, key="p", deadline=FAR)
    assert (caught.value.code, caught.value.retry) == ("truncated", True)
    assert bed.hosts.prepare(bed.host, bed.site, release(ONE, whole), fence=2, key="p", deadline=FAR).state == "done"


def odd(name: str, **changed: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    for field, value in changed.items():
        setattr(made, field, value)
    return made


EVIL = {
    "parent": packed({"../evil": b"1"}),
    "parent further on": packed({"a/../../evil": b"1"}),
    "absolute": packed({"/evil": b"1"}),
    "fifo": packed({"a": b"1"}, odd("pipe", type=tarfile.FIFOTYPE)),
    "hard link": packed({"a": b"1"}, odd("b", type=tarfile.LNKTYPE, linkname="a")),
    "setuid": packed({"a": b"1"}, odd("b", mode=0o4755)),
    "link out": packed({"a": b"1"}, odd("b", type=tarfile.SYMTYPE, linkname="../../evil")),
    "absolute link": packed({"a": b"1"}, odd("b", type=tarfile.SYMTYPE, linkname="/etc/passwd")),
    "control character": packed({"a\nb": b"1"}),
    "no archive": b"this is no archive" * 100,
    "plain tar that breaks off": packed({"a": b"1" * 9000}, mode="w:")[:5000],
}


@pytest.mark.parametrize("evil", EVIL.values(), ids=EVIL.keys())
def test_an_archive_that_leads_out_is_refused_and_leaves_nothing(bed: Bed, evil: bytes) -> None:
    """The control plane looks first; the host must not depend on that."""
    with refused("unsafe_archive"):
        bed.hosts.prepare(bed.host, bed.site, release(ONE, evil), fence=1, key="p", deadline=FAR)
    assert bed.hosts.facts(bed.host, bed.site).releases == ()
    assert not list(bed.folder.rglob("evil"))
    assert not list(bed.folder.glob("app/releases/.tmp*"))


OLD = packed(
    {"bin/app": b"1", "web/a b.css": b"css" * 1000, "web/ünlike": b"x", "gone": b"2", "workflow.json": b"theirs"},
    odd("latest", type=tarfile.SYMTYPE, linkname="bin/app"), odd("empty", type=tarfile.DIRTYPE, mode=0o755),
)  # fmt: skip
NEW = packed(
    {"bin/app": b"2", "web/a b.css": b"css" * 1000, "web/ünlike": b"x", "-n": b"3", "workflow.json": b"theirs"},
    odd("latest", type=tarfile.SYMTYPE, linkname="web"), odd("empty", type=tarfile.DIRTYPE, mode=0o755),
)  # fmt: skip


def differing(sums: str = "") -> ReleaseFiles:
    return made_from(TWO, NEW, ONE, OLD, sums)


def tree(bed: Bed, content: str) -> dict[str, object]:
    folder = Path(bed.site.root) / "releases" / content
    found = sorted(folder.rglob("*"))
    return {
        str(one.relative_to(folder)): one.readlink() if one.is_symlink() else one.is_file() and one.read_bytes()
        for one in found
        if one.name not in (".manifest", ".links")
    }


def spoil(bed: Bed, content: str) -> None:
    """Somebody writes into a release by hand."""
    if bed.server is None:
        bed.hosts.at("h1").site(bed.site.root).incomplete.add(content)  # type: ignore[attr-defined]
    else:
        (Path(bed.site.root) / "releases" / content / "web" / "a b.css").write_bytes(b"mine")


def test_a_content_is_made_from_one_that_the_host_holds_and_what_differs_from_it(bed: Bed) -> None:
    bed.hosts.prepare(bed.host, bed.site, release(ONE, OLD), fence=1, key="p1", deadline=FAR)
    before = tree(bed, ONE)
    small = differing()
    assert small.base is not None and b"a b.css" in small.base.copies and small.size < len(NEW)
    assert bed.hosts.prepare(bed.host, bed.site, small, fence=2, key="p2", deadline=FAR).state == "done"
    assert bed.hosts.facts(bed.host, bed.site).releases == (ONE, TWO)
    made = tree(bed, TWO)
    assert bed.hosts.prepare(bed.host, bed.site, release(TWO, NEW), fence=3, key="p3", deadline=FAR).state == "already"
    assert tree(bed, ONE) == before
    if bed.server is not None:
        assert made["bin/app"] == b"2" and made["-n"] == b"3" and made["web/ünlike"] == b"x"
        assert str(made["latest"]) == "web" and "gone" not in made and "empty" in made
        assert made["workflow.json"] == b'{"id":"app"}'
        here = Path(bed.site.root) / "releases"
        assert (here / TWO / "web/a b.css").stat().st_ino != (here / ONE / "web/a b.css").stat().st_ino


def test_without_the_base_or_with_one_that_somebody_has_written_into_nothing_is_made_from_it(bed: Bed) -> None:
    with refused("no_base"):
        bed.hosts.prepare(bed.host, bed.site, differing(), fence=1, key="p", deadline=FAR)
    bed.hosts.prepare(bed.host, bed.site, release(ONE, OLD), fence=2, key="p1", deadline=FAR)
    spoil(bed, ONE)
    with refused("base_differs"):
        bed.hosts.prepare(bed.host, bed.site, differing(), fence=3, key="p", deadline=FAR)
    assert TWO not in bed.hosts.facts(bed.host, bed.site).releases


def test_what_comes_out_as_anything_else_than_the_whole_is_refused_and_leaves_nothing(bed: Bed) -> None:
    bed.hosts.prepare(bed.host, bed.site, release(ONE, OLD), fence=1, key="p1", deadline=FAR)
    if bed.server is None:
        bed.hosts.at("h1").site(bed.site.root).altered.add(ONE)  # type: ignore[attr-defined]
    with refused("base_differs"):
        bed.hosts.prepare(bed.host, bed.site, differing(sums="0" * 64), fence=2, key="p", deadline=FAR)
    absent = replace(differing(), base=Base(ONE, b"./nowhere\n", "0" * 64))
    with refused("base_differs"):
        bed.hosts.prepare(bed.host, bed.site, absent, fence=3, key="q", deadline=FAR)
    assert bed.hosts.facts(bed.host, bed.site).releases == (ONE,)
    assert not list(bed.folder.glob("app/releases/.tmp*"))
    assert bed.hosts.prepare(bed.host, bed.site, release(TWO, NEW), fence=4, key="p", deadline=FAR).state == "done"


def test_too_little_room_is_refused_before_anything_is_written(bed: Bed) -> None:
    with refused("no_space"):
        bed.hosts.prepare(bed.host, bed.site, release(ONE, unpacked_size=10**17), fence=1, key="p", deadline=FAR)
    with refused("no_inodes"):
        bed.hosts.prepare(bed.host, bed.site, release(ONE, files=10**17), fence=1, key="p", deadline=FAR)
    assert bed.hosts.facts(bed.host, bed.site).releases == ()


def test_activation_switches_restarts_and_reads_back(bed: Bed) -> None:
    prepare(bed, ONE)
    assert activate(bed, ONE, None, fence=2, key="a") == "done"
    assert bed.hosts.facts(bed.host, bed.site).current == ONE
    assert bed.hosts.read_workflow(bed.host, bed.site) == (ONE, b'{"id":"app"}')
    assert bed.restarts() == 1


def test_the_same_activation_again_restarts_nothing(bed: Bed) -> None:
    prepare(bed, ONE)
    activate(bed, ONE, None, fence=2, key="a")
    assert activate(bed, ONE, None, fence=3, key="a") == "already"
    assert activate(bed, ONE, ONE, fence=4, key="b") == "already"
    assert bed.restarts() == 1
    assert [line[4] for line in bed.ledger() if line[2] == "activate@main"] == ["started", "done"]


def test_what_runs_and_has_not_become_healthy_is_started_again_once_by_each_act(bed: Bed) -> None:
    prepare(bed, ONE)
    activate(bed, ONE, None, fence=2, key="a")

    def again(fence: int, key: str) -> str:
        act = bed.hosts.activate(
            bed.host, bed.site, ONE, expected=ONE, fence=fence, key=key, deadline=FAR, again=True
        )  # fmt: skip
        return act.state

    assert again(3, "b") == "done"
    assert again(4, "b") == "already"
    assert bed.restarts() == 2


def test_activation_refuses_a_slot_that_is_not_where_the_plan_saw_it(bed: Bed) -> None:
    for each in (ONE, TWO, THREE):
        prepare(bed, each)
    activate(bed, ONE, None, fence=2, key="a1")
    with refused("cas"):
        activate(bed, THREE, TWO, fence=3, key="a3")
    with refused("cas"):
        activate(bed, THREE, None, fence=3, key="a3")
    assert bed.hosts.facts(bed.host, bed.site).current == ONE
    assert bed.restarts() == 1


def test_a_done_key_is_not_believed_when_the_slot_says_otherwise(bed: Bed) -> None:
    for each in (ONE, TWO):
        prepare(bed, each)
    activate(bed, ONE, None, fence=2, key="a1")
    activate(bed, TWO, ONE, fence=3, key="a2")
    assert activate(bed, ONE, TWO, fence=4, key="a1") == "done"
    facts = bed.hosts.facts(bed.host, bed.site)
    assert (facts.current, facts.previous) == (ONE, TWO)
    assert bed.restarts() == 3


def test_a_release_that_is_not_there_is_not_activated(bed: Bed) -> None:
    with refused("incomplete"):
        activate(bed, ONE, None, fence=1, key="a")
    assert bed.hosts.facts(bed.host, bed.site).current is None


def test_a_failed_restart_says_what_a_person_would_look_for(bed: Bed) -> None:
    prepare(bed, ONE)
    bed.tell_restart("echo the app fell over; exit 1")
    with pytest.raises(ActFailed) as caught:
        activate(bed, ONE, None, fence=2, key="a")
    assert caught.value.code == "restart_failed"
    assert caught.value.retry
    assert "the app fell over" in caught.value.detail["logs"]
    assert set(caught.value.detail) == {"service", "logs", "port_owner"}
    with pytest.raises(ActFailed, match="exit 1"):
        bed.hosts.status(bed.host, bed.site, "a")


def test_a_failed_restart_is_done_again_though_the_link_is_right(bed: Bed) -> None:
    prepare(bed, ONE)
    bed.tell_restart("exit 1")
    with pytest.raises(ActFailed):
        activate(bed, ONE, None, fence=2, key="a")
    bed.tell_restart("exit 0")
    assert activate(bed, ONE, None, fence=3, key="b") == "done"
    assert bed.restarts() == 1


def test_a_lower_fence_is_refused_by_every_changing_call(bed: Bed) -> None:
    prepare(bed, ONE, fence=9)
    late = {"fence": 8, "key": "late"}
    with refused("stale_fence"):
        bed.hosts.prepare(bed.host, bed.site, release(TWO), deadline=FAR, **late)  # type: ignore[arg-type]
    with refused("stale_fence"):
        activate(bed, ONE, None, fence=8, key="late")
    for call in (bed.hosts.stop, bed.hosts.set_live):
        with refused("stale_fence"):
            call(bed.host, bed.site, fence=8, key="late")
    with refused("stale_fence"):
        bed.hosts.prune(bed.host, bed.site, set(), fence=8, key="late")
    with refused("stale_fence"):
        bed.hosts.put_file(bed.host, str(bed.folder / "weights"), b"1", root=bed.site.root, fence=8)
    facts = bed.hosts.facts(bed.host, bed.site)
    assert (facts.releases, facts.current, facts.fence) == ((ONE,), None, 9)


def test_a_long_restart_is_running_and_its_end_is_told_later(bed: Bed) -> None:
    prepare(bed, ONE)
    go = bed.folder / "go"
    bed.tell_restart(f"while [ ! -e {go} ]; do sleep 0.1; done")
    assert activate(bed, ONE, None, fence=2, key="a") == "running"
    assert bed.hosts.status(bed.host, bed.site, "a").state == "running"
    assert activate(bed, ONE, None, fence=3, key="a") == "running"
    go.touch()
    if bed.server is None:
        bed.hosts.at("h1").finish(bed.site.root, "a")  # type: ignore[attr-defined]
    wait_until(lambda: bed.hosts.status(bed.host, bed.site, "a").state == "done", seconds=20, what="the restart ends")
    assert activate(bed, ONE, None, fence=4, key="a") == "already"
    assert bed.restarts() == 1


def test_stop_ends_what_runs_and_proves_it(bed: Bed) -> None:
    prepare(bed, ONE)
    bed.tell_restart("trap '' TERM; sleep 600 & wait; sleep 600")
    assert activate(bed, ONE, None, fence=2, key="a") == "running"
    answer = bed.hosts.stop(bed.host, bed.site, fence=3, key="s")
    assert answer.data["ended"]
    with refused("stale_fence"):
        bed.hosts.status(bed.host, bed.site, "a")
    with refused("stale_fence"):
        activate(bed, ONE, None, fence=2, key="a")
    assert bed.restarts() == 0


def test_a_higher_act_ends_a_lower_one_and_takes_its_place(bed: Bed) -> None:
    for each in (ONE, TWO):
        prepare(bed, each)
    bed.tell_restart("sleep 600")
    assert activate(bed, ONE, None, fence=2, key="a") == "running"
    bed.tell_restart("exit 0")
    activate(bed, TWO, ONE, fence=3, key="b")
    wait_until(
        lambda: bed.hosts.status(bed.host, bed.site, "b").state == "done", seconds=30, what="the higher act ends"
    )
    assert bed.hosts.facts(bed.host, bed.site).current == TWO
    with refused("stale_fence"):
        bed.hosts.status(bed.host, bed.site, "a")
    assert bed.restarts() == 1


def once(bed: Bed, command: str, *, fence: int, key: str = "o", deadline: float = FAR, in_root: bool = False) -> Answer:
    return bed.hosts.once(bed.host, bed.site, ONE, command, fence=fence, key=key, deadline=deadline, in_root=in_root)


def times(bed: Bed) -> int:
    ran = bed.folder / "ran"
    return len(ran.read_text().splitlines()) if ran.exists() else 0


def test_a_command_is_carried_out_once_by_its_key_and_says_what_it_wrote(bed: Bed) -> None:
    prepare(bed, ONE)
    command = f"echo 1 >>{bed.folder}/ran; echo it\\'s \\$done"
    first = once(bed, command, fence=2)
    again = once(bed, command, fence=3)
    assert (first.state, again.state, times(bed)) == ("done", "already", 1)
    assert first.data["said"].strip() == again.data["said"].strip() == "it's $done"
    with refused("stale_fence"):
        once(bed, command, fence=2, key="late")
    assert times(bed) == 1


def test_a_command_is_told_what_it_is_for_and_in_the_root_it_needs_no_release(bed: Bed) -> None:
    command = 'echo "$AUREUS_DEPLOYMENT $AUREUS_VERSION $AUREUS_CONTENT"; [ "$AUREUS_RELEASE" -ef . ] || echo elsewhere'
    with refused("incomplete"):
        once(bed, command, fence=2, key="d7:hook:all:1:1")
    at_root = once(bed, command, fence=3, key="d7:hook:all:1:2", in_root=True).data["said"]
    assert at_root.split() == ["d7", ONE.rpartition("-")[0], ONE, "elsewhere"]
    prepare(bed, ONE, fence=4)
    if bed.server is not None:
        assert "elsewhere" not in once(bed, command, fence=5, key="d7:hook:all:1:3").data["said"]


def test_a_command_that_failed_is_carried_out_again_by_another_key_only(bed: Bed) -> None:
    prepare(bed, ONE)
    command = f"echo 1 >>{bed.folder}/ran; echo no such table >&2; exit 3"
    with pytest.raises(ActFailed) as caught:
        once(bed, command, fence=2)
    assert (caught.value.code, caught.value.detail["said"].strip()) == ("command_failed", "no such table")
    with refused("broke_off"):
        once(bed, command, fence=3)
    assert times(bed) == 1
    with pytest.raises(ActFailed):
        once(bed, command, fence=4, key="o2")
    assert times(bed) == 2


def test_a_command_that_takes_long_goes_on_without_us_and_is_asked_for_by_its_key(bed: Bed) -> None:
    prepare(bed, ONE)
    go = bed.folder / "go"
    command = f"while [ ! -e {go} ]; do sleep 0.05; done; echo 1 >>{bed.folder}/ran"
    if bed.server is None:
        bed.hosts.at("h1").once_hangs = True  # type: ignore[attr-defined]
    assert once(bed, command, fence=2).state == "running"
    assert bed.hosts.status(bed.host, bed.site, "o").state == "running"
    assert once(bed, command, fence=3).state == "running"
    go.touch()
    if bed.server is None:
        bed.hosts.at("h1").finish(bed.site.root, "o")  # type: ignore[attr-defined]
    wait_until(lambda: bed.hosts.status(bed.host, bed.site, "o").state == "done", seconds=20, what="the command ends")
    assert once(bed, command, fence=4).state == "already"
    assert times(bed) == (bed.server is not None)


@pytest.mark.parametrize("by", ["stop", "a higher act"])
def test_a_command_is_ended_and_is_not_begun_again(bed: Bed, by: str) -> None:
    prepare(bed, ONE)
    command = f"trap '' TERM; sleep 600 & wait; sleep 600; echo 1 >>{bed.folder}/ran"
    if bed.server is None:
        bed.hosts.at("h1").once_hangs = True  # type: ignore[attr-defined]
    assert once(bed, command, fence=2).state == "running"
    if by == "stop":
        assert bed.hosts.stop(bed.host, bed.site, fence=3, key="s").data["ended"]
    else:
        wait_until(
            lambda: activate(bed, ONE, None, fence=3, key="a") != "running", seconds=30, what="the higher act ends"
        )
    with refused("stale_fence"):
        bed.hosts.status(bed.host, bed.site, "o")
    with refused("broke_off"):
        once(bed, command, fence=4)
    assert times(bed) == 0


def test_a_command_ends_by_its_deadline(bed: Bed) -> None:
    prepare(bed, ONE)

    def run_out() -> None:
        once(bed, f"sleep 600; echo 1 >>{bed.folder}/ran", fence=2, deadline=1)
        wait_until(lambda: bed.hosts.status(bed.host, bed.site, "o").state != "running", seconds=20, what="it ends")

    with pytest.raises(ActTimedOut) as caught:
        run_out()
    assert caught.value.code == "deadline"
    with refused("broke_off"):
        once(bed, "true", fence=3)
    assert times(bed) == 0


def test_a_command_whose_act_was_killed_is_for_a_person_to_judge(bed: Bed) -> None:
    if bed.server is None:
        pytest.skip("nothing can be killed in memory")
    prepare(bed, ONE)
    with pytest.raises(ActFailed) as caught:
        once(bed, f"echo 1 >>{bed.folder}/ran; kill -9 $PPID; sleep 600", fence=2)
    assert caught.value.code == "killed"
    with refused("broke_off"):
        once(bed, "true", fence=3)
    assert times(bed) == 1


def beside(bed: Bed, command: str, *, key: str = "t", deadline: float = FAR) -> Answer:
    return bed.hosts.beside(bed.host, bed.site, command, key=key, deadline=deadline)


def test_a_command_beside_deployments_runs_once_by_its_key_where_the_live_release_is(bed: Bed) -> None:
    with refused("no_release"):
        beside(bed, "true")
    prepare(bed, ONE)
    activate(bed, ONE, None, fence=7, key="a")
    wait_until(lambda: bed.hosts.status(bed.host, bed.site, "a").state == "done", seconds=30, what="it runs")
    command = f"echo 1 >>{bed.folder}/ran; basename $PWD"
    first, again = beside(bed, command), beside(bed, command)
    assert (first.state, again.state, times(bed)) == ("done", "already", 1)
    if bed.server is not None:
        assert first.data["said"].strip() == ONE
    with pytest.raises(ActFailed):
        beside(bed, f"echo 1 >>{bed.folder}/ran; exit 3", key="u")
    with refused("broke_off"):
        beside(bed, "true", key="u")
    assert times(bed) == 2
    assert bed.hosts.facts(bed.host, bed.site).fence == 7


def test_no_deployment_ends_a_command_that_runs_beside_it_or_waits_for_it(bed: Bed) -> None:
    for each in (ONE, TWO):
        prepare(bed, each)
    activate(bed, ONE, None, fence=2, key="a")
    wait_until(lambda: bed.hosts.status(bed.host, bed.site, "a").state == "done", seconds=30, what="it runs")
    go = bed.folder / "go"
    command = f"while [ ! -e {go} ]; do sleep 0.05; done; echo 1 >>{bed.folder}/ran"
    if bed.server is None:
        bed.hosts.at("h1").once_hangs = True  # type: ignore[attr-defined]
    assert beside(bed, command).state == "running"
    activate(bed, TWO, ONE, fence=3, key="b")
    wait_until(lambda: bed.hosts.status(bed.host, bed.site, "b").state == "done", seconds=30, what="the next one runs")
    assert beside(bed, command).state == "running"
    go.touch()
    if bed.server is None:
        bed.hosts.at("h1").finish(bed.site.root, "t")  # type: ignore[attr-defined]
    wait_until(lambda: beside(bed, command).state == "already", seconds=20, what="the command ends")
    assert times(bed) == (bed.server is not None)


def test_a_command_beside_deployments_ends_by_its_deadline(bed: Bed) -> None:
    prepare(bed, ONE)
    activate(bed, ONE, None, fence=2, key="a")
    wait_until(lambda: bed.hosts.status(bed.host, bed.site, "a").state == "done", seconds=30, what="it runs")
    command = f"sleep 600; echo 1 >>{bed.folder}/ran"

    def run_out() -> None:
        wait_until(lambda: beside(bed, command, deadline=1).state != "running", seconds=20, what="it ends")

    with pytest.raises((ActTimedOut, ActRefused)) as caught:
        run_out()
    assert caught.value.code in ("deadline", "broke_off")
    assert times(bed) == 0


def test_an_act_that_nobody_began_is_absent(bed: Bed) -> None:
    with pytest.raises(ActFailed) as caught:
        bed.hosts.status(bed.host, bed.site, "never")
    assert caught.value.code == "absent"


def test_prune_keeps_what_is_named_and_what_a_slot_points_to(bed: Bed) -> None:
    for each in (ONE, TWO, THREE, FOUR, FIVE):
        prepare(bed, each)
    activate(bed, ONE, None, fence=2, key="a")
    green = replace(bed.site, slot="green")
    bed.hosts.activate(bed.host, green, TWO, expected=None, fence=3, key="g", deadline=FAR)
    answer = bed.hosts.prune(bed.host, bed.site, {THREE, FIVE}, fence=4, key="prune")
    assert list(answer.data["removed"]) == [FOUR]
    assert bed.hosts.facts(bed.host, bed.site).releases == (ONE, TWO, THREE, FIVE)
    assert bed.hosts.prune(bed.host, bed.site, {THREE}, fence=5, key="prune").state == "already"


def test_slots_are_apart_and_one_is_live(bed: Bed) -> None:
    for each in (ONE, TWO):
        prepare(bed, each)
    blue, green = replace(bed.site, slot="blue"), replace(bed.site, slot="green")
    bed.hosts.activate(bed.host, blue, ONE, expected=None, fence=2, key="b", deadline=FAR)
    bed.hosts.activate(bed.host, green, TWO, expected=None, fence=3, key="g", deadline=FAR)
    assert bed.hosts.facts(bed.host, blue).live == "blue"
    bed.hosts.set_live(bed.host, green, fence=4, key="l")
    assert (bed.hosts.facts(bed.host, green).live, bed.hosts.facts(bed.host, blue).current) == ("green", ONE)
    with refused("no_slot"):
        bed.hosts.set_live(bed.host, replace(bed.site, slot="red"), fence=5, key="r")


def test_a_slot_without_traffic_is_stopped_once_and_started_by_its_next_activation(bed: Bed) -> None:
    prepare(bed, ONE)
    halt = f"echo $AUREUS_SLOT $AUREUS_CONTENT >>{bed.folder}/halted"
    blue, green = (replace(bed.site, slot=slot, halt=halt) for slot in ("blue", "green"))
    for fence, side in ((2, blue), (3, green)):
        bed.hosts.activate(bed.host, side, ONE, expected=None, fence=fence, key=side.slot, deadline=FAR)
    with refused("live"):
        bed.hosts.cool(bed.host, blue, fence=4, key="c1")
    assert bed.hosts.cool(bed.host, green, fence=5, key="c2").state == "done"
    assert bed.hosts.cool(bed.host, green, fence=6, key="c2").state == "already"
    if bed.server is not None:
        assert (bed.folder / "halted").read_text() == f"green {ONE}\n"
    before = bed.restarts()
    bed.hosts.activate(bed.host, green, ONE, expected=ONE, fence=7, key="again", deadline=FAR)
    assert bed.restarts() == before + 1
    with refused("stale_fence"):
        bed.hosts.cool(bed.host, green, fence=6, key="late")
    with refused("no_slot"):
        bed.hosts.cool(bed.host, replace(green, slot="red"), fence=8, key="c3")


def test_a_small_file_is_put_whole_and_read_back(bed: Bed) -> None:
    path, contents = str(bed.folder / "weights"), bytes(range(256)) * 100
    bed.hosts.put_file(bed.host, path, b"first", root=bed.site.root, fence=1)
    bed.hosts.put_file(bed.host, path, contents, root=bed.site.root, fence=2)
    assert bed.hosts.read_file(bed.host, path) == contents
    with refused("not_found"):
        bed.hosts.read_file(bed.host, path + ".not")


def test_a_command_answers_with_status_and_both_streams(bed: Bed) -> None:
    program = "import sys; sys.stdout.write(sys.stdin.read() + sys.argv[1]); sys.stderr.write('e'); sys.exit(7)"
    words = [sys.executable, "-c", program, "it's; $(odd) \"\\\n*"]
    assert bed.hosts.run(bed.host, words, b"in ") == (7, b"in it's; $(odd) \"\\\n*", b"e")


def test_a_command_ends_at_its_time(bed: Bed) -> None:
    with pytest.raises(ActTimedOut):
        bed.hosts.run(bed.host, ["sleep", "600"], timeout=1)


def test_ten_prepares_at_once_give_ten_whole_releases(bed: Bed) -> None:
    wanted = [content(number) for number in range(1, 6)] * 2
    with ThreadPoolExecutor(10) as threads:
        answers = list(
            threads.map(
                lambda numbered: (
                    bed.hosts.prepare(
                        bed.host, bed.site, release(numbered[1]), fence=1, key=f"p{numbered[0]}", deadline=FAR
                    ).state
                ),
                enumerate(wanted),
            )
        )
    assert sorted(answers) == ["already"] * 5 + ["done"] * 5
    assert bed.hosts.facts(bed.host, bed.site).releases == tuple(sorted(set(wanted)))


def test_a_host_without_pinned_key_is_refused(bed: Bed) -> None:
    with pytest.raises(KeyRefused, match="has no pinned key") as caught:
        bed.hosts.facts(replace(bed.host, fingerprint=""), bed.site)
    assert not caught.value.retry


def test_an_unreachable_host_may_be_tried_again(bed: Bed) -> None:
    if bed.server is None:
        bed.hosts.at("h1").unreachable = True  # type: ignore[attr-defined]
    with pytest.raises(Unreachable) as caught:
        bed.hosts.facts(replace(bed.host, port=1), bed.site)
    assert caught.value.retry


@pytest.mark.parametrize("key", ["", "-k", "a b", "a\nb", "a/b", "x" * 200])
def test_a_key_that_is_no_word_is_refused_here(bed: Bed, key: str) -> None:
    with pytest.raises(ValueError, match="key"):
        bed.hosts.stop(bed.host, bed.site, fence=1, key=key)


def test_adopting_points_the_slot_and_restarts_nothing(bed: Bed) -> None:
    prepare(bed, ONE)
    done = bed.hosts.adopt(bed.host, bed.site, ONE, expected=None, fence=2, key="a")
    facts = bed.hosts.facts(bed.host, bed.site)
    assert (done.state, facts.current, facts.live, bed.restarts()) == ("done", ONE, "main", 0)
    assert bed.hosts.adopt(bed.host, bed.site, ONE, expected=None, fence=3, key="b").state == "already"
    said = [line[2:] for line in bed.ledger()]
    assert said[-2:] == [["adopt@main", ONE, "done"], ["adopt@main", ONE, "already"]]


def test_activating_what_was_only_adopted_starts_it(bed: Bed) -> None:
    prepare(bed, ONE)
    bed.hosts.adopt(bed.host, bed.site, ONE, expected=None, fence=2, key="a")
    assert activate(bed, ONE, ONE, fence=3, key="b") == "done"
    assert bed.restarts() == 1


def test_after_an_adoption_the_next_version_and_the_way_back_work(bed: Bed) -> None:
    prepare(bed, ONE)
    prepare(bed, TWO)
    bed.hosts.adopt(bed.host, bed.site, ONE, expected=None, fence=2, key="a")
    assert activate(bed, TWO, ONE, fence=3, key="b") == "done"
    assert activate(bed, ONE, TWO, fence=4, key="c") == "done"
    assert bed.restarts() == 2


def test_adopting_is_refused_on_another_slot_an_unprepared_content_and_a_late_fence(bed: Bed) -> None:
    prepare(bed, ONE)
    with refused("incomplete"):
        bed.hosts.adopt(bed.host, bed.site, TWO, expected=None, fence=2, key="a")
    activate(bed, ONE, None, fence=3, key="b")
    prepare(bed, TWO, fence=4)
    with refused("cas"):
        bed.hosts.adopt(bed.host, bed.site, TWO, expected=None, fence=5, key="c")
    with refused("stale_fence"):
        bed.hosts.adopt(bed.host, bed.site, ONE, expected=ONE, fence=1, key="d")


def configured(what: str, text: bytes = b"A='1'\n") -> ReleaseFiles:
    return replace(release(what), configured=True, env=text)


def send(bed: Bed, what: str, text: bytes, *, fence: int = 1) -> str:
    key = f"prepare:{what}"
    return bed.hosts.prepare(bed.host, bed.site, configured(what, text), fence=fence, key=key, deadline=FAR).state


def read_by_service(bed: Bed, file: str = ".env") -> bytes | None:
    if isinstance(bed.hosts, FakeHosts):
        return bed.hosts.at("h1").site(bed.site.root).shared.get(file)
    there = Path(bed.site.root) / "shared" / file
    assert not there.exists() or there.stat().st_mode & 0o777 == 0o600
    return there.read_bytes() if there.exists() else None


def put_by_hand(bed: Bed, text: bytes) -> None:
    if isinstance(bed.hosts, FakeHosts):
        bed.hosts.at("h1").site(bed.site.root).shared[".env"] = text
        return
    there = Path(bed.site.root) / "shared" / ".env"
    there.parent.mkdir(parents=True, exist_ok=True)
    there.write_bytes(text)
    there.chmod(0o600)


def test_variables_come_with_their_content_and_go_back_with_it(bed: Bed) -> None:
    assert send(bed, ONE, b"A='1'\n") == send(bed, TWO, b"A='2'\n") == "done"
    assert read_by_service(bed) is None
    activate(bed, ONE, None, fence=2, key="a1")
    assert read_by_service(bed) == read_by_service(bed, "main.env") == b"A='1'\n"
    activate(bed, TWO, ONE, fence=3, key="a2")
    assert read_by_service(bed) == b"A='2'\n"
    activate(bed, ONE, TWO, fence=4, key="a3")
    assert read_by_service(bed) == read_by_service(bed, "main.env") == b"A='1'\n"


def test_variables_lie_on_the_host_before_the_restart_and_only_for_their_user(bed: Bed) -> None:
    if bed.server is None:
        pytest.skip("no service starts in memory")
    secret = "A='it is \"secret\"'\n"
    send(bed, ONE, secret.encode())
    bed.tell_restart(f"cat shared/.env >{bed.folder}/seen; cat $AUREUS_ENV >>{bed.folder}/seen")
    activate(bed, ONE, None, fence=2, key="a")
    assert (bed.folder / "seen").read_text() == secret * 2
    kept = Path(bed.site.root) / ".aureus" / "env"
    assert [kept.stat().st_mode & 0o777, (kept / ONE).stat().st_mode & 0o777] == [0o700, 0o600]
    wherever = [file for file in bed.folder.rglob("*") if file.is_file() and b"secret" in file.read_bytes()]
    assert {file.relative_to(bed.folder).as_posix() for file in wherever} == {
        "seen", f"app/.aureus/env/{ONE}", "app/shared/.env", "app/shared/main.env",
    }  # fmt: skip


def test_a_content_without_variables_leaves_what_a_person_put_there_and_brings_it_back(bed: Bed) -> None:
    put_by_hand(bed, b"BY=hand\n")
    prepare(bed, ONE)
    activate(bed, ONE, None, fence=2, key="a1")
    assert read_by_service(bed) == b"BY=hand\n"
    for number, what in enumerate((TWO, THREE)):
        send(bed, what, b"A='2'\n", fence=3 + number)
    activate(bed, TWO, ONE, fence=5, key="a2")
    activate(bed, THREE, TWO, fence=6, key="a3")
    assert read_by_service(bed) == b"A='2'\n"
    activate(bed, ONE, THREE, fence=7, key="a4")
    assert (read_by_service(bed), read_by_service(bed, "main.env")) == (b"BY=hand\n", None)
    activate(bed, TWO, ONE, fence=8, key="a5")
    assert read_by_service(bed) == b"A='2'\n"


def test_variables_are_not_asked_for_again_where_they_lie_and_are_missed_where_they_do_not(bed: Bed) -> None:
    unsent = replace(release(ONE), configured=True)
    with refused("no_env"):
        bed.hosts.prepare(bed.host, bed.site, unsent, fence=1, key="p", deadline=FAR)
    assert bed.hosts.facts(bed.host, bed.site).releases == ()
    send(bed, ONE, b"A='1'\n")
    assert bed.hosts.prepare(bed.host, bed.site, unsent, fence=2, key="p", deadline=FAR).state == "already"
    assert send(bed, ONE, b"A='other'\n", fence=3) == "already"
    if isinstance(bed.hosts, FakeHosts):
        bed.hosts.at("h1").site(bed.site.root).env.clear()
    else:
        (Path(bed.site.root) / ".aureus" / "env" / ONE).unlink()
    assert bed.hosts.facts(bed.host, bed.site).releases == ()
    with refused("no_env"):
        bed.hosts.prepare(bed.host, bed.site, unsent, fence=4, key="p", deadline=FAR)
    with refused("incomplete"):
        activate(bed, ONE, None, fence=5, key="a")
    assert send(bed, ONE, b"A='1'\n", fence=6) == "done"
    assert activate(bed, ONE, None, fence=7, key="a") == "done"


def test_two_slots_have_a_file_of_variables_each(bed: Bed) -> None:
    for number, (what, slot) in enumerate(((ONE, "blue"), (TWO, "green"))):
        send(bed, what, f"A='{slot}'\n".encode(), fence=2 * number + 1)
        side = replace(bed.site, slot=slot)
        bed.hosts.activate(bed.host, side, what, expected=None, fence=2 * number + 2, key=slot, deadline=FAR)
    assert read_by_service(bed, "blue.env") == b"A='blue'\n"
    assert read_by_service(bed, "green.env") == read_by_service(bed) == b"A='green'\n"


def test_pruning_takes_the_variables_of_what_it_removes(bed: Bed) -> None:
    for number, what in enumerate((ONE, TWO, THREE)):
        send(bed, what, b"A='1'\n", fence=number + 1)
    activate(bed, ONE, None, fence=4, key="a")
    bed.hosts.prune(bed.host, bed.site, {TWO}, fence=5, key="prune")
    if isinstance(bed.hosts, FakeHosts):
        kept = set(bed.hosts.at("h1").site(bed.site.root).env)
    else:
        kept = {file.name for file in (Path(bed.site.root) / ".aureus" / "env").iterdir()}
    assert kept == {ONE, TWO}


def test_what_breaks_off_leaves_no_variables(bed: Bed) -> None:
    whole = packed({"a": b"1" * 100})
    cut = replace(release(ONE, whole), archive=lambda: io.BytesIO(whole[:-5]), configured=True, env=b"A='1'\n")
    with pytest.raises(ActFailed) as caught:
        bed.hosts.prepare(bed.host, bed.site, cut, fence=1, key="p", deadline=FAR)
    assert caught.value.code == "truncated"
    assert not list((Path(bed.site.root) / ".aureus").glob("env/*"))
