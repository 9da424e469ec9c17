"""Paths, routes and routers: where a connection may arrive."""
