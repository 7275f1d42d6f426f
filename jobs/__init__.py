"""The jobs: each module has a frozen config and `run(config) -> Receipt`, and composes parts of `pipeline`."""
