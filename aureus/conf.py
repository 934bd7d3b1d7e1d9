"""The configuration: how the environment becomes one checked whole, by the table of `aureus.variables`.

`python -m aureus.conf` prints the reference page; `read()` reports every mistake at once.
"""

import ipaddress
import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from aureus.variables import GROUPS, TABLE, Setting

SHORTEST_SECRET = 32


class ConfigurationError(Exception):
    """Every mistake of the configuration, each as one plain sentence."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("The configuration cannot be used:\n" + "\n".join(f"  - {problem}" for problem in problems))


class Configuration:
    """Checked values by name (`conf.PORT`); a value that was not given and has no default is None."""

    def __init__(self, values: Mapping[str, Any], given: frozenset[str]) -> None:
        self._values = dict(values)
        self.given = given

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_values"][name]
        except KeyError:
            raise AttributeError(f"{name} is no variable of the configuration table") from None

    def __repr__(self) -> str:
        shown = (f"{name}={'***' if TABLE[name].secret and value else value!r}" for name, value in self._values.items())
        return f"Configuration({', '.join(shown)})"

    @property
    def home(self) -> Path:
        return Path(self.AUREUS_HOME)

    @property
    def embedded_postgres(self) -> bool:
        return self.DATABASE_URL is None

    @property
    def embedded_valkey(self) -> bool:
        return self.REDIS_URL is None

    @property
    def redis_address(self) -> str | None:
        """REDIS_URL with REDIS_PASSWORD in it."""
        if not (self.REDIS_URL and self.REDIS_PASSWORD) or urlsplit(self.REDIS_URL).password:
            return self.REDIS_URL
        parts = urlsplit(self.REDIS_URL)
        netloc = f"{parts.username or ''}:{quote(self.REDIS_PASSWORD, safe='')}@{parts.netloc.rpartition('@')[2]}"
        return urlunsplit(parts._replace(netloc=netloc))

    @property
    def ignored(self) -> list[str]:
        """A sentence for each name that was given and changes nothing."""
        return [
            f"{name} is accepted and ignored: {TABLE[name].ignored}."
            for name in sorted(self.given)
            if TABLE[name].ignored
        ]

    @property
    def secrets(self) -> list[str]:
        """Values that no log line may hold."""
        return [str(value) for name, value in self._values.items() if TABLE[name].secret and value]


def read(environ: Mapping[str, str] | None = None) -> Configuration:
    """The configuration of an environment (default: this process's). Raises ConfigurationError with all mistakes."""
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    texts = {name: _given(setting, environ, problems) for name, setting in TABLE.items()}
    values = {name: _parsed(TABLE[name], text, problems) for name, text in texts.items()}
    _fill_folders(values, environ, problems)
    configuration = Configuration(values, frozenset(name for name, text in texts.items() if text is not None))
    problems += _contradictions(configuration)
    if problems:
        raise ConfigurationError(problems)
    return configuration


def _given(setting: Setting, environ: Mapping[str, str], problems: list[str]) -> str | None:
    names = [name for name in (setting.name, setting.alias) if name and environ.get(name, "").strip()]
    if len({environ[name] for name in names}) > 1:
        problems.append(f"{setting.name} and {setting.alias} are the same setting and say different things; give one.")
    text = environ[names[0]] if names else None
    path = environ.get(f"{setting.name}_FILE", "").strip() if setting.secret else ""
    if not path:
        return text
    if text is not None:
        problems.append(f"{setting.name} and {setting.name}_FILE are both given; give one.")
    try:
        return Path(path).read_text().rstrip("\n") or None
    except (OSError, UnicodeDecodeError) as error:
        problems.append(
            f"{setting.name}_FILE: {path} cannot be read ({getattr(error, 'strerror', None) or 'not text'})."
        )
        return None


def _parsed(setting: Setting, text: str | None, problems: list[str]) -> Any:
    chosen = setting.default if text is None else text
    if chosen is None:
        return None
    try:
        return setting.kind.parse(chosen)
    except ValueError as error:
        shown = "" if setting.secret else f", not {chosen!r}"
        problems.append(f"{setting.name} {error}{shown}.")
        return None


def _fill_folders(values: dict[str, Any], environ: Mapping[str, str], problems: list[str]) -> None:
    home = values["AUREUS_HOME"] or _default_home(environ)
    if not home:
        problems.append("AUREUS_HOME must name a folder: this user has no home directory to keep data in.")
        return
    values["AUREUS_HOME"] = os.path.abspath(os.path.expanduser(home))
    values["ARTIFACT_DIR"] = os.path.abspath(values["ARTIFACT_DIR"] or os.path.join(values["AUREUS_HOME"], "artifacts"))


def _default_home(environ: Mapping[str, str]) -> str | None:
    if os.geteuid() == 0:
        return "/var/lib/aureus"
    try:
        home = environ.get("HOME") or pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return None
    return os.path.join(home, ".aureus") if os.path.isdir(home) else None


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _contradictions(given: Configuration) -> list[str]:
    """What is wrong between variables that are each right."""
    problems = []
    if given.ENABLE_AUTH is False and not is_loopback(given.HOST):
        problems.append(f"ENABLE_AUTH=false works only when the server listens on loopback, not on HOST={given.HOST}.")
    if given.STATE_STORE_TYPE == "postgres" and not given.DATABASE_URL:
        problems.append("STATE_STORE_TYPE=postgres needs DATABASE_URL.")
    if given.REDIS_PASSWORD and not given.REDIS_URL:
        problems.append("REDIS_PASSWORD is given without REDIS_URL; the embedded Valkey makes its own password.")
    if given.DATABASE_URL and not urlsplit(given.DATABASE_URL).path.strip("/"):
        problems.append(
            "DATABASE_URL must name a database after the host, such as postgresql://user:password@host:5432/aureus."
        )
    if given.DATABASE_URL and not given.JWT_SECRET:
        problems.append("JWT_SECRET must be given together with DATABASE_URL; make one with `openssl rand -hex 32`.")
    if (given.AWS_ACCESS_KEY_ID is None) != (given.AWS_SECRET_ACCESS_KEY is None):
        problems.append("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY belong together: give both or neither.")
    if given.S3_ENDPOINT_URL and given.ARTIFACT_STORE == "directory":
        problems.append("S3_ENDPOINT_URL is given and ARTIFACT_STORE names no bucket: set it to s3://bucket/prefix.")
    for name in ("JWT_SECRET", "JWT_SECRET_PREVIOUS", "SECRET_KEY"):
        value = getattr(given, name)
        if value and len(value) < SHORTEST_SECRET:
            problems.append(
                f"{name} must have at least {SHORTEST_SECRET} characters; make one with `openssl rand -hex 32`."
            )
    return problems


def reference() -> str:
    """The reference page, in Markdown."""
    lines = [
        "# Configuration",
        "",
        "<!-- Generated by `python -m aureus.conf > docs/reference/configuration.md`; a test checks it. -->",
        "",
        "Aureus reads these variables from its environment and reports every mistake at once when it starts. A name",
        "marked *secret* can be given as `NAME_FILE`, the path of a file that holds the value; no secret is written to",
        "a log.",
        "Sizes take `b kb mb gb tb`, time spans `s m h d w`.",
    ]
    for title, group in GROUPS.items():
        lines += ["", f"## {title}", "", "| variable | value | default | meaning |", "|---|---|---|---|"]
        lines += [_reference_row(setting) for setting in group]
    return "\n".join(lines) + "\n"


def _reference_row(setting: Setting) -> str:
    name = (
        f"`{setting.name}`"
        + (f", `{setting.alias}`" if setting.alias else "")
        + (" *secret*" if setting.secret else "")
    )
    default = setting.shown_default or (f"`{setting.default}`" if setting.default is not None else "-")
    meaning = f"Accepted and ignored: {setting.ignored}." if setting.ignored else setting.help
    return f"| {name} | {setting.kind.name} | {default} | {meaning} |"


if __name__ == "__main__":
    print(reference(), end="")
