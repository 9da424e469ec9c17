"""The wire: carries the frames of RFC 6455 between a socket and a handler. Nothing here depends on an app."""
