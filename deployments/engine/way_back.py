"""Where a host would go if this deployment failed: decided before anything is touched."""

from __future__ import annotations

from collections.abc import Sequence


def way_back(goods: Sequence[str], *, from_content: str | None, to_content: str) -> str | None:
    """The content a rollback would bring to a host; None: there is no way back.

    goods: contents that passed their monitoring window on this installation and were not reverted since, newest
    first, each of them still to be had (complete on the host, or in the artifact store to be sent again).
    What the host runs now is preferred where it is good. The content being deployed is never its own way back, but
    where the host runs it already and it is good.
    """
    if from_content in goods:
        return from_content
    return next((content for content in goods if content != to_content), None)
