"""Reviews written without blanks, from the warning at ingest through its remedy to scored rows."""

import json
import re
import shlex
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tests.support.commands import Run

VERDICTS = {"neg": ("剧情无聊，", "演员很差，", "浪费时间，"), "pos": ("剧情精彩，", "演员出色，", "非常好看，")}


def write_reviews(path: Path) -> Path:
    rows = [
        {"text": f"这部电影的{one}{other}我看了{number}遍。", "label": label}
        for label, words in VERDICTS.items()
        for number, (one, other) in enumerate([(one, other) for one in words for other in words] * 4)
    ]
    pa.csv.write_csv(pa.Table.from_pylist(rows), path)
    return path


@pytest.mark.slow
def test_the_warning_names_a_remedy_that_works_to_the_score(tmp_path: Path, command: Run) -> None:
    lake, reviews = tmp_path / "lake", write_reviews(tmp_path / "reviews.csv")
    first = command("ingest", "--lake", lake, reviews)
    assert first.code == 0
    remedy = re.search(r"WARNING 100% of the text became tokens of whole clauses.*Ingest again with (.*)\.\n", first.stderr)
    assert remedy is not None, first.stderr

    second = command("ingest", "--lake", lake, reviews, *shlex.split(remedy[1]))
    assert (second.code, second.receipt["written"]) == (0, 72)
    assert "whole clauses" not in second.stderr
    facts = json.loads(command("vocab", "--lake", lake, "--json").stdout)
    assert facts["tokenizer"] == "unicode" and ["，", 144] in facts["top"]

    assert command("ingest", "--lake", lake, reviews).code == 99  # the next night needs no option
    small = ("--arch", "rnn", "--epochs", 1, "--embedding-dim", 4, "--hidden-dim", 4)
    assert command("train", "--lake", lake, *small).code == 0
    pq.write_table(
        pa.table({"text": ["剧情精彩，非常好看！", "没什么，浪费时间！", "Nothing in Chinese 👍🏽", None]}),
        tmp_path / "new.parquet",
    )
    scored = command("score", "--lake", lake, tmp_path / "new.parquet", "--output", tmp_path / "scored.parquet")
    assert scored.code == 0, scored.stderr
    predictions = pq.read_table(tmp_path / "scored.parquet")["prediction"].to_pylist()
    assert predictions[0] in VERDICTS and predictions[1] in VERDICTS
    assert predictions[2:] == [None, None]  # no token that the model knows, and no text
