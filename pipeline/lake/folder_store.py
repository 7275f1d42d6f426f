"""A store in a folder that several machines may share, and the reference of the laws that stores keep.

One lock file orders its writers (flock, which NFS 4 and the usual cluster file systems honour between machines); readers
need none, because an object is a file that one rename puts in its place.
"""

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from pipeline.errors import DENIED, CannotWriteError, InputNotFoundError, LockedError, StorageUnavailableError
from pipeline.lake.atomic import PREFIX, abandoned, atomic_path, make_folder, sync_folder, writing
from pipeline.lake.links import without_links
from pipeline.lake.store import ANY, Over, StoreChangedError, Stored, StoreMissingError, changed, check_name, missing

LOCK = ".store.lock"
"""Orders the writers; not an object."""
LOCK_SECONDS = 120.0
"""How long a writer waits for the others, each of which holds the lock for one rename."""


class FolderStore:
    """The files below a folder. `a` and `a/b` cannot both be objects, unlike in an object store.

    Args:
        folder: need not exist before the first write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = without_links(folder)

    @property
    def uri(self) -> str:
        """A `file://` URI."""
        return self.folder.as_uri()

    def list(self, prefix: str = "") -> Iterator[Stored]:
        """The objects whose names begin with `prefix`, sorted by name as UTF-8."""
        above, _, _ = prefix.rpartition("/")
        start = self.folder / check_name(above) if above else self.folder
        names = [name for name in self._names(start) if name.startswith(prefix)]
        for name in sorted(names, key=os.fsencode):
            if (stored := self.stat(name)) is not None:  # None: somebody removed it meanwhile
                yield stored

    def stat(self, name: str) -> Stored | None:
        """The object of this name, or None."""
        try:
            with self._reading(name), self._path(name).open("rb") as file:
                return _stored(name, file.fileno())
        except StoreMissingError:
            return None

    def read(self, name: str) -> tuple[bytes, str]:
        """The content of an object, and its stamp."""
        with self._reading(name), self._path(name).open("rb") as file:
            return file.read(), _stored(name, file.fileno()).stamp

    def fetch(self, name: str, path: Path) -> Stored:
        """Copies an object to the file `path`."""
        with self._reading(name), self._path(name).open("rb") as file:
            stored = _stored(name, file.fileno())
            with atomic_path(path) as temporary:
                with temporary.open("wb") as copy:
                    shutil.copyfileobj(file, copy, 1 << 20)
                if (copied := temporary.stat().st_size) != stored.size:
                    raise StorageUnavailableError(
                        f"{self.uri}/{name} ended after {copied:,} of {stored.size:,} bytes. Check the share it is on, then "
                        "run the same command again."
                    )
        return stored

    def write(self, name: str, content: bytes | Path, *, over: str | Over = ANY) -> Stored:
        """Writes a whole object if what is there is what `over` says."""
        path = self._path(name)
        while True:
            turn = _Turn(self, name, over)
            try:
                with atomic_path(path, turn) as turn.temporary:
                    if isinstance(content, Path):
                        shutil.copyfile(content, turn.temporary)
                    else:
                        turn.temporary.write_bytes(content)
                return turn.written
            except CannotWriteError:
                if path.parent.exists():
                    raise
                # Somebody removed the folder while it was empty.

    def remove(self, names: Iterable[str]) -> None:
        """Removes objects, and the folders that are empty then."""
        paths = [self._path(name) for name in names]
        if not paths or not self.folder.is_dir():
            return
        with writing(self.folder), self.locked():
            for path in paths:
                with suppress(FileNotFoundError, NotADirectoryError):
                    path.unlink()
                    sync_folder(path.parent)
            for folder in sorted({path.parent for path in paths}, reverse=True):
                self._remove_empty(folder)

    def sweep(self) -> None:
        """Removes the temporary files of killed writers."""
        for path in self.folder.rglob(f"{PREFIX}*"):
            with abandoned(path) as free:
                if free:
                    path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        path = self.folder / check_name(name)
        assert path.name != LOCK and not path.name.startswith(PREFIX), name
        return path

    def _names(self, folder: Path) -> Iterator[str]:
        """Names of the objects below a folder, in no order."""
        pending = [folder]
        while pending:
            with suppress(FileNotFoundError, NotADirectoryError), self._reading(""), os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):  # links could lead in circles
                        pending.append(Path(entry.path))
                    elif not entry.name.startswith(PREFIX) and entry.name != LOCK:
                        yield Path(entry.path).relative_to(self.folder).as_posix()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps all other writers out for the block."""
        make_folder(self.folder)
        lock = FileLock(self.folder / LOCK)
        with writing(self.folder / LOCK):
            try:
                lock.acquire(timeout=LOCK_SECONDS)
            except Timeout:
                raise LockedError(
                    f"{self.folder / LOCK} was held by another process for {LOCK_SECONDS:.0f} seconds. Find the process "
                    "that hangs with this folder, or try again."
                ) from None
        try:
            yield
        finally:
            lock.release()

    def _remove_empty(self, folder: Path) -> None:
        while folder != self.folder and folder.is_relative_to(self.folder):
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            if (
                not name
                or not isinstance(error.filename, str | Path)
                or not Path(error.filename).is_relative_to(self.folder)
            ):
                raise
            raise StoreMissingError(missing(self.uri, name)) from None
        except OSError as error:
            if error.errno not in DENIED:
                raise
            raise InputNotFoundError(
                f"{error.filename or self.uri} cannot be read: {error.strerror}. Check its owner and permissions."
            ) from error


class _Turn:
    """A writer's turn: what is there is checked, then `atomic_path` puts `temporary` in its place."""

    temporary: Path
    written: Stored

    def __init__(self, store: FolderStore, name: str, over: str | Over) -> None:
        self.store, self.name, self.over = store, name, over
        self.lock = store.locked()

    def __enter__(self) -> None:
        self.lock.__enter__()
        try:
            before = self.store.stat(self.name)
            if self.over is not ANY and (before.stamp if before else Over.ABSENT) != self.over:
                raise StoreChangedError(changed(f"{self.store.uri}/{self.name}", self.over, before is not None))
            # Strictly increasing, so that a stamp never comes back, however coarse the clock of the file system is.
            now = max(time.time_ns(), _nanoseconds(before) + 1)
            os.utime(self.temporary, ns=(now, now))
            with self.temporary.open("rb") as file:
                self.written = _stored(self.name, file.fileno())
        except BaseException:
            self.lock.__exit__(None, None, None)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.lock.__exit__(kind, error, traceback)


def _stored(name: str, descriptor: int) -> Stored:
    status = os.fstat(descriptor)
    return Stored(name, status.st_size, f"{status.st_mtime_ns:x}-{status.st_size:x}", status.st_mtime)


def _nanoseconds(stored: Stored | None) -> int:
    """When an object was written, from its stamp."""
    return int(stored.stamp.partition("-")[0], 16) if stored else 0
