"""HTTP requests and responses, with no I/O: what comes before a WebSocket, or instead of one."""
