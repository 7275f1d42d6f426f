"""Options: a field of a config dataclass carries its help, bounds and choices; everything else derives from it."""
