"""The table of every variable Aureus reads from its environment: name, kind, default, meaning."""

from dataclasses import dataclass

from aureus import kinds
from aureus.kinds import Kind


@dataclass(frozen=True)
class Setting:
    """One row of the table.

    `ignored` says why a name of the guide changes nothing here; `workers_only` keeps it out of web, Beat and Flower.
    """

    name: str
    kind: Kind
    default: str | None
    help: str
    secret: bool = False
    ignored: str = ""
    shown_default: str = ""
    alias: str = ""
    workers_only: bool = False


def _ignored(name: str, why: str, *, secret: bool = False) -> Setting:
    return Setting(name, kinds.TEXT, None, "", secret=secret, ignored=why)


def _of_environment(prefix: str, hosts: str) -> tuple[Setting, ...]:
    word = prefix.capitalize()
    several = kinds.WORDS if hosts == "HOSTS" else kinds.TEXT
    return (
        Setting(f"{prefix}_{hosts}", several, None, f"{word} host names for `aureus apply --from-env`."),
        Setting(
            f"{prefix}_USER", kinds.TEXT, None, f"SSH user on {prefix.lower()} hosts for `aureus apply --from-env`."
        ),
        Setting(
            f"{prefix}_SSH_KEY",
            kinds.TEXT,
            None,
            f"SSH private key for {prefix.lower()} hosts.",
            secret=True,
            workers_only=True,
        ),
        Setting(
            f"{prefix}_KNOWN_HOSTS",
            kinds.TEXT,
            None,
            f"Host keys of the {prefix.lower()} hosts, lines as in `known_hosts`; `aureus apply --from-env` "
            f"refuses a host without one.",
        ),
    )


