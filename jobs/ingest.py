"""`pipeline ingest`: raw files → Parquet shards of token ids and a vocabulary.

Two passes. The first reads, checks and tokenizes; it counts what makes the vocabulary and parks the tokens on the disk.
The second maps tokens to ids and writes shards. They become part of the table in one commit at the very end, so a run
that is killed leaves nothing behind, and the same run again does the same work.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.runtime import Run, commit_record, committing, recorded_run
from jobs.workplace import table_locked
from pipeline.config.ingest import LAST, IngestConfig
from pipeline.config.shared import FEWEST_TOKENS
from pipeline.datapipes.collect import Collector, Findings
from pipeline.datapipes.encode_reviews import EncodeReviews
from pipeline.datapipes.repeated_ids import RepeatedIds
from pipeline.datapipes.tokenize_reviews import TokenizeReviews
from pipeline.engines.ingest import IngestEngine, import_early, ingest_engine
from pipeline.errors import DataError, InputNotFoundError, UsageError
from pipeline.lake import table as token_table
from pipeline.lake.atomic import make_folder
from pipeline.lake.known import KeyIndex, Known, keys_of, shards_holding
from pipeline.lake.missing import Kept, absent_reviews, kept_rows, leaving_pairs
from pipeline.lake.paths import Lake
from pipeline.lake.publish import Change, change_of, check_covered, check_recovered, move_rows, publish, rewrite_shards
from pipeline.lake.reject_writer import FILES, RejectCounts, RejectWriter
from pipeline.lake.shard_tokens import ShardTokens, counted, total
from pipeline.lake.shard_writer import rows_written
from pipeline.lake.shards import open_shard
from pipeline.lake.standing import STANDING_SCHEMA
from pipeline.lake.store import is_uri
from pipeline.lake.table import TokenTable, has_targets
from pipeline.lake.table_index import IndexFiles, TableIndex
from pipeline.lake.vocabularies import read_vocabulary
from pipeline.lake.withheld import ERASED, RETRACTED, Withheld
from pipeline.options.render import printable_text
from pipeline.printable import shown
from pipeline.progress import AS_IT_IS, BRIEF, IN_FIGURES, UNATTENDED, track
from pipeline.readers.labels import doubts
from pipeline.readers.mirror import Mirror, mirrored
from pipeline.readers.registry import described, format_named
from pipeline.readers.summary import named_faults, summarize
from pipeline.readers.values import OPTION as RULE_OPTION
from pipeline.readers.values import RULE_VERSION
from pipeline.readers.walk import Found, Walker, some_of
from pipeline.signals import raise_if_swallowed
from pipeline.text.unsegmented import unsegmented_warning
from pipeline.text.vocabulary import TokenCounts, Vocabulary, build_vocabulary, ordered_labels
from schemas.run import Receipt
from schemas.tokenizers import DEFAULT_TOKENIZER
from schemas.vocabulary import SPECIALS

__all__ = ["IngestConfig", "run"]

log = logging.getLogger(__name__)

DEFAULT_MAX_VOCAB = 30_000
DEFAULT_MIN_COUNT = 1
MAX_LABELS = 1000


def run(config: IngestConfig) -> Receipt:
    """Ingests the sources into the lake's token table.

    Raises:
        PipelineError: see `pipeline.errors`; the table is then as it was.
    """
    lake = Lake(config.lake)
    import_early()
    with (
        recorded_run("ingest", lake, config, record=not config.dry_run) as run,
        mirrored(config.sources, None if config.dry_run else lake.scratch) as mirror,
    ):
        run.config["sources"] = [printable_text(_absolute(source)) for source in config.sources]
        found = _find(config, lake, mirror)
        if found.sources or found.faults:
            with (
                _workplace(lake, run, config) as scratch,
                IndexFiles(lake) as index,
                ingest_engine(config.engine, config.workers, scratch) as engine,
            ):
                _ingest(config, lake, run, found, mirror, scratch, index, engine)
        else:
            run.nothing_new = True  # all files were written a moment ago
    return run.receipt()


def _absolute(source: str) -> str:
    return source if is_uri(source) else str(Path(source).expanduser().absolute())


def _find(config: IngestConfig, lake: Lake, mirror: Mirror) -> Found:
    """The sources.

    Raises:
        InputNotFoundError: a path is not there, or there is nothing to read.
    """
    if not config.sources:
        lake.fetch(lake.raw)
    if not config.sources and not lake.raw.exists():
        raise InputNotFoundError(f"no such folder: {lake.raw}. Pass files or folders, or put reviews into {lake.raw}.")
    places = config.sources or (str(lake.raw),)
    walker = Walker(
        name_of=mirror.name_of(lake.relative, lake.place),
        format=None if config.format is None else format_named(config.format),
        settle_seconds=config.settle,
        apart=(*lake.own, *(mirror.place_of(shown(str(folder))) for folder in lake.own)),
    )
    with mirror.listed(places) as paths:
        found = walker.find(paths)
    found.sources = mirror.remote(found.sources)
    mirror.warn_of_empty(found.sources)
    if found.passed_over:
        log.info("skipped: %s; unsupported file types", some_of(found.passed_over))
    if found.unsettled:
        log.info("left for the next run, modified less than %g s ago: %s", config.settle, some_of(found.unsettled))
    if not found.sources and not found.faults and not found.unsettled:
        raise InputNotFoundError(
            f"no reviews in {', '.join(places)}. Supported: {described()}. "
            "Put some there; 'pipeline sample' writes a small corpus, 'pipeline fetch imdb' downloads the real one."
        )
    return found


@contextmanager
def _workplace(lake: Lake, run: Run, config: IngestConfig) -> Iterator[Path]:
    """The lock and a scratch folder; a dry run needs no lock and leaves the lake alone."""
    if config.dry_run:
        with TemporaryDirectory() as folder:
            yield Path(folder)
        return
    with table_locked(lake, run.run_id, f"ingest into {lake.root}") as scratch:
        yield scratch


def _ingest(
    config: IngestConfig,
    lake: Lake,
    run: Run,
    found: Found,
    mirror: Mirror,
    scratch: Path,
    files: IndexFiles,
    engine: IngestEngine,
) -> None:
    table = _open_table(config, lake, files)
    vocabulary = _vocabulary(config, lake, table)
    withheld = Withheld.load(lake)
    known: Known = KeyIndex()
    held: Known = KeyIndex()
    if table and not config.rebuild_vocab:
        known = TableIndex(files, table.shards, scratch=scratch if config.dry_run else None)
    elif table and withheld:
        held = TableIndex(files, table.shards, scratch=scratch if config.dry_run else None)
    reads = partial(_first_pass, config, engine, found, mirror, vocabulary, known, scratch, withheld, held)
    collected, leaving, rejects = _read(config, lake, run, known, scratch / "rejects.parquet", reads)
    run.read, run.known, run.rejected = collected.read, collected.known, rejects.rows
    run.quarantined = len(collected.faults)
    alone = len(found.sources) + len(found.faults) == 1  # then the error says it
    summarize(rejects, [] if alone else collected.faults, run.outputs.get("rejects"))
    _check_bad(config, run, rejects, collected, found, has_table=table is not None)
    is_new = vocabulary is None
    if vocabulary is None:
        vocabulary = _build_vocabulary(config, collected)
    elif not vocabulary.labels and collected.labels:
        vocabulary = vocabulary.with_labels(_labels(collected))
    duplicates = collected.duplicates(leaving.ids)
    collected.release(keep_seen=config.rebuild_vocab)  # the commit asks whether all of the table was seen
    shards = _second_pass(engine, vocabulary, collected, scratch)
    run.written = sum(rows_written(path) for path in shards)
    new_tokens = total(map(counted, shards))
    assert new_tokens is not None, "this release notes them"
    run.metrics = {
        "tokens": collected.tokens,
        "vocabulary_size": len(vocabulary),
        "unknown_share": new_tokens.unknown_share,
        "unknown_share_table": None,
        "labels": list(vocabulary.labels),
        "duplicates": duplicates,
        "deduplicated": duplicates if config.dedupe else 0,
        "superseded": collected.superseded,
        "replaced": len(collected.replaced),
        "moved": leaving.moved,
        "missing": leaving.missing,
        "pruned": leaving.missing if config.prune else 0,
        "new_files": {"total": len(collected.brought), "listed": collected.brought[-FILES:]},
        **rejects.metrics,
        "quarantined_files": named_faults(collected.faults),
        "retracted": collected.num_withheld(RETRACTED),
        "erased": collected.num_withheld(ERASED),
    }
    _say_repeated(run, config)
    if config.target_column is None and run.metrics["replaced"] and table is not None and has_targets(lake.tokens):
        text = "the table has numbers for regression, and %s replaced reviews have none: pass --target-column to keep them"
        log.warning(text, f"{run.metrics['replaced']:,}", extra=AS_IT_IS)
    if config.target_column is not None and run.written and not collected.targets:
        text = "no new review has a number in the column %r (--target-column), so regression cannot learn from them"
        log.warning(text, config.target_column, extra={BRIEF: "no new review has a number in the column of --target-column"})
    _say_unknown(config, new_tokens, is_new)
    _say_unlabelled(config, table, collected)
    _say_merged(config, run, vocabulary)
    if config.prune:
        _say_not_pruned(collected)
    run.check_counts()
    _commit(config, lake, run, table, vocabulary, collected, leaving, shards)


def _read(
    config: IngestConfig,
    lake: Lake,
    run: Run,
    known: Known,
    path: Path,
    reads: Callable[[RejectWriter, Findings], Collector],
) -> tuple[Collector, "_Leaving", RejectCounts]:
    """The first pass, and what leaves the table for it. A second time if it was wrong about what leaves: where --dedupe took
    new rows for duplicates of rows that leave, or let in what stays in the table elsewhere, or where a review that has moved
    was taken for a retracted or erased one. Also if rows with the same ID differ and the last one counts.

    Args:
        path: for the rejects, until they are published.
        reads: the first pass; gets what earlier ones have found out.
    """
    findings = Findings()
    while True:  # each reading finds out more about the same rows, so this ends
        with RejectWriter(path) as rejects:
            collected = reads(rejects, findings)
            if conflicts := collected.in_conflict():
                log.info(
                    "reading again, because %s IDs have rows that differ, of which the last counts", f"{len(conflicts):,}"
                )
                findings |= Findings(last=conflicts)
                continue
            leaving = _leaving(config, known, collected)
            more = {pair: n for pair, n in _releases(known, collected).items() if n > findings.released.get(pair, 0)}
            found = collected.misjudged(leaving.ids) | Findings(released=more)
            if not found:
                if not config.dry_run and (published := rejects.publish(lake.rejects)):
                    run.outputs["rejects"] = published
                return collected, leaving, rejects
        log.info("reading again, because reviews that were compared with new ones stand elsewhere now")
        findings |= found


@dataclass(frozen=True)
class _Leaving:
    """What leaves the table: `ids`, of which `moved` come in from another row of their file. `missing` were not met in their
    sources; they leave with `--prune` only. `kept` are let in again in the place of retracted rows."""

    ids: pa.StringArray
    moved: int = 0
    missing: int = 0
    kept: Kept = field(default_factory=lambda: Kept({}))


def _leaving(config: IngestConfig, known: Known, collected: Collector) -> _Leaving:
    if not isinstance(known, TableIndex):
        return _Leaving(pa.array([], pa.string()))
    absent = absent_reviews(known, collected.seen, [*collected.sources, *collected.doubtful])
    replaced = collected.replaced
    standing = pa.Table.from_batches(collected.standing, STANDING_SCHEMA)
    kept = kept_rows(known, collected.seen, replaced, standing, collected.contents_from)
    moved = absent.moved(collected.contents_from)
    stays = moved | absent.at(collected.retracted_keys()) | absent.at(keys_of(kept.leaving))
    missing = absent.take(~stays).from_any(collected.sources).ids
    ids = pa.concat_arrays([replaced, absent.take(moved).ids, kept.leaving, *([missing] if config.prune else [])])
    return _Leaving(pc.unique(ids), int(np.count_nonzero(moved)) + len(kept.places), len(missing), kept)


def _releases(known: Known, collected: Collector) -> dict[int, int]:
    """How many reviews are not withheld, because the table has them in another row: see `Collector.releases`."""
    if not isinstance(known, TableIndex) or not (collected.withheld or collected.admitted):
        return {}
    read = [*collected.sources, *collected.doubtful]
    return collected.releases(leaving_pairs(known, collected.seen, collected.replaced, read))


def _open_table(config: IngestConfig, lake: Lake, files: IndexFiles) -> TokenTable | None:
    if not token_table.exists(lake.tokens):
        return None
    return TokenTable.open(lake.tokens, without=config.replacing, noted=files.noted)


def _say_repeated(run: Run, config: IngestConfig) -> None:
    """Says what was delivered twice, and what files no longer hold."""
    duplicates, missing = run.metrics["duplicates"], run.metrics["missing"]
    if duplicates and not config.dedupe:
        # Reviews do repeat; half of them is a file that was delivered twice.
        many = 2 * duplicates >= run.written
        text = (
            "%s of %s new reviews have the same text and label as others. To skip such reviews in later runs, use --dedupe, "
            "or put dedupe = true into the table [ingest] of pipeline.toml"
        )
        beside: dict[str, object] = {**AS_IT_IS} if many else {UNATTENDED: True}  # the summary says it
        log.log(logging.WARNING if many else logging.INFO, text, f"{duplicates:,}", f"{run.written:,}", extra=beside)
    if moved := run.metrics["moved"]:
        log.info("reviews that stand in another row of their file now: %s", f"{moved:,}")
    if retracted := run.metrics["retracted"]:
        text = "%s rows were skipped because their runs were retracted; 'pipeline retract --undo RUN' lets them in again"
        log.info(text, f"{retracted:,}")
    if missing and not config.prune:
        log.info(
            "reviews of the lake that their files no longer hold, or that are left out now: %s; --prune removes them",
            f"{missing:,}",
        )


def _say_unknown(config: IngestConfig, new: ShardTokens, built: bool) -> None:
    """Warns when the vocabulary does not know too many of the new tokens. `built`: this run has built the vocabulary."""
    share = new.unknown_share
    if share is None or share <= config.unknown_warn or new.tokens < FEWEST_TOKENS:
        return
    if built:
        text = (
            "%s of the tokens are not in the new vocabulary (--unknown-warn %s). Make it larger with 'pipeline ingest "
            "--rebuild-vocab', a higher --max-vocab and a lower --min-count."
        )
    else:
        text = (
            "%s of the new tokens are not in the vocabulary (--unknown-warn %s), so no model can learn from them. Build a "
            "new vocabulary with 'pipeline ingest --rebuild-vocab', from sources with every review, then train again."
        )
    log.warning(text, f"{share:.1%}", f"{config.unknown_warn:.1%}", extra=IN_FIGURES)


def _say_unlabelled(config: IngestConfig, table: TokenTable | None, collected: Collector) -> None:
    """Warns of a delivery without labels whose reviews had some, as when a file comes without the column once."""
    if config.label_column is not None or table is None or collected.labels or not len(collected.replaced):
        return
    lost = 0
    for shard, others in shards_holding(table.shards, collected.replaced):
        with open_shard(shard.path) as file:
            lost += pc.sum(file.read(columns=["label"])["label"].filter(pc.invert(others)).is_valid()).as_py()
    if lost:
        found = (
            f"{lost:,} of {len(collected.replaced):,} replaced reviews lose their labels, because their files have none now"
        )
        remedy = "To take that back, use 'pipeline retract latest'; to skip files without the column, set --label-column"
        log.warning("%s. %s", found, remedy, extra={BRIEF: f"{found}. {remedy}"})


def _say_not_pruned(collected: Collector) -> None:
    """Names the sources that --prune has spared."""
    empty = [name for name in collected.doubtful if name in collected.empty]
    faulty = [name for name in collected.doubtful if name not in collected.empty]
    if faulty:
        text = "not pruned because some rows were rejected: %s. Fix these rows and run it again"
        log.warning(text, some_of(faulty), extra=AS_IT_IS)
    if empty:
        text = "not pruned because of empty files (0 bytes): %s. A CSV file whose reviews are all gone keeps its header"
        log.warning(text, some_of(empty), extra=AS_IT_IS)


def _say_merged(config: IngestConfig, run: Run, vocabulary: Vocabulary) -> None:
    """Warns of classes that --label-map has merged into others, but that models still learn."""
    if config.label_map is None or not run.metrics["replaced"]:
        return
    left = [label for label in vocabulary.labels if config.label_map(label) not in (None, label)]
    if left:
        log.warning(
            "--label-map maps the classes %s to others, but the lake keeps them until 'pipeline ingest --rebuild-vocab' "
            "reads every review with the same --label-map",
            ", ".join(map(repr, left)),
            extra={BRIEF: "the lake keeps classes that --label-map maps to others until 'pipeline ingest --rebuild-vocab'"},
        )


def _vocabulary(config: IngestConfig, lake: Lake, table: TokenTable | None) -> Vocabulary | None:
    """The vocabulary that the table's ids belong to; None when a new one has to be made."""
    if table is None or not table.shards or config.rebuild_vocab:
        return None
    vocabulary = read_vocabulary(lake.vocabulary / f"{table.vocabulary}.parquet", table.vocabulary)
    wanted = {"tokenizer": config.tokenizer, "max_vocab": config.max_vocab, "min_count": config.min_count}
    present = {"tokenizer": vocabulary.tokenizer, **vocabulary.options}
    for option, value in wanted.items():
        if value is not None and value != present.get(option):
            raise UsageError(
                f"--{option.replace('_', '-')} {value}: the lake's vocabulary {vocabulary.fingerprint} was built with "
                f"{present.get(option)}, and a table has only one vocabulary. Remove the option, or build a new "
                "vocabulary with --rebuild-vocab."
            )
    return vocabulary


