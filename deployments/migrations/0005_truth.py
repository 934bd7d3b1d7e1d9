
import deployments.engine.truth
import django.db.models.deletion
from django.db import migrations, models

# What changes in it when a database was restored or copied was found by experiment: docs/decisions/0013.
IDENTITY = """
CREATE FUNCTION aureus_identity() RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    parts text[] := ARRAY[]::text[];
BEGIN
    IF has_function_privilege('pg_control_system()', 'EXECUTE') THEN
        parts := parts || ('cluster ' || (SELECT system_identifier FROM pg_control_system()));
    END IF;
    IF has_function_privilege('pg_control_checkpoint()', 'EXECUTE') THEN
        parts := parts || ('timeline ' || (SELECT timeline_id FROM pg_control_checkpoint()));
    END IF;
    IF has_function_privilege('pg_stat_file(text)', 'EXECUTE') THEN
        parts := parts || ('folder ' || extract(epoch FROM (pg_stat_file('PG_VERSION')).change)::bigint);
    END IF;
    RETURN array_to_string(parts || ARRAY[
        'database ' || (SELECT oid FROM pg_database WHERE datname = current_database()),
        'table ' || 'deployments_identity'::regclass::oid], ', ');
END $$;

-- An installation that is updated to this point may stand on a restored dump already: then its hosts are compared first.
INSERT INTO deployments_identity (known, seal) VALUES ('', '');
INSERT INTO deployments_identity (known, seal)
    SELECT CASE WHEN old THEN 'unknown' ELSE aureus_identity() END, CASE WHEN old THEN 'unknown' ELSE mark.xmin::text END
    FROM deployments_identity AS mark, (SELECT EXISTS (SELECT FROM deployments_deployment) AS old) AS before;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('deployments', '0004_answerable'),
    ]

    operations = [
        migrations.CreateModel(
            name='Identity',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('known', models.TextField(blank=True, help_text='What aureus_identity() said then.')),
                ('seal', models.TextField(blank=True, help_text='The xmin of the mark then.')),
                ('changed_at', models.DateTimeField(blank=True, help_text='When it last said something else.', null=True)),
            ],
            options={
                'verbose_name_plural': 'identities',
            },
        ),
        migrations.CreateModel(
            name='Sighting',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField()),
                ('reached', models.BooleanField()),
                ('error', models.TextField(blank=True)),
                ('content', models.CharField(blank=True, max_length=150)),
                ('fence', models.BigIntegerField(default=0)),
                ('service', models.CharField(blank=True, help_text="The unit's state, as systemd calls it.", max_length=40)),
                ('started_at', models.BigIntegerField(blank=True, help_text="Seconds since 1970 by the host's clock.", null=True)),
                ('restarts', models.BigIntegerField(blank=True, help_text="systemd's own count.", null=True)),
                ('healthy', models.BooleanField(blank=True, null=True)),
                ('version', models.CharField(blank=True, help_text='What its health answer declares.', max_length=200, null=True)),
            ],
            options={
                'ordering': ['at', 'id'],
            },
        ),
        migrations.AddField(
            model_name='endpoint',
            name='look_at',
            field=models.DateTimeField(blank=True, help_text='When it is looked at again; empty: now.', null=True),
        ),
        migrations.AddField(
            model_name='endpoint',
            name='state',
            field=models.CharField(choices=[('unseen', 'unseen'), ('as_recorded', 'as recorded'), ('drifted', 'drifted'), ('flapping', 'flapping'), ('unreachable', 'unreachable'), ('owed', 'owed'), ('ahead', 'ahead')], default=deployments.engine.truth.Standing['UNSEEN'], max_length=12),
        ),
        migrations.AddField(
            model_name='endpoint',
            name='state_since',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='endpoint',
            name='why',
            field=models.TextField(blank=True, help_text='Why it is in this state.'),
        ),
        migrations.AddField(
            model_name='incident',
            name='endpoint',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='incidents', to='deployments.endpoint'),
        ),
        migrations.AddField(
            model_name='installation',
            name='prove_at',
            field=models.DateTimeField(blank=True, help_text='When its hosts are compared again.', null=True),
        ),
        migrations.AddField(
            model_name='installation',
            name='unproven',
            field=models.TextField(blank=True, help_text='Why no host may be changed at all: the database was restored, and not compared since.'),
        ),
        migrations.AddField(
            model_name='installation',
            name='unproven_fence',
            field=models.BigIntegerField(blank=True, help_text='The highest fence known at that time.', null=True),
        ),
        migrations.AddIndex(
            model_name='endpoint',
            index=models.Index(condition=models.Q(('retired', False)), fields=['look_at'], name='endpoint_to_look_at'),
        ),
        migrations.AddField(
            model_name='sighting',
            name='endpoint',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='sightings', to='deployments.endpoint'),
        ),
        migrations.AddIndex(
            model_name='sighting',
            index=models.Index(fields=['endpoint', 'at'], name='deployments_endpoin_0e5eab_idx'),
        ),
        migrations.RunSQL(IDENTITY, "DROP FUNCTION aureus_identity()"),
    ]