GROUPS: dict[str, tuple[Setting, ...]] = {
    "Server": (
        Setting(
            "AUREUS_ENV",
            kinds.one_of("development", "test", "staging", "production"),
            "development",
            "What this installation is called: a word for people, no default depends on it.",
            alias="NODE_ENV",
        ),
        Setting(
            "AUREUS_HOME",
            kinds.FOLDER,
            None,
            "Folder of everything Aureus keeps itself: embedded servers, artifacts, logs.",
            shown_default="`/var/lib/aureus` for root, else `~/.aureus`",
        ),
        Setting("HOST", kinds.TEXT, "127.0.0.1", "Address the web listens on."),
        Setting("PORT", kinds.PORT, "3000", "Port the web listens on."),
        Setting(
            "PUBLIC_URL",
            kinds.HTTP,
            None,
            "Address people use, when a proxy stands in front; its host name is allowed and its origin trusted.",
        ),
        Setting(
            "ALLOWED_HOSTS",
            kinds.WORDS,
            "localhost,127.0.0.1,[::1]",
            "Host names the web answers to, besides the one of `PUBLIC_URL` and `HOST`.",
        ),
        Setting("WEB_WORKERS", kinds.whole(1, 64), "1", "Web processes started by `aureus up`."),
        Setting(
            "STUCK_AFTER",
            kinds.SPAN,
            "90s",
            "Time without an answer after which `aureus up` replaces a process that is there and does not work.",
        ),
        Setting(
            "LOG_LEVEL",
            kinds.one_of("debug", "info", "warn", "error"),
            "info",
            "Least important log line that is written.",
        ),
        Setting(
            "LOG_FORMAT",
            kinds.one_of("text", "json"),
            "text",
            "One line per event, for people (`text`) or for a log store (`json`).",
        ),
        Setting("MAX_REQUEST_SIZE", kinds.SIZE, "10mb", "Largest request body, artifacts apart."),
        Setting(
            "CORS_ORIGIN",
            kinds.WORDS,
            "*",
            "Origins whose pages may call the API with a bearer token; cookies are never accepted across origins.",
        ),
    ),
    "Artifacts": (
        Setting("MAX_ARTIFACT_SIZE", kinds.SIZE, "2gb", "Largest artifact that may be uploaded."),
        Setting(
            "ARTIFACT_STORE",
            kinds.STORE,
            "directory",
            "Where artifacts are kept: in `ARTIFACT_DIR`, or in a bucket that every machine of Aureus reaches.",
        ),
        Setting(
            "ARTIFACT_DIR",
            kinds.FOLDER,
            None,
            "Folder of the artifact store `directory`.",
            shown_default="`AUREUS_HOME/artifacts`",
        ),
        Setting(
            "ARTIFACT_RETENTION_DAYS",
            kinds.whole(0, 3650),
            "0",
            "Days after which artifacts that were neither sent nor used, and that nothing needs, are removed hourly; "
            "0: never by itself.",
        ),
        Setting(
            "ARTIFACT_RETENTION_COUNT",
            kinds.whole(0, 1000),
            "10",
            "Newest versions of each application whose artifacts are kept whatever their age.",
        ),
        Setting(
            "S3_ENDPOINT_URL",
            kinds.HTTP,
            None,
            "Address of an S3 server that is not Amazon's.",
        ),
        Setting(
            "AWS_ACCESS_KEY_ID",
            kinds.TEXT,
            None,
            "Who asks the bucket.",
            secret=True,
            shown_default="what boto3 finds: a role of the machine, a profile",
        ),
        Setting("AWS_SECRET_ACCESS_KEY", kinds.TEXT, None, "Its secret.", secret=True),
        Setting("AWS_SESSION_TOKEN", kinds.TEXT, None, "The token of a key that is lent for a time.", secret=True),
        Setting("AWS_REGION", kinds.TEXT, None, "Region of the bucket.", alias="AWS_DEFAULT_REGION"),
    ),
    "Access": (
        Setting(
            "ENABLE_AUTH",
            kinds.BOOLEAN,
            "true",
            "`false` lets everybody in and is refused unless `HOST` is a loopback address.",
        ),
        Setting(
            "JWT_SECRET",
            kinds.TEXT,
            None,
            "Signs login tokens; at least 32 characters. Demanded with `DATABASE_URL`, generated and kept (mode "
            "0600) "
            "under `AUREUS_HOME` with the embedded PostgreSQL.",
            secret=True,
        ),
        Setting(
            "JWT_SECRET_PREVIOUS",
            kinds.TEXT,
            None,
            "The secret before a rotation: tokens signed with it stay valid until they expire.",
            secret=True,
        ),
        Setting("JWT_EXPIRY", kinds.SPAN, "24h", "How long a login token is valid."),
        Setting(
            "SECRET_KEY",
            kinds.TEXT,
            None,
            "Signs admin sessions.",
            secret=True,
            shown_default="derived from `JWT_SECRET`",
        ),
        Setting(
            "ADMIN_PASSWORD",
            kinds.TEXT,
            None,
            "Password of the user `admin` when the first start creates it.",
            secret=True,
            workers_only=True,
            shown_default="generated and printed once",
        ),
    ),
    "PostgreSQL": (
        Setting(
            "STATE_STORE_TYPE",
            kinds.one_of("memory", "postgres"),
            "memory",
            "`memory` means the embedded PostgreSQL (nothing is kept in memory only); `postgres` demands "
            "`DATABASE_URL`.",
        ),
        Setting(
            "DATABASE_URL",
            kinds.POSTGRES,
            None,
            "A PostgreSQL server to use in place of the embedded one.",
            secret=True,
        ),
        Setting(
            "DATABASE_POOL_SIZE", kinds.whole(1, 256), "8", "Threads of one web process; each keeps one connection."
        ),
        Setting(
            "DATABASE_SSL",
            kinds.BOOLEAN,
            "false",
            "Demand TLS (`sslmode=require`; put a stricter `sslmode` into `DATABASE_URL`).",
        ),
        Setting("DATABASE_TIMEOUT", kinds.whole(100, 3_600_000), "10000", "Longest statement in milliseconds."),
    ),
    "Redis": (
        Setting(
            "REDIS_URL",
            kinds.REDIS,
            None,
            "A Redis or Valkey server of Aureus' own to use in place of the embedded Valkey.",
            secret=True,
        ),
        Setting("REDIS_PASSWORD", kinds.TEXT, None, "Its password, when `REDIS_URL` carries none.", secret=True),
        Setting(
            "REDIS_TTL",
            kinds.whole(1, 31_536_000),
            "3600",
            "Seconds a cached entry lives, where it does not say otherwise.",
        ),
        Setting("FLOWER_PORT", kinds.PORT, "5555", "Port of Flower on 127.0.0.1."),
    ),
    "Observability": (
        Setting("ENABLE_METRICS", kinds.BOOLEAN, "true", "Answer `/metrics` in Prometheus' format on `PORT`."),
        _ignored("METRICS_PORT", "metrics are answered at `/metrics` on `PORT`"),
        _ignored("ENABLE_TRACING", "no tracer is built in; every log line and answer carries a request id"),
        _ignored("JAEGER_ENDPOINT", "no tracer is built in"),
        Setting("SLACK_WEBHOOK", kinds.HTTP, None, "Where notifications are posted.", secret=True, workers_only=True),
    ),
    "Workflows": (
        Setting(
            "WORKFLOW_POLICY",
            kinds.one_of("default", "strict", "permissive"),
            "default",
            "Rules that the workflow spec of a new version must keep: see docs/workflows.md.",
        ),
        Setting(
            "WORKFLOW_ADDRESSES",
            kinds.HTTPS,
            "",
            "Servers that `http` tasks of workflow runs may ask although their addresses are private; a task's `path` "
            "is asked at the first one. Public addresses need not be listed.",
        ),
        Setting(
            "LLM_PROVIDER",
            kinds.one_of("openai", "anthropic"),
            "openai",
            "Which language model's server an `llm` task asks that does not say so itself.",
        ),
        Setting("LLM_MODEL", kinds.TEXT, "gpt-4", "The model that it asks for."),
        Setting("LLM_TEMPERATURE", kinds.fraction(0, 2), "0.7", "How freely the model answers."),
        Setting("LLM_MAX_TOKENS", kinds.whole(1, 1_000_000), "2048", "Longest answer in tokens."),
        Setting("OPENAI_API_KEY", kinds.TEXT, None, "Key for OpenAI.", secret=True, workers_only=True),
        Setting("ANTHROPIC_API_KEY", kinds.TEXT, None, "Key for Anthropic.", secret=True, workers_only=True),
        Setting("OPENAI_BASE_URL", kinds.HTTP, "https://api.openai.com/v1", "A server with OpenAI's protocol."),
        Setting("ANTHROPIC_BASE_URL", kinds.HTTP, "https://api.anthropic.com", "A server with Anthropic's protocol."),
    ),
    "Hosts": (
        Setting(
            "HOST_LOOK_INTERVAL",
            kinds.whole(5, 86_400),
            "300",
            "Seconds between two looks at what a host really runs, while no deployment works on it.",
        ),
        *_of_environment("STAGING", "HOST"),
        *_of_environment("PRODUCTION", "HOSTS"),
    ),
    "Accepted and ignored": (
        _ignored("EVENT_LOG_BASE_DIR", "events are rows of PostgreSQL; read them at `/api/deployments/:id/events`"),
        _ignored("NPM_TOKEN", "used by CI alone", secret=True),
        _ignored("DOCKER_USERNAME", "used by CI alone"),
        _ignored("DOCKER_PASSWORD", "used by CI alone", secret=True),
    ),
}
TABLE: dict[str, Setting] = {setting.name: setting for group in GROUPS.values() for setting in group}
