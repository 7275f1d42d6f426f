"""`pipeline ingest`: raw files → Parquet shards of token ids and a vocabulary.

Two passes. The first reads, checks and tokenizes; it counts what makes the vocabulary and parks the tokens on the disk.
The second maps tokens to ids and writes shards. They become part of the table in one commit at the very end, so a run
that is killed leaves nothing behind, and the same run again does the same work.
"""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa

from jobs.runtime import Run, commit_record, committing, recorded_run
from pipeline.datapipes.collect import Collector, content_index
from pipeline.datapipes.cut_shards import CutShards, ShardRows
from pipeline.datapipes.encode_reviews import EncodeReviews
from pipeline.datapipes.parallel_map import ParallelMap
from pipeline.datapipes.raw import Columns
from pipeline.datapipes.read_reviews import ReadReviews
from pipeline.datapipes.sources import Source, find_sources
from pipeline.datapipes.spill import SpilledBatches, SpillWriter
from pipeline.datapipes.tokenize_reviews import TokenizeReviews
from pipeline.engines.memory import share_freed_memory
from pipeline.errors import DataError, UsageError
from pipeline.lake import table as token_table
from pipeline.lake.atomic import claimed, make_folder
from pipeline.lake.known import KeyIndex, known_reviews
from pipeline.lake.locks import locked
from pipeline.lake.paths import Lake, printable
from pipeline.lake.publish import change_of, check_covered, check_recovered, publish, without_replaced
from pipeline.lake.recover import complete_records
from pipeline.lake.reject_writer import RejectWriter
from pipeline.lake.shard_writer import write_shard
from pipeline.lake.table import TokenTable
from pipeline.progress import track
from pipeline.text.tokenizers import DEFAULT_TOKENIZER, check_tokenizer
from pipeline.text.vocabulary import TokenCounts, Vocabulary, build_vocabulary, ordered_labels
from schemas.review import SPLITS
from schemas.run import Receipt
from schemas.vocabulary import SPECIALS

log = logging.getLogger(__name__)

DEFAULT_LABEL_COLUMN = "label"
DEFAULT_MAX_VOCAB = 30_000
DEFAULT_MIN_COUNT = 1
MAX_LABELS = 1000


@dataclass(frozen=True, kw_only=True)
class IngestConfig:
    """What to ingest and how. None: the lake's own choice, or the default when the lake has none yet."""

    lake: Path
    sources: tuple[str, ...] = ()
    tokenizer: str | None = None
    max_vocab: int | None = None
    min_count: int | None = None
    text_column: str = "text"
    label_column: str | None = None
    id_column: str | None = None
    group_column: str | None = None
    split_column: str | None = None
    split: str | None = None
    dedupe: bool = False
    max_bad_rows: int | None = None
    rebuild_vocab: bool = False
    workers: int | None = None
    dry_run: bool = False
    replacing: tuple[str, ...] = ()
    """Damaged shards whose reviews are read again and that go with the commit (`pipeline repair`)."""
    accept_loss: bool = False

    def __post_init__(self) -> None:
        if not all(self.sources):
            raise UsageError("SOURCE: a name is empty. Give files and folders, or none for the lake's raw/.")
        if self.tokenizer is not None:
            check_tokenizer(self.tokenizer)
        if self.split is not None and self.split not in SPLITS:
            raise UsageError(f"--split: {self.split!r} is not known. Known: {', '.join(SPLITS)}.")
        for option, least in (("max_vocab", 0), ("min_count", 1), ("max_bad_rows", 0), ("workers", 0)):
            value = getattr(self, option)
            if value is not None and value < least:
                raise UsageError(f"--{option.replace('_', '-')}: {value} is too small; {least} is the least.")

    @property
    def columns(self) -> Columns:
        """The columns of tables; the label column is optional unless it was named."""
        return Columns(
            text=self.text_column,
            label=self.label_column or DEFAULT_LABEL_COLUMN,
            id=self.id_column,
            group=self.group_column,
            split=self.split_column,
            optional=() if self.label_column else (DEFAULT_LABEL_COLUMN,),
        )


