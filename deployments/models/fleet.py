"""Where versions live: environments, their hosts and balancers, and how an application lives on them."""

from __future__ import annotations

from django.db import models

from aureus.journal.models import ClockTimestamp
from deployments.engine.strategies import MAIN
from deployments.engine.truth import Standing
from releases.models import Application


class Environment(models.Model):
    """A named set of hosts with one policy."""

    name = models.CharField(max_length=60, unique=True)
    policy = models.JSONField(default=dict, help_text="See deployments.policy.Policy.")
    revision = models.IntegerField(default=1, help_text="Raised by every edit; plans not yet started are made anew.")
    order = models.IntegerField(default=0)
    locked_by = models.CharField(max_length=150, blank=True)
    locked_at = models.DateTimeField(null=True, blank=True)
    lock_reason = models.TextField(blank=True)

    class Meta:
        ordering = ["order", "name"]

    def __str__(self) -> str:
        return self.name

    @property
    def stream(self) -> str:
        """The name of its events' stream."""
        return f"environment:{self.name}"

    @property
    def locked(self) -> str:
        """Why nothing starts here, who says so and since when; "" while it is not locked."""
        if not self.lock_reason:
            return ""
        by = f" by {self.locked_by}" if self.locked_by else ""
        since = f" since {self.locked_at:%Y-%m-%d %H:%M} UTC" if self.locked_at else ""
        return f"{self.name} is locked{by}{since}: {self.lock_reason}"


class Host(models.Model):
    """A machine reached by SSH, with a pinned host key. It is retired, never deleted."""

    class State(models.TextChoices):
        ACTIVE = "active"
        RETIRED = "retired"

    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="hosts")
    name = models.CharField(max_length=60)
    address = models.CharField(max_length=253)
    port = models.PositiveIntegerField(default=22)
    user = models.CharField(max_length=60)
    fingerprint = models.CharField(max_length=60, blank=True, help_text="SHA256:…; empty: not trusted yet.")
    credential = models.CharField(max_length=300, help_text="file:PATH, env:NAME or agent. Never the key itself.")
    bastion = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    zone = models.CharField(max_length=60, blank=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.ACTIVE)
    order = models.IntegerField(default=0)

    class Meta:
        ordering = ["environment", "order", "name"]
        constraints = [models.UniqueConstraint(fields=["environment", "name"], name="one_host_per_name")]

    def __str__(self) -> str:
        return self.name


class Balancer(models.Model):
    """The load balancers in front of an environment's hosts."""

    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="balancers")
    name = models.CharField(max_length=60)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["environment", "name"], name="one_balancer_per_name")]

    def __str__(self) -> str:
        return self.name


class BalancerNode(models.Model):
    """One machine of a balancer. `kind` names the traffic driver; `root` is the folder that driver may write to."""

    balancer = models.ForeignKey(Balancer, on_delete=models.PROTECT, related_name="nodes")
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=20)
    root = models.CharField(max_length=300)
    options = models.JSONField(default=dict, blank=True)
    fence = models.BigIntegerField(default=0, help_text="The highest fence under which it was changed.")
    observed = models.JSONField(default=dict, blank=True, help_text="Weights last read, by installation.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["balancer", "host"], name="one_node_per_host")]

    def __str__(self) -> str:
        return f"{self.balancer} on {self.host}"


class Installation(models.Model):
    """How one application lives in one environment."""

    application = models.ForeignKey(Application, on_delete=models.PROTECT, related_name="installations")
    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="installations")
    root = models.CharField(max_length=300)
    unit = models.CharField(max_length=200, blank=True, help_text="systemd unit to restart.")
    restart = models.CharField(max_length=500, blank=True, help_text="The installation's own command; it wins.")
    url = models.CharField(max_length=300, help_text="http://{address}:{port} of an endpoint.")
    health_path = models.CharField(max_length=200, default="/health")
    metrics_path = models.CharField(max_length=200, blank=True, help_text="Scraped where it is given.")
    version_field = models.CharField(max_length=100, default=".version")
    version_proof = models.CharField(
        max_length=20, default="health", choices=[(v, v) for v in ("health", "link+start")]
    )
    workflow_url = models.CharField(max_length=300, blank=True)
    balancer = models.ForeignKey(
        Balancer, null=True, blank=True, on_delete=models.PROTECT, related_name="installations"
    )
    public_url = models.CharField(max_length=300, blank=True, help_text="Where users reach it through the balancer.")
    listen = models.CharField(max_length=100, blank=True, help_text="The balancer's address for it, e.g. :8080.")
    strategy = models.CharField(max_length=30, default="rolling")
    options = models.JSONField(default=dict, blank=True)
    smoke = models.JSONField(default=list, blank=True, help_text="Tests that run after the last batch.")
    policy_overrides = models.JSONField(default=dict, blank=True, help_text="May tighten the policy, never loosen it.")
    backup_command = models.CharField(max_length=500, blank=True)
    migrate_command = models.CharField(max_length=500, blank=True)
    revision = models.IntegerField(default=1)
    held = models.TextField(blank=True, help_text="Why nothing may start here until a person has acted.")
    unproven = models.TextField(
        blank=True, help_text="Why no host may be changed at all: the database was restored, and not compared since."
    )
    unproven_fence = models.BigIntegerField(null=True, blank=True, help_text="The highest fence known at that time.")
    prove_at = models.DateTimeField(null=True, blank=True, help_text="When its hosts are compared again.")

    class Meta:
        ordering = ["environment", "application"]
        constraints = [
            models.UniqueConstraint(fields=["application", "environment"], name="one_installation_per_environment")
        ]

    def __str__(self) -> str:
        return f"{self.application} in {self.environment}"


