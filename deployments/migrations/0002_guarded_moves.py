"""Statuses move only as deployments.engine.status says; a test holds both tables against each other."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION deployments_deployment_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.status, NEW.status) NOT IN (
        ('pending', 'awaiting_approval'),
        ('pending', 'failed'),
        ('pending', 'in_progress'),
        ('awaiting_approval', 'failed'),
        ('awaiting_approval', 'pending'),
        ('in_progress', 'deployed'),
        ('in_progress', 'failed'),
        ('deployed', 'rolled_back')
    ) THEN
        RAISE EXCEPTION 'a deployment may not go from % to %', OLD.status, NEW.status USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER deployments_deployment_moves BEFORE UPDATE OF status ON deployments_deployment
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION deployments_deployment_moves();

CREATE FUNCTION deployments_step_moves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.status, NEW.status) NOT IN (
        ('pending', 'failed'),
        ('pending', 'running'),
        ('pending', 'skipped'),
        ('running', 'failed'),
        ('running', 'passed'),
        ('running', 'pending'),
        ('running', 'skipped')
    ) THEN
        RAISE EXCEPTION 'a step may not go from % to %', OLD.status, NEW.status USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER deployments_step_moves BEFORE UPDATE OF status ON deployments_step
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION deployments_step_moves();
"""

BACKWARD = """
DROP TRIGGER deployments_step_moves ON deployments_step;
DROP FUNCTION deployments_step_moves();
DROP TRIGGER deployments_deployment_moves ON deployments_deployment;
DROP FUNCTION deployments_deployment_moves();
"""


class Migration(migrations.Migration):
    dependencies = [("deployments", "0001_initial")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
