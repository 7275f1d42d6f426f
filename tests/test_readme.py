"""What README.md shows is what the commands do."""

import re
from pathlib import Path

from tests.support.commands import run_here
from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_of_a_receipt_has_its_keys(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("text,label\nfine film,pos\ndull film,neg\n")
    receipt = run_here("--lake", tmp_path / "lake", "ingest", tmp_path / "r.csv").receipt
    (shown,) = re.findall(r"^\{\"run_id\".*?\}\}$", README, re.DOTALL | re.MULTILINE)
    keys = [*receipt, *receipt["outputs"], *receipt["metrics"], "listed", "total"]
    assert set(re.findall(r'"(\w+)":', shown)) == set(keys)


def test_a_file_of_a_folder_is_scored_where_it_says(tmp_path: Path) -> None:
    assert "`predictions/in/a.csv.parquet` for `in/a.csv`" in README.replace("\n", " ")
    lake = tmp_path / "lake"
    rows = "fine film,pos\ndull film,neg\n" * 20
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text(f"text,label\n{rows}")
    assert run_here("--lake", lake, "ingest", tmp_path / "in").code == 0
    assert run_here("--lake", lake, "train", "--arch", "nbsvm", "--workers", 0).code == 0
    assert run_here("--lake", lake, "score", tmp_path / "in").code == 0
    assert (lake / "predictions" / "in" / "a.csv.parquet").is_file()