def _first_pass(
    config: IngestConfig,
    engine: IngestEngine,
    found: Found,
    mirror: Mirror,
    vocabulary: Vocabulary | None,
    known: Known,
    scratch: Path,
    withheld: Withheld,
    held: Known,
    rejects: RejectWriter,
    findings: Findings,
) -> Collector:
    rule = vocabulary.options.get(RULE_OPTION, 1) if vocabulary else RULE_VERSION
    reading = replace(config.reading, rule=rule)
    tokenize = TokenizeReviews(
        tokenizer=vocabulary.tokenizer if vocabulary else config.tokenizer or DEFAULT_TOKENIZER,
        known=known,
        labels=frozenset(vocabulary.labels) if vocabulary and vocabulary.labels else None,
        label_map=config.label_map,
        skip_labels=config.skip_labels,
        split=config.split,
        target_column=config.target_column,
        rule=rule,
        withheld=replace(withheld, released=np.sort(np.array(list(findings.released), np.uint64))),
        held=held,
    )
    with (
        engine.spill(scratch / "spill.arrow") as spill,
        track("reading and tokenizing") as progress,
        engine.tokenized(found.sources, mirror, config.columns, reading, tokenize) as batches,
    ):
        collector = Collector(
            spill=spill,
            rejects=rejects,
            counts=engine.counts() if vocabulary is None else None,
            known_reviews=known,
            distinct=KeyIndex() if config.dedupe else None,
            empty=frozenset(mirror.empty(found.sources)),
            repeated=RepeatedIds() if config.id_conflict == LAST else None,
            findings=findings,
        )
        collector.leave_out(found.faults)
        for batch in batches:
            raise_if_swallowed()
            progress.advance(collector.take(batch))
    return collector


