"""Django's settings; every value that may differ between installations comes from the configuration table."""

import hashlib
import hmac
import secrets
import sys
from datetime import timedelta
from urllib.parse import urlsplit

from aureus import conf, logs, servers, waiting
from aureus.embedded import kept

try:
    AUREUS = conf.read()
except conf.ConfigurationError as error:
    sys.exit(str(error))

_kept = kept.read(AUREUS.home) if AUREUS.embedded_postgres else None

# A process that finds no kept secret (no `aureus up` so far) signs with one of its own, which ends with it.
JWT_SECRET = AUREUS.JWT_SECRET or (_kept.jwt_secret if _kept else secrets.token_urlsafe(48))
SECRET_KEY = AUREUS.SECRET_KEY or hmac.digest(JWT_SECRET.encode(), b"aureus admin sessions", hashlib.sha256).hex()
JWT_SECRET_PREVIOUS = AUREUS.JWT_SECRET_PREVIOUS
JWT_EXPIRY = timedelta(seconds=AUREUS.JWT_EXPIRY)

DEBUG = False
_public = urlsplit(AUREUS.PUBLIC_URL or "")
ALLOWED_HOSTS = [*AUREUS.ALLOWED_HOSTS, *filter(None, [_public.hostname])]
if AUREUS.HOST not in {"0.0.0.0", "::"}:  # noqa: S104 - names every address, so it names no host
    ALLOWED_HOSTS.append(AUREUS.HOST)
CSRF_TRUSTED_ORIGINS = [f"{_public.scheme}://{_public.netloc}"] if AUREUS.PUBLIC_URL else []
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _public.scheme == "https"
SESSION_COOKIE_AGE = 12 * 3600
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _public.scheme == "https" else None
X_FRAME_OPTIONS = "DENY"

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "django_prometheus",
    "aureus.journal",
    "releases",
    "health",
    "deployments",
    "aureus.accounts",
]

MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "aureus.api.request_ids.RequestIds",
    "aureus.api.metering.Metering",
    "aureus.api.cors.Cors",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "aureus.api.limits.BodyLimits",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "aureus.console.ConsoleActor",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

ROOT_URLCONF = "aureus.urls"
WSGI_APPLICATION = "aureus.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {"default": servers.database(AUREUS)}
waiting.with_an_end(AUREUS.DATABASE_TIMEOUT / 1000)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "TIMEOUT": AUREUS.REDIS_TTL}}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

STATIC_URL = "static/"
# WhiteNoise serves the installed packages' files in place: nothing to collect, nothing to forget after an upgrade.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
WHITENOISE_MAX_AGE = 3600

DATA_UPLOAD_MAX_MEMORY_SIZE = AUREUS.MAX_REQUEST_SIZE
# The browsable API is off, cookies count for nothing here, and what the permission table does not allow is refused.
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["aureus.api.auth.Bearer"],
    "DEFAULT_PERMISSION_CLASSES": ["aureus.api.places.ByTable"],
    "DEFAULT_PARSER_CLASSES": ["aureus.api.parsing.StrictJSON"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PAGINATION_CLASS": "aureus.api.pages.Keyset",
    "DEFAULT_METADATA_CLASS": None,
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "aureus.api.problems.answer",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Aureus",
    "VERSION": "0.1.0",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["aureus.api.places.ByTable"],
    "SCHEMA_PATH_PREFIX": "/api",
    "PREPROCESSING_HOOKS": [],
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "aureus.api.schema.finish"],
    "COMPONENT_SPLIT_REQUEST": False,
}
UNFOLD = {"SITE_TITLE": "Aureus", "SITE_HEADER": "Aureus", "SITE_SYMBOL": "deployed_code"}
PROMETHEUS_EXPORT_MIGRATIONS = False

LOGGING_CONFIG = None
_known_secrets = [*AUREUS.secrets, JWT_SECRET, SECRET_KEY, *(_kept.secrets if _kept else ())]
logs.configure(AUREUS.LOG_LEVEL, AUREUS.LOG_FORMAT, secrets=_known_secrets)
