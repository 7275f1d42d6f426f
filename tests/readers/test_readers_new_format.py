"""An input format is one new file: help, errors and ingest know it from then on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.ingest import run
from pipeline.config.ingest import IngestConfig
from pipeline.readers import formats, registry

PAGE = '''"""`.rows`: text and label with a bar between them."""

from pipeline.readers.base import Format, Rows


def read(source, reading):
    import numpy as np
    import pyarrow as pa

    from pipeline.readers.opening import opened, readable

    with readable(source), opened(source.path, source.compression) as stream:
        cells = [line.split(b"|") for line in bytes(stream.read()).splitlines()]
    table = {"text": [cell[0] for cell in cells], "label": [cell[1] for cell in cells]}
    batch = pa.RecordBatch.from_pydict({name: table[name] for name in reading.columns})
    yield Rows(table=batch, row=np.arange(len(cells)))


def schema(source, reading):
    import pyarrow as pa

    return pa.schema([("text", pa.binary()), ("label", pa.binary())])


FORMAT = Format(name="rows", suffixes=(".rows",), summary="text and label", read=read, schema=schema)
'''


@pytest.fixture
def with_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The formats, and one more file among them."""
    folder = tmp_path / "formats"
    folder.mkdir()
    (folder / "rows.py").write_text(PAGE)
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(folder)])
    registry.all_formats.cache_clear()
    registry.by_suffix.cache_clear()
    yield
    monkeypatch.undo()
    registry.all_formats.cache_clear()
    registry.by_suffix.cache_clear()


def test_a_new_file_is_a_new_format(tmp_path: Path, with_rows: None) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.rows").write_text("good|pos\nbad|neg\n")
    receipt = run(IngestConfig(lake=tmp_path / "lake", sources=(str(tmp_path / "in"),)))
    assert (receipt.read, receipt.written, receipt.metrics["labels"]) == (2, 2, ["neg", "pos"])
    assert ".rows" in registry.described()
