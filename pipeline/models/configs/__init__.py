"""The options of architectures, without torch: `bag.py` holds those of `--arch bag`, `base.py` those that many share.

A file here puts its options into `pipeline train --help`. An architecture may as well keep its config in its own file.
"""
