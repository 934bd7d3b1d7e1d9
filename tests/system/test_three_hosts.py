"""Rolling over three real OpenSSH hosts, and what is refused without a trace."""

from __future__ import annotations

import io
import os
import secrets
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from aureus.demo.shop import spec
from aureus.journal.refusals import Invalid
from deployments.models import Endpoint, Host
from releases import registry
from tests.system.conftest import ALICE, Fleet

pytestmark = pytest.mark.system


def activations(fleet: Fleet) -> dict[str, list[str]]:
    """The contents that each host's ledger says were activated, by version."""
    found: dict[str, list[str]] = {}
    for machine in fleet.machines:
        done = [line for line in machine.ledger() if line[2].startswith("activate") and line[4] == "done"]
        found[machine.name] = [line[3].rsplit("-", 1)[0] for line in done]
    return found


def test_a_second_host_that_never_becomes_healthy_fails_the_deployment_and_the_third_is_untouched(fleet: Fleet):
    installation = fleet.declare()
    fleet.deployed("1.0.0")
    sick = f"""#!/bin/sh
    case "$AUREUS_RELEASE" in */1.1.0-*) exec true;; esac
    exec sh {fleet.machines[1].root}/good.sh
    """
    script = fleet.machines[1].restart
    script.rename(script.with_name("good.sh"))
    script.write_text(sick)
    deployment = fleet.ended(fleet.ask(fleet.version("1.1.0")))
    assert (deployment.status, deployment.outcome) == ("failed", "error")
    assert "h2 is not healthy with 1.1.0" in deployment.reason
    assert fleet.versions() == dict.fromkeys(("h1", "h2", "h3"), "1.0.0")
    assert activations(fleet) == {"h1": ["1.0.0", "1.1.0", "1.0.0"], "h2": ["1.0.0", "1.1.0", "1.0.0"], "h3": ["1.0.0"]}
    step = deployment.steps.get(kind="verify", status="failed")
    assert (step.target, step.rule) == ("h2", "health")
    assert "it is healthy, but runs 1.0.0" in step.reason.lower()
    assert deployment.rollbacks.get().status == "deployed"
    assert installation.endpoints.exclude(owed="").count() == 0


def test_a_changed_host_key_is_refused_and_nothing_changes_on_any_host(fleet: Fleet):
    fleet.declare()
    fleet.deployed("1.0.0")
    before = activations(fleet)
    Host.objects.filter(name="h3").update(fingerprint="SHA256:" + "A" * 43)
    fleet.outside.hosts.close()  # type: ignore[attr-defined]
    deployment = fleet.ended(fleet.ask(fleet.version("1.1.0")))
    assert (deployment.status, deployment.outcome) == ("failed", "error")
    assert "h3" in deployment.reason
    assert "aureus hosts trust" in deployment.reason
    assert activations(fleet) == before
    assert fleet.versions() == dict.fromkeys(("h1", "h2", "h3"), "1.0.0")


def test_a_host_without_a_pinned_key_is_refused_with_what_to_do(fleet: Fleet):
    fleet.declare()
    Host.objects.filter(name="h1").update(fingerprint="")
    deployment = fleet.ended(fleet.ask(fleet.version("1.0.0")))
    assert "run: aureus hosts trust h1" in deployment.reason


def test_an_archive_that_would_write_outside_its_folder_is_refused_before_any_host_hears_of_it(fleet: Fleet):
    fleet.declare()
    octets = io.BytesIO()
    with tarfile.open(fileobj=octets, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../evil"))
    version, _ = registry.register({"id": "shop", "name": "s", "tasks": []}, "1.0.0", actor=ALICE)
    with pytest.raises(Invalid, match="evil"):
        fleet.attach(version, octets.getvalue())
    version.refresh_from_db()
    assert version.artifact is None
    assert not [f for f in (fleet.folder / "artifacts").rglob("*") if f.is_file()]
    assert activations(fleet) == {"h1": [], "h2": [], "h3": []}


def test_bytes_that_changed_in_the_store_are_refused_by_the_host_before_they_are_unpacked(fleet: Fleet):
    fleet.declare()
    version = fleet.version("1.0.0")
    [kept] = [f for f in (fleet.folder / "artifacts").rglob("*") if f.is_file()]
    octets = bytearray(kept.read_bytes())
    octets[-1] ^= 1
    kept.chmod(0o600)
    kept.write_bytes(octets)
    deployment = fleet.ended(fleet.ask(version))
    assert (deployment.status, deployment.outcome) == ("failed", "error")
    assert "sha256" in deployment.reason
    assert activations(fleet) == {"h1": [], "h2": [], "h3": []}
    assert not any(list((m.root / "releases").iterdir()) for m in fleet.machines if (m.root / "releases").exists())


def test_a_host_that_is_away_from_the_start_fails_the_check_and_nothing_is_touched(fleet: Fleet):
    fleet.declare()
    fleet.deployed("1.0.0")
    before = activations(fleet)
    fleet.machines[2].process.kill()
    fleet.machines[2].process.wait()
    fleet.outside.hosts.close()  # type: ignore[attr-defined]
    deployment = fleet.ended(fleet.ask(fleet.version("1.1.0")))
    assert deployment.status == "failed"
    assert "h3" in deployment.reason
    assert activations(fleet) == before
    assert Endpoint.objects.exclude(owed="").count() == 0


@pytest.fixture
def small_disk(fleet: Fleet) -> Iterator[Path]:
    """The second machine's releases on a disk of 3 MB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder = fleet.machines[1].root / "releases"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_stops_the_deployment_before_anything_is_activated(fleet: Fleet, small_disk: Path):
    fleet.declare()
    fleet.deployed("1.0.0")
    before = activations(fleet)
    (small_disk / "ballast").write_bytes(b"x" * 2_500_000)
    octets = io.BytesIO()
    with tarfile.open(fileobj=octets, mode="w:gz") as tar:
        noise = secrets.token_bytes(1_500_000)
        member = tarfile.TarInfo("noise")
        member.size = len(noise)
        tar.addfile(member, io.BytesIO(noise))
    version, _ = registry.register(spec("1.1.0"), "1.1.0", actor=ALICE)
    deployment = fleet.ended(fleet.ask(fleet.attach(version, octets.getvalue())))
    assert (deployment.status, deployment.outcome) == ("failed", "error")
    assert "h2" in deployment.reason
    assert "MiB are needed and" in deployment.reason
    assert activations(fleet) == before
    assert fleet.versions() == dict.fromkeys(("h1", "h2", "h3"), "1.0.0")
    assert sorted(f.name.split("-")[0] for f in small_disk.iterdir()) == ["1.0.0", "ballast"]
