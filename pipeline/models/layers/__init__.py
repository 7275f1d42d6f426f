"""Parts that architectures are built of; nothing here is an architecture, so the registry does not list it."""
