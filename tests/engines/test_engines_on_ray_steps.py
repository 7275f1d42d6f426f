"""The tasks of the Ray engine and what goes between them, without Ray: each task runs at once, in this process."""

import errno
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.retract import RetractConfig
from jobs.retract import run as retract
from pipeline.datapipes.encode_reviews import EncodeReviews
from pipeline.datapipes.tokenize_reviews import TokenizedBatch, TokenizeReviews
from pipeline.datapipes.tokens_elsewhere import TokensElsewhere
from pipeline.engines.on_ray.calls import guarded, guarded_stream, opened
from pipeline.engines.on_ray.counts import FAN_IN, TreeCounts
from pipeline.engines.on_ray.ingest_tasks import make_shard, tokenize_chunk
from pipeline.engines.on_ray.places import Piece, Place
from pipeline.engines.on_ray.reading import CHUNK_BATCHES, CHUNK_BYTES, chunked, compact, gathered
from pipeline.errors import DataError, LockedError, PipelineError, errno_of
from pipeline.lake.known import KeyIndex
from pipeline.progress import ONCE
from pipeline.readers.base import FileFault, Rows
from pipeline.readers.reviews import RawBatch
from pipeline.text.tokenizers import tokenize
from pipeline.text.vocabulary import TokenCounts
from tests.support.ingested import files_of, ingest
from tests.support.ray_cluster import Synchronous, synchronous
from tests.support.scoring import make_lake, make_texts, make_vocabulary, run_score
from tests.support.tables import write_csv, write_table


@pytest.fixture
def _without_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.engines.on_ray.cluster.connecting", synchronous)


@pytest.mark.usefixtures("_without_processes")
@pytest.mark.parametrize("id_conflict", ["first", "last"])
def test_ingest_gives_the_same_files_on_every_night(tmp_path: Path, corpus: Path, id_conflict: str) -> None:
    lines = [f"id{row},word{row % 89} in row {row},{'pos' if row % 2 else 'neg'}" for row in range(20_000)]
    table = write_csv(corpus / "table.csv", "id,text,label", *lines, "bad,,pos")
    (corpus / "damaged.parquet").write_bytes(b"PAR1")
    for night in range(3):
        options = {"id_column": "id", "id_conflict": id_conflict}
        found = [ingest(tmp_path / engine, corpus, engine=engine, **options) for engine in ("local", "ray")]
        assert found[0].metrics == found[1].metrics
        assert (found[0].read, found[0].known) == (found[1].read, found[1].known)
        shards = [
            {name: content for name, content in files_of(tmp_path / engine).items() if not name.startswith("rejects")}
            for engine in ("local", "ray")
        ]
        assert shards[0] == shards[1]
        write_csv(table, "id,text,label", *lines[night:], f"id5,changed in night {night},pos")
    assert bool(found[1].metrics["superseded"]) == (id_conflict == "last")


@pytest.mark.usefixtures("_without_processes")
@pytest.mark.parametrize(("dedupe", "expected"), [(False, (4, 0, 1)), (True, (3, 1, 0))])
def test_rows_move_the_same_way(tmp_path: Path, dedupe: bool, expected: tuple[int, int, int]) -> None:
    lines = ["alpha good,pos", "beta bad,neg", "one,two,three,four", "gamma fine,pos"]
    for inserted in ([], ["zero new,pos"]):
        source = write_csv(tmp_path / "r.csv", "text,label", *inserted, *lines)
        found = [ingest(tmp_path / engine, source, engine=engine, dedupe=dedupe) for engine in ("local", "ray")]
        assert found[0].metrics == found[1].metrics
        local, ray = (files_of(tmp_path / engine) for engine in ("local", "ray"))
        assert {name for name in local if name.startswith("tokens")} == {name for name in ray if name.startswith("tokens")}
    assert (found[1].written, found[1].known, found[1].metrics["moved"]) == expected


