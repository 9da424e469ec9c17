"""The wire: RFC 6455 frames, the HTTP request head, and the lane that carries both between socket and handler."""
