"""The demo's story: a good version comes through to production, a bad one is caught there and undone by itself."""

import time
from dataclasses import dataclass, field
from typing import Any

from aureus.demo import children, declaration, shop
from aureus.demo.client import Client
from aureus.demo.report import Report
from aureus.demo.scene import Scene
from aureus.demo.telling import tell
from aureus.fetch import FetchError, fetch

GOOD, BAD = "1.0.0", "2.0.0"
# Health stays fine and the smoke tests ask too little: only traffic brings it out.
FAULT = {"error_rate": 0.7, "error_after": 20}
PATIENCE = 120.0
EVERY = 0.5
ENDED = {"deployment.deployed", "deployment.failed"}


class Failed(Exception):
    """The story did not go as it should; the sentence says where."""


@dataclass
class Story:
    """Told once, on a scene that has begun."""

    scene: Scene
    report: Report
    figures: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    _first_error_told: bool = False

    def tell(self) -> None:
        """All of it. Raises Failed, Refused or NotReady where it cannot go on; `wrong` says what did not hold."""
        self._sign_in()
        self.report.chapter(f"A good version: {GOOD}")
        good = self._bring_to_production(GOOD)
        self._claim(good["status"] == "deployed", f"{GOOD} did not reach production: {good['reason']}")
        self.report.chapter(f"A bad version: {BAD} (fails 70 % of real requests; health and smoke tests are fine)")
        bad = self._bring_to_production(BAD, **FAULT)
        self._claim(bad["status"] == "failed", f"{BAD} is {bad['status']} in production")
        self._follow_rollback(bad)
        self._quiet_down()
        self.figures = self.scene.end_load()
        self._judge()

    def _sign_in(self) -> None:
        aureus = self.scene.aureus
        assert aureus is not None
        aureus.wait()
        self.report.say("aureus up", f"ready: console at {aureus.url}/admin/")
        declaration.apply(declaration.write(self.scene, self.scene.folder / "fleet.yaml"), aureus.given)
        self.report.say("aureus apply", f"{len(self.scene.machines)} machines, staging and production declared")
        self.client = Client(aureus.url)
        self.client.login("admin", aureus.password)

    def _bring_to_production(self, number: str, **behaviour: object) -> dict[str, Any]:
        """Register, deploy to staging, smoke-test and promote a version; how it ended in production."""
        archive = shop.archive(number, **behaviour)
        version = self.client.register(shop.spec(number), number)
        self.client.attach(version["id"], archive)
        self.report.say("registry", f"{shop.APPLICATION} {number} registered, artifact of {len(archive)} bytes")
        staged = self._follow("staging", self.client.deploy(version["id"], "staging"))
        if staged["status"] != "deployed":
            raise Failed(f"{number} did not reach staging: {staged['reason']}")
        smoke = self.client.smoke(staged["id"], list(shop.SMOKE))
        passed = f"{smoke['passedTests']} of {smoke['totalTests']} smoke tests passed"
        self.report.say("smoke tests", passed, "good" if smoke["overallStatus"] == "passed" else "bad")
        if smoke["overallStatus"] != "passed":
            raise Failed(f"smoke tests of {number}: {smoke['testResults']}")
        return self._follow("production", self.client.promote(staged["id"]))

    def _follow_rollback(self, bad: dict[str, Any]) -> None:
        rollback = bad.get("rollback")
        if not rollback:
            raise Failed(f"nothing undid {BAD} in production")
        self.report.say("rollback", "begun by itself, in the transaction that knew of the failure")
        undone = self._follow("rollback", rollback)
        self._claim(undone["status"] == "deployed", f"the rollback is {undone['status']}: {undone['reason']}")

    def _follow(self, where: str, deployment: dict[str, Any]) -> dict[str, Any]:
        """Say what happens to a deployment until it has ended."""
        name, seen, ends = deployment["id"], 0, time.monotonic() + PATIENCE
        while True:
            ended = False
            for event in self.client.events(name, seen):
                seen, ended = event["seq"], ended or event["kind"] in ENDED
                tell(self.report, where, event)
            self._watch_load()
            if ended:
                return self.client.deployment(name)
            if time.monotonic() > ends:
                raise Failed(f"{where}: not over after {PATIENCE:.0f} s: {self.client.deployment(name)['reason']}")
            time.sleep(EVERY)

    def _watch_load(self) -> None:
        """Begin the load as soon as the balancer answers, and say when the first error is answered."""
        if self.scene.load is None:
            if self._balancer_answers():
                self.scene.begin_load()
                self.report.say("load", "begun: 12 keep-alive clients, 100 requests a second, a fifth of them POST")
            return
        seen = self.scene.figures()
        if seen.get("errors") and not self._first_error_told:
            self._first_error_told = True
            self.report.say("load", f"the first errors are answered: {seen['errors_by_version']}", "bad")

    def _balancer_answers(self) -> bool:
        assert self.scene.caddy is not None
        try:
            return fetch("GET", f"{self.scene.caddy.url}/version", timeout=1, allow_private=True).ok
        except FetchError:
            return False

    def _quiet_down(self) -> None:
        """Let the load go on until it has seen no error for a second."""

        def quiet() -> bool:
            last = self.scene.figures().get("last_error_at")
            return last is None or time.time() - last > 1.5

        children.wait_until(quiet, "the end of the errors", 30)

    def _judge(self) -> None:
        versions = {machine.name: machine.version() for machine in self.scene.production}
        self.report.say("production", ", ".join(f"{name} runs {number}" for name, number in versions.items()), "good")
        self._claim(set(versions.values()) == {GOOD}, f"not every host is back on {GOOD}: {versions}")
        self._claim(self.figures["lost"] == 0, f"requests were lost: {self.figures['why_lost']}")
        self._claim(self.figures["errors"] > 0, f"{BAD} answered no error, so nothing was shown")
        others = {number: n for number, n in self.figures["errors_by_version"].items() if number != BAD and n}
        self._claim(not others, f"errors were answered by {others}")

    def _claim(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.wrong.append(otherwise)
            self.report.say("demo", otherwise, "bad")
