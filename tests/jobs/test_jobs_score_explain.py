"""`pipeline score --explain`: a list column of tokens and weights beside the prediction."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pipeline.models.bundle import read_bundle
from pipeline.scoring.attribution import attribute
from schemas.prediction import EXPLAINED_TOKENS, EXPLANATION
from tests.support.scoring import make_bundle, make_texts, scored


def explained(tmp_path: Path, arch: str, texts: list[str | None], **options: object) -> pa.Table:
    make_bundle(tmp_path / "lake/models/one", arch)
    pq.write_table(pa.table({"text": pa.array(texts, pa.string())}), tmp_path / "in.parquet")
    return scored(tmp_path / "lake", tmp_path / "in.parquet", **{"model": "one", "explain": True, **options})


@pytest.mark.parametrize("arch", ["bilstm", "attention-rnn"])
def test_the_heaviest_tokens_come_first_and_are_the_models_own(tmp_path: Path, arch: str) -> None:
    texts = [*make_texts(30), None]
    table = explained(tmp_path, arch, texts)
    assert table.schema.field("explanation").type == EXPLANATION.type
    bundle = read_bundle(tmp_path / "lake/models/one")
    model, vocabulary = bundle.load_model("cpu"), bundle.load_vocabulary()
    for row in table.to_pylist():
        if row["text"] is None:
            assert row["explanation"] is None
            continue
        from pipeline.text.tokenizers import tokenize

        tokens = tokenize(bundle.tokenizer, pa.array([row["text"]]))
        ids = torch.tensor(vocabulary.encode(tokens).to_pylist(), dtype=torch.int32)[:, : bundle.max_length]
        target = torch.tensor([bundle.labels.index(row["prediction"])])
        weights = attribute(model, ids, torch.tensor([ids.shape[1]]), target)[0]
        found = row["explanation"]
        assert len(found) == min(EXPLAINED_TOKENS, ids.shape[1])
        sizes = [abs(item["weight"]) for item in found]
        assert sizes == sorted(sizes, reverse=True)
        for item in found:
            assert item["token"] == vocabulary.tokens[int(ids[0, item["position"]])].as_py()
            assert item["weight"] == pytest.approx(float(weights[item["position"]]), abs=1e-5)


def test_without_it_there_is_no_such_column_and_the_predictions_are_the_same(tmp_path: Path) -> None:
    texts: list[str | None] = list(make_texts(40))
    plain = explained(tmp_path, "gru", texts, explain=False)
    assert "explanation" not in plain.column_names
    with_explanation = explained(tmp_path, "gru", texts)
    assert with_explanation.drop_columns("explanation").equals(plain)
