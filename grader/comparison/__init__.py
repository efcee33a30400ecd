"""Comparing what came back with what was wanted, and saying what differs. Runs no code of the values compared."""
