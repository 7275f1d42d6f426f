"""The Python API: what it scores is what `pipeline score` scores, in every form that texts come in."""

import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import pipeline
from pipeline.errors import DataError, InputNotFoundError, UsageError
from tests.support.paths import ROOT
from tests.support.scoring import WORDS, make_bundle, make_lake, make_texts, scored

DOCS = ROOT / "docs" / "python.md"


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return make_lake(tmp_path / "data_lake")


@pytest.fixture
def texts() -> list[str]:
    """Texts that all hold a known word."""
    return [text for text in make_texts(3000) if text]


def test_the_import_is_light_and_the_names_are_there() -> None:
    code = (
        "import sys, pipeline; heavy = {'torch', 'pyarrow', 'numpy'} & set(sys.modules); assert not heavy, heavy; "
        "assert {'load', 'Model', 'Prediction', 'TokenWeight'} <= set(dir(pipeline)); assert callable(pipeline.load)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    with pytest.raises(AttributeError, match="no attribute 'predict'"):
        _ = pipeline.predict


def test_scores_are_those_of_pipeline_score(lake: Path, tmp_path: Path, texts: list[str]) -> None:
    pq.write_table(pa.table({"text": texts}), tmp_path / "reviews.parquet")
    table = scored(lake, tmp_path / "reviews.parquet")
    with pipeline.load(lake) as model:
        found = model.predict(texts)
        probabilities = model.predict_proba(texts)
        added = model.predict_table(pa.table({"text": texts}))
    assert [one.prediction for one in found] == table["prediction"].to_pylist() == added["prediction"].to_pylist()
    column = "probability_pos" if "probability_pos" in table.column_names else "probability"
    np.testing.assert_allclose(probabilities[:, 1], table[column].to_numpy(), atol=1e-6)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-6)
    np.testing.assert_array_equal(added["probability_pos"].to_numpy(), probabilities[:, 1])
    assert added["probability"].to_numpy() == pytest.approx(probabilities.max(axis=1))
    assert {one.model_id for one in found} == set(table["model_id"].to_pylist()) == {"first"}


def test_a_prediction_says_all_there_is(lake: Path) -> None:
    with pipeline.load(lake) as model:
        good, blank, none, unknown = model.predict(["good story", " \n", None, "zebra quagga"])
        (doubtful,) = model.predict(["good story"], abstain_below=1.0)
        probabilities = model.predict_proba(["good story", " \n", None, "zebra quagga"])
    assert model.labels == ("neg", "pos") and good.probabilities is not None
    assert list(good.probabilities) == ["neg", "pos"] and good.prediction is not None
    assert good.probability == good.probabilities[good.prediction] == max(good.probabilities.values())
    assert good.to_dict() == {
        "prediction": good.prediction,
        "probability": good.probability,
        "probability_neg": good.probabilities["neg"],
        "probability_pos": good.probabilities["pos"],
        "model_id": "first",
        "unscored_reason": None,
    }
    assert all(list(one.to_dict()) == list(good.to_dict()) for one in (blank, none, unknown, doubtful))
    assert blank.to_dict()["probability_neg"] is blank.to_dict()["probability_pos"] is None
    assert [one.unscored_reason for one in (blank, none, unknown)] == ["no_text", "no_text", "no_known_token"]
    assert all(one.prediction is one.probability is one.probabilities is None for one in (blank, none, unknown))
    assert np.isnan(probabilities[1:]).all() and not np.isnan(probabilities[0]).any()
    assert doubtful.unscored_reason == "abstained" and doubtful.prediction is doubtful.probability is None
    assert doubtful.probabilities == good.probabilities


def test_no_texts(lake: Path) -> None:
    with pipeline.load(lake) as model:
        assert model.predict([]) == [] and model.predict_proba([]).shape == (0, 2)
        empty = model.predict_table(pa.table({"text": pa.array([], pa.string())}))
    assert len(empty) == 0 and "probability_neg" in empty.column_names


