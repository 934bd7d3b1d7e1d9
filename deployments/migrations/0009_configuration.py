"""Deployments name what they bring; revisions of variables are only ever added."""

import django.db.models.deletion
from django.db import migrations, models

import aureus.journal.models

# One statement: no row of a large table passes through this process.
NAMED = """
UPDATE deployments_deployment AS deployment SET content = version.number || '-' || left(version.digest, 12)
FROM releases_version AS version WHERE version.id = deployment.version_id AND deployment.content = ''
"""
ONLY_ADDED = """
CREATE FUNCTION deployments_configuration_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a configuration is never changed or deleted: write the next revision' USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER deployments_configuration_kept BEFORE UPDATE OR DELETE ON deployments_configuration
    FOR EACH ROW EXECUTE FUNCTION deployments_configuration_kept();
"""
BACKWARD = """
DROP TRIGGER deployments_configuration_kept ON deployments_configuration;
DROP FUNCTION deployments_configuration_kept();
"""


class Migration(migrations.Migration):
    dependencies = [("deployments", "0008_waiting"), ("releases", "0001_initial")]
    operations = [
        migrations.CreateModel(
            name="Configuration",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField(help_text="1, 2, 3, … of its installation.")),
                (
                    "variables",
                    models.JSONField(
                        help_text='{"value": text} or {"secret": "env:NAME" or "file:/path"} by name.'
                    ),
                ),
                ("digest", models.CharField(help_text="sha256 of names, plain values and references.", max_length=64)),
                ("by", models.CharField(max_length=150)),
                ("at", models.DateTimeField(db_default=aureus.journal.models.ClockTimestamp())),
                ("note", models.TextField(blank=True)),
                (
                    "installation",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="configurations",
                        to="deployments.installation",
                    ),
                ),
            ],
            options={"ordering": ["-number"]},
        ),
        migrations.AddConstraint(
            model_name="configuration",
            constraint=models.UniqueConstraint(
                fields=("installation", "number"), name="one_configuration_per_number"
            ),
        ),
        migrations.RunSQL(ONLY_ADDED, BACKWARD),
        migrations.AddField(
            model_name="deployment",
            name="configuration",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="deployments",
                to="deployments.configuration",
            ),
        ),
        migrations.AddField(
            model_name="deployment",
            name="content",
            field=models.CharField(
                default="", help_text="What it brings: version and configuration, by their digests.", max_length=150
            ),
            preserve_default=False,
        ),
        migrations.RunSQL(NAMED, migrations.RunSQL.noop),
        migrations.AddIndex(
            model_name="deployment",
            index=models.Index(fields=["installation", "content"], name="deployment_content"),
        ),
    ]
