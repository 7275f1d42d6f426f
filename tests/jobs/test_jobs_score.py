"""`pipeline score` on real files: what is written, what is left alone, what is refused."""

import dataclasses
import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import score
from jobs.score import ScoreConfig
from pipeline.errors import DataError, InputNotFoundError, LockedError, UsageError
from pipeline.lake.locks import locked_output
from schemas.contract import ContractError
from schemas.prediction import KEY_INPUT, KEY_LABELS, KEY_MODEL, PREDICTION
from tests.support.scoring import ADDED, make_bundle, make_texts, make_words, run_score, scored
from tests.support.tables import Write


def test_rows_columns_types_and_metadata_are_kept(lake: Path, tmp_path: Path) -> None:
    texts = make_texts(250)
    fields = [
        pa.field("id", pa.int16(), nullable=False, metadata={"unit": "rows"}),
        pa.field("text", pa.large_string()),
        pa.field("shop", pa.dictionary(pa.int8(), pa.string())),
        pa.field("tags", pa.list_(pa.struct([pa.field("name", pa.string()), pa.field("at", pa.timestamp("us", "UTC"))]))),
        pa.field("price", pa.decimal128(9, 2)),
        pa.field("view", pa.string_view()),
        pa.field("extra", pa.map_(pa.string(), pa.int32())),
    ]
    moment = datetime.datetime(2026, 1, 31, tzinfo=datetime.UTC)
    columns = [
        pa.array(range(250), pa.int16()),
        pa.array(texts, pa.large_string()),
        pa.array([f"shop {n % 3}" for n in range(250)]).dictionary_encode().cast(fields[2].type),
        pa.array([[{"name": "a", "at": moment}] * (n % 3) if n % 5 else None for n in range(250)], fields[3].type),
        pa.array([n / 4 for n in range(250)]).cast(pa.decimal128(9, 2)),
        pa.array(texts, pa.string_view()),
        pa.array([[("k", n)] for n in range(250)], fields[6].type),
    ]
    before = pa.table(columns, schema=pa.schema(fields, {b"owner": b"shop"}))
    pq.write_table(before, tmp_path / "in.parquet", row_group_size=70)
    after = scored(lake, tmp_path / "in.parquet")
    assert after.column_names == [*before.column_names, *ADDED]
    assert after.select(before.column_names).equals(before)
    for field in fields:
        assert after.schema.field(field.name).equals(field), field
    assert after.schema.field("id").metadata[b"unit"] == b"rows"
    assert after.schema.metadata[b"owner"] == b"shop"
    assert after.schema.metadata[KEY_MODEL] == b"first"
    assert len(after.schema.metadata[KEY_INPUT]) == 64
    PREDICTION.check(after.schema, "the output")


def test_each_class_has_its_probability_and_the_predictions_is_the_largest(lake: Path, write: Write) -> None:
    table = scored(lake, write(text=make_words(300)))
    each = np.stack([np.asarray(table[f"probability_{label}"]) for label in ("neg", "pos")], axis=1)
    np.testing.assert_allclose(each.sum(axis=1), 1.0, atol=1e-5)
    assert 0 < each.argmax(axis=1).sum() < 300
    assert table["prediction"].to_pylist() == [("neg", "pos")[best] for best in each.argmax(axis=1)]
    np.testing.assert_array_equal(np.asarray(table["probability"]), each.max(axis=1))
    assert set(table["model_id"].to_pylist()) == {"first"}
    assert set(table["unscored_reason"].to_pylist()) == {None}


def test_more_classes_give_one_probability_each(lake: Path, write: Write) -> None:
    make_bundle(lake / "models" / "three", "lstm", labels=("bad", "fair", "good"))
    table = scored(lake, write(text=make_words(100)), model="three")
    each = np.stack([np.asarray(table[f"probability_{label}"]) for label in ("bad", "fair", "good")], axis=1)
    np.testing.assert_allclose(each.sum(axis=1), 1.0, atol=1e-5)
    assert table["prediction"].to_pylist() == [("bad", "fair", "good")[best] for best in each.argmax(axis=1)]
    np.testing.assert_array_equal(np.asarray(table["probability"]), each.max(axis=1))


