"""The Hosts Protocol over SSH."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from deployments.drivers.errors import ActFailed, ActRefused, ActTimedOut, HostError, Unreachable
from deployments.drivers.hosts import CONTENT, KEY, Answer, HostAddress, HostFacts, ReleaseFiles, Site
from deployments.drivers.ssh import acts
from deployments.drivers.ssh.channel import PIECE, NotBegun, Result, execute
from deployments.drivers.ssh.keys import KeyResolver, local_keys
from deployments.drivers.ssh.pool import Pool

SECONDS_TO_READ = 20.0
SECONDS_TO_CHANGE = 60.0
SECONDS_TO_WAIT = 10  # for a restart, before the answer is "running"
GRACE = 15.0

Pieces = Callable[[], Iterable[bytes]]


class SSHHosts:
    """Real hosts. Safe to use from several threads; connections are made in the process that uses them."""

    def __init__(self, keys: KeyResolver = local_keys, *, seconds_to_wait: int = SECONDS_TO_WAIT) -> None:
        self._pool = Pool(keys)
        self._seconds_to_wait = seconds_to_wait

    def close(self) -> None:
        """End all connections."""
        self._pool.close()

    def facts(self, host: HostAddress, site: Site, *, seconds: float | None = None) -> HostFacts:
        said = self._look(host, site, "facts", within=seconds or SECONDS_TO_READ).data
        return HostFacts(
            current=said["current"] or None,
            previous=said["previous"] or None,
            live=said["live"] or None,
            releases=tuple(said["releases"]),
            fence=int(said["fence"]),
            disk_free=int(said["disk_free"]),
            inodes_free=int(said["inodes_free"]),
            missing_tools=tuple(said["missing_tools"]),
            zstd=bool(said["zstd"]),
            started_at=said["started_at"],
            service=str(said["service"]),
            restarts=said["restarts"],
        )

    def prepare(
        self, host: HostAddress, site: Site, release: ReleaseFiles, *, fence: int, key: str, deadline: float
    ) -> Answer:
        options = _options(
            fence=fence,
            key=_key(key),
            content=release.content,
            deadline=_whole(deadline),
            size=release.size,
            sha256=release.sha256,
            unpacked=release.unpacked_size,
            files=release.files,
            workflow=len(release.workflow),
        )
        if release.configured:
            options += _options(env=len(release.env))
        if release.base:
            base = release.base
            options += _options(base=base.content, copies=len(base.copies), manifest=base.manifest)
        return self._act(host, site.root, "prepare", options, lambda: _pieces(release), deadline + GRACE)

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
        options = _options(
            fence=fence,
            key=_key(key),
            content=_content(content),
            expected=expected or "",
            again="yes" if again else "no",
            deadline=_whole(deadline),
            wait=min(self._seconds_to_wait, _whole(deadline)),
            **_site(site),
        )
        return self._act(host, site.root, "activate", options, _nothing, self._seconds_to_wait + SECONDS_TO_CHANGE)

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
        options = _options(
            fence=fence,
            key=_key(key),
            content=_content(content),
            command=command,
            folder="root" if in_root else "release",
            deadline=_whole(deadline),
            wait=min(self._seconds_to_wait, _whole(deadline)),
        )
        return self._act(host, site.root, "once", options, _nothing, self._seconds_to_wait + SECONDS_TO_CHANGE)

    def beside(self, host: HostAddress, site: Site, command: str, *, key: str, deadline: float) -> Answer:
        wait = min(self._seconds_to_wait, _whole(deadline))
        options = _options(key=_key(key), command=command, deadline=_whole(deadline), wait=wait)
        return self._act(host, site.root, "beside", options, _nothing, self._seconds_to_wait + SECONDS_TO_CHANGE)

    def adopt(
        self, host: HostAddress, site: Site, content: str, *, expected: str | None, fence: int, key: str
    ) -> Answer:
        options = _options(
            fence=fence, key=_key(key), content=_content(content), expected=expected or "", slot=site.slot
        )
        return self._change(host, site.root, "adopt", options)

    def set_live(self, host: HostAddress, site: Site, *, fence: int, key: str) -> Answer:
        return self._change(host, site.root, "live", _options(fence=fence, key=_key(key), slot=site.slot))

    def cool(self, host: HostAddress, site: Site, *, fence: int, key: str) -> Answer:
        options = _options(fence=fence, key=_key(key), **_site(site))
        if site.halt:
            options += ["--halt", site.halt]
        return self._change(host, site.root, "cool", options)

    def stop(self, host: HostAddress, site: Site, *, fence: int, key: str) -> Answer:
        return self._change(host, site.root, "stop", _options(fence=fence, key=_key(key)))

    def prune(self, host: HostAddress, site: Site, keep: AbstractSet[str], *, fence: int, key: str) -> Answer:
        options = _options(fence=fence, key=_key(key))
        for content in sorted(keep):
            options += ["--keep", _content(content)]
        return self._change(host, site.root, "prune", options)

    def status(self, host: HostAddress, site: Site, key: str) -> Answer:
        return self._look(host, site, "status", key=_key(key))

    def read_workflow(self, host: HostAddress, site: Site) -> tuple[str, bytes]:
        said = self._look(host, site, "workflow").data
        return str(said["content"]), base64.b64decode(said["workflow"])

    def logs(self, host: HostAddress, site: Site, lines: int) -> str:
        return str(self._look(host, site, "logs", lines=lines).data["logs"])

    def diagnose(self, host: HostAddress, site: Site) -> dict[str, str]:
        return {name: str(text) for name, text in self._look(host, site, "diagnose").data.items()}

    def put_file(self, host: HostAddress, path: str, content: bytes, *, root: str, fence: int) -> None:
        if not path.startswith("/"):
            raise ValueError(f"path {path!r} is not absolute")
        options = _options(fence=fence, path=path, size=len(content), sha256=hashlib.sha256(content).hexdigest())
        self._change(host, root, "put", options, lambda: [content])

    def read_file(self, host: HostAddress, path: str) -> bytes:
        """The file's bytes, at most 1 MiB. Raises ActRefused (not_found) when it is not there."""
        status, out, err = self.run(host, ["env", "LC_ALL=C", "cat", "--", path])
        if status == 0:
            return out
        if b"No such file" in err:
            raise ActRefused(f"host {host.name} has no file {path}", code="not_found")
        raise ActFailed(f"host {host.name}: {acts.plain(err.decode('utf-8', 'replace')).strip()}", code="read_failed")

    def run(
        self, host: HostAddress, words: Sequence[str], stdin: bytes = b"", timeout: float = 30
    ) -> tuple[int, bytes, bytes]:
        """Exit status, stdout, stderr. Raises ActTimedOut when the host ended the command at `timeout` (seconds)."""
        result = self._execute(host, acts.bounded(words, timeout), lambda: [stdin] if stdin else [], timeout + GRACE)
        if result.status in (124, 137):
            raise ActTimedOut(f"host {host.name}: {words[0]} did not end within {timeout:.0f} s", code="deadline")
        return result.status, result.out, result.err

    def _look(
        self, host: HostAddress, site: Site, verb: str, *, within: float = SECONDS_TO_READ, **named: Any
    ) -> Answer:
        options = _options(**named, **_site(site))
        grace = min(GRACE, within)
        return self._act(host, site.root, verb, options, _nothing, within + grace, within)

    def _change(
        self, host: HostAddress, root: str, verb: str, options: list[str], stdin: Pieces | None = None
    ) -> Answer:
        return self._act(host, root, verb, options, stdin or _nothing, SECONDS_TO_CHANGE + GRACE, SECONDS_TO_CHANGE)

    def _act(
        self,
        host: HostAddress,
        root: str,
        verb: str,
        options: list[str],
        stdin: Pieces,
        seconds: float,
        bound: float | None = None,
    ) -> Answer:
        nonce = secrets.token_hex(16)
        command = acts.act_command(root, nonce, verb, options, bound)
        result = self._execute(host, command, stdin, seconds)
        if result.status == acts.NOT_THERE:
            self._put_script(host, root)
            result = self._execute(host, command, stdin, seconds)
        return acts.read_answer(host, nonce, result)

    def _put_script(self, host: HostAddress, root: str) -> None:
        source, _ = acts.script()
        result = self._execute(host, acts.put_command(root), lambda: [source], 30 + GRACE)
        if result.status == 0:
            return
        err = acts.plain(result.err.decode("utf-8", "replace")).strip()
        if "No space left" in err:
            raise ActRefused(f"host {host.name}: no space left in {root}", code="no_space")
        if result.status == acts.NO_ROOT:
            raise ActRefused(
                f"host {host.name}: {root} cannot be used: create it and give it to {host.user} ({err})", code="no_root"
            )
        raise ActFailed(f"host {host.name}: the act script cannot be put into {root}: {err}", code="no_script")

    def _execute(self, host: HostAddress, command: str, stdin: Pieces, seconds: float) -> Result:
        for last in (False, True):
            try:
                with self._pool.lease(host) as transport:
                    return execute(transport, command, stdin(), seconds=seconds)
            except NotBegun as error:
                # An idle connection may have died unnoticed; nothing of the act was sent on it.
                self._pool.drop(host)
                if last:
                    raise Unreachable(f"host {host.name} drops our connections: {error}", code="ssh_failed") from None
            except HostError as error:
                if not str(error).startswith("host "):
                    sentence = f"host {host.name}: {error.sentence}"
                    raise type(error)(sentence, code=error.code, retry=error.retry, detail=error.detail) from None
                raise
        raise AssertionError("unreachable")


def _nothing() -> Iterable[bytes]:
    return ()


def _pieces(release: ReleaseFiles) -> Iterator[bytes]:
    yield release.workflow
    if release.env:
        yield release.env
    if release.base:
        yield release.base.copies
    if release.archive is None:
        return
    with release.archive() as stream:
        while piece := stream.read(PIECE):
            yield piece


def _options(**named: Any) -> list[str]:
    return [word for name, value in named.items() for word in (f"--{name}", str(value))]


def _site(site: Site) -> dict[str, Any]:
    optional = {"unit": site.unit, "restart": site.restart, "port": site.port, "log": site.log}
    return {"slot": site.slot} | {name: value for name, value in optional.items() if value}


def _whole(seconds: float) -> int:
    return max(1, round(seconds))


def _key(key: str) -> str:
    if not KEY.match(key):
        raise ValueError(f"key {key!r} is not acceptable")
    return key


def _content(content: str) -> str:
    if not CONTENT.match(content):
        raise ValueError(f"content {content!r} is not acceptable")
    return content
