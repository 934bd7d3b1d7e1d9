"""Events are only ever added, and one sequence gives every fence."""

from django.db import migrations

FORWARD = """
CREATE SEQUENCE aureus_fence;

CREATE FUNCTION journal_event_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.delivered_at IS NULL
       AND (NEW.seq, NEW.stream, NEW.kind, NEW.actor, NEW.at, NEW.data, NEW.compensates_id)
           IS NOT DISTINCT FROM
           (OLD.seq, OLD.stream, OLD.kind, OLD.actor, OLD.at, OLD.data, OLD.compensates_id) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'events are append-only';
END $$;

CREATE TRIGGER journal_event_append_only BEFORE UPDATE OR DELETE ON journal_event
    FOR EACH ROW EXECUTE FUNCTION journal_event_is_append_only();
CREATE TRIGGER journal_event_not_truncated BEFORE TRUNCATE ON journal_event
    FOR EACH STATEMENT EXECUTE FUNCTION journal_event_is_append_only();
"""

BACKWARD = """
DROP TRIGGER journal_event_not_truncated ON journal_event;
DROP TRIGGER journal_event_append_only ON journal_event;
DROP FUNCTION journal_event_is_append_only();
DROP SEQUENCE aureus_fence;
"""


class Migration(migrations.Migration):
    dependencies = [("journal", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
