import aureus.journal.models
import django.db.models.deletion
import uuid
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('health', '0004_baseline'),
        ('releases', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='WorkflowRun',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('params', models.JSONField(default=dict)),
                ('status', models.CharField(choices=[('pending', 'pending'), ('running', 'running'), ('compensating', 'compensating'), ('passed', 'passed'), ('failed', 'failed'), ('cancelled', 'cancelled')], default='pending', max_length=20)),
                ('reason', models.TextField(blank=True, default='')),
                ('cancel_reason', models.TextField(blank=True, default='')),
                ('asked_by', models.CharField(max_length=150)),
                ('at', models.DateTimeField(db_default=aureus.journal.models.ClockTimestamp())),
                ('started_at', models.DateTimeField(blank=True, null=True)),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('wake_at', models.DateTimeField(blank=True, help_text='When somebody has to look at it again.', null=True)),
                ('hinted_at', models.DateTimeField(blank=True, null=True)),
                ('version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='releases.version')),
            ],
            options={
                'ordering': ['-at', '-id'],
            },
        ),
        migrations.CreateModel(
            name='TaskRun',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('status', models.CharField(default='pending', max_length=20)),
                ('reason', models.TextField(blank=True, default='')),
                ('held', models.BooleanField(default=False, help_text='Waits until a person acts.')),
                ('not_before', models.DateTimeField()),
                ('within', models.FloatField(default=120.0, help_text='Seconds from the first claim to the deadline.')),
                ('deadline_at', models.DateTimeField(blank=True, null=True)),
                ('lease_until', models.DateTimeField(blank=True, null=True)),
                ('lease_owner', models.CharField(blank=True, default='', max_length=100)),
                ('fence', models.BigIntegerField(default=0)),
                ('attempts', models.IntegerField(default=0)),
                ('failures', models.IntegerField(default=0)),
                ('failing_since', models.DateTimeField(blank=True, null=True)),
                ('task', models.CharField(max_length=128)),
                ('way', models.CharField(choices=[('forward', 'forward'), ('back', 'back')], max_length=10)),
                ('position', models.IntegerField()),
                ('cause', models.CharField(blank=True, choices=[('error', 'error'), ('timeout', 'timeout'), ('lost', 'lost')], max_length=10)),
                ('doubtful', models.BooleanField(default=False, help_text='Of some try nobody knows whether it happened.')),
                ('picked', models.JSONField(default=list, help_text='The followers that a decision picked.')),
                ('output', models.JSONField(default=dict)),
                ('started_at', models.DateTimeField(blank=True, null=True)),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('run', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='tasks', to='health.workflowrun')),
            ],
            options={
                'ordering': ['way', 'position'],
            },
        ),
        migrations.AddIndex(
            model_name='workflowrun',
            index=models.Index(fields=['-at', '-id'], name='health_work_at_6b5f77_idx'),
        ),
        migrations.AddIndex(
            model_name='workflowrun',
            index=models.Index(condition=models.Q(('wake_at__isnull', False)), fields=['wake_at'], name='workflow_run_due'),
        ),
        migrations.AddConstraint(
            model_name='workflowrun',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['pending', 'running', 'compensating', 'passed', 'failed', 'cancelled'])), name='workflow_run_status'),
        ),
        migrations.AddConstraint(
            model_name='workflowrun',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('ended_at', None), ('status__in', ['compensating', 'pending', 'running'])), models.Q(('ended_at__isnull', False), models.Q(('status__in', ['compensating', 'pending', 'running']), _negated=True)), _connector='OR'), name='workflow_run_ended'),
        ),
        migrations.AddConstraint(
            model_name='taskrun',
            constraint=models.UniqueConstraint(fields=('run', 'way', 'task'), name='task_once_a_way'),
        ),
        migrations.AddConstraint(
            model_name='taskrun',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['pending', 'running', 'passed', 'failed', 'skipped'])), name='task_run_status'),
        ),
    ]
