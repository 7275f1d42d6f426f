"""Checks of a lake: is it writable, and are its files intact and consistent?"""

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipeline.doctor.check import Check, fail, guarded, ok, warn
from pipeline.errors import CannotWriteError, DataError
from pipeline.lake.atomic import PREFIX, claimed, create, sync_file
from pipeline.lake.paths import START, Lake
from pipeline.lake.probe import MOST_SKEW_SECONDS, check_conditional_writes
from pipeline.lake.runs import age, read_records, remembered
from pipeline.lake.vocabularies import read_vocabulary

LITTLE_BYTES = 2 << 30
NOTHING_BYTES = 64 << 20


def lake_checks(lake: Lake, verify: bool = False) -> Iterator[Check]:
    """All checks of a lake. Nothing is made in it but a temporary file, which goes at once.

    Args:
        verify: every byte that was committed is read; otherwise sizes, rows and footers are looked at.
    """
    if not lake.root.exists():
        yield from guarded("lake", lambda: _absent(lake))
        return
    for name, check in (
        ("lake", _writable),
        ("space", _space),
        ("origin", _origin),
        ("tokens", _tokens),
        ("vocabulary", _vocabularies),
        ("models", _models),
        ("pretrained", _pretrained),
        ("predictions", _predictions),
        ("withheld", _withheld),
        ("targets", _targets),
        ("runs", _runs),
        ("leftovers", _leftovers),
    ):
        yield from guarded(name, lambda check=check: check(lake, verify))  # type: ignore[misc]


def _absent(lake: Lake) -> Iterator[Check]:
    parent = next(folder for folder in lake.root.parents if folder.exists())
    if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
        yield warn("lake", f"there is no lake at {lake.root}", f"Check the path; --lake selects another one. {START}")
    else:
        code = CannotWriteError.exit_code
        remedy = f"Create it, give this user write access to {parent}, or choose another with --lake."
        yield fail("lake", f"{lake.root} does not exist and {parent} is not writable", remedy, code)


def _writable(lake: Lake, verify: bool) -> Iterator[Check]:
    code, remedy = CannotWriteError.exit_code, "Check owner, permissions and mount options, or choose another with --lake."
    if not lake.root.is_dir():
        yield fail("lake", f"{lake.root} is not a folder", remedy, code)
        return
    folders = [lake.root, *(folder for folder in _own_folders(lake) if folder.exists())]
    for folder in folders:
        try:
            probe = folder / f"{PREFIX}doctor-{secrets.token_hex(4)}"
            try:
                with claimed(probe, create):  # a run that begins now would take it for a dead one's
                    sync_file(probe)
            finally:
                probe.unlink(missing_ok=True)
        except OSError as error:
            yield fail("lake", f"{folder} is not writable: {error.strerror}", remedy, code)
            return
    yield ok("lake", f"{lake.root} is writable")


def _own_folders(lake: Lake) -> list[Path]:
    data = [lake.tokens, lake.vocabulary, lake.rejects, lake.models, lake.predictions]
    return [*data, lake.pretrained, lake.runs, lake.retracted, lake.erased, lake.checkpoints, lake.targets, lake.locks]


def _space(lake: Lake, verify: bool) -> Iterator[Check]:
    free = shutil.disk_usage(lake.root).free
    detail = f"{free / (1 << 30):,.1f} GiB free"
    if free < NOTHING_BYTES:
        yield fail("space", detail, "Free some disk space: nothing can be written.", CannotWriteError.exit_code)
    elif free < LITTLE_BYTES:
        yield warn(
            "space",
            detail,
            "Free some disk space, or run 'pipeline vacuum': ingest needs about as much temporary space as it reads.",
        )
    else:
        yield ok("space", detail)


def _origin(lake: Lake, verify: bool) -> Iterator[Check]:
    """That the lake is a working copy, of what, and how much of it is here."""
    if (origin := lake.origin) is not None:
        here, stored = origin.sizes()
        mib = 1 << 20
        # The folder around the lake's: the lake's own is shown as the URI.
        where = f"working copy of {origin.uri} in {lake.root.parent}"
        yield ok("origin", f"{where}: {here / mib:,.1f} of {stored / mib:,.1f} MiB are here")
        ahead = check_conditional_writes(origin.store)
        yield ok("store", f"{origin.uri} answers and supports conditional writes")
        if ahead is not None and abs(ahead) > MOST_SKEW_SECONDS:
            detail = f"this machine's clock is {abs(ahead):,.0f} seconds {'behind' if ahead > 0 else 'ahead of'} the store's"
            yield warn("store", detail, "Set the clock, for example with NTP: locks of runs on other machines rely on it.")


