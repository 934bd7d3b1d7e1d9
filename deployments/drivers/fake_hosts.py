"""Hosts in memory, for tests of what drives them: the same Protocol, the same contract, and switches for faults."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from deployments.drivers.errors import ActFailed, ActRefused, ActTimedOut, HostError, KeyRefused, Unreachable
from deployments.drivers.hosts import CONTENT, KEY, Answer, HostAddress, HostFacts, ReleaseFiles, Site
from releases.archive import UnsafeArchive, inspect


@dataclass
class FakeSite:
    """One root on one fake host. `ledger` has (key, fence, verb, content, result)."""

    fence: int = 0
    releases: dict[str, bytes] = field(default_factory=dict)
    incomplete: set[str] = field(default_factory=set)
    bases: list[str] = field(default_factory=list)  # what contents that came as a difference were made from
    altered: set[str] = field(default_factory=set)  # contents of which something else comes out than we know
    slots: dict[str, str] = field(default_factory=dict)
    live: str | None = None
    ledger: list[tuple[str, int, str, str, str]] = field(default_factory=list)
    outcomes: dict[str, Answer | HostError] = field(default_factory=dict)
    running: dict[str, tuple[int, str, str]] = field(default_factory=dict)  # key -> fence, ledger's verb, content
    ended: list[int] = field(default_factory=list)  # made-up process numbers of what the last raised fence ended
    restarts: int = 0
    env: dict[str, bytes] = field(default_factory=dict)  # content -> its variables
    configured: set[str] = field(default_factory=set)  # contents that have some
    shared: dict[str, bytes] = field(default_factory=dict)  # file below shared/ -> what the service reads
    before: dict[str, bytes | None] = field(default_factory=dict)  # file below shared/ -> what ours took the place of

    def holds(self, content: str) -> bool:
        """Whether a content is complete here, with its variables where it has some."""
        whole = content in self.releases and content not in self.incomplete
        return whole and (content not in self.configured or content in self.env)

    def place(self, content: str, slot: str) -> None:
        """The content's variables where the service reads them; without any, what was there before ours."""
        for file in (".env", f"{slot}.env"):
            if content in self.configured:
                self.before.setdefault(file, self.shared.get(file))
                self.shared[file] = self.env[content]
            elif file in self.before:
                was = self.before.pop(file)
                del self.shared[file]
                self.shared |= {file: was} if was is not None else {}

    def note(self, key: str, fence: int, verb: str, content: str, result: str) -> None:
        self.ledger.append((key, fence, verb, content, result))

    def started(self, slot: str) -> str | None:
        """The content whose activation was the slot's last and was finished."""
        of_slot = [line for line in self.ledger if line[2] == f"activate@{slot}"]
        return of_slot[-1][3] if of_slot and of_slot[-1][4] == "done" else None

    def last_key(self, slot: str) -> str | None:
        """The act that last spoke of activating this slot."""
        return next((line[0] for line in reversed(self.ledger) if line[2] == f"activate@{slot}"), None)


@dataclass
class FakeHost:
    """One machine and what is wrong with it. Set a switch, and the next calls meet the fault."""

    unreachable: bool = False
    key_changed: bool = False
    disk_free: int = 10**12
    inodes_free: int = 10**9
    missing_tools: tuple[str, ...] = ()
    service: str = ""  # what systemd says of the unit, and how often it restarted that by itself
    own_restarts: int | None = None
    restart_fails: bool = False
    restart_hangs: bool = False  # activation answers `running` until `finish` or `fail` is called
    once_hangs: bool = False  # a command that runs once does, and is never really begun
    restart_hangs_past_deadline: bool = False
    lose_calls: int = 0  # so many next changing calls never arrive
    lose_answers: int = 0  # so many next changing calls are carried out, and then the connection breaks
    sites: dict[str, FakeSite] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)  # verb, key or path

    def site(self, root: str) -> FakeSite:
        return self.sites.setdefault(root, FakeSite())

    def finish(self, root: str, key: str) -> None:
        """Let a hanging restart succeed."""
        site = self.site(root)
        fence, verb, content = site.running.pop(key)
        site.restarts += verb.startswith("activate@")
        site.note(key, fence, verb, content, "done")
        site.outcomes[key] = Answer("done", f"{verb} {content} has ended")

    def fail(self, root: str, key: str) -> None:
        """Let a hanging restart fail."""
        site = self.site(root)
        fence, verb, content = site.running.pop(key)
        site.note(key, fence, verb, content, "failed")
        site.outcomes[key] = _restart_failed(content)