@pytest.mark.usefixtures("_without_processes")
def test_what_came_back_moves_the_same_way(tmp_path: Path) -> None:
    good, lakes = ["alpha good,pos", "beta bad,neg", "gamma fine,pos"], [tmp_path / engine for engine in ("local", "ray")]
    for lines in (good, ["alpha good,pos", "beta bad,pos", "gamma fine,pos"]):
        source = write_csv(tmp_path / "r.csv", "text,label", *lines)
        found = [ingest(lake, source, engine=lake.name) for lake in lakes]
    for lake, receipt in zip(lakes, found, strict=True):
        retract(RetractConfig(lake=lake, run=receipt.run_id))
    source = write_csv(tmp_path / "r.csv", "text,label", "zero new,pos", *lines)
    found = [ingest(lake, source, engine=lake.name) for lake in lakes]
    assert found[0].metrics == found[1].metrics and found[1].metrics["moved"] == 2
    names = [{name for name in files_of(lake) if name.startswith("tokens/")} for lake in lakes]
    assert {name for name in names[0] if name.endswith(".parquet")} == {
        name for name in names[1] if name.endswith(".parquet")
    }


@pytest.mark.usefixtures("_without_processes")
def test_score_gives_the_same_file(tmp_path: Path) -> None:
    lake = make_lake(tmp_path / "lake")
    table = write_table(tmp_path / "in.parquet", text=make_texts(20_000), number=list(range(20_000)))
    for engine in ("local", "ray"):
        run_score(lake, table, output=tmp_path / f"{engine}.parquet", engine=engine)
    assert (tmp_path / "ray.parquet").read_bytes() == (tmp_path / "local.parquet").read_bytes()


def fail(error: Exception, cause: Exception | None) -> None:
    raise error from cause


