"""The configuration table: what is read, what is refused, and what is never shown."""

import re
from pathlib import Path
from typing import Any

import pytest

from aureus import conf, servers
from aureus.conf import ConfigurationError
from aureus.variables import TABLE

ROOT = Path(__file__).resolve().parent.parent
LONG = "k" * 40
# Every name in the tables and the environment file of the user's guide.
GUIDE = re.findall(
    r"\w+",
    """
NODE_ENV PORT LOG_LEVEL STATE_STORE_TYPE EVENT_LOG_BASE_DIR ENABLE_AUTH JWT_SECRET JWT_EXPIRY CORS_ORIGIN
MAX_REQUEST_SIZE DATABASE_URL DATABASE_POOL_SIZE DATABASE_SSL DATABASE_TIMEOUT REDIS_URL REDIS_PASSWORD
REDIS_TTL OPENAI_API_KEY ANTHROPIC_API_KEY LLM_PROVIDER LLM_MODEL LLM_TEMPERATURE LLM_MAX_TOKENS
ENABLE_METRICS METRICS_PORT ENABLE_TRACING JAEGER_ENDPOINT STAGING_SSH_KEY STAGING_HOST STAGING_USER
PRODUCTION_SSH_KEY PRODUCTION_HOSTS PRODUCTION_USER NPM_TOKEN DOCKER_USERNAME DOCKER_PASSWORD SLACK_WEBHOOK
    """,
)


def read(**environ: str) -> conf.Configuration:
    return conf.read({"AUREUS_HOME": "/somewhere"} | environ)


def problems_of(**environ: str) -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        read(**environ)
    return refused.value.problems


def test_every_name_of_the_guide_is_in_the_table() -> None:
    known = set(TABLE) | {setting.alias for setting in TABLE.values()}
    assert not set(GUIDE) - known


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", 3000),
        ("HOST", "127.0.0.1"),
        ("LOG_LEVEL", "info"),
        ("STATE_STORE_TYPE", "memory"),
        ("ENABLE_AUTH", True),
        ("JWT_EXPIRY", 24 * 3600),
        ("CORS_ORIGIN", ("*",)),
        ("MAX_REQUEST_SIZE", 10 * 1024**2),
    ],
)
def test_the_guides_defaults_hold(name: str, value: Any) -> None:
    assert getattr(read(), name) == value


def test_a_guide_file_for_production_is_accepted_as_it_stands_but_for_its_short_secret() -> None:
    guide = {
        "NODE_ENV": "production",
        "PORT": "3000",
        "LOG_LEVEL": "warn",
        "STATE_STORE_TYPE": "postgres",
        "DATABASE_URL": "postgresql://user:pass@localhost:5432/aureus",
        "JWT_SECRET": "your-secret-key-here",
        "ENABLE_METRICS": "true",
        "METRICS_PORT": "9090",
        "LLM_PROVIDER": "openai",
    }
    assert [problem.split()[0] for problem in problems_of(**guide)] == ["JWT_SECRET"]
    accepted = read(**guide | {"JWT_SECRET": LONG})
    assert accepted.AUREUS_ENV == "production"
    assert [sentence.split()[0] for sentence in accepted.ignored] == ["METRICS_PORT"]


def test_all_mistakes_are_reported_at_once_in_plain_words() -> None:
    wrong = {
        "PORT": "70000",
        "LOG_LEVEL": "loud",
        "JWT_EXPIRY": "soon",
        "MAX_REQUEST_SIZE": "0mb",
        "DATABASE_URL": "mysql://h/d",
        "ENABLE_AUTH": "false",
        "HOST": "0.0.0.0",
    }
    problems = problems_of(**wrong)
    assert {problem.split()[0].split("=")[0] for problem in problems} == set(wrong) - {"HOST"}
    assert all(problem.endswith(".") for problem in problems)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.test"])
def test_open_doors_are_refused_beyond_loopback(host: str) -> None:
    assert "loopback" in problems_of(ENABLE_AUTH="false", HOST=host)[0]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "::1", "localhost"])
def test_open_doors_are_possible_on_loopback(host: str) -> None:
    assert read(ENABLE_AUTH="false", HOST=host).ENABLE_AUTH is False


def test_a_given_database_demands_a_signing_secret() -> None:
    assert "JWT_SECRET" in problems_of(DATABASE_URL="postgresql://h/aureus")[0]
    assert read().JWT_SECRET is None


