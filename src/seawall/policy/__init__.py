"""What every failure does: verdicts, the table from exceptions to them, and why a connection ends."""
