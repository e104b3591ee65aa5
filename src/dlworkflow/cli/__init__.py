"""The command line `dlw`: each command parses, calls the library once, and prints. Nothing heavy is imported here."""
