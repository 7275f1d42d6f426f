"""The contracts of everything that is written to the lake: pyarrow only, no torch, no I/O."""
