"""The frames of RFC 6455, with no I/O."""
