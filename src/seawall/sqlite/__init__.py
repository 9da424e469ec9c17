"""Stores in a file of SQLite: revocations, sessions and tickets, for other processes and later ones."""
