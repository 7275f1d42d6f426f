"""The working copy of a lake on a store: a local folder that the commands work in, as git works in a clone.

- `open` is where a command begins: it lists the store and fetches what has changed there and is small. Token shards,
  predictions and what else may be large are fetched when they are asked for (`fetch`), and a bounded number of bytes of
  them stays.
- `commit` makes a new version of the table: shards first, then the entry of the Delta log, if there is none of that version
  yet. The entry in the store is the commit, and it is there before the local one, so that no local entry is ever one that
  the store lacks.
- `push` puts everything else that has changed into the store, in an order in which nothing names what is not there yet, and
  each file only over the one that was pulled.

A process that works in a working copy holds `.origin/in-use` shared, by a lock of the kernel. Whoever opens a working copy
that nobody else works in holds it alone for the moment and tidies up after those that were killed. What they had finished
and not pushed stays, as in a folder, and goes with the next push.
"""

import fcntl
import json
import logging
import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pipeline.errors import DataError, LockedError, PipelineError, StorageUnavailableError
from pipeline.lake.atomic import make_folder, write_bytes, writing
from pipeline.lake.content import NAMED
from pipeline.lake.damage import REPAIR
from pipeline.lake.kinds import (
    ENTRY,
    HISTORY,
    LOG_ENTRY,
    POINTER,
    SHARD,
    is_derived,
    is_immutable,
    is_journal,
    is_large,
    is_set_aside,
    rank,
    removes,
)
from pipeline.lake.live import TRAINED
from pipeline.lake.locks import locked
from pipeline.lake.log import is_torn_entry
from pipeline.lake.origin import FOLDER, copy_id, make_working_folder, origin_uri, store_uri
from pipeline.lake.probe import check_conditional_writes
from pipeline.lake.shard_cache import evicted
from pipeline.lake.stamps import Identity, Note, Notes, identity_of, is_shared, local_files, read_notes, write_notes
from pipeline.lake.store import ABSENT, ANY, Over, Store, StoreChangedError, Stored, StoreMissingError, open_store

log = logging.getLogger(__name__)

IN_USE, LOCK, PROBED = "in-use", "stamps.lock", "supports-conditional-writes"
LOCK_SECONDS = 3600.0
"""How long a process waits for another one that pulls or pushes: it may be at work on a large file."""
TRANSFERS = 8
"""Files on their way at a time."""
SMALL_BYTES, LARGE_BYTES = 4 << 20, 64 << 20
LAST_CHECKPOINT = "tokens/_delta_log/_last_checkpoint"
USED_SECONDS = 3600.0
"""How exactly the time is noted at which a shard was last used."""
ROUNDS = 5
"""How often a pull starts over because the lake is changing under it."""
OPENED = "PIPELINE_OPENED"
"""The environment variable by which a launcher's workers know that the working copy was pulled for them."""


