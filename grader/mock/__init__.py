"""Timed mock interviews: drawn by seed, kept event by event, scored by a written rule."""
