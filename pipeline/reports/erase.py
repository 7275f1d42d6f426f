"""Taking reviews out of what a bundle holds beside its model: the reviews that its page shows, and lists of reviews."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.lake.atomic import PREFIX, atomic_path
from pipeline.lake.content import KEY_DATA_SHA256, READ_ERRORS, note_data_sha256, open_parquet
from pipeline.lake.damage import damaged
from pipeline.reports.files import EVALUATED_NUMBERS, EVALUATIONS, EXAMPLES, NUMBER_EXAMPLES, REMEDY
from pipeline.reports.write import REPORT, write_report
from pipeline.scoring.erase import Sought

ERASED = "erased"
"""In place of an id: the figures of a page are those of the model, so the rows stay."""


def erase_from_bundle(folder: Path, review_ids: Collection[str], sought: Sought, models: Path, *, dry_run: bool) -> int:
    """Takes reviews out of a bundle, and writes its page again where it showed one; gives the number of entries.

    Args:
        models: the folder with the lake's bundles.

    Raises:
        DataError: a file of the bundle is damaged.
    """
    entries = 0
    for path in sorted(folder.glob("*.parquet")):
        if path.name in (EXAMPLES, NUMBER_EXAMPLES):
            continue
        entries += _without_ids(path, review_ids, keep=path.name in (EVALUATIONS, EVALUATED_NUMBERS), dry_run=dry_run)
    shown = sum(_without_texts(folder / name, sought, dry_run) for name in (EXAMPLES, NUMBER_EXAMPLES))
    if shown and not dry_run and (folder / REPORT).exists():
        write_report(folder, models=models)
    return entries + shown


def erase_from_folds(folder: Path, review_ids: Collection[str], *, dry_run: bool) -> int:
    """Takes reviews out of the predictions of cross-validations; gives their number."""
    return sum(
        _without_ids(path, review_ids, keep=False, dry_run=dry_run) for path in sorted(folder.glob("[!.]*/*.parquet"))
    )


def _without_ids(path: Path, review_ids: Collection[str], *, keep: bool, dry_run: bool) -> int:
    """Takes the rows of reviews out of a file that has a column `review_id`; or their ids, to keep the rows."""
    if path.name.startswith(PREFIX):
        return 0
    try:
        with open_parquet(path) as file:
            if "review_id" not in file.schema_arrow.names:
                return 0
            ids = file.read(columns=["review_id"])["review_id"]
            gone = pc.is_in(ids, value_set=pa.array(sorted(review_ids), pa.string()))
            count = int(pc.sum(gone).as_py() or 0)
            if not count or dry_run:
                return count
            table = file.read()
    except READ_ERRORS as error:
        raise damaged(path, error, "the file", REMEDY) from error
    if keep:
        place = table.schema.get_field_index("review_id")
        blanked = pc.if_else(gone, ERASED, table["review_id"])
        table = table.set_column(place, table.schema.field(place), blanked)
    else:
        table = table.filter(pc.invert(gone))
    _write(path, table)
    return count


def _without_texts(path: Path, sought: Sought, dry_run: bool) -> int:
    if not path.exists() or not sought.texts:
        return 0
    try:
        with open_parquet(path) as file:
            table = file.read()
    except READ_ERRORS as error:
        raise damaged(path, error, "the file", REMEDY) from error
    gone = np.concatenate([np.zeros(0, np.bool_), *(sought.rows(batch, ["text"], None) for batch in table.to_batches())])
    if gone.any() and not dry_run:
        _write(path, table.filter(pa.array(~gone)))
    return int(gone.sum())


def _write(path: Path, table: pa.Table) -> None:
    """Writes a file again, with a digest of its content if it had one."""
    metadata = dict(table.schema.metadata or {})
    has_digest = metadata.pop(KEY_DATA_SHA256, None) is not None
    schema = table.schema.with_metadata(metadata)
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd", write_page_checksum=has_digest) as writer,
    ):
        writer.write_table(table.replace_schema_metadata(metadata))
        if has_digest:
            note_data_sha256(writer, temporary)
