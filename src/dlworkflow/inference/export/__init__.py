"""A run's model in a format that other programs read, checked against the run; a format a file, see `formats`."""
