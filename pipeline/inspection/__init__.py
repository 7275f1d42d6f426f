"""Inspects a bounded part of input files, and guesses the options to read them, as a `pipeline.toml`."""
