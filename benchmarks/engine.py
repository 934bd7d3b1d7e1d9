"""What the engine costs: a step's hop against an empty Celery task's, both measured in this run.

The hosts are in memory, the database durable, the broker real, one worker process with one child.
"""

from __future__ import annotations

import itertools
import os
import statistics
import time

from benchmarks.servers import stack, wait_until, worker

EMPTY, EVERY, DEPLOYMENTS, HOSTS = 200, 0.04, 10, 10
TARGET = 3.0
"""A step's hop at the 95th percentile may be this many times an empty task's (design section 12)."""


def run() -> None:
    """Measure and print."""
    with stack() as environ:
        os.environ.update(environ)
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", interactive=False, verbosity=0)
        with worker(environ, "benchmarks.worker"):
            hops = _empty_tasks()
            hosts_of = _fleet()
            plans = [_deploy(hosts_of, number) for number in range(DEPLOYMENTS)]
    _report(hops, plans)


def _empty_tasks() -> list[float]:
    """Seconds from publishing to start, one task at a time."""
    import redis

    from benchmarks.worker import HOPS, app, empty

    seen = redis.Redis.from_url(str(app.conf.broker_url))
    empty.apply_async([time.time()], queue="deploy")
    wait_until(lambda: seen.llen(HOPS) == 1, seconds=60, what="the worker's first task")
    seen.delete(HOPS)
    for _ in range(EMPTY):
        empty.apply_async([time.time()], queue="deploy")
        time.sleep(EVERY)
    wait_until(lambda: seen.llen(HOPS) == EMPTY, seconds=60, what="the empty tasks")
    return sorted(float(value) for value in seen.lrange(HOPS, 0, -1))


def _fleet() -> str:
    """One environment with ten hosts behind a balancer."""
    from benchmarks.memory import ROOT
    from deployments import policy
    from deployments.models import Balancer, BalancerNode, Endpoint, Environment, Host, Installation
    from releases.models import Application

    declared = {"approvals": 0, "promote_from": None, "gates": "basic", "strategy": "rolling", "bake": 0.0}
    env = Environment.objects.create(name="bench", policy=policy.parse(declared).as_json())
    key = {"user": "deploy", "credential": "agent", "fingerprint": "SHA256:" + "a" * 43}
    balancer = Balancer.objects.create(environment=env, name="lb")
    node = Host.objects.create(environment=env, name="lb", address="lb", **key)
    BalancerNode.objects.create(balancer=balancer, host=node, kind="caddy", root="/srv/lb")
    application = Application.objects.create(key="bench")
    installation = Installation.objects.create(
        application=application, environment=env, root=ROOT, restart="true", url="http://{address}:{port}",
        balancer=balancer, strategy="rolling",
    )  # fmt: skip
    for number in range(HOSTS):
        host = Host.objects.create(environment=env, name=f"b{number}", address=f"b{number}", order=number, **key)
        Endpoint.objects.create(installation=installation, host=host, port=8000)
    return env.name


def _deploy(environment: str, number: int) -> tuple[float, list[float], int]:
    """One rolling deployment; (seconds, gaps between steps in seconds, steps)."""
    from aureus.journal.actor import Actor
    from benchmarks.worker import hint
    from deployments import lifecycle
    from deployments.models import Deployment
    from releases import registry

    version, _ = registry.register({"id": "bench", "name": "b", "tasks": []}, f"1.{number}.0", actor=Actor("bench"))
    deployment = lifecycle.deploy(version.pk, environment, actor=Actor("bench"))
    began = time.monotonic()
    hint(str(deployment.pk), deployment.lane)
    last = 0.0

    def over() -> bool:
        nonlocal last
        if time.monotonic() - last > 1:  # as the sweep does each second
            last = time.monotonic()
            from deployments import leases

            for due in leases.sweep():
                hint(*due)
        return Deployment.objects.filter(pk=deployment.pk, status__in=("deployed", "failed")).exists()

    wait_until(over, seconds=120, what="the deployment")
    seconds = time.monotonic() - began
    deployment.refresh_from_db()
    if deployment.status != "deployed":
        raise RuntimeError(deployment.reason)
    rows = deployment.steps.order_by("started_at").values_list("started_at", "ended_at")
    steps = [(began_at, ended_at) for began_at, ended_at in rows if began_at and ended_at]
    gaps = [(later[0] - earlier[1]).total_seconds() for earlier, later in itertools.pairwise(steps)]
    return seconds, [gap for gap in gaps if gap > 0], len(steps)


def _report(hops: list[float], plans: list[tuple[float, list[float], int]]) -> None:
    gaps = sorted(gap for _, found, _ in plans for gap in found)
    steps = sum(count for _, _, count in plans)
    seconds = sum(taken for taken, _, _ in plans)
    empty95, step95 = _percentile(hops, 95), _percentile(gaps, 95)
    print(f"empty task: p50 {_ms(statistics.median(hops))}, p95 {_ms(empty95)} over {len(hops)}")
    print(f"step hop:   p50 {_ms(statistics.median(gaps))}, p95 {_ms(step95)} over {len(gaps)}")
    print(f"ratio of the p95s: {step95 / empty95:.2f} (target: at most {TARGET:g})")
    print(f"steps per second, one worker: {steps / seconds:.1f}")
    per_plan = statistics.median(taken for taken, _, _ in plans)
    budget = plans[0][2] * TARGET * empty95
    print(
        f"rolling plan of {plans[0][2]} steps on {HOSTS} hosts: {per_plan:.2f} s, "
        f"{per_plan / budget:.2f} of its hops' budget"
    )


def _percentile(values: list[float], share: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * share // 100)]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
