"""Tables of text with tabs between the fields, in which quotation marks are text unless a dialect names one."""

from dataclasses import replace

from pipeline.readers.base import Format
from pipeline.readers.formats import csv

FORMAT: Format = replace(
    csv.FORMAT,
    name="tsv",
    suffixes=(".tsv", ".tab"),
    summary="a header, then one row per line with tab-separated fields; no quoting",
)
