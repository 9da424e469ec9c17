"""The wire: what carries frames between a socket and a handler (RFC 6455). It knows no app."""
