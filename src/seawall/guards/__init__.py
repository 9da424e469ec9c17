"""Guards: they decide whether a client may connect, and prove its principal."""
