"""How Celery connects to the broker: again every two seconds, however long it was away."""

from typing import Any

from celery.app import amqp
from kombu import Connection


class PromptConnection(Connection):
    """Kombu's pauses between two tries begin at 2 s and grow to 30 s; a broker that is back must not wait for those."""

    def ensure_connection(self, *words: Any, **named: Any) -> Any:
        return super().ensure_connection(*words, **{"interval_step": 0, **named})


class Amqp(amqp.AMQP):
    """Celery's maker of connections, with ours."""

    Connection = PromptConnection
