"""The web as a worker process of `aureus up` loads it: tied to its server, so that nothing outlives a kill -9."""

import multiprocessing

from aureus.up.tie import tie_to_parent

_server = multiprocessing.parent_process()
tie_to_parent(_server.pid if _server else None)

from aureus.wsgi import application  # noqa: E402 - tied before anything slow happens

__all__ = ["application"]
