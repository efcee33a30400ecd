"""Comparing what came back with what was wanted, and saying in words what differs. Runs no code of the values compared."""