def _labels(collected: Collector) -> tuple[str, ...]:
    """The labels of a lake that has none yet.

    Raises:
        DataError: there are so many that the column is probably not the label.
    """
    labels = ordered_labels(collected.labels)
    if len(labels) > MAX_LABELS:
        remedy = f"the maximum is {MAX_LABELS}. Check that --label-column is the right column."
        raise DataError(
            f"{len(labels):,} different labels, such as {', '.join(labels[:5])}; {remedy}",
            brief=f"{len(labels):,} different labels; {remedy}",
        )
    for doubt in doubts(labels):
        log.warning("%s", doubt, extra={BRIEF: "some labels look like variants of one another, or like no labels"})
    return labels


def _build_vocabulary(config: IngestConfig, collected: Collector) -> Vocabulary:
    labels = _labels(collected)
    assert collected.counts is not None
    vocabulary = build_vocabulary(
        collected.counts,
        config.tokenizer or DEFAULT_TOKENIZER,
        labels,
        max_vocab=DEFAULT_MAX_VOCAB if config.max_vocab is None else config.max_vocab,
        min_count=DEFAULT_MIN_COUNT if config.min_count is None else config.min_count,
        options={RULE_OPTION: RULE_VERSION},
    )
    if collected.new and len(vocabulary) == len(SPECIALS):
        text = "the vocabulary is empty: no token in the splits train and unsup occurs --min-count times"
        log.warning(text, extra=AS_IT_IS)
    if collected.counts.dropped:
        text = (
            "distinct tokens take more than %d MiB, so the rarest were dropped during counting; the vocabulary may lack some"
        )
        log.warning(text, TokenCounts.KEPT_BYTES >> 20, extra=AS_IT_IS)
    if warning := unsegmented_warning(collected.counts.total(), vocabulary.tokenizer):
        log.warning("%s", warning, extra=AS_IT_IS)
    return vocabulary


