"""`pipeline upgrade`: what earlier releases wrote, in today's versions.

Each file is replaced atomically and shards in one commit, so a run that is killed leaves each thing old or new, and the
next run does the rest. What cannot be converted stays as it was, and is named with what to do instead.
"""

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from jobs import ingest
from jobs.repair import earlier_ingests
from jobs.runtime import Run, commit_record, recorded_run
from pipeline.config.ingest import IngestConfig
from pipeline.config.upgrade import UpgradeConfig
from pipeline.errors import DataError, InputNotFoundError, PipelineError
from pipeline.lake import table as token_table
from pipeline.lake.atomic import claimed, make_folder
from pipeline.lake.locks import locked, locked_output
from pipeline.lake.old_shards import old_shards, write_again
from pipeline.lake.paths import Lake
from pipeline.lake.publish import Change, LostReviewsError, publish
from pipeline.lake.recover import complete_records
from pipeline.lake.table import TokenTable
from pipeline.lake.vocabularies import read_vocabulary
from pipeline.models.bundle import DESCRIPTION, model_ids, read_bundle
from pipeline.options.check import check_path
from pipeline.readers.values import OPTION as RULE_OPTION
from pipeline.readers.values import RULE_VERSION
from pipeline.reports.upgrade import old_parts
from pipeline.scoring.upgrade import convert, is_old
from pipeline.signals import deferred_stop, raise_if_swallowed
from schemas.contract import ContractError
from schemas.run import Receipt

log = logging.getLogger(__name__)

READ_AGAIN = (
    "the lake uses version %d of the rule for values, this release supports version %d. 'pipeline upgrade --from-sources' "
    "reads the reviews again and builds a new vocabulary; train again afterwards"
)


@dataclass
class Done:
    """What was converted, by name; in a dry run, what would be. `left`: what could not be, and why."""

    shards: list[str] = field(default_factory=list)
    bundles: list[str] = field(default_factory=list)
    predictions: list[str] = field(default_factory=list)
    values: bool = False
    """Whether the reviews were read again under the current rule for values."""
    left: list[str] = field(default_factory=list)

    def anything(self) -> bool:
        """Whether something was converted."""
        return bool(self.shards or self.bundles or self.predictions or self.values)


def run(config: UpgradeConfig) -> Receipt:
    """Converts the lake, or the paths that are named; ends with 99 when nothing is old.

    Raises:
        InputNotFoundError: no lake, or a path that is neither a bundle nor a file.
        DataError: something could not be converted; all the rest was.
        LockedError: an ingest is at work.
    """
    lake = Lake(config.lake)
    if not config.paths:
        lake.check_there()
    with recorded_run("upgrade", lake, config, record=not config.dry_run) as this:
        done = Done()
        lake.fetch(lake.predictions, lake.crossval().folder)
        bundles, predictions = _named(config.paths) if config.paths else _of_lake(lake)
        for folder in bundles:
            _upgrade_bundle(folder, done, config.dry_run)
        for path in predictions:
            _upgrade_predictions(path, lake, done, config.dry_run)
        if not config.paths:
            _upgrade_table(config, lake, this, done)
        this.nothing_new = not done.anything()
        this.metrics = {
            "shards": done.shards,
            "bundles": done.bundles,
            "predictions": done.predictions,
            "values": done.values,
            "left": done.left,
        }
        if done.left:
            raise DataError(
                f"{len(done.left):,} could not be converted and are unchanged; all others are converted. The first: "
                f"{done.left[0]}"
            )
    return this.receipt()


def _named(paths: Sequence[str]) -> tuple[list[Path], list[Path]]:
    """The bundles and the prediction files among the paths."""
    bundles, predictions = [], []
    for path in (Path(text).expanduser() for text in paths):
        check_path("PATH", path)
        if (path / DESCRIPTION).is_file():
            bundles.append(path)
        elif path.is_file():
            predictions.append(path)
        else:
            raise InputNotFoundError(f"{path} is neither a bundle's folder nor a file. Pass bundles and prediction files.")
    return bundles, predictions


def _of_lake(lake: Lake) -> tuple[list[Path], list[Path]]:
    bundles = [place.models / name for place in (lake, lake.crossval()) for name in model_ids(place)]
    predictions = sorted(path for path in lake.predictions.glob("**/*.parquet") if not path.name.startswith("."))
    return bundles, predictions


def _attempt(what: str, done: Done, step: Callable[[], None]) -> bool:
    """Whether the step went well; what cannot be converted is left, and named."""
    try:
        step()
    except (DataError, InputNotFoundError, ContractError) as error:
        log.warning("%s stays as it is: %s", what, error)
        done.left.append(str(error))
        return False
    return True


