"""The pictures of docs/terminal.md: commands in a real terminal (`make screens`)."""