class Endpoint(models.Model):
    """Host + slot + port of an application: what traffic weights are keyed by, and what was last seen there."""

    installation = models.ForeignKey(Installation, on_delete=models.PROTECT, related_name="endpoints")
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="endpoints")
    MAIN = MAIN

    slot = models.CharField(max_length=10, default=MAIN)
    port = models.PositiveIntegerField()
    retired = models.BooleanField(default=False)
    recorded = models.CharField(max_length=150, blank=True, help_text="The content that our record says runs here.")
    observed = models.CharField(max_length=150, blank=True, help_text="The content last seen here.")
    observed_at = models.DateTimeField(null=True, blank=True)
    healthy = models.BooleanField(null=True, blank=True)
    serving = models.BooleanField(default=False)
    complete = models.JSONField(default=list, blank=True, help_text="Contents that lie complete on the host.")
    cooled_at = models.DateTimeField(null=True, blank=True, help_text="When its service was stopped, since it rests.")
    cool_tried_at = models.DateTimeField(null=True, blank=True, help_text="When that was tried, and did not succeed.")
    owed = models.TextField(blank=True, help_text="Why it is owed; empty: it is not.")
    owed_at = models.DateTimeField(null=True, blank=True)
    look_at = models.DateTimeField(null=True, blank=True, help_text="When it is looked at again; empty: now.")
    state = models.CharField(
        max_length=12, choices=[(s.value, s.value.replace("_", " ")) for s in Standing], default=Standing.UNSEEN
    )
    state_since = models.DateTimeField(null=True, blank=True)
    why = models.TextField(blank=True, help_text="Why it is in this state.")

    class Meta:
        ordering = ["host__order", "host__name", "slot"]
        constraints = [models.UniqueConstraint(fields=["installation", "host", "slot"], name="one_endpoint_per_slot")]
        indexes = [models.Index(fields=["look_at"], condition=models.Q(retired=False), name="endpoint_to_look_at")]

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        """What the plan and the balancer call it."""
        return self.host.name if self.slot == self.MAIN else f"{self.host.name}-{self.slot}"

    @property
    def standing(self) -> str:
        """How it stands to our record: the last look's word, unless a deployment has left it owed since."""
        return Standing.OWED.value if self.owed else self.state

    @property
    def base_url(self) -> str:
        """Where it answers, without a trailing slash."""
        return self.installation.url.format(address=self.host.address, port=self.port).rstrip("/")

    @property
    def dial(self) -> str:
        """Where a balancer sends its requests, as host:port."""
        return self.base_url.partition("://")[2].partition("/")[0]


class Pool(models.Model):
    """The desired weights of one installation on its balancer: what is re-asserted after anything foreign."""

    installation = models.OneToOneField(Installation, on_delete=models.PROTECT, related_name="pool")
    weights = models.JSONField(default=dict)
    fence = models.BigIntegerField(default=0)


class Freeze(models.Model):
    """A period in which no deployment starts. It never blocks a rollback. No environment: it holds everywhere.

    A single one has `starts` and `ends`; a repeating one has `first`, `last` and perhaps `days`, as people say them.
    """

    environment = models.ForeignKey(
        Environment, null=True, blank=True, on_delete=models.CASCADE, related_name="freezes"
    )
    starts = models.DateTimeField(null=True, blank=True, help_text="Of a single one.")
    ends = models.DateTimeField(null=True, blank=True)
    first = models.CharField("from", max_length=40, blank=True, help_text='Of a repeating one: "friday 16:00".')
    last = models.CharField("to", max_length=40, blank=True, help_text='"monday 08:00"')
    days = models.JSONField(default=list, blank=True, help_text="Weekdays on which one that names hours begins.")
    zone = models.CharField(max_length=64, default="UTC", help_text="Whose clocks count, such as Europe/Berlin.")
    reason = models.TextField()
    declared = models.BooleanField(default=False, editable=False, help_text="It stands in a declaration.")
    by = models.CharField(max_length=150, blank=True)
    at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        ordering = ["-starts", "-id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(
                    starts__isnull=False, ends__isnull=False, ends__gt=models.F("starts"), first="", last=""
                )
                | models.Q(starts=None, ends=None) & ~models.Q(first="") & ~models.Q(last=""),
                name="a_freeze_is_single_or_repeats",
            )
        ]

    def __str__(self) -> str:
        return f"freeze of {self.environment or 'every environment'}: {self.reason}"