def _upgrade_bundle(folder: Path, done: Done, dry_run: bool) -> None:
    def step() -> None:
        parts = old_parts(folder)
        for name, bring_up_to_date in parts.items():
            if not dry_run:
                bring_up_to_date()
            log.info("%s %s", folder / name, "would be converted" if dry_run else "is converted")
        if parts:
            done.bundles.append(folder.name)

    _attempt(str(folder), done, step)


def _upgrade_predictions(path: Path, lake: Lake, done: Done, dry_run: bool) -> None:
    def labels_of(model_id: str) -> Sequence[str] | None:
        folder = lake.models / model_id
        return read_bundle(folder).labels if model_id and (folder / DESCRIPTION).is_file() else None

    def step() -> None:
        if not is_old(path):
            return
        if not dry_run:
            with locked_output(path, f"converting {path}"):
                convert(path, labels_of)
        log.info("%s %s", path, "would be converted" if dry_run else "is converted")
        done.predictions.append(str(path))

    _attempt(str(path), done, step)


def _upgrade_table(config: UpgradeConfig, lake: Lake, this: Run, done: Done) -> None:
    if not token_table.exists(lake.tokens):
        return
    try:
        rule = _value_rule(lake)
        if rule < RULE_VERSION and config.from_sources:
            _read_again(config, lake, this)
            done.values = True
            return
        if rule < RULE_VERSION:
            log.warning(READ_AGAIN, rule, RULE_VERSION)
        if config.dry_run:
            done.shards = old_shards(token_table.list_shards(lake.tokens)[1])
            for name in done.shards:
                log.info("%s would be rewritten", lake.tokens / name)
        else:
            _rewrite_shards(lake, this, done)
    except PipelineError as error:
        if isinstance(error, DataError | InputNotFoundError):
            log.warning("%s stays as it is: %s", lake.tokens, error)
            done.left.append(str(error))
            return
        raise


def _value_rule(lake: Lake) -> int:
    """The version of the rule for values that the lake's reviews follow; the current one where it has none yet."""
    table = TokenTable.open(lake.tokens)
    if not table.shards:
        return RULE_VERSION
    vocabulary = read_vocabulary(lake.vocabulary / f"{table.vocabulary}.parquet", table.vocabulary)
    return int(vocabulary.options.get(RULE_OPTION, 1))


def _rewrite_shards(lake: Lake, this: Run, done: Done) -> None:
    """Writes old shards again and commits them in place of themselves; the reviews, their ids and order stay."""
    with locked(lake.locks / "ingest.lock", f"the token table of {lake.root}"), _scratch(lake, this) as scratch:
        complete_records(lake)
        table = TokenTable.open(lake.tokens)
        names = set(old_shards(token_table.list_shards(lake.tokens, table.version)[1]))
        if not names:
            return
        vocabulary = read_vocabulary(lake.vocabulary / f"{table.vocabulary}.parquet", table.vocabulary)
        shards = [shard for shard in table.shards if shard.path.name in names]
        written = [write_again(shard, scratch) for shard in shards]
        raise_if_swallowed()
        with deferred_stop() as stop:
            stop.raise_if_set()
            version = publish(
                lake, table, vocabulary, Change(tuple(written), tuple(sorted(names))), this.run_id, commit_record(this)
            )
        this.outputs |= {"tokens": lake.tokens, "table_version": version}
        done.shards = sorted(names)
        log.info("rewrote %d shards as version %d of the table", len(names), version)


@contextmanager
def _scratch(lake: Lake, this: Run) -> Iterator[Path]:
    """A folder on the lake's disk for the block."""
    scratch = lake.scratch / "upgrade" / this.run_id
    try:
        with claimed(scratch, make_folder):
            yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _read_again(config: UpgradeConfig, lake: Lake, this: Run) -> None:
    """Ingests all that earlier runs have ingested, as they did, under the current rule for values, in place of the shards.

    Ids may be other ones under another rule, so that reviews are counted and not compared.

    Raises:
        DataError: the sources do not hold all reviews of the table, or were not all read with the same options.
    """
    groups = list(earlier_ingests(lake))
    if not groups:
        raise DataError(f"no source exists to read {lake.root}'s reviews again. Restore the ingested files.")
    if len(groups) > 1:
        raise DataError(
            f"the reviews were ingested with {len(groups)} different sets of options, which a single run cannot "
            f"reproduce. Move {lake.tokens} out of the lake and ingest each source again."
        )
    _, listed = token_table.list_shards(lake.tokens)
    reading = IngestConfig(
        **groups[0],
        lake=lake.root,
        workers=config.workers,
        rebuild_vocab=True,
        replacing=tuple(entry.name for entry in listed),
        dry_run=config.dry_run,
    )
    try:
        receipt = ingest.run(reading)
    except LostReviewsError as error:
        rows = sum(entry.rows for entry in listed)
        raise DataError(
            f"the table has {rows:,} reviews, but their sources no longer contain all of them. Nothing was changed. Restore "
            "the ingested files."
        ) from error
    this.outputs |= receipt.outputs