def _tokens(lake: Lake, verify: bool) -> Iterator[Check]:
    from pipeline.lake import log as delta_log
    from pipeline.lake.health import damaged_shards
    from pipeline.lake.table import exists, list_shards

    for version in delta_log.torn_versions(lake.tokens):
        detail = f"the log entry of version {version} is truncated, so that version was never committed"
        yield warn("tokens", detail, "Run 'pipeline repair'; the next ingest removes it, too.")
    if not exists(lake.tokens):
        yield warn("tokens", "no token table yet", f"Put reviews into {lake.raw} and run 'pipeline ingest'.")
        return
    version, listed = list_shards(lake.tokens)
    damages = list(damaged_shards(lake.tokens, listed, whole=verify))
    for damage in damages:
        yield _failed("tokens", damage.error)
    rows = sum(max(entry.rows, 0) for entry in listed)
    proof = "every byte read" if verify else "sizes, rows and footers"
    if not damages:
        yield ok("tokens", f"version {version}: {_counted(rows, 'review')} in {_counted(len(listed), 'shard')} ({proof})")


def _vocabularies(lake: Lake, verify: bool) -> Iterator[Check]:
    from pipeline.lake.health import DAMAGE, table_vocabulary
    from pipeline.lake.table import exists

    needed = table_vocabulary(lake) if exists(lake.tokens) else ""
    paths = {path for path in lake.vocabulary.glob("*.parquet") if not path.name.startswith(PREFIX)}
    sizes = []
    for path in sorted(paths | ({lake.vocabulary / f"{needed}.parquet"} if needed else set())):
        try:
            vocabulary = read_vocabulary(path, path.stem)
        except DAMAGE as error:
            yield _failed("vocabulary", error, "Run 'pipeline repair'.")
            continue
        sizes.append(f"{path.stem}: {len(vocabulary):,} tokens, {', '.join(vocabulary.labels) or 'no labels'}")
    if sizes:
        yield ok("vocabulary", "; ".join(sizes))


def _models(lake: Lake, verify: bool) -> Iterator[Check]:
    from pipeline.lake.health import DAMAGE
    from pipeline.models.bundle import find_bundle, model_ids, read_bundle, verify_bundle

    names = model_ids(lake)
    if not names and not lake.latest.exists():
        yield warn("models", "no model yet", "Run 'pipeline train'.")
        return
    damaged = False
    for name in names:
        try:
            bundle = read_bundle(lake.models / name)
            if verify:
                verify_bundle(bundle)
        except DAMAGE as error:
            damaged = True
            yield _failed("models", error)
    try:
        live = find_bundle(lake)
        verify_bundle(live)
    except DAMAGE as error:
        if not damaged:
            yield _failed("models", error)
        return
    if not damaged:
        yield ok("models", f"{len(names):,}; LATEST is {live.model_id} ({live.arch})")


def _pretrained(lake: Lake, verify: bool) -> Iterator[Check]:
    from pipeline.lake.health import DAMAGE
    from pipeline.models.pretrained import pretrained_ids, read_pretrained, verify_pretrained

    damaged = False
    places = [place.pretrained / name for place in (lake, lake.crossval()) for name in pretrained_ids(place)]
    for folder in places:
        try:
            found = read_pretrained(folder)
            if verify:
                verify_pretrained(found)
        except DAMAGE as error:
            damaged = True
            yield _failed("pretrained", error)
    if places and not damaged:
        yield ok("pretrained", f"{len(places):,}")


