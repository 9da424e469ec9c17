"""An example application: an echo, a session behind a token, and a page to try both."""
