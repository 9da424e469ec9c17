"""Events: the messages of a connection, each handled by the function for its type."""
