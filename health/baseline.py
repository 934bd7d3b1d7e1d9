"""What a new version is compared with: the hosts still on the old one, else the time before the start. Pure."""

from dataclasses import dataclass

from health.measured import Figures, Sample, add_up

STILL_ON_FROM = "the hosts still on the old version"
BEFORE_START = "the time before the start"


@dataclass(frozen=True, slots=True)
class Compared:
    """A baseline's name and figures."""

    name: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class Baseline:
    """Samples of both possible baselines. Only hosts still on `from` can show a common cause."""

    still_on_from: tuple[Sample, ...] = ()
    before_start: tuple[Sample, ...] = ()

    def compared(self, least_requests: int) -> Compared | None:
        """Answer the first baseline with enough requests; None means that rules which compare do not apply."""
        for name, samples in ((STILL_ON_FROM, self.still_on_from), (BEFORE_START, self.before_start)):
            figures = add_up(samples)
            if figures.requests >= max(1, least_requests):
                return Compared(name, figures)
        return None
