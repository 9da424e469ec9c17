"""HTTP with no I/O: the request and the response that open a WebSocket, or that take its place."""
