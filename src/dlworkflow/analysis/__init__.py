"""What a run is worth and why: its evaluation, its figures and the diagnosis of its curves."""
