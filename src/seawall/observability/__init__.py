"""What is written down: the log, and how each connection ended."""
