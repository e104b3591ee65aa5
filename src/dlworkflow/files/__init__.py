"""Paths as a user types them, names made safe to show, reading and writing whole files, locks; knows no format."""