@dataclass
class WorkingCopy:
    """The working copy in `root` of the lake at `uri`."""

    root: Path
    uri: str
    _in_use: int = field(default=-1, repr=False)
    _lost: bool = field(default=False, repr=False)
    """Whether nothing was noted, so that nobody knows which of the local files are whose."""
    _seen: set[str] = field(default_factory=set, repr=False)
    """The files that were here while this process worked here: only these can it have removed."""

    @cached_property
    def store(self) -> Store:
        """Where the lake is."""
        return open_store(store_uri(self.uri))

    @cached_property
    def copy_id(self) -> str:
        """What tells this working copy from all others."""
        return copy_id(self.root)

    def open(self) -> None:
        """Begins to work here: brings the working copy up to date. Workers of a launcher leave that to it.

        Raises:
            StorageUnavailableError: the store does not answer, or refuses.
        """
        make_working_folder(self.root, self.uri)
        if "RANK" not in os.environ or os.environ.get(OPENED) != self.uri:
            os.environ[OPENED] = self.uri
            with self._held() as alone:
                try:
                    self.pull(alone=alone)
                except StorageUnavailableError as error:
                    raise StorageUnavailableError(f"{error} Nothing was done.") from error
        self._seen = set(local_files(self.root))

    def pull(self, *, alone: bool = False) -> None:
        """Brings the working copy up to date with the store.

        Args:
            alone: nobody else works here, so what is missing was lost, and what nobody knows was left by a killed run.
        """
        for _ in range(ROUNDS):
            with self._noted() as notes:
                if self._pull_once(notes, alone):
                    return
        raise LockedError(f"{self.uri} kept changing while it was read. Run the same command again.")

    def fetch(self, place: Path) -> bool:
        """Makes sure that a file, or all files in a folder, are here; whether any had to be fetched.

        Raises:
            StorageUnavailableError: the store does not answer.
            DataError: a file in the store is not the one that was written.
        """
        try:
            prefix = place.relative_to(self.root).as_posix()
        except ValueError:
            return False
        known = read_notes(self.root) or {}
        within = (name for name in known if prefix == "." or name == prefix or name.startswith(f"{prefix}/"))
        return self._fetch(name for name in within if known[name].local is None or not (self.root / name).exists())

    def fetch_shards(self, names: Iterable[str]) -> bool:
        """As `fetch`, for shards of the table by their names; notes that they are in use."""
        wanted = [f"tokens/{name}" for name in names]
        known, recently = read_notes(self.root) or {}, time.time() - USED_SECONDS
        stale = any(known[name].used < recently for name in wanted if name in known)
        return self._fetch(wanted) if stale or not all((self.root / name).exists() for name in wanted) else False

    def fetch_old_shards(self, current: Collection[str]) -> None:
        """Fetches the shards that only older versions use, or none; `current` are the names of the others."""
        names = (name for name in read_notes(self.root) or {} if SHARD.fullmatch(name))
        self._fetch(name for name in names if name.partition("/")[2] not in current)

    def refetch(self, place: Path) -> bool:
        """Fetches a file again that is damaged here, unless it was changed on purpose; whether that was possible."""
        name = place.relative_to(self.root).as_posix()
        with self._noted() as notes:
            note = notes.get(name)
            if note is None or (place.exists() and identity_of(place) != note.local):
                return False
            log.warning("%s is damaged in the working copy; fetching it again", place)
            return self._download(notes, {name: Stored(name, note.size, note.stamp)})

    def has(self, place: Path, size: int) -> bool:
        """Whether the store is known to have a file of this size that is not here."""
        note = (read_notes(self.root) or {}).get(place.relative_to(self.root).as_posix())
        return note is not None and note.size == size and not place.exists()

    def commit(self, added: Sequence[Path], entry: Path) -> None:
        """Makes an entry of the Delta log part of the lake, which is the commit.

        Args:
            added: its shards, in the table's folder.
            entry: the staged entry, under its name.

        Raises:
            LockedError: somebody else has committed this version. Nothing was committed.
            DataError: the store has an entry of this version, which is damaged. Nothing was committed.
            StorageUnavailableError: the store does not answer.
        """
        with self._noted() as notes:
            here = local_files(self.root)
            self._probe()
            self._commit_entries(notes, here)
            shards = [path.relative_to(self.root).as_posix() for path in added]
            data = [*(name for name in here if name.startswith("vocabulary/")), *shards]
            known = [name for name in shards if name in notes and notes[name].local == here[name]]
            # Whatever the store has under these names is the same, unless it is damaged there.
            new = [name for name in data if name not in notes or notes[name].local != here[name]]
            self._upload(notes, here, new, again=True)
            self._commit_entry(notes, entry)
            # Whoever vacuums elsewhere may just have removed an old shard that this version uses again.
            self._upload(notes, here, [name for name in known if self.store.stat(name) is None], again=True)

    def commit_entries(self) -> None:
        """Makes the entries that deltalake's vacuum has added to the local log part of the lake.

        Raises:
            LockedError: somebody else has committed their versions; they are not in the local log any more.
        """
        with self._noted() as notes:
            self._commit_entries(notes, local_files(self.root))

    def _probe(self) -> None:
        """Checks once for each working copy that the store supports conditional writes.

        Raises:
            StoreUnsupportedError: it does not.
        """
        probed = self.root / FOLDER / PROBED
        if not probed.exists():
            check_conditional_writes(self.store)
            write_bytes(probed, b"")

    def _commit_entries(self, notes: Notes, here: Mapping[str, Identity]) -> None:
        new = sorted(name for name in here if ENTRY.fullmatch(name) and name not in notes)
        for number, name in enumerate(new):
            try:
                self._commit_entry(notes, self.root / name)
            except LockedError:
                for lost in new[number:]:
                    (self.root / lost).unlink(missing_ok=True)
                raise

    def _commit_entry(self, notes: Notes, entry: Path) -> None:
        name, content = f"tokens/_delta_log/{entry.name}", entry.read_bytes()
        try:
            stored = self.store.write(name, content, over=ABSENT)
        except StoreChangedError as error:
            theirs = self._read(name)
            if theirs is not None and is_torn_entry(theirs[0]):
                raise DataError(
                    f"{self.uri}/{name}, the newest entry of the table's log, is damaged in the store. Nothing was "
                    f"committed. {REPAIR}"
                ) from error
            if theirs is None or theirs[0] != content:
                raise LockedError(
                    f"the table {self.uri}/tokens changed during this run: somebody else has committed version "
                    f"{int(entry.stem)}. Nothing was committed; run the same command again."
                ) from error
            stored = Stored(name, len(content), theirs[1])  # ours, whose answer was lost
        notes[name] = Note(stored.stamp, stored.size, stored.modified, identity_of(entry), time.time())

    def push_if_possible(self, command: str) -> None:
        """As `push`, for a run that goes on whatever happens."""
        try:
            self.push(command)
        except PipelineError as error:
            log.warning("the newest files are only on this machine until the next push: %s", error)

    def push(self, command: str = "") -> None:
        """Puts what has changed here into the store, and removes there what `command` may remove and has removed here.

        Raises:
            LockedError: somebody else changed the same file; theirs stays.
            StorageUnavailableError: the store does not answer.
        """
        if os.environ.get("RANK", "0") != "0":
            return
        with self._noted() as notes:
            here = local_files(self.root)
            changed = [name for name, identity in here.items() if name not in notes or notes[name].local != identity]
            if command != "nightly":
                changed = [
                    name for name in changed if not name.startswith("logs/")
                ]  # a night that goes on writes to its own
            conflicts: list[str] = []
            if changed:
                self._probe()
            for level in sorted({rank(name) for name in changed}):
                wanted = [name for name in changed if rank(name) == level and not _is_committed(name)]
                if level == HISTORY and any(rank(name) == POINTER for name in conflicts):
                    continue
                conflicts += self._upload(notes, here, wanted)
            self._remove(notes, here, command)
            self._take_back(notes, conflicts)
        if conflicts:
            raise LockedError(
                f"{', '.join(f'{self.uri}/{name}' for name in conflicts[:3])}{' and more' if len(conflicts) > 3 else ''} "
                "changed during this run: somebody else wrote it. Their version stays; run the same command again."
            )

    def sweep_store(self) -> None:
        """Removes what runs that were killed have left in the store: leases that nobody holds, and unfinished files."""
        from pipeline.lake.lease import free_leases

        self.store.remove(free_leases(self.store))
        self.store.sweep()

    def sizes(self) -> tuple[int, int]:
        """Bytes of the lake's files that are here, and of all that are in the store."""
        here = sum(size for size, _ in local_files(self.root).values())
        return here, sum(note.size for note in (read_notes(self.root) or {}).values())

    # ---- the parts of a pull

    def _pull_once(self, notes: Notes, alone: bool) -> bool:
        """Whether everything that was fetched is what was listed."""
        stored = {one.name: one for one in self.store.list() if is_shared(one.name)}
        self._check_history(notes, stored)
        here = local_files(self.root)
        for name in [name for name in notes if name not in stored]:
            self._forget(name, notes, here)
        for name in [name for name in here if name not in stored and name not in notes]:
            if alone and (self._lost or name.startswith("tokens/")):
                log.info("removed from the working copy, because it was never committed: %s", name)
                (self.root / name).unlink(missing_ok=True)
                del here[name]
        wanted = [name for name, one in stored.items() if self._is_wanted(one, notes, here, alone)]
        whole = self._download(notes, {name: stored[name] for name in wanted}, alone=alone)
        for name in evicted(notes, here) if alone else ():
            (self.root / name).unlink(missing_ok=True)
            notes[name] = notes[name].here(None, 0.0)
        if alone:
            self._remove_empty_folders()
        return whole

    def _check_history(self, notes: Notes, stored: Mapping[str, Stored]) -> None:
        """Checks that the store still has the log of a table that it had: what this working copy has of it may be the last.

        Raises:
            DataError: it has none, and nobody who repairs the lake has set it aside.
        """
        if any(ENTRY.fullmatch(name) or is_set_aside(name) for name in stored):
            return
        if any(ENTRY.fullmatch(name) and self._is_whole(name) for name in notes):
            raise DataError(
                f"{self.uri} has no table any more, although it had one when the working copy in {self.root.parent} was "
                "last used. Nothing was done. If it was deleted by mistake, restore it from a backup, or copy the files in "
                "'lake' of the working copy to it. If it was deleted on purpose, delete the working copy."
            )

    def _is_whole(self, entry: str) -> bool:
        """Whether an entry of the log is here and was not cut short."""
        try:
            return not is_torn_entry((self.root / entry).read_bytes())
        except OSError:
            return False

    def _is_wanted(self, stored: Stored, notes: Notes, here: Mapping[str, Identity], alone: bool) -> bool:
        """Whether a file has to be fetched; if not, notes what the store has.

        What has to be fetched is noted when it is here: else a pull that breaks off would leave old files that look as if
        they had been changed since.
        """
        name, note, local = stored.name, notes.get(stored.name), here.get(stored.name)
        known = Note(stored.stamp, stored.size, stored.modified)
        if note is not None and note.stamp == stored.stamp:
            if local is not None:
                # A killed commit's pointer to a checkpoint of the log that nobody has.
                return alone and name == LAST_CHECKPOINT and local != note.local
            if note.local is not None and not alone and not ENTRY.fullmatch(name):
                return False  # somebody at work here has removed it, and will say so in the store
        elif note is None and local is not None and local[0] == stored.size and NAMED.fullmatch(name.rpartition("/")[2]):
            notes[name] = known.here(local, time.time())  # named by its content
            return False
        if local is None and is_large(name):
            notes[name] = known
            return False
        return True

    def _forget(self, name: str, notes: Notes, here: dict[str, Identity]) -> None:
        """A file is not in the store any more."""
        del notes[name]
        if here.pop(name, None) is not None:
            (self.root / name).unlink(missing_ok=True)

    def _download(self, notes: Notes, wanted: Mapping[str, Stored], *, alone: bool = True) -> bool:
        """Fetches files, those last that name others; whether all were as listed."""
        whole = True
        for level in sorted({rank(name) for name in wanted}):
            names = sorted(name for name in wanted if rank(name) == level)
            # A reader of the log must not see a version before the one that it follows.
            with ThreadPoolExecutor(1 if level == LOG_ENTRY and not alone else TRANSFERS) as pool:
                for name, note in zip(names, pool.map(self._get, names), strict=True):
                    if note is None:
                        notes.pop(name, None)
                    else:
                        notes[name] = note
                        self._seen.add(name)
                    whole = whole and note is not None and note.stamp == wanted[name].stamp
        return whole

    def _get(self, name: str) -> Note | None:
        """Fetches a file; None where it is gone. What was changed here, too, goes, except lines that were added."""
        path = self.root / name
        ours = path.read_bytes() if is_journal(name) and path.exists() else b""
        try:
            stored = self.store.fetch(name, path)
        except StoreMissingError:
            return None
        if stored.modified:
            os.utime(path, (stored.modified, stored.modified))
        identity = identity_of(path)
        theirs = path.read_bytes() if ours else b""
        if (merged := merge_lines(theirs, ours)) != theirs:
            write_bytes(path, merged)
        return Note(stored.stamp, stored.size, stored.modified, identity, time.time())

    def _fetch(self, names: Iterable[str]) -> bool:
        names = list(names)
        if not names:
            return False
        with self._noted() as notes:
            missing = [name for name in names if name in notes and not (self.root / name).exists()]
            listed = {name: Stored(name, notes[name].size, notes[name].stamp) for name in missing}
            if listed:
                log.debug("fetching %s files from %s", f"{len(listed):,}", self.uri)
                self._download(notes, listed)
            for name in names:
                if name in notes:
                    notes[name] = notes[name].here(notes[name].local, time.time())
        return bool(missing)

    # ---- the parts of a push

    def _upload(self, notes: Notes, here: Mapping[str, Identity], names: Sequence[str], *, again: bool = False) -> list[str]:
        """Puts files into the store; gives those that somebody else changed meanwhile."""
        if not again:
            names = [name for name in names if name in here and (name not in notes or notes[name].local != here[name])]
        conflicts = []
        with ThreadPoolExecutor(TRANSFERS) as pool:
            for name, put in zip(names, pool.map(lambda name: self._put(name, notes.get(name), again), names), strict=True):
                if put is not None:
                    notes[name] = put
                    self._seen.add(name)
                elif (self.root / name).exists():  # else another run here has just removed it
                    conflicts.append(name)
        return conflicts

    def _take_back(self, notes: Notes, conflicts: Sequence[str]) -> None:
        """A model that could not go live here did not; the history of what did is the store's."""
        for name in conflicts:
            if rank(name) == POINTER:
                history = name.replace("LATEST", "live.jsonl")
                for one in (name, history):
                    (self.root / one).unlink(missing_ok=True)
                    if (note := self._get(one)) is not None:
                        notes[one] = note

    def _put(self, name: str, note: Note | None, again: bool) -> Note | None:
        """Puts a file into the store; None if somebody else's is there, or the file is gone."""
        path = self.root / name
        over = ANY if again or is_derived(name) else ABSENT if note is None else note.stamp
        for _ in range(ROUNDS):
            try:
                identity = identity_of(path)
                stored = self._write(name, path, over)
            except FileNotFoundError:
                return None
            except StoreChangedError:
                theirs = self._read(name)
                if theirs is None:
                    over = ABSENT
                    continue
                content, over = theirs
                ours = path.read_bytes()
                if content == ours:
                    return Note(over, len(content), time.time(), identity, time.time())
                if not is_journal(name):
                    return None
                write_bytes(path, merge_lines(content, ours))
                continue
            return Note(stored.stamp, stored.size, stored.modified or time.time(), identity, time.time())
        return None

    def _write(self, name: str, path: Path, over: str | Over) -> Stored:
        """Writes a file. A conditional write has all of it in memory, so that the condition of a large one is only looked at
        before, and one that never changes needs none. A small one is read once: another run here may be adding lines."""
        size = path.stat().st_size
        if size <= SMALL_BYTES:
            return self.store.write(name, path.read_bytes(), over=over)
        if size > LARGE_BYTES and over is not ANY:
            if not is_immutable(name):
                found = self.store.stat(name)
                if (found.stamp if found else ABSENT) != over:
                    raise StoreChangedError(f"{self.uri}/{name} was changed meanwhile.")
            over = ANY
        return self.store.write(name, path, over=over)

    def _read(self, name: str) -> tuple[bytes, str] | None:
        try:
            return self.store.read(name)
        except StoreMissingError:
            return None

    def _remove(self, notes: Notes, here: Mapping[str, Identity], command: str) -> None:
        """Removes in the store what was removed here; never a shard that a version uses which is new in the store."""
        gone = [name for name, note in notes.items() if note.local is not None and name not in here and name in self._seen]
        gone = [name for name in gone if removes(command, name)]
        if not gone:
            return
        if any(name.startswith("tokens/") for name in gone):
            used = self._used_since(notes)
            gone = [name for name in gone if name not in used]
        gone.sort(key=lambda name: (-rank(name), name))  # first what names others
        self.store.remove(gone)
        for name in gone:
            del notes[name]

    def _used_since(self, notes: Notes) -> set[str]:
        """The shards that versions added which are in the store, and not here."""
        from pipeline.lake.log import added_by

        used: set[str] = set()
        for stored in self.store.list("tokens/_delta_log/"):
            if ENTRY.fullmatch(stored.name) and stored.name not in notes and (found := self._read(stored.name)) is not None:
                used |= {f"tokens/{name}" for name in added_by(found[0])}
        return used

    # ---- locks and tidying

    @contextmanager
    def _noted(self) -> Iterator[Notes]:
        """What is noted, while no other process pulls or pushes; changes are kept, also if the block fails."""
        make_folder(self.root / FOLDER)
        with locked(self.root / FOLDER / LOCK, f"the working copy of {self.uri}", LOCK_SECONDS):
            before = read_notes(self.root)
            self._lost = before is None
            notes = dict(before or {})
            try:
                yield notes
            finally:
                if notes != before:
                    write_notes(self.root, notes)

    @contextmanager
    def _held(self) -> Iterator[bool]:
        """Marks the working copy as in use until this process ends; in the block, whether nobody else uses it."""
        path = make_folder(self.root / FOLDER) / IN_USE
        with writing(path):
            if self._in_use >= 0 and not _is_still(path, self._in_use):
                os.close(self._in_use)
                self._in_use = -1
            if self._in_use < 0:
                self._in_use = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        alone = _flock(self._in_use, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            if not alone:
                _flock(self._in_use, fcntl.LOCK_SH)
            yield alone
        finally:
            _flock(self._in_use, fcntl.LOCK_SH)

    def _remove_empty_folders(self) -> None:
        """Folders of files that are gone: a model that was deleted elsewhere."""
        for place in ("models", "pretrained", "checkpoints", "crossval"):
            for folder, _, _ in os.walk(self.root / place, topdown=False):
                if Path(folder) != self.root / place:
                    with suppress(OSError):
                        Path(folder).rmdir()


_OPEN: dict[Path, WorkingCopy] = {}


def working_copy(root: Path) -> WorkingCopy | None:
    """The working copy in a folder; None where the folder is the lake itself.

    Raises:
        DataError: it is of a newer release.
    """
    uri = origin_uri(root)
    if uri is None:
        return None
    found = _OPEN.get(root)
    if found is None or found.uri != uri:
        found = _OPEN[root] = WorkingCopy(root, uri)
    return found


def merge_lines(theirs: bytes, ours: bytes) -> bytes:
    """Their lines, and those of ours that say something else: a model is decided about once, whoever finished it."""
    known = {_said(line) for line in theirs.splitlines()}
    added = [line for line in ours.splitlines() if line.strip() and _said(line) not in known]
    if not added:
        return theirs
    joint = b"" if not theirs or theirs.endswith(b"\n") else b"\n"
    return theirs + joint + b"".join(line + b"\n" for line in added)


def _said(line: bytes) -> object:
    """What a line of a journal says, whoever wrote it and when: the decision about a model, or that it went live when it
    was trained. Of other lines, the line."""
    try:
        entry = json.loads(line)
        if "decision" in entry:
            return "decision", entry["model_id"]
        if entry["reason"] == TRAINED:
            return TRAINED, entry["model_id"]
    except (ValueError, KeyError, TypeError):
        pass
    return line


def _is_committed(name: str) -> bool:
    """Whether a file only comes into the store with a commit."""
    return ENTRY.fullmatch(name) is not None or SHARD.fullmatch(name) is not None


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except OSError:
        return False


def _flock(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how)
    except OSError:
        return False
    return True
