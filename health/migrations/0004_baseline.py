from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("health", "0003_sources"),
    ]

    operations = [
        migrations.AddField(
            model_name="window",
            name="before",
            field=models.JSONField(
                default=list, help_text="What each source counted of the old content before the start."
            ),
        ),
    ]