@pytest.mark.parametrize(
    "error",
    [
        DataError("quoted", brief="not quoted"),
        FileFault("a.csv", "damaged", "half of it is missing"),
        LockedError("busy"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_come_back_with_their_causes(error: PipelineError) -> None:
    cluster = Synchronous()
    called = cluster.call(fail, error, OSError(errno.EIO, "no answer"))
    with pytest.raises(type(error)) as raised:
        cluster.get(called)
    assert (str(raised.value), raised.value.brief, raised.value.exit_code) == (str(error), error.brief, error.exit_code)
    assert errno_of(raised.value) == errno.EIO
    # A task that gets the result of another one gives its error.
    with pytest.raises(type(error)):
        cluster.get(cluster.call(len, called))


class UnsentError(LockedError):
    """Pickle cannot make it again."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def test_an_error_that_cannot_be_sent_keeps_words_and_code() -> None:
    cluster = Synchronous()
    with pytest.raises(PipelineError, match="UnsentError: first second") as raised:
        cluster.get(cluster.call(fail, UnsentError("first", "second"), None))
    assert raised.value.exit_code == 75


def warn(value: str) -> str:
    logging.getLogger("somewhere").warning("of %s", value, extra={ONCE: value[0]})
    return value


def test_warnings_come_back_once(caplog: pytest.LogCaptureFixture) -> None:
    said = set[tuple[str, str]]()
    done = [guarded(warn, value) for value in ("a1", "b1", "a2")]
    caplog.clear()
    assert [opened(one, said) for one in done] == ["a1", "b1", "a2"]
    assert [record.getMessage() for record in caplog.records] == ["of a1", "of b1"]


def test_a_stream_ends_with_its_error() -> None:
    def items() -> object:
        yield 1
        yield 2
        raise DataError("no third")

    done = list(guarded_stream(items))
    assert [one.value for one in done] == [1, 2, None]
    with pytest.raises(DataError, match="no third"):
        opened(done[2], set())


def tokens_of(cluster: Synchronous, texts: list[str]) -> TokensElsewhere:
    lists = tokenize("basic_english", pa.array(texts))
    count = len(texts)
    body = cluster.put([pa.RecordBatch.from_arrays([lists], names=["tokens"])])
    rows = np.arange(count, dtype=np.int32)
    return TokensElsewhere(
        place=Place(body, 0), row_N=rows, length_N=np.diff(lists.offsets.to_numpy()), contents=np.zeros(count, np.uint64)
    )


def counted(table: pa.Table) -> dict[str, int]:
    return dict(zip(table["token"].to_pylist(), table["count"].to_pylist(), strict=True))


@pytest.mark.parametrize("batches", [0, 1, FAN_IN, 5 * FAN_IN + 3, FAN_IN * FAN_IN + 1])
def test_counts_of_the_tree_are_those_of_a_list(batches: int) -> None:
    cluster = Synchronous()
    tree, plain = TreeCounts(lambda: cluster), TokenCounts()
    for number in range(batches):
        texts = [f"a b{number % 7} c{number}", "", "a"]
        keep = pa.array([True, number % 2 == 0, number % 3 == 0])
        tree.add_lists(tokens_of(cluster, texts).filter(keep))
        plain.add_lists(tokenize("basic_english", pa.array(texts)).filter(keep))
        if number % 5 == 0:
            snapshot = tree.snapshot()
            for _ in range(number % 40):
                tree.add_lists(tokens_of(cluster, ["of a source that turns out to be damaged"]))
            tree.restore(snapshot)
    assert counted(tree.total()) == counted(plain.total())
    assert tree.dropped == plain.dropped == 0


def raw(texts: list[str]) -> RawBatch:
    count = len(texts)
    return RawBatch(
        source=pa.array(["a.csv"] * count),
        row=pa.array(range(count)),
        text=pa.array([text.encode() for text in texts], pa.binary()),
        review_id=pa.array([f"id{row}".encode() for row in range(count)], pa.binary()),
    )


def test_rows_that_are_others_when_they_are_read_again_fail_the_run() -> None:
    work = TokenizeReviews(tokenizer="basic_english", known=KeyIndex())
    encode = EncodeReviews(vocabulary=make_vocabulary(), groups={})
    (head,), body = tokenize_chunk(work, [raw(["good film", "bad film"])])
    assert isinstance(head, TokenizedBatch)
    piece = Piece(body=0, batch=0, row_N=np.array([0, 1], np.int32), content_N=head.contents)
    assert make_shard(encode, "unsup", [piece], body).name.startswith("unsup-")
    for texts in (["good film", "other film"], ["good film"]):
        _, changed = tokenize_chunk(work, [raw(texts)])
        with pytest.raises(DataError, match="a source changed while it was read"):
            make_shard(encode, "unsup", [piece], changed)
    only = replace(piece, row_N=piece.row_N[1:], content_N=piece.content_N[1:])
    assert make_shard(encode, "unsup", [only], body).name != make_shard(encode, "unsup", [piece], body).name


@given(st.lists(st.one_of(st.none(), st.integers(0, 3 * CHUNK_BYTES)), max_size=30))
def test_groups_of_sources_keep_the_order_and_the_size(sizes: list[int | None]) -> None:
    groups = list(gathered([*enumerate(sizes)]))
    assert [number for group in groups for number in group] == list(range(len(sizes)))
    for group in groups:
        known = [sizes[number] for number in group]
        assert len(group) == 1 or (None not in known and sum(map(int, known)) <= CHUNK_BYTES)


@given(st.lists(st.integers(0, 40), max_size=80))
def test_chunks_keep_the_order_and_end_in_time(counts: list[int]) -> None:
    batch = pa.record_batch({"text": ["word"] * 40})
    items = [Rows(table=batch.slice(0, count), row=np.arange(count)) for count in counts]
    chunks = list(chunked(items))
    assert [id(item) for chunk in chunks for item in chunk] == [id(item) for item in items]
    assert all(len(chunk) <= CHUNK_BATCHES for chunk in chunks)


def test_rows_are_sent_without_their_neighbours() -> None:
    words = pa.array(["x" * 1000] * 1000)
    batch = pa.record_batch({"text": words, "kind": words.dictionary_encode()})
    alone = compact(batch.slice(500, 10))
    assert alone.equals(batch.slice(500, 10))
    assert alone.get_total_buffer_size() < 20_000
