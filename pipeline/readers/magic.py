"""Files whose first bytes say that they are of another format than their name: a renamed `.xlsx`, a `.csv` that is gzip."""

from pipeline.readers.base import FileFault, Source

COMPRESSED = {
    b"\x1f\x8b\x08": (".gz", "gzip"),
    b"\x28\xb5\x2f\xfd": (".zst", "zstd"),
    **{b"BZh%d1AY&SY" % level: (".bz2", "bzip2") for level in range(1, 10)},
}
MAGIC = {
    b"PAR1\x15": ("a Parquet file", "Rename it to .parquet, or use --format parquet"),
    b"ARROW1\x00\x00": ("an Arrow file", "Rename it to .arrow, or use --format arrow"),
    b"PK\x03\x04": ("a ZIP archive or an Excel workbook", "Rename the archive to .zip, or save the sheet as CSV"),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": ("an old Excel workbook", "Save the sheet as CSV"),
    b"\xfd7zXZ\x00": ("an xz file", "Unpack it"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "Unpack it"),
    b"SQLite format 3\x00": ("an SQLite database", "Export its table as CSV"),
    b"%PDF-": ("a PDF", "Export the reviews as CSV"),
}


def check_is_text(source: Source, start: bytes) -> None:
    """Checks that a file of text does not begin like a well-known file of bytes.

    Args:
        start: its first bytes, decompressed.

    Raises:
        FileFault: it does; what it looks like, and what to do.
    """
    for magic, (suffix, name) in COMPRESSED.items():
        if start.startswith(magic):
            what = f"is {name} inside {source.compression}. Decompress it once" if source.compression else None
            detail = what or f"is compressed with {name}, but its name lacks the suffix. Add {suffix} to its name"
            raise FileFault(source.name, "damaged", detail)
    for magic, (name, remedy) in MAGIC.items():
        if start.startswith(magic):
            raise FileFault(source.name, "damaged", f"is {name}, not {source.format}. {remedy}")
