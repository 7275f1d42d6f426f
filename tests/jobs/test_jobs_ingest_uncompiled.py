"""An installation without a compiler writes the same shards and rejects."""

from pathlib import Path

import pytest

from pipeline.text import columns
from tests.support.ingested import files_of, ingest

ROWS = (
    "id,text,label,group",
    'a,"Good, really.\nÉCLAIR and İstanbul",pos,"one ""film"""',
    "b,dull,neg,",
    "b,another text,neg,",
    ",no id,neg,two",
    "c,...,pos,tw\\o",
    "d,\0,pos,two",
    "e,\udcff,neg,two",
    "f,\udcc3\udca9t\udcc3\udca9,ne\udcff,two",
)


@pytest.mark.skipif(not columns.COMPILED, reason="nothing was compiled")
def test_what_is_written_does_not_depend_on_the_compiler(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "reviews.csv"
    table.write_text("\n".join(ROWS), encoding="utf-8", errors="surrogateescape")
    options = {"label_column": "label", "id_column": "id", "group_column": "group"}
    found = []
    for compiled in (True, False):
        monkeypatch.setattr(columns, "COMPILED", compiled)
        ingest(tmp_path / f"files{compiled}", corpus)
        receipt = ingest(tmp_path / f"table{compiled}", table, **options)
        assert (receipt.written, receipt.rejected) == (3, 5)
        found.append([files_of(tmp_path / f"files{compiled}"), files_of(tmp_path / f"table{compiled}")])
    assert found[0] == found[1]
    assert all(found[0])