def test_a_secret_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(LONG + "\n")
    assert read(JWT_SECRET_FILE=str(file)).JWT_SECRET == LONG
    assert "both" in problems_of(JWT_SECRET_FILE=str(file), JWT_SECRET=LONG)[0]
    assert "cannot be read" in problems_of(JWT_SECRET_FILE=str(tmp_path / "missing"))[0]


def test_a_file_is_read_for_secrets_alone(tmp_path: Path) -> None:
    file = tmp_path / "port"
    file.write_text("4000")
    assert read(PORT_FILE=str(file)).PORT == 3000


def test_an_alias_that_contradicts_its_name_is_refused() -> None:
    assert read(NODE_ENV="staging").AUREUS_ENV == "staging"
    assert "NODE_ENV" in problems_of(NODE_ENV="staging", AUREUS_ENV="production")[0]


def test_neither_a_mistake_nor_the_configuration_itself_shows_a_secret() -> None:
    canary = "canary-canary-canary-canary-canary-canary"
    for name in (name for name, setting in TABLE.items() if setting.secret and not setting.ignored):
        value = {"DATABASE_URL": f"mysql://u:{canary}@h/d", "REDIS_URL": f"http://:{canary}@h"}.get(name, canary[:20])
        try:
            shown = repr(read(**{name: value}))
        except ConfigurationError as error:
            shown = str(error)
        assert "canary" not in shown, name


def test_the_redis_password_is_put_into_the_address_once() -> None:
    given = read(REDIS_URL="redis://h:6379/1", REDIS_PASSWORD="p@ss/word")
    assert given.redis_address == "redis://:p%40ss%2Fword@h:6379/1"
    assert read(REDIS_URL="redis://:own@h", REDIS_PASSWORD="other").redis_address == "redis://:own@h"
    assert servers.broker(given) == given.redis_address


def test_a_database_address_becomes_djangos_settings() -> None:
    url = "postgresql://us%40er:p%2Fw@db.example.test:5433/aureus?sslmode=verify-full"
    found = servers.database(read(DATABASE_URL=url, JWT_SECRET=LONG, DATABASE_SSL="true", DATABASE_TIMEOUT="2500"))
    assert (found["USER"], found["PASSWORD"], found["HOST"], found["PORT"]) == (
        "us@er",
        "p/w",
        "db.example.test",
        "5433",
    )
    assert found["OPTIONS"]["sslmode"] == "verify-full"
    assert "statement_timeout=2500" in found["OPTIONS"]["options"]
    assert found["OPTIONS"]["connect_timeout"] == 3


def test_a_process_before_the_first_start_finds_no_server_rather_than_a_wrong_one(tmp_path: Path) -> None:
    nothing = conf.read({"AUREUS_HOME": str(tmp_path)})
    assert servers.database(nothing)["HOST"] == str(tmp_path / "postgres")
    assert servers.broker(nothing) == servers.NOWHERE
    assert not list(tmp_path.iterdir())


def test_the_reference_page_is_current() -> None:
    page = (ROOT / "docs" / "reference" / "configuration.md").read_text()
    assert page == conf.reference(), "run `python -m aureus.conf > docs/reference/configuration.md`"
    assert all(re.search(rf"`{name}`", page) for name in TABLE)


@pytest.mark.parametrize("store", ["directory", "s3://our-bucket", "s3://our-bucket/a/prefix"])
def test_a_store_is_a_directory_or_a_bucket(store: str) -> None:
    found = read(ARTIFACT_STORE=store)
    assert store == found.ARTIFACT_STORE


@pytest.mark.parametrize(
    "store", ["s3", "s3://", "s3://Our_Bucket", "s3://our-bucket//x", "https://our-bucket", "s3://u:p@our-bucket"]
)
def test_another_store_is_refused_with_what_may_be_said(store: str) -> None:
    [problem] = problems_of(ARTIFACT_STORE=store)
    assert problem.startswith("ARTIFACT_STORE must be directory, s3://bucket or s3://bucket/prefix")


def test_half_a_key_and_a_server_without_bucket_are_refused() -> None:
    assert problems_of(AWS_ACCESS_KEY_ID="AKIA", S3_ENDPOINT_URL="http://127.0.0.1:9000") == [
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY belong together: give both or neither.",
        "S3_ENDPOINT_URL is given and ARTIFACT_STORE names no bucket: set it to s3://bucket/prefix.",
    ]