class FakeHosts:
    """A fleet by host name. `at(name)` is the machine, to look at and to break. Safe to use from several threads."""

    def __init__(self) -> None:
        self.machines: dict[str, FakeHost] = {}
        self._lock = threading.RLock()

    def at(self, name: str) -> FakeHost:
        """The machine of that name; it exists as soon as somebody speaks of it."""
        with self._lock:
            return self.machines.setdefault(name, FakeHost())

    def facts(self, host: HostAddress, site: Site, *, seconds: float | None = None) -> HostFacts:
        with self._reach(host, "facts", "") as machine:
            here = machine.site(site.root)
            current = here.slots.get(site.slot)
            done = [line[3] for line in here.ledger if line[2] == f"activate@{site.slot}" and line[4] == "done"]
            return HostFacts(
                current=current,
                previous=next((content for content in reversed(done) if content != current), None),
                live=here.live,
                releases=tuple(sorted(filter(here.holds, here.releases))),
                fence=here.fence,
                disk_free=machine.disk_free,
                inodes_free=machine.inodes_free,
                missing_tools=machine.missing_tools,
                zstd=True,
                started_at=here.restarts or None,
                service=machine.service,
                restarts=machine.own_restarts,
            )

    def prepare(
        self, host: HostAddress, site: Site, release: ReleaseFiles, *, fence: int, key: str, deadline: float
    ) -> Answer:
        with self._change(host, site.root, "prepare", fence, key) as (machine, here):
            _tools(machine)
            if here.holds(release.content):
                here.note(key, fence, "prepare", release.content, "already")
                return Answer("already", f"{release.content} is here and complete")
            if release.configured and not release.env:
                raise ActRefused(f"host {host.name}: {release.content} is not here with its variables", code="no_env")
            if machine.disk_free < release.unpacked_size * 12 // 10 + release.size:
                raise ActRefused(f"host {host.name}: not enough space is free in {site.root}", code="no_space")
            if machine.inodes_free <= release.files + 32:
                raise ActRefused(f"host {host.name}: not enough inodes are free in {site.root}", code="no_inodes")
            if release.base and release.base.content not in here.releases:
                raise ActRefused(f"host {host.name}: {release.base.content} is not here", code="no_base")
            if release.base and release.base.content in here.altered | here.incomplete:
                raise ActRefused(f"host {host.name}: {release.content} does not come out of it", code="base_differs")
            _check_archive(host, release)
            here.bases += [release.base.content] if release.base else []
            here.releases[release.content] = release.workflow
            here.incomplete.discard(release.content)
            if release.configured:
                here.configured.add(release.content)
                here.env[release.content] = release.env
            here.note(key, fence, "prepare", release.content, "done")
            return Answer("done", f"{release.content} is prepared")

    def activate(
        self,
        host: HostAddress,
        site: Site,
        content: str,
        *,
        expected: str | None,
        fence: int,
        key: str,
        deadline: float,
        again: bool = False,
    ) -> Answer:
        _demand_content(content)
        with self._change(host, site.root, "activate", fence, key) as (machine, here):
            _tools(machine)
            if key in here.running:
                here.running[key] = (fence, *here.running[key][1:])
                return Answer("running", f"the restart of {content} goes on")
            mine = not again or here.last_key(site.slot) == key
            if mine and here.slots.get(site.slot) == content and here.started(site.slot) == content:
                return _kept(here, key, Answer("already", f"{content} is what slot {site.slot} runs"))
            self._switch(host, here, site.slot, content, expected, (key, fence))
            here.place(content, site.slot)
            return _restart(machine, here, site.slot, content, (key, fence))

    def once(
        self,
        host: HostAddress,
        site: Site,
        content: str,
        command: str,
        *,
        fence: int,
        key: str,
        deadline: float,
        in_root: bool = False,
    ) -> Answer:
        """Runs the command on this machine, where that folder is there in it."""
        _demand_content(content)
        with self._change(host, site.root, "once", fence, key) as (machine, here):
            if key in here.running:
                here.running[key] = (fence, *here.running[key][1:])
            return self._command(host, site, machine, "once", content, command, (key, fence), deadline, in_root)

    def beside(self, host: HostAddress, site: Site, command: str, *, key: str, deadline: float) -> Answer:
        """Runs the command on this machine, where the folder of what is live is there in it."""
        with self._send(host, site.root, "beside", key) as (machine, here):
            content = here.slots.get(here.live or "", "")
            if not content:
                raise ActRefused(f"host {host.name}: nothing is live in {site.root} yet", code="no_release")
            return self._command(host, site, machine, "beside", content, command, (key, 0), deadline)

    def _command(
        self,
        host: HostAddress,
        site: Site,
        machine: FakeHost,
        verb: str,
        content: str,
        command: str,
        act: tuple[str, int],
        deadline: float,
        in_root: bool = False,
    ) -> Answer:
        key, here = act[0], machine.site(site.root)
        if key in here.running:
            return Answer("running", "the command goes on")
        results = [line[4] for line in here.ledger if line[0] == key and line[2] == verb]
        if "done" in results:
            kept = here.outcomes.get(key)
            return Answer("already", "it was done before", kept.data if isinstance(kept, Answer) else {})
        if results:
            raise ActRefused(f"host {host.name}: it was begun before and has not ended well", code="broke_off")
        if verb == "once" and not in_root and not here.holds(content):
            raise ActRefused(f"host {host.name}: {content} is not complete on this host", code="incomplete")
        here.note(*act, verb, content, "started")
        if machine.once_hangs:
            here.running[key] = (act[1], verb, content)
            return Answer("running", "the command goes on")
        return _kept(here, key, _carry_out(host, site, here, verb, content, command, act, deadline, in_root))

    def adopt(
        self, host: HostAddress, site: Site, content: str, *, expected: str | None, fence: int, key: str
    ) -> Answer:
        _demand_content(content)
        with self._change(host, site.root, "adopt", fence, key) as (_, here):
            if here.slots.get(site.slot) == content:
                here.note(key, fence, f"adopt@{site.slot}", content, "already")
                return Answer("already", f"slot {site.slot} is on {content}")
            self._may_switch(host, here, site.slot, content, expected)
            self._point(here, site.slot, content)
            here.note(key, fence, f"adopt@{site.slot}", content, "done")
            return Answer("done", f"slot {site.slot} is on {content}, nothing was restarted")

    def set_live(self, host: HostAddress, site: Site, *, fence: int, key: str) -> Answer:
        with self._change(host, site.root, "live", fence, key) as (_, here):
            if site.slot not in here.slots:
                raise ActRefused(f"host {host.name}: slot {site.slot} has no release yet", code="no_slot")
            here.live = site.slot
            here.note(key, fence, "live", "-", "done")
            return Answer("done", f"current is slot {site.slot}")

    def cool(self, host: HostAddress, site: Site, *, fence: int, key: str) -> Answer:
        with self._change(host, site.root, "cool", fence, key) as (_, here):
            if site.slot not in here.slots:
                raise ActRefused(f"host {host.name}: slot {site.slot} has no release yet", code="no_slot")
            if here.live == site.slot and len(here.slots) > 1:
                raise ActRefused(f"host {host.name}: slot {site.slot} has the traffic", code="live")
            if here.last_key(site.slot) == key:
                return Answer("already", f"slot {site.slot} was stopped before")
            here.note(key, fence, f"activate@{site.slot}", here.slots[site.slot], "cooled")
            return Answer("done", f"slot {site.slot} is stopped")

    def stop(self, host: HostAddress, site: Site, *, fence: int, key: str) -> Answer:
        with self._change(host, site.root, "stop", fence, key) as (_, here):
            ended, here.ended = here.ended, []
            here.note(key, fence, "stop", "-", "done")
            return Answer("done", "ended", {"ended": ended})

    def status(self, host: HostAddress, site: Site, key: str) -> Answer:
        with self._reach(host, "status", key) as machine:
            here = machine.site(site.root)
            if key in here.running:
                return Answer("running", "the act goes on")
            outcome = here.outcomes.get(key)
            if outcome is None:
                raise ActFailed(f"host {host.name}: act {key} was never begun on this host", code="absent")
            if isinstance(outcome, HostError):
                raise outcome
            return outcome

    def read_workflow(self, host: HostAddress, site: Site) -> tuple[str, bytes]:
        with self._reach(host, "workflow", "") as machine:
            here = machine.site(site.root)
            content = here.slots.get(site.slot)
            if content is None:
                raise ActRefused(f"host {host.name}: slot {site.slot} has no release", code="no_release")
            return content, here.releases[content]

    def logs(self, host: HostAddress, site: Site, lines: int) -> str:
        with self._reach(host, "logs", "") as machine:
            return "\n".join(" ".join(map(str, line)) for line in machine.site(site.root).ledger[-lines:])

    def diagnose(self, host: HostAddress, site: Site) -> dict[str, str]:
        with self._reach(host, "diagnose", ""):
            return {"service": "no unit is declared", "logs": self.logs(host, site, 10), "port_owner": ""}

    def prune(self, host: HostAddress, site: Site, keep: AbstractSet[str], *, fence: int, key: str) -> Answer:
        for content in keep:
            _demand_content(content)
        with self._change(host, site.root, "prune", fence, key) as (_, here):
            if any(line[0] == key and line[2] == "prune" for line in here.ledger):
                return Answer("already", "pruned before")
            removed = sorted(set(here.releases) - keep - set(here.slots.values()))
            for content in removed:
                del here.releases[content]
                here.env.pop(content, None)
                here.configured.discard(content)
            here.note(key, fence, "prune", "-", "done")
            return Answer("done", "", {"removed": removed})

    def put_file(self, host: HostAddress, path: str, content: bytes, *, root: str, fence: int) -> None:
        if not path.startswith("/"):
            raise ValueError(f"path {path!r} is not absolute")
        with self._change(host, root, "put", fence, "put") as (machine, _):
            machine.files[path] = content

    def read_file(self, host: HostAddress, path: str) -> bytes:
        with self._reach(host, "read", path) as machine:
            if path not in machine.files:
                raise ActRefused(f"host {host.name} has no file {path}", code="not_found")
            return machine.files[path]

    def run(
        self, host: HostAddress, words: Sequence[str], stdin: bytes = b"", timeout: float = 30
    ) -> tuple[int, bytes, bytes]:
        """Runs the words on this machine: a fake of every program would prove nothing about any."""
        with self._reach(host, "run", words[0]):
            pass
        try:
            done = subprocess.run(list(words), input=stdin, capture_output=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            raise ActTimedOut(
                f"host {host.name}: {words[0]} did not end within {timeout:.0f} s", code="deadline"
            ) from None
        return done.returncode, done.stdout, done.stderr

    def _switch(
        self, host: HostAddress, here: FakeSite, slot: str, content: str, expected: str | None, act: tuple[str, int]
    ) -> None:
        self._may_switch(host, here, slot, content, expected)
        here.note(*act, f"activate@{slot}", content, "started")
        self._point(here, slot, content)

    @staticmethod
    def _point(here: FakeSite, slot: str, content: str) -> None:
        here.slots[slot] = content
        here.live = here.live or slot

    @staticmethod
    def _may_switch(host: HostAddress, here: FakeSite, slot: str, content: str, expected: str | None) -> None:
        was = here.slots.get(slot)
        if not here.holds(content):
            raise ActRefused(f"host {host.name}: {content} is not complete on this host", code="incomplete")
        if was not in (expected, content):
            raise ActRefused(
                f"host {host.name}: slot {slot} is on {was or 'nothing'}, the plan saw {expected or 'nothing'}",
                code="cas",
                detail={"current": was or ""},
            )

    @contextmanager
    def _reach(self, host: HostAddress, verb: str, about: str) -> Iterator[FakeHost]:
        with self._lock:
            machine = self.at(host.name)
            machine.calls.append((verb, about))
            if not host.fingerprint:
                raise KeyRefused(f"host {host.name} has no pinned key", code="host_key_unknown")
            if machine.key_changed:
                raise KeyRefused(f"host {host.name} shows another key", code="host_key_mismatch")
            if machine.unreachable:
                raise Unreachable(f"host {host.name} cannot be reached", code="no_route")
            yield machine

    @contextmanager
    def _change(
        self, host: HostAddress, root: str, verb: str, fence: int, key: str
    ) -> Iterator[tuple[FakeHost, FakeSite]]:
        with self._send(host, root, verb, key, fence) as found:
            yield found

    @contextmanager
    def _send(
        self, host: HostAddress, root: str, verb: str, key: str, fence: int | None = None
    ) -> Iterator[tuple[FakeHost, FakeSite]]:
        if not KEY.match(key):
            raise ValueError(f"key {key!r} is not acceptable")
        with self._reach(host, verb, key) as machine:
            if machine.lose_calls:
                machine.lose_calls -= 1
                raise Unreachable(f"host {host.name}: the connection broke off", code="broke_off")
            here = machine.site(root)
            if fence is not None:
                _raise_fence(host, here, fence, key, spare=verb in ("activate", "once"))
            try:
                yield machine, here
            except HostError as error:
                here.outcomes[key] = error
                _lose(host, machine)
                raise
            _lose(host, machine)


def _lose(host: HostAddress, machine: FakeHost) -> None:
    if machine.lose_answers:
        machine.lose_answers -= 1
        raise Unreachable(f"host {host.name}: the connection broke off", code="broke_off")


def _raise_fence(host: HostAddress, here: FakeSite, fence: int, key: str, *, spare: bool) -> None:
    if fence < here.fence:
        sentence = f"host {host.name}: fence {fence} is lower than {here.fence}, which this host has seen"
        raise ActRefused(sentence, code="stale_fence", detail={"fence": here.fence})
    here.fence = fence
    here.ended = []
    for other, (of, verb, _) in list(here.running.items()):
        if of < fence and verb != "beside" and not (spare and other == key):
            _end(here, other, fence)


def _end(here: FakeSite, key: str, fence: int) -> None:
    of, verb, content = here.running.pop(key)
    here.ended.append(1000 + of)
    here.note(key, of, verb, content, "stale_fence")
    here.outcomes[key] = ActRefused(f"ended by fence {fence}", code="stale_fence", detail={"fence": fence})


def _restart(machine: FakeHost, here: FakeSite, slot: str, content: str, act: tuple[str, int]) -> Answer:
    key, fence = act
    here.outcomes.pop(key, None)
    if machine.restart_hangs:
        here.running[key] = (fence, f"activate@{slot}", content)
        return Answer("running", f"the restart of {content} goes on")
    if machine.restart_hangs_past_deadline:
        here.note(*act, f"activate@{slot}", content, "timed_out")
        raise ActTimedOut("the act did not end within its deadline", code="deadline")
    if machine.restart_fails:
        here.note(*act, f"activate@{slot}", content, "failed")
        raise _restart_failed(content)
    here.restarts += 1
    here.note(*act, f"activate@{slot}", content, "done")
    return _kept(here, key, Answer("done", f"{content} runs in slot {slot}"))


def _carry_out(
    host: HostAddress,
    site: Site,
    here: FakeSite,
    verb: str,
    content: str,
    command: str,
    act: tuple[str, int],
    deadline: float,
    in_root: bool,
) -> Answer:
    release = Path(site.root) / "releases" / content
    folder = Path(site.root) if in_root else release
    cwd = folder if folder.is_dir() else None
    words, told = ["sh", "-c", command], _told(site, content, act[0], release)
    try:
        done = subprocess.run(words, cwd=cwd, env=os.environ | told, capture_output=True, timeout=deadline, check=False)
    except subprocess.TimeoutExpired:
        here.note(*act, verb, content, "timed_out")
        raise ActTimedOut(f"host {host.name}: the act did not end within its deadline", code="deadline") from None
    said = {"said": (done.stdout + done.stderr).decode(errors="replace")[-2000:]}
    if done.returncode:
        here.note(*act, verb, content, "failed")
        sentence = f"host {host.name}: the command ended with exit {done.returncode}"
        raise ActFailed(sentence, code="command_failed", detail=said)
    here.note(*act, verb, content, "done")
    return Answer("done", "the command has ended", said)


def _told(site: Site, content: str, key: str, release: Path) -> dict[str, str]:
    """What a command finds in its environment."""
    return {
        "AUREUS_ROOT": site.root,
        "AUREUS_CONTENT": content,
        "AUREUS_VERSION": content[:-13],
        "AUREUS_RELEASE": str(release),
        "AUREUS_DEPLOYMENT": key.split(":")[0],
    }


def _kept(here: FakeSite, key: str, answer: Answer) -> Answer:
    here.outcomes[key] = answer
    return answer


def _restart_failed(content: str) -> ActFailed:
    detail = {"service": "no unit is declared", "logs": "the app fell over", "port_owner": ""}
    return ActFailed(f"the restart of {content} ended with exit 1", code="restart_failed", detail=detail)


def _tools(machine: FakeHost) -> None:
    if machine.missing_tools:
        raise ActRefused(f"this host lacks: {' '.join(machine.missing_tools)}", code="missing_tool")


def _check_archive(host: HostAddress, release: ReleaseFiles) -> None:
    if release.archive is None:
        return
    with release.archive() as stream:
        sent = stream.read()
    if len(sent) < release.size:
        raise ActFailed(f"host {host.name}: the archive broke off after {len(sent)} bytes", code="truncated")
    found = hashlib.sha256(sent[: release.size]).hexdigest()
    if found != release.sha256:
        raise ActRefused(f"host {host.name}: the archive arrived as sha256 {found}", code="sha256")
    try:
        with release.archive() as stream:
            inspect(stream)
    except UnsafeArchive as error:
        raise ActRefused(f"host {host.name}: {error}", code="unsafe_archive") from None


def _demand_content(content: str) -> None:
    if not CONTENT.match(content):
        raise ValueError(f"content {content!r} is not acceptable")
