"""Paths, routes and routers: which handler a request leads to."""
