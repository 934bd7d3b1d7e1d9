"""Verbs of several people at the same instant, each on a connection of its own, and what must hold afterwards."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connections

from aureus.journal.actor import Actor
from aureus.journal.models import Event
from aureus.journal.refusals import Refused
from deployments.engine.status import OPEN, Status, StepStatus, may_move
from deployments.models import Deployment, Step

PEOPLE = tuple(Actor(name) for name in ("bob", "carol", "dora", "emil"))
JITTER = 0.03
"""Seconds by which one may come later than another at the most: about what a verb takes."""

Said = Callable[..., Any]


@dataclass(frozen=True)
class Came:
    """What became of one person's word: an answer, or a refusal."""

    who: str
    answer: Any = None
    refusal: Refused | None = None

    @property
    def won(self) -> bool:
        return self.refusal is None

    @property
    def sentence(self) -> str:
        assert self.refusal is not None
        return self.refusal.sentence


def race(verbs: Sequence[Said], chance: random.Random | None = None, *, jitter: float = JITTER) -> list[Came]:
    """Let everybody speak at once; anything but an answer or a refusal is a failure."""
    came: list[Came] = []
    broken: list[BaseException] = []
    together = threading.Barrier(len(verbs))
    order = list(range(len(verbs)))
    (chance or random).shuffle(order)
    late = [(chance or random).random() * jitter for _ in verbs]

    def speak(number: int) -> None:
        who = PEOPLE[number % len(PEOPLE)]
        try:
            connections["default"].ensure_connection()
            together.wait(20)
            threading.Event().wait(late[number])
            came.append(Came(who.name, verbs[number](who)))
        except Refused as refusal:
            came.append(Came(who.name, refusal=refusal))
        except BaseException as error:
            broken.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=speak, args=(number,)) for number in order]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive(), "somebody waits for ever"
    assert not broken, broken
    return came


def one_won(came: Sequence[Came], *, losers_hear: str = "{winner}") -> Came:
    """Exactly one was heard, and each other's refusal is a conflict that says who that was; the winner."""
    [winner] = [one for one in came if one.won]
    told = losers_hear.format(winner=winner.who, id=getattr(winner.answer, "pk", ""))
    for one in came:
        if not one.won:
            assert one.refusal is not None and one.refusal.status == 409
            assert told in one.sentence, one.sentence
    return winner


def lawful(chosen: Iterable[Deployment] | None = None) -> None:
    """Deployments' events tell of a legal life, one event for each of its statuses, and one is active at most."""
    active: Counter[Any] = Counter()
    for deployment in Deployment.objects.all() if chosen is None else chosen:
        statuses = [Status.PENDING]
        for event in Event.objects.filter(stream=deployment.stream).order_by("seq"):
            word = event.kind.removeprefix("deployment.")
            if event.kind == f"deployment.{word}" and word in set(Status) and "before" in event.data:
                assert event.data["before"] == statuses[-1], (event.kind, event.data)
                assert may_move(statuses[-1], Status(word)), (statuses[-1], word)
                statuses.append(Status(word))
        assert statuses[-1] == deployment.status
        active[deployment.installation_id] += deployment.status == Status.IN_PROGRESS
        over = deployment.status not in OPEN
        left = [StepStatus.PENDING, StepStatus.RUNNING]
        assert not (over and Step.objects.filter(deployment=deployment, status__in=left).exists())
        assert over == (deployment.ended_at is not None)
    assert not active or max(active.values()) <= 1
