"""Where PostgreSQL and Redis are, as Django and Celery want to hear it."""

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from aureus.conf import Configuration
from aureus.embedded import kept

NOWHERE = "redis://127.0.0.1:1/0"


def database(configuration: Configuration) -> dict[str, Any]:
    """Django's settings of the default database.

    Before the first `aureus up` the embedded server has no address: the settings then point at its folder, and
    connecting says that no server runs there.
    """
    found = kept.read(configuration.home) if configuration.embedded_postgres else None
    url = configuration.DATABASE_URL or (found.database_url if found else "")
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.strip("/")) or "aureus",
        "USER": unquote(parts.username or "aureus"),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or str(configuration.home / "postgres"),
        "PORT": str(parts.port or ""),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": _libpq(configuration) | dict(parse_qsl(parts.query)),
    }


def _libpq(configuration: Configuration) -> dict[str, Any]:
    """A server that went away is noticed within seconds, and no statement or lock waits for ever."""
    options: dict[str, Any] = {
        "connect_timeout": 3,
        "keepalives_idle": 10,
        "keepalives_interval": 3,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
        "application_name": "aureus",
        "options": f"-c statement_timeout={configuration.DATABASE_TIMEOUT} -c lock_timeout=3s"
        " -c idle_in_transaction_session_timeout=15s",
    }
    if configuration.DATABASE_SSL:
        options["sslmode"] = "require"
    return options


def broker(configuration: Configuration) -> str:
    """The broker's address; before the first `aureus up` one that nobody answers on."""
    if configuration.redis_address:
        return configuration.redis_address
    found = kept.read(configuration.home)
    return found.redis_url if found else NOWHERE