def run(config: IngestConfig) -> Receipt:
    """Ingests the sources into the lake's token table.

    Raises:
        PipelineError: see `pipeline.errors`; the table is then as it was.
    """
    # The C library's allocator gives back what a batch took; Arrow's own keeps more of it, 150 MB at the peak.
    pa.set_memory_pool(pa.system_memory_pool())
    share_freed_memory()
    lake = Lake(config.lake)
    with recorded_run("ingest", lake, config, record=not config.dry_run) as this:
        this.config["sources"] = [printable(str(Path(source).expanduser().absolute())) for source in config.sources]
        sources = find_sources(config.sources, lake)
        with _workplace(lake, this, config) as scratch:
            _ingest(config, lake, this, sources, scratch)
    return this.receipt()


@contextmanager
def _workplace(lake: Lake, this: Run, config: IngestConfig) -> Iterator[Path]:
    """The lock and a scratch folder; a dry run needs no lock and leaves the lake alone."""
    if config.dry_run:
        with TemporaryDirectory() as folder:
            yield Path(folder)
        return
    with locked(lake.locks / "ingest.lock", f"ingest into {lake.root}"):
        shutil.rmtree(lake.scratch / "ingest", ignore_errors=True)  # of a run that was killed: the lock is ours now
        scratch = make_folder(lake.scratch / "ingest" / this.run_id)
        try:
            with claimed(scratch):
                complete_records(lake)
                yield scratch
        finally:
            shutil.rmtree(lake.scratch / "ingest", ignore_errors=True)


def _ingest(config: IngestConfig, lake: Lake, this: Run, sources: list[Source], scratch: Path) -> None:
    table = TokenTable.open(lake.tokens, without=config.replacing) if token_table.exists(lake.tokens) else None
    vocabulary = _vocabulary(config, lake, table)
    known = known_reviews(table.shards) if table and not config.rebuild_vocab else KeyIndex()
    with RejectWriter(scratch / "rejects.parquet") as rejects:
        collected = _first_pass(config, sources, vocabulary, known, scratch, rejects)
        if vocabulary is None:
            vocabulary = _build_vocabulary(config, collected)
        if not config.rebuild_vocab:
            collected.seen = KeyIndex()  # nobody asks again; 16 bytes a review
        shards = _second_pass(config, vocabulary, collected, scratch)
        this.read, this.known, this.rejected = collected.read, collected.known, rejects.rows
        this.written = collected.read - collected.known - rejects.rows
        this.metrics = {
            "tokens": collected.tokens,
            "vocabulary_size": len(vocabulary),
            "labels": list(vocabulary.labels),
            "duplicates": collected.duplicates,
        }
        if not config.dry_run and (published := rejects.publish(lake.rejects)):
            this.outputs["rejects"] = published
    _check_bad(config, this, rejects)
    this.check_counts()
    _commit(config, lake, this, table, vocabulary, collected, shards)


def _vocabulary(config: IngestConfig, lake: Lake, table: TokenTable | None) -> Vocabulary | None:
    """The vocabulary that the table's ids belong to; None when a new one has to be made."""
    if table is None or not table.shards or config.rebuild_vocab:
        return None
    vocabulary = Vocabulary.read(lake.vocabulary / f"{table.vocabulary}.parquet", table.vocabulary)
    wanted = {"tokenizer": config.tokenizer, "max_vocab": config.max_vocab, "min_count": config.min_count}
    present = {"tokenizer": vocabulary.tokenizer, **vocabulary.options}
    for option, value in wanted.items():
        if value is not None and value != present.get(option):
            raise UsageError(
                f"--{option.replace('_', '-')} {value}: the lake's vocabulary {vocabulary.fingerprint} was made with "
                f"{present.get(option)}, and the ids of a table belong to one vocabulary. Leave the option out, or make "
                "the vocabulary anew with --rebuild-vocab."
            )
    return vocabulary


def _first_pass(
    config: IngestConfig,
    sources: list[Source],
    vocabulary: Vocabulary | None,
    known: KeyIndex,
    scratch: Path,
    rejects: RejectWriter,
) -> Collector:
    tokenize = TokenizeReviews(
        tokenizer=vocabulary.tokenizer if vocabulary else config.tokenizer or DEFAULT_TOKENIZER,
        known=known,
        labels=frozenset(vocabulary.labels) if vocabulary else None,
        split=config.split,
    )
    with (
        SpillWriter(scratch / "spill.arrow") as spill,
        track("reading and tokenizing") as progress,
        ParallelMap(ReadReviews(sources, config.columns), tokenize, _workers(config)) as batches,
    ):
        collector = Collector(
            spill=spill,
            rejects=rejects,
            counts=TokenCounts() if vocabulary is None else None,
            dedupe_against=content_index([known]) if config.dedupe else None,
        )
        for batch in batches:
            progress.advance(collector.take(batch))
    return collector


