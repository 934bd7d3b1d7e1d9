"""What each kind of process may know. Web, Beat and Flower get only listed names, and no key or token of a host."""

from collections.abc import Mapping

from aureus.variables import TABLE

SYSTEM = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "VIRTUAL_ENV",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
OF_BUCKET = (
    "AWS_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CA_BUNDLE",
)
"""Where boto3 finds who asks the artifact store, if no key is given."""
ALIASES = frozenset(setting.alias for setting in TABLE.values() if setting.alias)
PREFIXES = ("LC_", "PYTHON", "LD_LIBRARY_PATH")
ONLY_FIRST = ("ADMIN_PASSWORD", "ADMIN_PASSWORD_FILE")


def of_server(environ: Mapping[str, str]) -> dict[str, str]:
    """For PostgreSQL and Valkey: nothing of ours."""
    return {name: value for name, value in environ.items() if name in SYSTEM} | {"LC_ALL": "C"}


def of_worker(environ: Mapping[str, str]) -> dict[str, str]:
    """For those who reach hosts and people: all but the first admin password."""
    return {name: value for name, value in environ.items() if name not in ONLY_FIRST}


def of_web(environ: Mapping[str, str]) -> dict[str, str]:
    """For web, Beat and Flower: what the table grants them and what a program needs; no private key by any name."""
    return {name: value for name, value in environ.items() if _is_for_web(name) and "PRIVATE KEY-----" not in value}


def _is_for_web(name: str) -> bool:
    setting = TABLE.get(name) or TABLE.get(name.removesuffix("_FILE"))
    if setting is not None:
        return not setting.workers_only and not setting.ignored
    return name in SYSTEM or name in OF_BUCKET or name in ALIASES or name.startswith(PREFIXES)
