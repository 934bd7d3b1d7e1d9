from django.apps import AppConfig


class JournalConfig(AppConfig):
    name = "aureus.journal"
    label = "journal"
