"""The parts of `pipeline nightly`."""
