"""Checks of a lake: can it be written, and is what lies in it whole and consistent?"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.doctor.check import Check, fail, guarded, ok, warn
from pipeline.errors import CannotWriteError, DataError, InputNotFoundError
from pipeline.lake.paths import Lake
from pipeline.lake.runs import read_records

LITTLE_BYTES = 2 << 30
NOTHING_BYTES = 64 << 20


def lake_checks(lake: Lake) -> Iterator[Check]:
    """All checks of a lake. Nothing is made in it but a temporary file, which goes at once."""
    if not lake.root.exists():
        yield from guarded("lake", lambda: _absent(lake))
        return
    for name, check in (
        ("lake", _writable),
        ("space", _space),
        ("tokens", _tokens),
        ("vocabulary", _vocabularies),
        ("models", _models),
        ("runs", _runs),
    ):
        yield from guarded(name, lambda check=check: check(lake))  # type: ignore[misc]


def _absent(lake: Lake) -> Iterator[Check]:
    parent = next(folder for folder in lake.root.parents if folder.exists())
    if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
        yield warn("lake", f"{lake.root} is not there yet", "'pipeline ingest' makes it; or name another one with --lake.")
    else:
        code = CannotWriteError.exit_code
        remedy = f"Make it, or let this user write to {parent}; or name another one with --lake."
        yield fail("lake", f"{lake.root} is not there and {parent} cannot be written", remedy, code)


def _writable(lake: Lake) -> Iterator[Check]:
    code, remedy = CannotWriteError.exit_code, "Check owner, permissions and mount options; or name another one with --lake."
    if not lake.root.is_dir():
        yield fail("lake", f"{lake.root} is no folder", remedy, code)
        return
    folders = [lake.root, *(folder for folder in _own_folders(lake) if folder.exists())]
    for folder in folders:
        try:
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".tmp-doctor-") as probe:
                os.fsync(probe.fileno())
        except OSError as error:
            yield fail("lake", f"{folder} cannot be written: {error.strerror}", remedy, code)
            return
    yield ok("lake", f"{lake.root} can be written")


def _own_folders(lake: Lake) -> list[Path]:
    data = [lake.tokens, lake.vocabulary, lake.rejects, lake.models, lake.predictions]
    return [*data, lake.runs, lake.checkpoints, lake.locks]


def _space(lake: Lake) -> Iterator[Check]:
    free = shutil.disk_usage(lake.root).free
    detail = f"{free / (1 << 30):,.1f} GiB free"
    if free < NOTHING_BYTES:
        yield fail("space", detail, "Make room: nothing can be written.", CannotWriteError.exit_code)
    elif free < LITTLE_BYTES:
        yield warn("space", detail, "Make room, or run 'pipeline vacuum': ingest spills about as much as it reads.")
    else:
        yield ok("space", detail)


def _tokens(lake: Lake) -> Iterator[Check]:
    from pipeline.lake.table import TokenTable, exists

    if not exists(lake.tokens):
        yield warn("tokens", "no token table yet", f"Drop reviews into {lake.raw} and run 'pipeline ingest'.")
        return
    table = TokenTable.open(lake.tokens)
    yield ok("tokens", f"version {table.version}: {table.rows:,} reviews in {len(table.shards):,} shards")
    if table.vocabulary and not (path := lake.vocabulary / f"{table.vocabulary}.parquet").is_file():
        remedy = "Restore it from a backup or a model's bundle, or ingest with --rebuild-vocab."
        yield fail("tokens", f"their vocabulary {path} is not there", remedy, InputNotFoundError.exit_code)


def _vocabularies(lake: Lake) -> Iterator[Check]:
    from pipeline.text.vocabulary import Vocabulary

    sizes = []
    for path in sorted(lake.vocabulary.glob("*.parquet")):
        vocabulary = Vocabulary.read(path)
        if vocabulary.fingerprint != path.stem:
            detail = f"{path} holds the vocabulary {vocabulary.fingerprint}"
            yield fail("vocabulary", detail, "Restore the file, or give it back its name.", DataError.exit_code)
        sizes.append(f"{path.stem}: {len(vocabulary):,} tokens, {', '.join(vocabulary.labels) or 'no labels'}")
    if sizes:
        yield ok("vocabulary", "; ".join(sizes))


def _models(lake: Lake) -> Iterator[Check]:
    from pipeline.lake.download import digests_of
    from pipeline.models.bundle import WEIGHTS, find_bundle, model_ids, read_bundle

    names = model_ids(lake)
    if not names and not lake.latest.exists():
        yield warn("models", "no model yet", "Run 'pipeline train'.")
        return
    for name in names:
        read_bundle(lake.models / name)
    newest = find_bundle(lake)
    newest.load_vocabulary()
    if digests_of(newest.folder / WEIGHTS)["sha256"] != newest.weights_sha256:
        remedy = "Restore the bundle from a backup, or train again."
        yield fail("models", f"{newest.folder / WEIGHTS} is not what model.json names", remedy, DataError.exit_code)
        return
    yield ok("models", f"{len(names):,}; LATEST is {newest.model_id} ({newest.arch})")


def _runs(lake: Lake) -> Iterator[Check]:
    last = {record["command"]: record for record in read_records(lake)}
    if not last:
        yield ok("runs", "none yet")
    for command, record in sorted(last.items()):
        if record["outcome"] in ("failed", "stopped"):
            remedy = f"'pipeline runs {record['run_id']}' tells all; run it again when it is mended."
            yield warn("runs", f"the last {command} {record['outcome']}: {record['error']}", remedy)
        else:
            yield ok("runs", f"the last {command}: {record['outcome']}, {record['finished']}")
