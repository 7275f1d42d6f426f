"""The loops over every byte or token: compiled (`_kernels.c`) if a compiler was available at installation, else in NumPy.

Both give the same results; the compiled ones take about half the time and release the GIL.
"""

try:
    from pipeline.text._kernels import (
        bag_sums,
        csv_records,
        encode,
        folder_names,
        join,
        ngram_sums,
        pack,
        pad,
        read_files,
        split,
        word_slots,
    )

    COMPILED = True
except ImportError:
    from pipeline.text.numpy_batches import join, pack, pad
    from pipeline.text.numpy_csv import csv_records
    from pipeline.text.numpy_kernels import encode, folder_names, read_files, split, word_slots
    from pipeline.text.numpy_sums import bag_sums, ngram_sums

    COMPILED = False

__all__ = [
    "COMPILED",
    "bag_sums",
    "csv_records",
    "encode",
    "folder_names",
    "join",
    "ngram_sums",
    "pack",
    "pad",
    "read_files",
    "split",
    "word_slots",
]