def _second_pass(engine: IngestEngine, vocabulary: Vocabulary, collected: Collector, scratch: Path) -> list[Path]:
    """Encodes the spilled batches and writes them as shards into the scratch folder; gives their paths in order."""
    if not collected.new:
        return []
    folder = make_folder(scratch / "shards")
    encode = EncodeReviews(vocabulary=vocabulary, groups=collected.groups)
    with (
        track("encoding and writing", collected.new) as progress,
        engine.written(collected.spill, collected.dropped, encode, folder, progress.advance) as written,
    ):
        return list(written)


def _check_bad(
    config: IngestConfig, run: Run, rejects: RejectCounts, collected: Collector, found: Found, *, has_table: bool
) -> None:
    """Raises `DataError` when more is bad than is allowed. A delivery of which an option leaves out every row is nothing new
    to a table, but cannot begin one."""
    everything = f" All of them: {run.outputs['rejects']}." if "rejects" in run.outputs else ""
    faults = collected.faults
    files = sum(source.num_files for source in found.sources) + len(found.faults)
    if faults and (len(faults) >= files or (config.file_limit and config.file_limit.is_passed(len(faults), files))):
        if files == 1:
            raise DataError(f"{faults[0]}. Nothing was committed.", brief=f"{faults[0].brief}. Nothing was committed.")
        allowed = f"--max-bad-files allows {config.file_limit}" if config.file_limit else "none are left"
        problem = f"{len(faults):,} of {files:,} files cannot be read; {allowed}; nothing was committed. The first: "
        raise DataError(f"{problem}{faults[0]}.{everything}", brief=f"{problem}{faults[0].brief}.{everything}")
    if config.row_limit.is_passed(rejects.malformed, run.read):
        problem = f"{rejects.malformed:,} of {run.read:,} rows are malformed; --max-bad allows {config.row_limit}"
        remedy = " Fix the rows, or allow more with --max-bad."
    elif run.rejected > (rejects.chosen if has_table else 0) and not collected.new and not run.known:
        problem = f"{run.rejected:,} of {run.read:,} rows were rejected, so none are left"
        remedy = ""
    else:
        return
    raise DataError(f"{problem}; nothing was committed. The first: {rejects.first_described}.{everything}{remedy}")


