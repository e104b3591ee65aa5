"""Sweeps: many runs of the same base settings, one by one or many tiny models at once, and their table of results."""
