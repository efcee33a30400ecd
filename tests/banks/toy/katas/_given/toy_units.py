"""Given: lengths in metres."""

METRES = {"m": 1.0, "km": 1000.0}
