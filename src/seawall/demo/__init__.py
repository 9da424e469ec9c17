"""The guide's example as an application: an echo, a session behind a token, and a page to try both."""
