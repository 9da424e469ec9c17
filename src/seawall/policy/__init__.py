"""What follows from a failure: verdicts, the policy from exceptions to verdicts, and why a connection ends."""
