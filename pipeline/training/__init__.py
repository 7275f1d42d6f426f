"""Loop, order, checkpoints, metrics. Does not know who started it."""
