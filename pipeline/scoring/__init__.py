"""From a model bundle to predictions."""