def _predictions(lake: Lake, verify: bool) -> Iterator[Check]:
    """Prediction files, rejects and checkpoints: nothing reads them every night, so only `--verify` looks at them."""
    from pipeline.lake.content import READ_ERRORS, verify_data
    from pipeline.lake.damage import file_sha256
    from pipeline.lake.health import DAMAGE

    if not verify:
        return
    lake.fetch(lake.predictions, lake.rejects)
    files = [path for path in sorted(lake.predictions.glob("**/*.parquet")) if not path.name.startswith(PREFIX)]
    unproven = 0
    for path in files:
        try:
            unproven += not verify_data(path, "")
        except (*DAMAGE, *READ_ERRORS) as error:
            yield fail("predictions", f"{path}: {error}", "Delete it, and score its input again.", DataError.exit_code)
    for path in lake.rejects.glob("[!.]*.parquet"):
        if not file_sha256(path).startswith(path.stem):
            yield warn("rejects", f"{path} has changed since it was written", "Delete it; the next ingest recreates it.")
    if files:
        more = f"; {unproven:,} from earlier releases have no digest" if unproven else ""
        yield ok("predictions", f"{len(files):,} files{more}")


def _withheld(lake: Lake, verify: bool) -> Iterator[Check]:
    """The lists of what was retracted and erased. A damaged one stops ingest, for it might bring such reviews back."""
    from pipeline.lake.health import DAMAGE
    from pipeline.lake.review_keys import key_files, read_keys

    counts: dict[str, int] = {}
    for folder in (lake.retracted, lake.erased):
        for path in key_files(folder):
            try:
                counts[folder.name] = counts.get(folder.name, 0) + len(read_keys(path))
            except DAMAGE as error:
                yield _failed("withheld", error)
    if counts:
        yield ok("withheld", ", ".join(f"{rows:,} rows {name}" for name, rows in counts.items()))


def _targets(lake: Lake, verify: bool) -> Iterator[Check]:
    """Soft targets of teachers. A damaged file costs time alone: the next training with the teacher writes it again."""
    from pipeline.lake.health import DAMAGE
    from pipeline.lake.targets import target_files, verify_targets

    files = target_files(lake)
    damaged = 0
    for path in files if verify else []:
        try:
            verify_targets(path)
        except DAMAGE as error:
            damaged += 1
            what, _, remedy = str(error).rpartition(". ")
            yield warn("targets", what, remedy)
    if files and not damaged:
        size = sum(path.stat().st_size for path in files)
        yield ok("targets", f"{len(files):,} files of soft targets, {size:,} bytes")


def _leftovers(lake: Lake, verify: bool) -> Iterator[Check]:
    from pipeline.lake.leftovers import find_leftovers, set_aside

    found = [*find_leftovers(lake), *set_aside(lake)]
    size = sum(leftover.bytes for leftover in found)
    if found:
        names = ", ".join(str(leftover.path.relative_to(lake.root)) for leftover in found[:3])
        more = f" and {len(found) - 3:,} more" if len(found) > 3 else ""
        remedy = (
            "'pipeline train --resume' continues unfinished training runs; 'pipeline vacuum' eventually removes the rest."
        )
        yield warn("leftovers", f"{size:,} bytes: {names}{more}", remedy)


def _runs(lake: Lake, verify: bool) -> Iterator[Check]:
    """The last run of each command. A success clears what failed before, and so does time: see `remembered`."""
    last = {record["command"]: record for record in read_records(lake)}
    if not last:
        yield ok("runs", "none yet")
    for command, record in sorted(last.items()):
        if record["outcome"] not in ("failed", "stopped"):
            yield ok("runs", f"the last {command}: {record['outcome']}, {record['finished']}")
        elif age(record) > remembered(record):
            yield ok("runs", f"the last {command}: {record['outcome']} long ago, {record['finished']}")
        else:
            remedy = f"'pipeline runs show {record['run_id']}' shows the details. Fix the cause, then run it again."
            yield warn("runs", f"the last {command} {record['outcome']}: {record['error']}", remedy)


def _failed(name: str, error: Exception, remedy: str = "") -> Check:
    """A finding whose message ends with its remedy."""
    what, _, told = str(error).rpartition(". ")
    code = getattr(error, "exit_code", DataError.exit_code)
    return fail(name, what or str(error), remedy or told, code)


def _counted(number: int, one: str) -> str:
    return f"{number:,} {one if number == 1 else one + 's'}"
