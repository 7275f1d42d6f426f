"""Writes a bundle's report.html."""

from pathlib import Path

import pyarrow as pa

from pipeline.lake.atomic import write_text
from pipeline.reports.data import read_report_data
from pipeline.reports.number_page import render_number_page
from pipeline.reports.page import render_page

REPORT = "report.html"


def write_report(
    bundle_folder: Path,
    *,
    lengths: pa.Table | None = None,
    examples: pa.Table | None = None,
    added: tuple[str, pa.Table] | None = None,
    model_id: str | None = None,
    models: Path | None = None,
    output: Path | None = None,
) -> Path:
    """Writes the report of a bundle, from what its folder holds, and returns its path.

    Args:
        lengths: a table of the contract `schemas.report.LENGTH`, in place of the bundle's lengths.parquet.
        examples: a table of the contract `schemas.report.EXAMPLE`, in place of the bundle's examples.parquet.
        added: further examples under the same contract, with the name of what they are from.
        model_id: what to call the model; by default the folder's name. Give it while the folder is a temporary one.
        models: the folder with the lake's other bundles, which the page compares this one with.
        output: where to write; by default report.html in the folder.

    Raises:
        InputNotFoundError: no bundle, or one without metrics.
        DataError: a file of the bundle is damaged.
        CannotWriteError: the place cannot be written.
    """
    data = read_report_data(bundle_folder, model_id=model_id, lengths=lengths, examples=examples)
    target = output or bundle_folder / REPORT
    if data.description.get("task"):
        page = render_number_page(data, bundle_folder)
    else:
        page = render_page(data, models=models, added=added)
    write_text(target, page)
    return target
