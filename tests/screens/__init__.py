"""Commands in a real terminal: for tests, and for the pictures in docs/screens/ (`make screens`)."""
