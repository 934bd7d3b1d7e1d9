"""What a declaration says of its sources: the defaults, and everything that is wrong with it. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from health.sources import promql
from health.sources.log_lines import FORMATS, UPSTREAMS
from health.sources.secret import REFERENCE

Wrong = Iterator[tuple[str, str]]
SOURCES = ("probe", "scrape", "prometheus", "access_log", "journal")
_INSTANCE = 'instance="{address}:{port}"'
_REQUESTS = f'{{__name__=~"http_requests_total|aureus_api_requests_total",{_INSTANCE}'
QUERIES: Mapping[str, str] = {
    "up": f"up{{{_INSTANCE}}}",
    "start": f"process_start_time_seconds{{{_INSTANCE}}}",
    "requests": f"{_REQUESTS}}}",
    "errors": f'{_REQUESTS},status=~"5.."}}',
    "buckets": f'{{__name__=~"(http|aureus_api)_request_duration_seconds_bucket",{_INSTANCE}}}',
}
"""What is asked of each endpoint where the declaration says nothing else. `start` and `buckets` may be empty."""
COUNTERS = ("requests", "errors", "buckets")
INTERVAL = 15.0
"""Seconds between two scrapes, where nothing is declared; Prometheus' own default is 60."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")
_LOG = re.compile(r"(/[^/\x00-\x1f\x7f]+)+")
_BACKEND = re.compile(r"[A-Za-z0-9_.:-]{1,100}")


def check_queries(queries: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is wrong with declared queries, as (name, message)."""
    wrong = []
    for name, template in queries.items():
        if name not in QUERIES:
            wrong.append((name, f"there is no such query; there is: {', '.join(QUERIES)}"))
        elif template != "" or name not in ("start", "buckets"):
            try:
                promql.check_counter(template) if name in COUNTERS else promql.check_selector(template)
            except promql.TemplateInvalid as error:
                wrong.append((name, str(error)))
    return wrong


def wrong_prometheus(declared: Mapping[str, Any]) -> Wrong:
    """What is wrong with `prometheus: {url, scrape_interval, token, queries}`, as (path in it, message)."""
    for name in sorted(set(declared) - {"url", "scrape_interval", "token", "queries"}):
        yield name, "there is no such field; there is: url, scrape_interval, token, queries"
    if not _is_url(declared.get("url")):
        yield "url", "must be an address such as http://prometheus.example.com:9090, without a password in it"
    interval = declared.get("scrape_interval", INTERVAL)
    if isinstance(interval, bool) or not isinstance(interval, int | float) or not 0.5 <= interval <= 600:
        yield "scrape_interval", "must be from 0.5 to 600 seconds"
    token = declared.get("token", "")
    if not isinstance(token, str) or (token and not REFERENCE.fullmatch(token)):
        yield "token", "must say where the token is, file:/path or env:NAME; never the token itself"
    queries = declared.get("queries", {})
    if not isinstance(queries, Mapping):
        yield "queries", "must be a mapping of queries"
    else:
        yield from ((f"queries.{name}", message) for name, message in check_queries(queries))


def wrong_access_log(declared: Mapping[str, Any], *, balanced: bool) -> Wrong:
    """What is wrong with `access_log: {path, format, on, backend}`. balanced: the installation has a balancer."""
    for name in sorted(set(declared) - {"path", "format", "on", "backend"}):
        yield name, "there is no such field; there is: path, format, on, backend"
    path = declared.get("path")
    if not isinstance(path, str) or not _LOG.fullmatch(path) or ".." in path.split("/"):
        yield "path", "must be an absolute path such as /var/log/nginx/access.log"
    kind, on = declared.get("format"), declared.get("on", "balancer" if balanced else "host")
    if not isinstance(kind, str) or kind not in FORMATS:
        yield "format", f"must be one of {', '.join(FORMATS)}"
    elif on == "balancer" and kind not in UPSTREAMS:
        yield "format", f"{kind} does not tell which host answered: on a balancer use {', '.join(sorted(UPSTREAMS))}"
    if on not in ("balancer", "host"):
        yield "on", "must be balancer or host"
    elif on == "balancer" and not balanced:
        yield "on", "there is no balancer: name it, or say on: host"
    backend = declared.get("backend", "")
    if not isinstance(backend, str) or (backend and (kind != "haproxy" or not _BACKEND.fullmatch(backend))):
        yield "backend", "must be the name of a HAProxy backend"


def wrong_checks(declared: Sequence[Any]) -> Wrong:
    """What is wrong with the sources of declared checks; how their values are judged is looked at elsewhere."""
    seen: set[str] = set()
    for position, one in enumerate(declared):
        at = f"[{position}]"
        if not isinstance(one, Mapping):
            yield at, "must be a mapping of fields"
            continue
        name = one.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name in seen:
            yield f"{at}.name", "must be a name of its own: letters, digits, dots, dashes and underscores"
        else:
            seen.add(name)
        source = one.get("source", "prometheus")
        if source not in ("prometheus", "journal"):
            yield f"{at}.source", "must be prometheus or journal"
        elif source == "prometheus":
            try:
                promql.check(one.get("query", ""), promql.OF_VERSION)
            except promql.TemplateInvalid as error:
                yield f"{at}.query", str(error)


def _is_url(url: Any) -> bool:
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        fine = parts is not None and parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return fine and parts is not None and not parts.username and not parts.query and not parts.fragment