def test_many_classes_give_one_list(lake: Path, write: Write) -> None:
    labels = tuple(f"class {n}" for n in range(21))
    make_bundle(lake / "models" / "many", "lstm", labels=labels)
    table = scored(lake, write(text=[*make_words(50), None]), model="many")
    assert table.column_names == ["text", "prediction", "probability", "probabilities", "model_id", "unscored_reason"]
    assert json.loads(table.schema.metadata[KEY_LABELS]) == sorted(labels)
    rows = table.to_pylist()
    assert rows.pop()["probabilities"] is None
    for row in rows:
        best = int(np.argmax(row["probabilities"]))
        assert (row["prediction"], row["probability"]) == (sorted(labels)[best], row["probabilities"][best])


def test_a_row_without_text_or_a_known_token_has_no_prediction_but_a_reason(lake: Path, write: Write) -> None:
    texts = ["good", None, "", " \n", " \u2028 ", "zyx qwv", '""', "zyx good"]
    receipt = run_score(lake, write(text=texts))
    rows = pq.read_table(receipt.outputs["predictions"]).to_pylist()
    reasons = [None, "no_text", "no_text", "no_text", "no_text", "no_known_token", "no_known_token", None]
    assert [row["unscored_reason"] for row in rows] == reasons
    for row in rows:
        values = [row[name] for name in ("prediction", "probability", "probability_neg", "probability_pos")]
        assert all((value is None) == (row["unscored_reason"] is not None) for value in values)
        assert row["model_id"] == "first"
    assert receipt.metrics["unscored"] == {"no_text": 4, "no_known_token": 2, "abstained": 0}
    assert sum(receipt.metrics["predicted"].values()) == 2


def test_doubtful_rows_are_left_to_a_person(lake: Path, write: Write) -> None:
    path = write(text=[*make_words(200), ""])
    plain = scored(lake, path).to_pylist()
    limit = float(np.median([row["probability"] for row in plain[:-1]]))
    receipt = run_score(lake, path, abstain_below=limit, output=lake / "careful.parquet")
    careful = pq.read_table(lake / "careful.parquet").to_pylist()
    abstained = [row["unscored_reason"] == "abstained" for row in careful]
    assert abstained == [(row["probability"] or 1) < limit for row in plain]
    assert 0 < sum(abstained) < 200
    for before, row, without in zip(plain, careful, abstained, strict=True):
        assert row == (
            {**before, "prediction": None, "probability": None, "unscored_reason": "abstained"} if without else before
        )
    assert receipt.metrics["unscored"] == {"no_text": 1, "no_known_token": 0, "abstained": sum(abstained)}


def test_null_text_is_kept_without_a_prediction(lake: Path, write: Write) -> None:
    path = write(n=[1, 2, 3, 4], text=["good", None, "bad", "good"])
    receipt = run_score(lake, path)
    rows = pq.read_table(receipt.outputs["predictions"]).to_pylist()
    assert [row["n"] for row in rows] == [1, 2, 3, 4]
    assert rows[1]["prediction"] is None and rows[1]["probability"] is None and rows[1]["model_id"] == "first"
    assert rows[0]["probability"] == rows[3]["probability"] is not None
    assert receipt.written == receipt.read == 4


def test_text_that_is_not_utf8_is_kept_without_a_prediction(lake: Path, write: Write) -> None:
    raw = pa.array([b"good", b"\xff\xfe broken", b"bad"], pa.binary())
    table = scored(lake, write(text=raw.view(pa.string())))
    assert [value is None for value in table["prediction"].to_pylist()] == [False, True, False]
    assert table["text"].combine_chunks().view(pa.binary()).to_pylist() == raw.to_pylist()


def test_text_may_be_bytes(lake: Path, write: Write) -> None:
    texts = make_words(20)
    plain = scored(lake, write("plain.parquet", text=texts))
    for kind in (pa.binary(), pa.large_binary()):
        table = scored(lake, write("bytes.parquet", text=pa.array([text.encode() for text in texts], kind)), force=True)
        assert table["probability"].equals(plain["probability"])
        assert table.schema.field("text").type == kind


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
def test_every_type_of_strings_scores_the_same(lake: Path, write: Write, kind: pa.DataType) -> None:
    texts = [*make_texts(50), None]
    plain = scored(lake, write("plain.parquet", text=pa.array(texts)))
    values = pa.array(texts).dictionary_encode() if pa.types.is_dictionary(kind) else pa.array(texts, kind)
    assert scored(lake, write("other.parquet", text=values))["probability"].equals(plain["probability"])


