from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "aureus.accounts"
    label = "accounts"
