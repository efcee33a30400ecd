"""Confined workers and how to talk to them. Knows nothing of katas."""
