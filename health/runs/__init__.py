"""Running a version's workflow: a pure core (plan, facts, decide, settle, choosing, filling), tools, verbs."""