def test_tables_of_every_kind(lake: Path, texts: list[str]) -> None:
    columns = {"n": list(range(len(texts))), "text": texts}
    table = pa.table(columns)
    with pipeline.load(lake) as model:
        expected = model.predict_table(table)
        assert expected.column_names == [
            "n",
            "text",
            "prediction",
            "probability",
            "probability_neg",
            "probability_pos",
            "model_id",
            "unscored_reason",
        ]
        assert expected.select(["n", "text"]).equals(table)
        for data in (
            pd.DataFrame(columns),
            pd.DataFrame(columns).astype({"text": "category"}),
            pl.DataFrame(columns),
            duckdb.from_arrow(table),
            table.combine_chunks().to_batches()[0],
            table.cast(pa.schema([("n", pa.int64()), ("text", pa.large_string())])),
        ):
            found = model.predict_table(data)
            assert isinstance(found, pa.Table)
            for name in ("n", "prediction", "probability", "unscored_reason"):
                assert found[name].to_pylist() == expected[name].to_pylist(), (type(data), name)
        assert len(pl.DataFrame(expected)) == len(expected.to_pandas()) == len(texts)
        kept = model.predict_table(table, keep=["n"], abstain_below=0.9)
    assert kept.column_names[:2] == ["n", "prediction"]
    assert kept["unscored_reason"].to_pylist().count("abstained") == sum(
        p < 0.9 for p in expected["probability"].to_pylist()
    )


def test_a_stream_is_scored_as_it_is_read(lake: Path) -> None:
    """An endless stream gives its first rows."""

    def endless() -> object:
        while True:
            yield pa.record_batch({"text": ["good story", "dull film"] * 512})

    schema = pa.schema([("text", pa.string())])
    with pipeline.load(lake) as model:
        reader = model.predict_table(pa.RecordBatchReader.from_batches(schema, endless()))
        assert isinstance(reader, pa.RecordBatchReader)
        rows = 0
        while rows < 20_000:
            rows += len(reader.read_next_batch())
        reader.close()


@pytest.mark.slow
def test_threads_share_a_model(lake: Path, texts: list[str]) -> None:
    with pipeline.load(lake) as model, ThreadPoolExecutor(8) as pool:
        expected = model.predict_proba(texts)
        parts = [texts[begin : begin + 100] for begin in range(0, len(texts), 100)]
        found = np.concatenate(list(pool.map(model.predict_proba, parts)))
        tokens = list(pool.map(model.explain, texts[:20]))
        assert tokens == [model.explain(text) for text in texts[:20]]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_torch_has_its_threads_back(lake: Path) -> None:
    before = torch.get_num_threads()
    with pipeline.load(lake) as model:
        model.predict(["good story"])
    assert torch.get_num_threads() == before


def test_explain_names_tokens_of_the_text(lake: Path) -> None:
    with pipeline.load(lake) as model:
        found = model.explain("The story was dull, zebra, not good")
        assert model.explain("") == [] == model.explain("zebra")
    assert {token.token for token in found} <= {*WORDS, "<unk>"}
    weights = [abs(token.weight) for token in found]
    assert weights == sorted(weights, reverse=True) and len({token.position for token in found}) == len(found)


def test_a_model_can_be_pickled(lake: Path) -> None:
    with pipeline.load(lake) as model, pickle.loads(pickle.dumps(model)) as copy:
        assert copy.model_id == model.model_id
        np.testing.assert_array_equal(copy.predict_proba(["good story"]), model.predict_proba(["good story"]))


