"""The helpers of the course under their own names, and its worked examples. May use every room but the command line."""
