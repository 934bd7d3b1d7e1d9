"""The verbs on fleets: declare and apply, trust, converge, recover."""
