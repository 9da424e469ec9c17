"""Topics: what is said in rooms, kept for who comes back, and who is there."""