def _build_vocabulary(config: IngestConfig, collected: Collector) -> Vocabulary:
    labels = ordered_labels(collected.labels)
    if len(labels) > MAX_LABELS:
        raise DataError(
            f"{len(labels):,} different labels, such as {', '.join(labels[:5])}; {MAX_LABELS} is the most. "
            "Is --label-column the right column?"
        )
    assert collected.counts is not None
    vocabulary = build_vocabulary(
        collected.counts,
        config.tokenizer or DEFAULT_TOKENIZER,
        labels,
        max_vocab=DEFAULT_MAX_VOCAB if config.max_vocab is None else config.max_vocab,
        min_count=DEFAULT_MIN_COUNT if config.min_count is None else config.min_count,
    )
    if collected.new and len(vocabulary) == len(SPECIALS):
        log.warning("the vocabulary is empty: no token of the splits train and unsup occurs --min-count times")
    return vocabulary


def _second_pass(config: IngestConfig, vocabulary: Vocabulary, collected: Collector, scratch: Path) -> list[Path]:
    """Encodes the spilled batches and writes them as shards into the scratch folder; gives their paths in order."""
    if not collected.new:
        return []
    folder = make_folder(scratch / "shards")
    encode = EncodeReviews(vocabulary=vocabulary, groups=collected.groups)
    write = partial(_write, folder=folder, vocabulary=vocabulary.fingerprint)
    with (
        track("encoding and writing", collected.new) as progress,
        ParallelMap(SpilledBatches(collected.spill.path), encode, _workers(config)) as encoded,
        ParallelMap(CutShards(encoded, progress.advance), write, _workers(config), ahead=_workers(config)) as written,
    ):
        return list(written)


def _write(shard: ShardRows, folder: Path, vocabulary: str) -> Path:
    return write_shard(folder, shard.split, shard.rows, vocabulary)


def _check_bad(config: IngestConfig, this: Run, rejects: RejectWriter) -> None:
    limit = config.max_bad_rows
    if limit is not None and this.rejected > limit:
        problem = f"--max-bad-rows allows {limit:,}"
    elif this.rejected and not this.written and not this.known:
        problem = "not one is good"
    else:
        return
    first = rejects.first
    assert first is not None
    everything = f" All of them: {this.outputs['rejects']}." if "rejects" in this.outputs else ""
    raise DataError(
        f"{this.rejected:,} of {this.read:,} rows are bad and {problem}; nothing was committed. The first: "
        f"{first.source}, row {first.row}: {first.reason} ({first.detail}).{everything}"
    )


def _commit(
    config: IngestConfig,
    lake: Lake,
    this: Run,
    table: TokenTable | None,
    vocabulary: Vocabulary,
    collected: Collector,
    shards: list[Path],
) -> None:
    """Publishes the shards, unless the run is a dry one; sets `nothing_new` when the table stays as it was."""
    removed: list[str] = []
    if table and config.rebuild_vocab:
        check_covered(table, collected.seen)
        removed = [shard.path.name for shard in table.shards]
    elif table and collected.replaced_ids:
        replaced_ids = pa.concat_arrays(collected.replaced_ids)
        rewritten, removed = without_replaced(table, replaced_ids, shards[0].parent, vocabulary.fingerprint)
        shards = shards + rewritten
    if not config.rebuild_vocab:
        this.metrics["replaced"] = sum(map(len, collected.replaced_ids))
    if config.replacing and not config.accept_loss:
        check_recovered(lake.tokens, config.replacing, this.written)
    change = change_of(table, shards, [*removed, *config.replacing])
    if not config.dry_run:
        this.outputs |= {"tokens": lake.tokens, "vocabulary": lake.vocabulary / f"{vocabulary.fingerprint}.parquet"}
        if change:
            with committing(this):
                this.outputs["table_version"] = publish(lake, table, vocabulary, change, this.run_id, commit_record(this))
        elif table:
            this.outputs["table_version"] = table.version
    if change:
        return
    this.nothing_new = True
    this.known, this.written = this.known + this.written, 0  # a vocabulary made anew gave the shards that are there
    if not this.known:
        raise DataError("no review was read from the sources: they are empty. Nothing was committed.")


def _workers(config: IngestConfig) -> int:
    return os.cpu_count() or 1 if config.workers is None else config.workers
