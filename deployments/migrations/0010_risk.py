"""Risk of plans, approvals that are renewed, freezes that repeat, and what lets one deployment past what holds it."""

import aureus.journal.models
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('deployments', '0009_configuration'),
    ]

    operations = [
        migrations.CreateModel(
            name='BreakGlass',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('plan_hash', models.CharField(max_length=64)),
                ('reason', models.TextField()),
                ('asked_by', models.CharField(max_length=150)),
                ('asked_at', models.DateTimeField(db_default=aureus.journal.models.ClockTimestamp())),
                ('confirmed_by', models.CharField(blank=True, max_length=150)),
                ('confirmed_at', models.DateTimeField(blank=True, null=True)),
                ('expires_at', models.DateTimeField(help_text='Not confirmed, or not used by then, it counts for nothing.')),
                ('used_at', models.DateTimeField(blank=True, help_text='When the deployment started by it.', null=True)),
            ],
            options={
                'ordering': ['asked_at', 'id'],
            },
        ),
        migrations.CreateModel(
            name='Override',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('plan_hash', models.CharField(max_length=64)),
                ('holds', models.JSONField(help_text='Some of freeze, window, soak.')),
                ('reason', models.TextField()),
                ('by', models.CharField(max_length=150)),
                ('at', models.DateTimeField(db_default=aureus.journal.models.ClockTimestamp())),
            ],
            options={
                'ordering': ['at', 'id'],
            },
        ),
        migrations.AlterModelOptions(
            name='freeze',
            options={'ordering': ['-starts', '-id']},
        ),
        migrations.RemoveConstraint(
            model_name='approval',
            name='one_voice_per_person_and_plan',
        ),
        migrations.RemoveConstraint(
            model_name='freeze',
            name='freeze_ends_after_it_starts',
        ),
        migrations.AddField(
            model_name='approval',
            name='renewed_at',
            field=models.DateTimeField(blank=True, help_text='It had expired, and was given anew then.', null=True),
        ),
        migrations.AddField(
            model_name='deployment',
            name='risk',
            field=models.CharField(blank=True, choices=[('low', 'low'), ('medium', 'medium'), ('high', 'high'), ('critical', 'critical')], help_text='Of its plan; empty for what nobody approves.', max_length=10),
        ),
        migrations.AddField(
            model_name='deployment',
            name='risk_reasons',
            field=models.JSONField(blank=True, default=list, help_text='[level, why] for each, the highest first.'),
        ),
        migrations.AddField(
            model_name='deployment',
            name='skips_promotion',
            field=models.BooleanField(default=False, help_text='It never was where versions come from: it starts by a broken glass or not at all.'),
        ),
        migrations.AddField(
            model_name='environment',
            name='locked_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='freeze',
            name='days',
            field=models.JSONField(blank=True, default=list, help_text='Weekdays on which one that names hours begins.'),
        ),
        migrations.AddField(
            model_name='freeze',
            name='declared',
            field=models.BooleanField(default=False, editable=False, help_text='It stands in a declaration.'),
        ),
        migrations.AddField(
            model_name='freeze',
            name='first',
            field=models.CharField(blank=True, help_text='Of a repeating one: "friday 16:00".', max_length=40, verbose_name='from'),
        ),
        migrations.AddField(
            model_name='freeze',
            name='last',
            field=models.CharField(blank=True, help_text='"monday 08:00"', max_length=40, verbose_name='to'),
        ),
        migrations.AddField(
            model_name='freeze',
            name='zone',
            field=models.CharField(default='UTC', help_text='Whose clocks count, such as Europe/Berlin.', max_length=64),
        ),
        migrations.AlterField(
            model_name='freeze',
            name='ends',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name='freeze',
            name='starts',
            field=models.DateTimeField(blank=True, help_text='Of a single one.', null=True),
        ),
        migrations.AddConstraint(
            model_name='approval',
            constraint=models.UniqueConstraint(condition=models.Q(('renewed_at', None)), fields=('deployment', 'plan_hash', 'by'), name='one_voice_per_person_and_plan'),
        ),
        migrations.AddConstraint(
            model_name='freeze',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('ends__gt', models.F('starts')), ('ends__isnull', False), ('first', ''), ('last', ''), ('starts__isnull', False)), models.Q(('ends', None), ('starts', None), models.Q(('first', ''), _negated=True), models.Q(('last', ''), _negated=True)), _connector='OR'), name='a_freeze_is_single_or_repeats'),
        ),
        migrations.AddField(
            model_name='breakglass',
            name='deployment',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='glasses', to='deployments.deployment'),
        ),
        migrations.AddField(
            model_name='breakglass',
            name='incident',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='deployments.incident'),
        ),
        migrations.AddField(
            model_name='override',
            name='deployment',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='overrides', to='deployments.deployment'),
        ),
        migrations.AddConstraint(
            model_name='breakglass',
            constraint=models.CheckConstraint(condition=models.Q(('confirmed_by', models.F('asked_by')), _negated=True), name='two_people_break_the_glass'),
        ),
        migrations.AddConstraint(
            model_name='breakglass',
            constraint=models.CheckConstraint(condition=models.Q(('used_at', None), ('confirmed_at__isnull', False), _connector='OR'), name='only_a_broken_glass_is_used'),
        ),
    ]
