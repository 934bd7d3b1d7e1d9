"""What a new version is compared with: the hosts still on the old one, else an earlier time. Pure."""

from dataclasses import dataclass

from health.measured import Figures, Sample, add_up

STILL_ON_FROM = "the hosts still on the old version"
BEFORE_CHANGE = "the hosts before they were changed"
BEFORE_START = "the time before the start"


@dataclass(frozen=True, slots=True)
class Compared:
    """A baseline's name and figures."""

    name: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class Baseline:
    """Samples of every possible baseline. Only hosts that are still on `from` can show a common cause.

    before_start: what the previous content counted before this deployment began; one sample may stand for many.
    before_change: hosts that were on `from` in an earlier bake of the same deployment and are changed by now.
    """

    still_on_from: tuple[Sample, ...] = ()
    before_start: tuple[Sample, ...] = ()
    before_change: tuple[Sample, ...] = ()

    @property
    def parts(self) -> tuple[tuple[Sample, ...], ...]:
        """In the order in which it is made of them."""
        return self.still_on_from, self.before_start, self.before_change

    def compared(self, least_requests: int) -> Compared | None:
        """Answer the first baseline with enough requests; None means that rules which compare do not apply."""
        for name, samples in (
            (STILL_ON_FROM, self.still_on_from),
            (BEFORE_CHANGE, self.before_change),
            (BEFORE_START, self.before_start),
        ):
            figures = add_up(samples)
            if figures.requests >= max(1, least_requests):
                return Compared(name, figures)
        return None
