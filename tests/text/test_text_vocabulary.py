"""The vocabulary: a pure function of the text, and encoding with it."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import DataError, InputNotFoundError
from pipeline.lake.vocabularies import read_vocabulary, write_vocabulary
from pipeline.text.vocabulary import TokenCounts, Vocabulary, build_vocabulary, ordered_labels
from schemas.contract import ContractError
from schemas.vocabulary import KEY_FINGERPRINT, VOCABULARY

words = st.lists(st.text("abcé", min_size=1, max_size=3), max_size=60)


def counted(*batches: list[str]) -> TokenCounts:
    counts = TokenCounts()
    for batch in batches:
        counts.add(pa.array(batch, pa.string()).dictionary_encode())
    return counts


def vocabulary_of(*batches: list[str], max_vocab: int = 0, min_count: int = 1) -> Vocabulary:
    return build_vocabulary(counted(*batches), "punctuation", ["pos", "neg"], max_vocab=max_vocab, min_count=min_count)


@given(words, words)
def test_order_is_count_descending_then_token_ascending(first: list[str], second: list[str]) -> None:
    expected = sorted(Counter(first + second).items(), key=lambda item: (-item[1], item[0].encode()))
    vocabulary = vocabulary_of(first, second)
    found = list(zip(vocabulary.tokens.to_pylist(), vocabulary.counts.to_pylist(), strict=True))
    assert found == [("<pad>", 0), ("<unk>", 0), *expected]
    assert vocabulary.fingerprint == vocabulary_of(second, first).fingerprint


def test_merging_many_batches_keeps_the_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TokenCounts, "MERGE_ROWS", 3)
    vocabulary = vocabulary_of(*[["a", "b", "a"]] * 50)
    assert vocabulary.counts.to_pylist() == [0, 0, 100, 50]


def test_long_tokens_that_many_batches_share_are_held_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TokenCounts, "MERGE_BYTES", 1 << 20)
    before = pa.total_allocated_bytes()
    counts = counted(*[["x" * 100_000, "short"]] * 100)
    assert pa.total_allocated_bytes() - before < 3 << 20
    assert {row["token"][:5]: row["count"] for row in counts.total().to_pylist()} == {"xxxxx": 100, "short": 100}


def test_distinct_tokens_beyond_the_memory_drop_the_rarest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TokenCounts, "MERGE_BYTES", 1 << 14)
    monkeypatch.setattr(TokenCounts, "KEPT_BYTES", 1 << 16)
    batches = [["good", "film", *(f"{number}-{place}-{'z' * 100}" for place in range(20))] for number in range(100)]
    before = pa.total_allocated_bytes()
    counts = counted(*batches)
    assert pa.total_allocated_bytes() - before < 1 << 18
    assert counts.dropped > 0
    vocabulary = build_vocabulary(counts, "punctuation", ["pos"], max_vocab=2, min_count=2)
    assert vocabulary.tokens.to_pylist() == ["<pad>", "<unk>", "film", "good"]
    assert vocabulary.counts.to_pylist() == [0, 0, 100, 100]
    assert counted(*batches).total().equals(counted(*batches).total()), "which ones are dropped is a function of the text"
    taken_back = counted(["good"])
    snapshot = taken_back.snapshot()
    taken_back.add(pa.array(batches[0], pa.string()).dictionary_encode())
    taken_back.restore(snapshot)
    assert taken_back.total().to_pylist() == [{"token": "good", "count": 1}] and taken_back.dropped == 0


def test_max_vocab_counts_words_and_min_count_drops_rare_ones() -> None:
    assert vocabulary_of(["a", "a", "b", "c"], max_vocab=2).tokens.to_pylist() == ["<pad>", "<unk>", "a", "b"]
    assert vocabulary_of(["a", "a", "b", "c"], min_count=2).tokens.to_pylist() == ["<pad>", "<unk>", "a"]


@given(words, st.lists(words, max_size=6))
def test_encode_then_decode_gives_the_known_words(known: list[str], reviews: list[list[str]]) -> None:
    vocabulary = vocabulary_of(known)
    lists = pa.array(reviews, pa.list_(pa.string()))
    ids = vocabulary.encode(lists).to_pylist()
    decoded = [[vocabulary.tokens[i].as_py() for i in row] for row in ids]
    assert decoded == [[word if word in known else "<unk>" for word in review] for review in reviews]


def test_a_special_token_in_a_text_is_an_unknown_word() -> None:
    assert vocabulary_of(["a", "<pad>"]).encode(pa.array([["<pad>", "<unk>", "a"]])).to_pylist() == [[1, 1, 2]]


def test_encoding_a_slice_of_lists() -> None:
    lists = pa.array([["a"], ["b", "a"], ["b"]])
    assert vocabulary_of(["a", "a", "b"]).encode(lists.slice(1, 2)).to_pylist() == [[3, 2], [3]]


def test_written_and_read_again_it_is_the_same(tmp_path: Path) -> None:
    vocabulary = vocabulary_of(["b", "a", "b"])
    write_vocabulary(vocabulary, tmp_path / "one.parquet")
    write_vocabulary(vocabulary, tmp_path / "two.parquet")
    again = read_vocabulary(tmp_path / "one.parquet")
    assert again.tokens.equals(vocabulary.tokens)
    assert (again.labels, again.tokenizer, again.fingerprint) == (("neg", "pos"), "punctuation", vocabulary.fingerprint)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    write_vocabulary(vocabulary_of(["a", "b"]), tmp_path / "v.parquet")
    table = pq.read_table(tmp_path / "v.parquet")
    changed = table.set_column(1, table.schema.field(1), pa.array(["<pad>", "<unk>", "a", "x"]))
    pq.write_table(changed, tmp_path / "v.parquet")
    with pytest.raises(DataError, match="was changed"):
        read_vocabulary(tmp_path / "v.parquet")


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    write_vocabulary(vocabulary_of(["a"]), tmp_path / "v.parquet")
    table = pq.read_table(tmp_path / "v.parquet")
    newer = {**table.schema.metadata, b"review_pipeline.schema_version": b"2", KEY_FINGERPRINT: b"0"}
    pq.write_table(table.replace_schema_metadata(newer), tmp_path / "v.parquet")
    with pytest.raises(ContractError, match=r"version 2 .* this release reads 1. Upgrade"):
        read_vocabulary(tmp_path / "v.parquet")
    assert VOCABULARY.version == 1


def test_a_missing_or_broken_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match=r"does not exist.*run 'pipeline repair'"):
        read_vocabulary(tmp_path / "none.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match="cannot be read"):
        read_vocabulary(tmp_path / "broken.parquet")


def test_labels_are_ordered_by_number_when_they_are_numbers() -> None:
    assert ordered_labels(["10", "9", "1"]) == ("1", "9", "10")
    assert ordered_labels(["pos", "neg", "pos"]) == ("neg", "pos")
