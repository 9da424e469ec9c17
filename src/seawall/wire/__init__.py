"""The wire: RFC 6455 frames, the HTTP request head, and what carries both between a socket and a handler."""
