"""Logging for every process: one line per event on standard error, secrets taken out first."""

import logging
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any, TextIO
from urllib.parse import urlsplit

import structlog
from structlog.typing import EventDict, Processor

HIDDEN = "***"
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
TELLING_NAME = re.compile(
    r"(password|passwd|secret|token|authorization|cookie|api_?key|private_?key|ssh_?key|webhook)", re.I
)
SHAPES = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"
    r"|(?<=[Bb]earer )[\w.~+/=-]{8,}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*",
    re.S,
)
SHORTEST = 6
# They tell of each request, connection or message; Celery's would repeat every tick of each second.
QUIET = (
    "paramiko",
    "fabric",
    "invoke",
    "asyncssh",
    "urllib3",
    "kombu",
    "tornado.access",
    "django.server",
    "celery.beat",
    "celery.worker.strategy",
    "celery.app.trace",
)


def redaction(secrets: Iterable[str]) -> Callable[[Any], Any]:
    """A function that takes known secrets, and whatever has the shape or the name of one, out of a value."""
    parts = {part for secret in secrets for part in (secret, urlsplit(secret).password or "") if len(part) >= SHORTEST}
    lines = {line for part in parts for line in part.splitlines() if len(line) >= SHORTEST}
    known = re.compile("|".join(re.escape(part) for part in sorted(parts | lines, key=len, reverse=True)) or r"(?!)")

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            return SHAPES.sub(HIDDEN, known.sub(HIDDEN, value))
        if isinstance(value, dict):
            return {key: HIDDEN if named(key) and item else clean(item) for key, item in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [clean(item) for item in value]
        if value is None or isinstance(value, (bool, int, float)):
            return value
        return clean(str(value))

    def named(key: Any) -> bool:
        return isinstance(key, str) and bool(TELLING_NAME.search(key))

    return clean


def redactor(clean: Callable[[Any], Any]) -> Processor:
    def redact(_logger: Any, _method: str, event: EventDict) -> EventDict:
        kept = {key: event[key] for key in ("_record", "_from_structlog", "exc_info") if key in event}
        return {**clean({key: value for key, value in event.items() if key not in kept}), **kept}

    return redact


def _line(_logger: Any, _method: str, event: EventDict) -> str:
    """time level event key=value …; the trace, if any, on lines of its own."""
    head = f"{event.pop('timestamp', '')} {event.pop('level', ''):7} {_one_line(event.pop('event', ''))}"
    trace = event.pop("exception", "")
    pairs = " ".join(
        f"{key}={value!r}" if re.search(r"\s", str(value)) else f"{key}={value}" for key, value in event.items()
    )
    return "\n".join(filter(None, [f"{head} {pairs}".rstrip(), trace]))


def _one_line(text: object) -> str:
    """So that nobody forges a line of the log."""
    return str(text).replace("\r", "\\r").replace("\n", "\\n")


def configure(level: str, form: str, secrets: Iterable[str] = ()) -> None:
    """Set up structlog and the standard library's logging for this process."""
    clean = redaction(secrets)
    redact = redactor(clean)
    shared: list[Processor] = [
        redact,
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        cache_logger_on_first_use=True,
    )
    handler = _StandardError()
    handler.setFormatter(_formatter(redact, shared, form))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    _quieten(level)


class _StandardError(logging.StreamHandler[TextIO]):
    """Looks standard error up at each line: it may be replaced. Standard output is for a command's answers."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def _formatter(redact: Processor, shared: list[Processor], form: str) -> logging.Formatter:
    last: Processor = structlog.processors.JSONRenderer() if form == "json" else _line
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        # Redaction again at the end: only now are the trace and the bound context text.
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            redact,
            last,
        ],
    )


def _quieten(level: str) -> None:
    """Chatty libraries speak up from WARNING on."""
    if level == "debug":
        return
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
