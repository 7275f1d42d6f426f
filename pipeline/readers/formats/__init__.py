"""Input formats, one per file. Each module defines `FORMAT`; `pipeline.readers.registry` finds it automatically.

These modules import pyarrow inside their functions only: `--help` lists the formats without paying for it.
"""
