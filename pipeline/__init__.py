"""A streaming pipeline for review sentiment: raw files to token shards, to a recurrent classifier, to predictions."""

__version__ = "0.1.0"