def test_batch_size_and_workers_change_nothing_and_the_bytes_repeat(
    lake: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.engines.score.WINDOW_ROWS", 300)
    monkeypatch.setattr("pipeline.engines.score.READ_ROWS", 64)
    path = write(text=make_texts(1000), row_group_size=210)
    first = scored(lake, path, output=lake / "1.parquet")
    scored(lake, path, output=lake / "2.parquet", workers=3)
    assert (lake / "1.parquet").read_bytes() == (lake / "2.parquet").read_bytes()
    other = scored(lake, path, output=lake / "3.parquet", batch_size=1, workers=2)
    np.testing.assert_allclose(np.asarray(first["probability"]), np.asarray(other["probability"]), atol=1e-6, rtol=0)
    assert first["text"].equals(other["text"])


def test_a_folder_is_scored_in_the_order_of_its_names(lake: Path, write: Write, tmp_path: Path) -> None:
    texts = make_texts(90)
    for name, part in (("b", texts[30:60]), ("a", texts[:30]), ("c/d", texts[60:])):
        write(f"pile/{name}.parquet", text=part)
    (tmp_path / "pile" / ".tmp-unfinished.parquet").write_bytes(b"half")
    table = scored(lake, tmp_path / "pile", output=tmp_path / "all.parquet")
    assert table["text"].to_pylist() == texts
    assert not (lake / "predictions").exists()


def test_keep_chooses_columns(lake: Path, write: Write) -> None:
    path = write(a=[1, 2], text=["good", "bad"], b=[3, 4])
    assert scored(lake, path, keep=("b", "a")).column_names == ["a", "b", *ADDED]
    assert scored(lake, path, keep=("none",)).column_names == ADDED
    with pytest.raises(DataError, match=r"no column 'bb'\. Did you mean 'b'\? Its columns: 'a', 'text', 'b'"):
        scored(lake, path, keep=("bb",))


def test_a_scored_file_can_be_scored_again_without_its_old_prediction(lake: Path, write: Write, tmp_path: Path) -> None:
    scored(lake, write(n=[1], text=["good"]), output=tmp_path / "once.parquet")
    with pytest.raises(UsageError, match=r"prediction, .*unscored_reason \(it was scored before, by first\).*--keep n,text"):
        scored(lake, tmp_path / "once.parquet")
    assert scored(lake, tmp_path / "once.parquet", keep=("n", "text")).column_names == ["n", "text", *ADDED]


def test_no_rows_give_a_valid_file_without_rows(lake: Path, write: Write) -> None:
    table = scored(lake, write(n=pa.array([], pa.int8()), text=pa.array([], pa.string())))
    assert table.num_rows == 0
    assert table.schema.field("n").type == pa.int8()
    assert table.column_names == ["n", "text", *ADDED]


def damaged(path: Path) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def corrupted(path: Path) -> Path:
    content = bytearray(path.read_bytes())
    content[30:400] = b"\xff" * 370
    path.write_bytes(content)
    return path


BAD: dict[str, tuple[Callable[[Write], Path], type[Exception], str]] = {
    "missing": (
        lambda write: write(text=["a"]).with_name("review.parquet"),
        InputNotFoundError,
        "Did you mean 'reviews.parquet'",
    ),
    "no such column": (
        lambda write: write(txet=["a"], other=["b"], n=[1]),
        DataError,
        "no column 'text'. Did you mean 'txet'.*'txet', 'other'.*Nothing was written",
    ),
    "no strings": (lambda write: write(text=[1]), DataError, "is int64; expected text. Text columns: none"),
    "truncated": (lambda write: damaged(write(text=make_texts(99))), DataError, "truncated"),
    "corrupted": (lambda write: corrupted(write(text=make_texts(99))), DataError, "cannot be read"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named_and_nothing_is_written(lake: Path, write: Write, case: str) -> None:
    make, error, message = BAD[case]
    with pytest.raises(error, match=message):
        scored(lake, make(write))
    assert not list((lake / "predictions").glob("*"))


def test_files_that_are_no_parquet_are_named(lake: Path, tmp_path: Path) -> None:
    for name, content in (
        ("empty.parquet", b""),
        ("text.parquet", b"These are no columns, but words."),
        ("tiny.parquet", b"PAR1"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=name):
            scored(lake, tmp_path / name)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InputNotFoundError, match=r"nothing to score in .*\.parquet"):
        scored(lake, tmp_path / "nothing")


def test_an_encrypted_file_is_refused(lake: Path, write: Write) -> None:
    path = write(text=["good"])
    content = path.read_bytes()
    path.write_bytes(content[:-4] + b"PARE")
    with pytest.raises(DataError, match="encrypted"):
        scored(lake, path)


def test_a_folder_of_different_files_is_refused(lake: Path, write: Write, tmp_path: Path) -> None:
    write("pile/a.parquet", text=["a"], n=[1])
    write("pile/b.parquet", text=["a"], n=["1"])
    with pytest.raises(DataError, match=r"b.parquet.*'n' is string, but int64 in .*a.parquet"):
        scored(lake, tmp_path / "pile", output=tmp_path / "all.parquet")


def test_a_prediction_file_of_a_newer_version_is_refused(lake: Path, write: Write, tmp_path: Path) -> None:
    scored(lake, write(text=["good"]), output=tmp_path / "once.parquet")
    table = pq.read_table(tmp_path / "once.parquet")
    again = "Score its input again with --force"
    for version, said in (
        (b"99", "version 99"),
        (b"\xff", f"version \ufffd.*{again}"),
        ("²".encode(), f"version ².*{again}"),
    ):
        newer = table.replace_schema_metadata({**table.schema.metadata, b"review_pipeline.schema_version": version})
        pq.write_table(newer, tmp_path / "once.parquet")
        with pytest.raises(ContractError, match=said):
            scored(lake, tmp_path / "once.parquet", keep=("text",))


def test_an_input_that_changes_meanwhile_fails_the_run(lake: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(text=make_texts(50))
    look = score.open_input

    def looking(*arguments: Any) -> Any:
        source = look(*arguments)
        path.touch()
        return source

    monkeypatch.setattr(score, "open_input", looking)
    with pytest.raises(DataError, match="changed while"):
        scored(lake, path)
    assert not list((lake / "predictions").glob("*"))


def test_one_run_at_a_time_writes_an_output(lake: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(text=["good"])
    scored(lake, path)
    with (
        locked_output(lake / "predictions" / "reviews.parquet", "another"),
        pytest.raises(LockedError, match=r"reviews.parquet is locked"),
    ):
        scored(lake, path, force=True)
    assert scored(lake, path, output=lake / "elsewhere.parquet").num_rows == 1


def test_a_lake_without_a_model_says_so(tmp_path: Path, write: Write) -> None:
    (tmp_path / "bare").mkdir()
    with pytest.raises(InputNotFoundError, match="pipeline train"):
        scored(tmp_path / "bare", write(text=["good"]))


@pytest.mark.parametrize(
    "options",
    [
        *({"batch_size": 0}, {"workers": 0}, {"device": "tpu"}, {"precision": "fp8"}, {"keep": ("all", "n")}, {"keep": ()}),
        *({"abstain_below": 1.5}, {"text_column": ()}, {"sources": ()}, {"sources": ("",)}, {"sources": ("a.csv", "-")}),
        *({"text": ("good",)}, {"delimiter": "ab"}, {"output_format": "xml"}, {"format": "xml"}, {"settle": -1.0}),
        *({"output": "a.txt"}, {"output": "a"}, {"output": "a.gz"}, {"output": "a.parquet.gz"}),
        *({"output": "a.csv", "output_format": "jsonl"}, {"rescore": "some"}, {"sources": ("-",), "output": "a/"}),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ScoreConfig(**{"lake": Path(), "sources": ("a.parquet",), **options})


def test_the_config_is_in_the_record(lake: Path, write: Write) -> None:
    receipt = run_score(lake, write(text=["good"]), keep=("none",))
    record = json.loads((lake / "runs" / f"{receipt.run_id}.json").read_text())
    assert record["config"]["keep"] == ["none"]
    assert set(record["config"]) == {field.name for field in dataclasses.fields(ScoreConfig)}
    assert record["outcome"] == "done"
