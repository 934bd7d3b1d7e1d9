"""One performance of the demo, from the empty folder to the last process's end."""

import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from aureus.demo.children import NotReady
from aureus.demo.client import Refused
from aureus.demo.declaration import NotDeclared
from aureus.demo.report import Report
from aureus.demo.scene import Scene
from aureus.demo.story import BAD, Failed, Story

INTERRUPTED = 130


def perform(home: Path | None, *, keep: bool) -> int:
    """0: all held; 1: something did not; 2: the folder cannot be used; 130: interrupted."""
    try:
        folder = _folder(home)
    except OSError as error:
        print(f"--home {home} cannot be used: {error.strerror or error}", file=sys.stderr)
        return 2
    report, code = Report(), 1
    with _interruptible():
        try:
            code = _on(Scene(folder), report, keep=keep)
        finally:
            if code == 0 and home is None:
                shutil.rmtree(folder, ignore_errors=True)
            else:
                report.say("demo", f"everything it left is in {folder}; the logs of Aureus in {folder}/aureus/logs")
    return code


def _folder(home: Path | None) -> Path:
    if home is None:
        return Path(tempfile.mkdtemp(prefix="aureus-demo-"))
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(home.iterdir()):
        raise OSError("it is not empty; name a new folder")
    return home.resolve()


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does; a second one does not break off the clearing up."""
    told = False

    def hear(_number: int, _frame: FrameType | None) -> None:
        nonlocal told
        if not told:
            told = True
            raise KeyboardInterrupt

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _on(scene: Scene, report: Report, *, keep: bool) -> int:
    story, told = Story(scene, report), False
    try:
        report.say("demo", "starting: PostgreSQL, Valkey, web, workers, Beat, Flower, five machines, a balancer")
        scene.begin()
        kind = "OpenSSH's sshd" if scene.real_sshd else "asyncssh, since no sshd of this machine lets us in"
        report.say("machines", f"{', '.join(m.name for m in scene.machines)}: SSH by {kind}, keys pinned")
        story.tell()
        told = True
        _sum_up(story, report)
        if keep:
            _keep(scene, report)
    except KeyboardInterrupt:
        report.say("demo", "interrupted", "bad")
        return INTERRUPTED
    except (Failed, Refused, NotReady, NotDeclared) as error:
        report.say("demo", str(error), "bad")
        return 1
    finally:
        report.say("demo", "ending every process", "quiet")
        scene.end(hurry=not told)
    return 1 if story.wrong else 0


def _sum_up(story: Story, report: Report) -> None:
    seen = story.figures
    begun, ended = seen["first_error_at"], seen["last_error_at"]
    report.chapter("As the load tool saw it")
    report.lines(
        [
            ("requests sent", f"{seen['sent']:,}"),
            ("lost (no answer, or an error made by the balancer)", f"{seen['lost']:,}"),
            (f"answered with an error by {BAD}", f"{seen['errors_by_version'].get(BAD, 0):,}"),
            ("seconds from fault to restored", f"{ended - begun:.1f}" if begun else "-"),
        ]
    )
    report.chapter("All of it held." if not story.wrong else "Not all of it held:")
    for sentence in story.wrong:
        report.say("demo", sentence, "bad")


def _keep(scene: Scene, report: Report) -> None:
    """Run on until Ctrl-C, which is then no failure."""
    aureus, caddy = scene.aureus, scene.caddy
    assert aureus is not None
    assert caddy is not None
    report.chapter("It goes on running; Ctrl-C ends it")
    report.lines(
        [
            ("console", f"{aureus.url}/admin/"),
            ("sign in", f"user admin, password {aureus.password}"),
            ("the shop, through its balancer", f"{caddy.url}/"),
            ("the fleet's declaration", str(scene.folder / "fleet.yaml")),
            ("data and logs", str(scene.folder)),
        ]
    )
    try:
        signal.pause()
    except KeyboardInterrupt:
        return
