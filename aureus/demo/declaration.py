"""The demo's fleet as a declaration for `aureus apply`."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from aureus.demo import children, shop
from aureus.demo.machines import Machine
from aureus.demo.scene import Scene

STAGING = {"approvals": 0, "promote_from": None, "gates": "basic", "bake": 0, "sample": 1.0}
# Short times, so that the story fits into a minute: a real production would watch each weight for minutes.
PRODUCTION = {
    "approvals": 0,
    "promote_from": "staging",
    "gates": "basic",
    "weights": [10, 50, 100],
    "batch": "1",
    "bake": 4,
    "sample": 1.0,
    "window": 300,
    "healthy_within": 30,
    "drain_within": 20,
}


class NotDeclared(Exception):
    """`aureus apply` said no; the sentence is its own."""


def apply(file: Path, given: Mapping[str, str]) -> str:
    """Run `aureus apply` as a person would; what it printed. `given`: the environment of `aureus up`."""
    words = children.python("aureus.cli", "apply", str(file), "--yes")
    known = children.environment(**given)
    done = subprocess.run(words, env=known, cwd=os.sep, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise NotDeclared(f"aureus apply refused {file}: {done.stdout}{done.stderr}")
    return done.stdout


def write(scene: Scene, path: Path, **production: object) -> Path:
    """Write the declaration; `production` changes that environment's policy."""
    said = {
        "environments": [_staging(scene), _production(scene, {**PRODUCTION, **production})],
        "installations": [
            _installation(scene, "staging", scene.staging, strategy="all-at-once"),
            _installation(scene, "production", scene.production, strategy="canary", **_balanced(scene)),
        ],
    }
    path.write_text("# What the demo runs on. Apply it with `aureus apply`.\n" + yaml.safe_dump(said, sort_keys=False))
    return path


def _staging(scene: Scene) -> dict[str, Any]:
    return {"name": "staging", **STAGING, "hosts": hosts(scene.staging)}


def _production(scene: Scene, policy: Mapping[str, object]) -> dict[str, Any]:
    assert scene.caddy is not None
    node = {
        "host": scene.balancers[0].name,
        "kind": "caddy",
        "root": str(scene.caddy.folder),
        "options": {"admin_socket": scene.caddy.admin_socket},
    }
    everybody = hosts([*scene.production, *scene.balancers])
    return {"name": "production", **policy, "hosts": everybody, "balancers": [{"name": "front", "nodes": [node]}]}


def hosts(machines: Sequence[Machine]) -> list[dict[str, Any]]:
    """Machines as a declaration names them, with their pinned keys."""
    return [
        {
            "name": machine.name,
            "address": machine.ssh.address,
            "port": machine.ssh.port,
            "user": machine.ssh.user,
            "key": machine.ssh.key_ref,
            "fingerprint": machine.ssh.fingerprint,
        }
        for machine in machines
    ]


def _installation(scene: Scene, environment: str, machines: Sequence[Machine], **more: Any) -> dict[str, Any]:
    return {
        "application": shop.APPLICATION,
        "environment": environment,
        "hosts": [machine.name for machine in machines],
        "root": str(scene.folder / "hosts" / "{host}" / "app"),
        "restart": "sh restart.sh",
        "port": machines[0].app_port,
        "metrics": "/metrics",
        **more,
    }


def _balanced(scene: Scene) -> dict[str, Any]:
    assert scene.caddy is not None
    return {
        "balancer": "front",
        "listen": scene.caddy.listen,
        "public_url": scene.caddy.url,
        "smoke": [{"name": "the version through the balancer", "endpoint": "/version"}],
    }
