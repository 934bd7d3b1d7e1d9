"""Measuring open windows: all their questions side by side, and each window as soon as its own are answered."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from health.measured import Sample
from health.models import Window
from health.questions import (
    SSH_AT,
    Found,
    Question,
    Reach,
    begins_with,
    checks_of_journal,
    nobody,
    one_per_endpoint,
    questions_of,
)

log = structlog.get_logger(__name__)

AT_A_TIME = 32
SSH_WITHIN = 8.0
"""Seconds after which a round waits no longer for what is asked over SSH. All other sources end by themselves."""

_asked: set[str] = set()
_lock = threading.Lock()


@dataclass(slots=True)
class Measured:
    """What one round made of one window: its samples, and the raw readings the next round subtracts from."""

    window: Window
    samples: list[Sample] = field(default_factory=list)
    readings: dict[str, Any] = field(default_factory=dict)

    def against(self, readings: Mapping[str, Any]) -> tuple[list[Sample], dict[str, Any]]:
        """Its samples and the readings to keep, where the window's readings are these by now.

        Rounds overlap where a source is slow. What a faster one has counted on since this one began would count
        twice, so it is left out, source by source; what stands alone still counts.
        """
        begun = self.window.readings
        overtaken = {key for key in {*begun, *readings} if begun.get(key) != readings.get(key)} - {SSH_AT}
        samples = [s for s in self.samples if not begins_with(self.window, s) & overtaken]
        return samples, {**readings, **{k: v for k, v in self.readings.items() if k not in overtaken}}


def measure(windows: Sequence[Window], now: datetime, reach: Reach = nobody) -> list[Measured]:
    """Measure every endpoint of these windows once, in their order. Never raises for what hosts do."""
    found = {measured.window.pk: measured for measured in measure_each(windows, now, reach)}
    return [found[window.pk] for window in windows]


def measure_each(windows: Sequence[Window], now: datetime, reach: Reach = nobody) -> Iterator[Measured]:
    """The same, each window as soon as it is measured: a source that hangs holds up its own window alone.

    `reach`: how commands are run on hosts; without it, sources that need it are down.
    """
    measured = {window.pk: Measured(window, readings=dict(window.readings)) for window in windows}
    asked = [question for window in windows for question in questions_of(window, now, reach)]
    waiting: dict[int, set[int]] = {pk: set() for pk in measured}
    for number, question in enumerate(asked):
        waiting[question.window].add(number)
    for pk in [pk for pk, numbers in waiting.items() if not numbers]:
        yield measured.pop(pk)
    for number, found in _answers(asked):
        pk = asked[number].window
        measured[pk].samples += found.samples
        measured[pk].readings |= found.readings
        waiting[pk].discard(number)
        if not waiting[pk]:
            done = measured.pop(pk)
            done.samples = one_per_endpoint([*done.samples, *checks_of_journal(done.window, done.samples)])
            yield done


def _answers(asked: Sequence[Question]) -> Iterator[tuple[int, Found]]:
    """The answer to each question once, as they come; what SSH has not brought in time is lost."""
    answers: queue.SimpleQueue[tuple[int, Found]] = queue.SimpleQueue()
    by_ssh = {number for number, question in enumerate(asked) if question.by_ssh}
    ends = time.monotonic() + SSH_WITHIN
    _in_threads([n for n in range(len(asked)) if n not in by_ssh], lambda n: answers.put((n, _answer(asked[n]))))
    _in_threads(sorted(by_ssh), lambda n: answers.put((n, _answer(asked[n]))) if time.monotonic() < ends else None)
    left = set(range(len(asked)))
    while left:
        try:
            number, found = answers.get(timeout=max(ends - time.monotonic(), 0.0) if left & by_ssh else None)
        except queue.Empty:
            for number in sorted(left & by_ssh):
                left.discard(number)
                yield number, asked[number].lost(f"The host did not answer within {SSH_WITHIN:g} s.")
            continue
        if number in left:
            left.discard(number)
            yield number, found


def _in_threads(numbers: Sequence[int], carry: Callable[[int], object]) -> None:
    """Carry these out by a few threads, which nobody waits for: one that hangs must not keep a process from its end."""
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in numbers:
        waiting.put(number)

    def work() -> None:
        while True:
            try:
                carry(waiting.get_nowait())
            except queue.Empty:
                return

    for _ in range(min(AT_A_TIME, len(numbers))):
        threading.Thread(target=work, name="sample", daemon=True).start()


def _answer(question: Question) -> Found:
    if question.place:
        with _lock:
            if question.place in _asked:
                return Found()  # the same question is under way; whoever asked it brings the answer
            _asked.add(question.place)
    try:
        return question.ask()
    except Exception as error:
        # One odd answer must not cost the others of the round their measurement; it counts as a source that is down.
        log.exception("a source could not be measured", window=question.window)
        return question.lost(f"It could not be measured: {type(error).__name__}.")
    finally:
        with _lock:
            _asked.discard(question.place)
