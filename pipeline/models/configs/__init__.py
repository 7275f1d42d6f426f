"""The options of architectures, without torch: `bag.py` has those of `--arch bag`, `base.py` the shared ones.

Options of files here appear in `pipeline train --help`. An architecture may also keep its config in its own file.
"""
