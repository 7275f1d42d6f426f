"""The steps of scoring: order, bounds, errors that arrive as they were raised."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.datapipes.ordered_map import OrderedMap
from pipeline.datapipes.score_encode import Score, encode_texts, text_encoder
from pipeline.datapipes.score_read import read_parts
from pipeline.datapipes.score_window import Window
from pipeline.datapipes.score_window import windows as gathered
from pipeline.readers.base import FileFault, Reading, Source
from pipeline.readers.tables import Table, open_table
from tests.support.scoring import make_texts, make_vocabulary


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are cut into parts of 20 rows."""
    for module in ("pipeline.readers.tables", "pipeline.readers.rows_at_once"):
        monkeypatch.setattr(f"{module}.BATCH_ROWS", 20)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, ...]:
    """Two files of 130 and 70 rows, in row groups of 50 and 9."""
    texts = make_texts(200)
    for name, part, rows in (("a", slice(0, 130), 50), ("b", slice(130, 200), 9)):
        table = pa.table({"n": list(range(200))[part], "text": texts[part]})
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=rows)
    return tmp_path / "a.parquet", tmp_path / "b.parquet"


def tables(files: tuple[Path, ...]) -> list[Table]:
    sources = [Source(path=path, name=path.name, format="parquet") for path in files]
    return [open_table(source, ("text",), Reading()) for source in sources]


def windows(
    files: tuple[Path, ...],
    workers: int,
    max_rows: int,
    *,
    max_bytes: int = 1 << 30,
    first_rows: int | None = None,
    score: Score | None = None,
) -> Iterator[Window]:
    encode = text_encoder(make_vocabulary(), pa.schema([("n", pa.int64())]), score=score)
    with OrderedMap(read_parts(tables(files), ["n"]), encode, workers) as encoded:
        yield from gathered(encoded, first_rows or max_rows, max_rows, max_bytes)


def test_every_row_comes_once_in_order_with_its_own_ids(files: tuple[Path, ...]) -> None:
    found = list(windows(files, 2, 60))
    assert [n for window in found for batch in window.batches for n in batch["n"].to_pylist()] == list(range(200))
    ids = pa.concat_arrays([window.ids for window in found])
    expected, reason = encode_texts(make_vocabulary(), pa.array(make_texts(200)))
    assert ids.equals(expected)
    assert [place for window in found for place in window.reason.tolist()] == reason.tolist()
    assert [length for window in found for length in window.length_N.tolist()] == [
        len(i or ()) for i in expected.to_pylist()
    ]
    assert all(60 <= len(window) < 80 for window in found[:-1])


@pytest.mark.parametrize("workers", [0, 2])
def test_rows_that_are_scored_at_once_keep_no_ids(files: tuple[Path, ...], workers: int) -> None:
    def first_id(ids: pa.ListArray) -> npt.NDArray[np.float32]:
        return np.array([[(row or [0])[0]] for row in ids.to_pylist()], np.float32)

    found = list(windows(files, workers, 60, score=first_id))
    expected, _ = encode_texts(make_vocabulary(), pa.array(make_texts(200)))
    assert all(window.ids is None for window in found)
    scored = [float(value) for window in found if window.probability_NC is not None for value in window.probability_NC[:, 0]]
    assert scored == first_id(expected)[:, 0].tolist()


def test_windows_grow_from_the_first_to_the_largest(files: tuple[Path, ...]) -> None:
    found = windows(files, 0, 70, first_rows=20)
    assert [len(window) for window in found] == [20, 40, 70, 70]  # whole parts, at least 20, 40, 70 rows


def test_a_window_is_bounded_by_bytes_too(files: tuple[Path, ...]) -> None:
    assert len(list(windows(files, 0, 10**6, max_bytes=2000))) > 3


def test_damage_arrives_as_one_message(files: tuple[Path, ...]) -> None:
    content = bytearray(files[1].read_bytes())
    content[20:600] = b"\xff" * 580
    files[1].write_bytes(content)
    with pytest.raises(FileFault, match=r"b\.parquet: cannot be read") as caught:
        next(windows(files, 2, 10**6))
    assert "Traceback" not in str(caught.value)
