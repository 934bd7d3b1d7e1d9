"""The fleet by the command: applied from a file, hosts listed and trusted, and real SSH behind converge and recover."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from deployments.models import Deployment, Endpoint, Environment, Host, Installation
from tests.cli.conftest import run
from tests.deployments.test_fleet_declaration import GOOD, changed
from tests.drivers.sshd import SSHServer, start_standin

OTHER = "SHA256:" + "b" * 43
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "fleet.yaml", GOOD)


def write(path: Path, tree: object) -> Path:
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    started = start_standin(tmp_path_factory.mktemp("sshd"))
    yield started
    started.stop()


@pytest.fixture
def real(server: SSHServer, tmp_path: Path) -> Path:
    """A declaration of one real host, whose key is not trusted yet."""
    host = {"name": "s1", "address": "127.0.0.1", "port": server.port, "user": server.user,
            "key": f"file:{server.folder / 'client'}"}  # fmt: skip
    environment = {"name": "staging", "approvals": 0, "promote_from": None, "gates": "basic", "hosts": [host]}
    place = {"application": "shop", "environment": "staging", "root": str(tmp_path / "app"), "restart": "true",
             "port": 8080}  # fmt: skip
    return write(tmp_path / "real.yaml", {"environments": [environment], "installations": [place]})


def test_the_difference_is_shown_and_applied_and_the_second_time_nothing_changes(file):
    done = run("apply", str(file))
    assert done.code == 0, done.err
    assert "+ host p1 of production added (its key is not trusted yet: run aureus hosts trust p1)" in done.out
    assert done.out.splitlines()[-1] == "applied"
    assert Environment.objects.count() == 2
    assert run("apply", str(file)).out == "nothing changes\n"


def test_a_change_is_told_field_by_field(file):
    run("apply", str(file))
    write(file, changed("environments[1].hosts[1].address", "10.0.0.99"))
    done = run("apply", str(file), "--dry-run")
    assert "~ host p1 of production changed" in done.out
    assert "    address: 10.0.0.11 -> 10.0.0.99" in done.out
    assert Host.objects.get(name="p1").address == "10.0.0.11"


def test_json_holds_the_whole_difference(file):
    said = run("apply", str(file), "--json").json
    assert said["applied"] is True
    assert {"kind": "environment", "name": "staging", "action": "added"}.items() <= said["changes"][0].items()
    assert run("apply", str(file), "--json").json["changes"] == []


def test_a_wrong_file_ends_with_2_and_every_error(file):
    write(file, changed("environments[0].hosts[0].port", "ssh"))
    done = run("apply", str(file))
    assert done.code == 2
    assert "environments[0].hosts[0].port: must be a number" in done.err
    assert run("apply", "/nowhere.yaml").code == 2
    assert run("apply").code == 2
    assert run("apply", str(file), "--from-env").code == 2


def test_a_declaration_is_read_from_standard_input(file):
    assert run("apply", "-", stdin=file.read_text()).code == 0


def test_what_would_orphan_a_deployment_ends_with_1(file):
    run("apply", str(file))
    tree = changed("environments[1].promote_from", "moon")
    done = run("apply", str(write(file, tree)))
    assert done.code == 1
    assert "takes versions from moon, which is declared nowhere" in done.err


def test_the_guides_variables_declare_staging_and_production(monkeypatch):
    from tests.deployments.test_fleet_from_variables import VARIABLES

    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    assert run("apply", "--from-env", "--application", "shop").code == 2, "approvals are nobody's default"
    options = ("--from-env", "--application", "shop", "--port", "8080", "--approvals", "1")
    done = run("apply", *options)
    assert done.code == 0, done.err
    assert list(Host.objects.values_list("name", "credential").order_by("name")) == [
        ("prod1.example.com", "file:/run/secrets/production"),
        ("prod2.example.com-2222", "file:/run/secrets/production"),
        ("staging.example.com", "env:STAGING_SSH_KEY"),
    ]
    assert run("apply", *options).out == "nothing changes\n"
    monkeypatch.delenv("STAGING_KNOWN_HOSTS")
    assert "ssh-keyscan" in run("apply", *options).err


def test_hosts_are_listed_with_versions_and_trust(file):
    run("apply", str(file))
    Host.objects.filter(name="p1").update(fingerprint=OTHER)
    Endpoint.objects.filter(host__name="p2").update(recorded="1.1.0-0123456789ab", owed="it was not healthy")
    table = run("hosts", "-e", "production").out.splitlines()
    [line] = [row for row in table if " p2 " in row]
    assert line.split()[:5] == ["production", "p2", "10.0.0.12:22", "shop", "1.1.0"]
    assert "owed: it was not healthy" in line
    assert [row["host"] for row in run("hosts", "--json").json if row["trusted"]] == ["p1"]


def test_a_host_is_trusted_once_its_key_was_compared(real, server):
    run("apply", str(real))
    done = run("hosts", "trust", "s1")
    assert done.code == 1
    assert server.fingerprint in done.out
    assert "compare the fingerprint" in done.err
    assert run("hosts", "trust", "s1", "--fingerprint", OTHER).code == 1
    done = run("hosts", "trust", "s1", "--fingerprint", server.fingerprint)
    assert (done.code, done.out.splitlines()[-1]) == (0, "s1 is trusted")
    assert Host.objects.get().fingerprint == server.fingerprint
    assert "already" in run("hosts", "trust", "s1", "--yes").out


def test_a_changed_key_shows_both_and_needs_replace(real, server):
    run("apply", str(real))
    Host.objects.update(fingerprint=OTHER)
    done = run("hosts", "trust", "s1", "--yes")
    assert done.code == 1
    assert OTHER in done.out
    assert server.fingerprint in done.out
    assert "--replace" in done.err
    assert run("hosts", "trust", "s1", "--yes", "--replace").code == 0


def test_converge_and_recover_look_at_real_hosts(real, server):
    run("apply", str(real))
    assert "has no pinned key" in run("converge", "staging").out
    run("hosts", "trust", "s1", "--yes")
    [found] = run("converge", "staging", "--json").json
    assert (found["hosts"][0]["runs"], found["why"]) == ("", "nothing is deployed there: deploy a version")
    assert run("converge", "moon").code == 1
    done = run("recover")
    assert done.code == 0, done.err
    assert "no host is ahead of this database" in done.out
    Installation.objects.update(held="a fence from the future")
    assert run("recover", "--accept").code == 2, "a reason is demanded"
    assert run("recover", "--accept", "--reason", "restored Monday's dump", "--json").json["accepted"] is True
    assert Installation.objects.get().held == ""
    assert not Deployment.objects.exists()


def test_a_hand_installed_host_is_adopted_over_real_ssh_and_its_program_runs_on(real, server, tmp_path):
    from aureus.journal.actor import Actor
    from deployments import lifecycle
    from releases import registry
    from tests.deployments.conftest import SPEC
    from tests.health.web import site

    with site({"/health": lambda _: (200, {"status": "ok", "version": "1.0.0"})}) as web:
        tree = yaml.safe_load(real.read_text())
        tree["installations"][0]["port"] = web.server.server_port
        run("apply", str(write(real, tree)))
        registry.register(SPEC, "1.0.0", actor=Actor("alice"))
        words = ("adopt", "staging", "shop", "--version", "1.0.0")
        refused = run(*words)
        assert (refused.code, "aureus hosts trust s1" in refused.out) == (1, True)
        run("hosts", "trust", "s1", "--yes")
        root = tmp_path / "app"
        shown = run(*words)
        assert shown.code == 0, shown.err
        assert "send its release, point its link at it, restart nothing" in shown.out
        assert not (root / "releases").exists()
        assert run(*words, "--yes").code == 2, "a reason is demanded"
        said = run(*words, "--yes", "--reason", "it came from the old scripts", "--json").json
        assert said["hosts"][0]["adopted"] is True
    endpoint = Endpoint.objects.get()
    assert (root / "current").resolve() == root / "releases" / endpoint.recorded
    assert (root / ".aureus" / "ledger").read_text().split()[2] == "prepare"
    assert " activate@" not in (root / ".aureus" / "ledger").read_text()
    current = lifecycle.current_of(Installation.objects.get())
    assert current is not None and str(current.pk) == said["deploymentId"]
    assert "by shell:" not in current.requested_by and "because it came from the old scripts" in current.reason
    [row] = run("hosts", "list", "--json").json
    assert (row["recorded"], row["standing"]) == ("1.0.0", "unseen")
