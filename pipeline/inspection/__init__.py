"""What a delivery holds: a bounded look at its files, and guesses for the options that read them, as `pipeline.toml`."""
