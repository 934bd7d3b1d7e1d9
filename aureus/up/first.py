"""What comes before the workers at each start: migrations, and at the very first one the user `admin`.

Prints the password it made up on standard output, which `aureus up` shows and nobody keeps.
"""

import secrets
import sys
import time

from django.conf import settings
from django.core.management import call_command
from django.db import OperationalError, connection

MIGRATION_LOCK = 0x61757265
PATIENCE = 30


def prepare_database() -> int:
    """The exit code. Django is set up, which whoever imports this file need not be."""
    from deployments import identity

    try:
        _wait_for_database()
    except OperationalError as error:
        print(f"The database does not answer: {str(error).strip()}", file=sys.stderr)
        return 1
    with connection.cursor() as cursor:
        # Several machines may start on one database; one migrates, the others then find nothing to do.
        cursor.execute("SET lock_timeout = 0")
        cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
        call_command("migrate", interactive=False, verbosity=0)
        identity.notice()
        password = _create_admin()
        cursor.execute("SELECT pg_advisory_unlock(%s)", [MIGRATION_LOCK])
    print(password or "", flush=True)
    return 0


def _wait_for_database() -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            connection.ensure_connection()
            return
        except OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def _create_admin() -> str | None:
    """The new password; None if there is a user already or the password was given."""
    from django.contrib.auth import get_user_model

    from aureus.accounts.models import Grant
    from aureus.journal.actor import Role

    users = get_user_model().objects
    if users.exists():
        return None
    given = settings.AUREUS.ADMIN_PASSWORD
    password = given or secrets.token_urlsafe(12)
    admin = users.create_superuser("admin", password=password)
    # A superuser may configure and look. That the first user can also ship is written down, and can be taken away;
    # approving is not among it, since nobody approves what he asked for himself.
    Grant.objects.bulk_create(Grant(user=admin, role=role) for role in (Role.ADMIN, Role.RELEASE_MANAGER, Role.CI))
    return None if given else password
