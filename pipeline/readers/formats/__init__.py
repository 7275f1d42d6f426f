"""Input formats, one a file. Each module defines `FORMAT`; `pipeline.readers.registry` finds it by itself.

These modules import pyarrow inside their functions only: `--help` lists the formats without paying for it.
"""
