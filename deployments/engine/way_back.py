"""Where a host would go if this deployment failed: decided before anything is touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


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


def if_it_fails(backs: Mapping[str, str], *, version: str, change: str, one_way: bool, backup: str) -> str:
    """Where a failure leads at each stage, for those who approve the plan.

    backs: the version each host would go back to, "" where there is none. change: what the version declares; "none"
    where nothing. one_way: from its migration on nothing goes back. backup: where and how one is made before it.
    """
    back = _places(backs)
    if not one_way:
        stays = f" Its schema change ({change}) is not taken back." if change != "none" else ""
        return f"Whenever it fails: {back}.{stays}"
    made = f"A backup is made before it {backup}." if backup else "No backup is made before it."
    return (
        f"Until the migration: {back}. From the migration on: no way back by itself, since {version} declares the "
        f"schema change {change}; what fails is held for a person. {made}"
    )


def _places(backs: Mapping[str, str]) -> str:
    to = {back: [name for name, other in backs.items() if other == back] for back in dict.fromkeys(backs.values())}
    if not any(to):
        return "no way back, since no version that could be gone back to has proved good here"
    whole = len(to) == 1
    said = [
        (f"back to {back}" if back else "no way back") + ("" if whole else f" ({', '.join(names)})")
        for back, names in to.items()
    ]
    return ", ".join(said)
