"""What is learned from reviews: one task a file. See `base.py` for what a task answers."""