def test_ways_to_name_a_model(lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_bundle(lake / "models" / "second", seed=1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PIPELINE_LAKE", raising=False)
    names = []
    for source, options in (
        (None, {}),
        ("data_lake", {}),
        (lake, {"model": "second"}),
        ("second", {}),
        (lake / "models" / "second", {}),
    ):
        with pipeline.load(source, **options) as model:
            names.append(model.model_id)
            assert model.model_id in repr(model)
    assert names == ["first", "first", "second", "second", "second"]
    with pytest.raises(InputNotFoundError, match="third: no such folder, and no model with that ID"):
        pipeline.load("third")
    with pytest.raises(InputNotFoundError, match="contains neither models/ nor"):
        pipeline.load(tmp_path)
    with pytest.raises(InputNotFoundError, match="sec"):
        pipeline.load(lake, model="secnod")
    with pytest.raises(UsageError, match="is a bundle"):
        pipeline.load(lake / "models" / "second", model="first")
    with pytest.raises(UsageError, match="device"):
        pipeline.load(lake, device="gpu")


def test_what_cannot_be_scored(lake: Path) -> None:
    with pipeline.load(lake) as model:
        with pytest.raises(TypeError, match=r"got one str\. Put it into a list"):
            model.predict("good story")
        with pytest.raises(TypeError, match=r"expected texts or None, got int \(7\)"):
            model.predict(["good", 7])  # type: ignore[list-item]
        assert model.predict(["good \ud800"])[0].unscored_reason == "no_text"
        with pytest.raises(UsageError, match="abstain_below=2"):
            model.predict([], abstain_below=2)
        with pytest.raises(TypeError, match="got list"):
            model.predict_table(["good"])
        with pytest.raises(DataError, match=r"has no column 'text'\. Columns of strings: body"):
            model.predict_table(pa.table({"body": ["good"], "n": [1]}))
        with pytest.raises(DataError, match="'n' is int64, not strings"):
            model.predict_table(pa.table({"body": ["good"], "n": [1]}), "n")
        with pytest.raises(UsageError, match="already has the columns prediction"):
            model.predict_table(pa.table({"text": ["good"], "prediction": ["pos"]}))
        with pytest.raises(UsageError, match="0 columns 'm'"):
            model.predict_table(pa.table({"text": ["good"]}), keep=["m"])


def test_missing_values_and_broken_text_in_one_list(lake: Path) -> None:
    with pipeline.load(lake) as model:
        found = model.predict([None, float("nan"), "\ud800", "", "good film"])  # type: ignore[list-item]
        assert [one.unscored_reason for one in found] == ["no_text"] * 4 + [None]
        with pytest.raises(TypeError, match="expected texts or None, got int"):
            model.predict(["\ud800", 3])  # type: ignore[list-item]
        with pytest.raises(TypeError, match="expected texts or None, got int"):
            model.explain(3)  # type: ignore[arg-type]
        assert model.explain("\ud800") == []


def test_a_closed_model_says_so(lake: Path) -> None:
    model = pipeline.load(lake)
    model.close()
    model.close()
    for use in (lambda: model.predict(["good"]), lambda: model.explain("good")):
        with pytest.raises(RuntimeError, match="the model is closed"):
            use()


def test_batch_size_and_threads_are_checked(lake: Path) -> None:
    for options in ({"batch_size": 0}, {"threads": 0}):
        with pytest.raises(UsageError, match="=0: expected 1 or more"):
            pipeline.load(lake, **options)


def test_labels_are_shown_without_control_characters(tmp_path: Path) -> None:
    make_bundle(tmp_path / "odd", labels=("a\nb", "c\u202e"))
    with pipeline.load(tmp_path / "odd") as model:
        assert r"a\nb, c\u202e" in repr(model)


def test_three_labels(tmp_path: Path, texts: list[str]) -> None:
    make_bundle(tmp_path / "three", labels=("bad", "fair", "good"))
    with pipeline.load(tmp_path / "three") as model:
        assert model.predict_proba(texts[:5]).shape == (5, 3)
        table = model.predict_table(pa.table({"text": texts[:5]}))
    assert [name for name in table.column_names if name.startswith("probability_")] == [
        "probability_bad",
        "probability_fair",
        "probability_good",
    ]


def test_the_examples_of_the_docs_run(
    lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_main: Callable[..., int]
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    web = next(block for block in blocks if "fastapi" in block)
    blocks.remove(web)
    names: dict[str, object] = {}
    assert run_main("--lake", lake, "export", "LATEST", "--output", "model.onnx") == 0
    for block in blocks:
        exec(compile(block, str(DOCS), "exec"), names)
    names["model"].close()  # type: ignore[attr-defined]
    assert len(pq.read_table(tmp_path / "scored.parquet")) == 2000
    pytest.importorskip("fastapi", reason="fastapi is not installed")
    testclient = pytest.importorskip("fastapi.testclient", reason="httpx is not installed")
    exec(compile(web, str(DOCS), "exec"), names)
    with testclient.TestClient(names["app"]) as client:
        (found,) = json.loads(client.post("/score", json=["A good story"]).text)
    assert found["prediction"] in ("neg", "pos") and found["model_id"] == "first"
