from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "aureus.accounts"
    label = "accounts"

    def ready(self) -> None:
        # So that a task published by any process goes to our broker, not to Celery's default one.
        import aureus.celery  # noqa: F401
