"""Faults on real processes: the tree of `aureus up`, Valkey, PostgreSQL and SSH hosts, broken at seeded instants."""
