"""A host that holds a version is sent what differs in the next one, and the whole where that comes out wrong."""

from __future__ import annotations

import hashlib
import io
import random
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from deployments import lifecycle
from deployments.contents import Brought
from deployments.delivery import LEAST, Differences
from deployments.models import Installation
from deployments.outside import Outside, files_of
from releases import registry
from releases.difference import entries
from releases.models import Version
from releases.store.directory import DirectoryStore
from tests.deployments.conftest import ALICE, Fleet
from tests.drivers.releases import packed

CHANCE = random.Random(7)
LARGE = {f"lib/{number}": CHANCE.randbytes(40_000) for number in range(10)}
"""Too large to be sent whole where one small file has changed."""


class Store(DirectoryStore):
    """Counts how often it is read."""

    opened = 0

    def open(self, key: str) -> BinaryIO:
        self.opened += 1
        return super().open(key)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def kept(tmp_path: Path, store: Store) -> Differences:
    return Differences(tmp_path / "kept", store)


def version(fleet: Fleet, store: Store, number: str, files: dict[str, bytes]) -> Version:
    archive = packed(files)
    sha256 = hashlib.sha256(archive).hexdigest()
    made = registry.attach(
        fleet.version(number).pk, io.BytesIO(archive), sha256=sha256, store=store, max_size=10**8, actor=ALICE
    )
    return Version.objects.select_related("artifact").get(pk=made.pk)


def smaller(kept: Differences, store: Store, new: Version, old: Version) -> Any:
    return kept.smaller(files_of(Brought(new), store), Brought(new), Brought(old))


def test_little_is_sent_where_little_has_changed_and_it_is_worked_out_once(fleet, store, kept, tmp_path):
    old = version(fleet, store, "1.0.0", {**LARGE, "app": b"1"})
    new = version(fleet, store, "1.1.0", {**LARGE, "app": b"2"})
    small = smaller(kept, store, new, old)
    assert new.artifact is not None
    assert small.size < 1000 < LEAST < new.artifact.size
    assert small.base.content == Brought(old).content
    assert sorted(small.base.copies.decode().split()) == sorted(f"./{path}" for path in LARGE)
    with small.archive() as stream:
        sent = stream.read()
    assert (hashlib.sha256(sent).hexdigest(), len(sent)) == (small.sha256, small.size)
    read = store.opened
    again = smaller(Differences(tmp_path / "kept", store), store, new, old)
    assert replace(again, archive=small.archive) == small
    assert store.opened == read


def test_the_same_archive_with_other_variables_sends_none_of_its_files(fleet, store, kept):
    made = version(fleet, store, "1.0.0", {**LARGE, "app": b"1"})
    small = smaller(kept, store, made, made)
    with small.archive() as stream:
        assert list(entries(stream)) == []


def test_the_whole_is_sent_where_it_is_small_or_much_has_changed_or_nothing_can_be_kept(fleet, store, tmp_path, kept):
    old = version(fleet, store, "1.0.0", {**LARGE, "app": b"1"})
    other = version(fleet, store, "2.0.0", {path: CHANCE.randbytes(40_000) for path in LARGE})
    tiny = version(fleet, store, "3.0.0", {"app": b"1"})
    bare = fleet.version("4.0.0")
    for new, base in ((other, old), (tiny, old), (bare, old), (old, bare)):
        assert smaller(kept, store, new, base) is None
    (tmp_path / "file").touch()
    new = version(fleet, store, "1.1.0", {**LARGE, "app": b"2"})
    assert smaller(Differences(tmp_path / "file", store), store, new, old) is None


class Delivered(Fleet):
    """A fleet that is sent artifacts of a real store."""

    store: Store
    kept: Differences

    @property
    def outside(self) -> Outside:
        return replace(super().outside, store=self.store, differences=self.kept)


@pytest.fixture
def delivered(transactional_db: None, store: Store, kept: Differences) -> Delivered:
    made = Delivered()
    made.store, made.kept = store, kept
    made.environment("staging", hosts=1)
    return made


def test_a_deployment_sends_the_difference_and_where_the_host_makes_something_else_of_it_the_whole(delivered, store):
    contents = []
    for number, app in (("1.0.0", b"1"), ("1.1.0", b"2"), ("1.2.0", b"3")):
        made = version(delivered, store, number, {**LARGE, "app": app})
        contents.append(Brought(made).content)
        here = delivered.hosts.at("staging-1").site(delivered.root)
        if number == "1.2.0":
            here.altered.add(contents[1])
        deployment = lifecycle.deploy(made.pk, "staging", actor=ALICE)
        delivered.run()
        deployment.refresh_from_db()
        assert deployment.status == "deployed", deployment.reason
    calls = [key for verb, key in delivered.hosts.at("staging-1").calls if verb == "prepare"]
    asked = [sum(key.endswith(content) for key in calls) for content in contents]
    assert asked == [1, 1, 2]
    assert here.bases == [contents[0]]
    assert delivered.running(Installation.objects.get()) == {"staging-1": "1.2.0"}
