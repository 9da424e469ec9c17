"""The server: it accepts, counts, runs and closes connections."""