def _commit(
    config: IngestConfig,
    lake: Lake,
    run: Run,
    table: TokenTable | None,
    vocabulary: Vocabulary,
    collected: Collector,
    leaving: _Leaving,
    shards: list[Path],
) -> None:
    """Publishes the shards, unless the run is a dry one; sets `nothing_new` when the table stays as it was."""
    removed: list[str] = []
    if table and config.rebuild_vocab:
        check_covered(table, collected.seen)
        removed = [shard.path.name for shard in table.shards]
    elif table and (len(leaving.ids) or table.vocabulary not in ("", vocabulary.fingerprint)):
        folder = make_folder(lake.scratch / "ingest" / run.run_id / "shards") if not shards else shards[0].parent
        rewritten, removed = rewrite_shards(table, leaving.ids, folder, vocabulary.fingerprint)
        shards = shards + rewritten + move_rows(table, leaving.kept.places, folder, vocabulary.fingerprint)
    if config.replacing and not config.accept_loss:
        check_recovered(lake.tokens, config.replacing, run.written)
    change = change_of(table, shards, [*removed, *config.replacing])
    run.metrics["unknown_share_table"] = _unknown_share(table, change)
    if not config.dry_run:
        run.outputs |= {"tokens": lake.tokens, "vocabulary": lake.vocabulary / f"{vocabulary.fingerprint}.parquet"}
        if change:
            with committing(run):
                run.outputs["table_version"] = publish(lake, table, vocabulary, change, run.run_id, commit_record(run))
        elif table:
            run.outputs["table_version"] = table.version
        if change or table:
            run.metrics["has_numbers"] = has_targets(lake.tokens)
    if change:
        return
    run.nothing_new = True
    run.known, run.written = run.known + run.written, 0  # a rebuilt vocabulary gave the shards that are there
    if not run.known and not table and not collected.faults:
        raise DataError("no reviews to read: the sources are empty. Nothing was committed.")


def _unknown_share(table: TokenTable | None, change: Change) -> float | None:
    """The share of unknown tokens in the table after the change; None if a shard of an earlier release remains in it."""
    kept = [shard.tokens for shard in table.shards if shard.path.name not in change.removed] if table else []
    tokens = total([*kept, *map(counted, change.added)])
    return None if tokens is None else tokens.unknown_share
