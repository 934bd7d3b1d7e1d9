from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('deployments', '0007_cooled'),
        ('releases', '0001_initial'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='deployment',
            index=models.Index(condition=models.Q(('status__in', ('pending', 'awaiting_approval'))), fields=['version'], name='deployment_waiting'),
        ),
    ]
