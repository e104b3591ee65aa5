"""On which parts of its data a run is weak: what each sample is, slices of it, and what each scores against the rest.

A new property of an image is a function and a line in `properties.py`.
"""
