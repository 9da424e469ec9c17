"""Messages as values: decoded, validated and encoded. Pure."""
