"""Deployments over HTTP: thin views over the verbs."""
