"""Errors by cause: the operating system's number decides, whichever library passed it on."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake.exceptions import DeltaError
from safetensors import SafetensorError

from pipeline.errors import CannotWriteError, DataError, StorageUnavailableError, by_cause, errno_of
from pipeline.lake.atomic import atomic_path, create, make_folder, write_text, writing
from pipeline.lake.locks import locked, locked_output
from tests.support.paths import ROOT

WRAPPED = {
    "python": OSError(errno.ENOSPC, "No space left on device"),
    "pyarrow": OSError("Error writing bytes to file. Detail: [errno 28] No space left on device"),
    "arrow": pa.ArrowInvalid("IOError: [errno 28] No space left on device"),
    "deltalake": DeltaError("LocalFileSystem: Unable to copy data to file:\nNo space left on device (os error 28)"),
    "safetensors": SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    "rust": RuntimeError('Os { code: 28, kind: StorageFull, message: "No space left on device" }'),
}


@pytest.mark.parametrize("library", WRAPPED)
def test_a_full_disk_is_73_whatever_library_says_so(library: str, tmp_path: Path) -> None:
    error = WRAPPED[library]
    assert errno_of(error) == errno.ENOSPC
    with pytest.raises(CannotWriteError, match=r"cannot write .*No space left"), writing(tmp_path / "file"):
        raise error
    assert isinstance(by_cause(error), CannotWriteError)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
def test_a_storage_that_fails_is_69_and_not_bad_data(number: int, tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailableError, match="storage failed"), writing(tmp_path / "file"):
        raise OSError(number, os.strerror(number))
    try:
        try:
            raise OSError(number, os.strerror(number))
        except OSError as error:
            raise DataError("the shard x cannot be read: it failed. Restore it.") from error
    except DataError as wrapped:
        found = by_cause(wrapped)
    assert isinstance(found, StorageUnavailableError)
    assert "does not mean that the data is bad" in str(found) and "the shard x cannot be read" in str(found)


def test_what_the_system_did_not_say_stays_what_it_was() -> None:
    for error in (RuntimeError("odd"), DataError("bad"), ValueError("version 28")):
        assert by_cause(error) is error
    try:
        try:
            raise OSError(errno.EIO, "unrelated, and dealt with")
        except OSError:
            raise ValueError("bad") from None
    except ValueError as error:
        assert errno_of(error) is None


@pytest.mark.parametrize("number", [errno.EROFS, errno.EDQUOT, errno.EACCES, errno.EPERM])
def test_a_refusal_that_nobody_caught_is_73(number: int) -> None:
    found = by_cause(OSError(number, os.strerror(number), "/lake/file"))
    assert isinstance(found, CannotWriteError) and "/lake/file" in str(found)


def test_no_file_is_written_through_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("precious")
    (tmp_path / "file").symlink_to(outside)
    write_text(tmp_path / "file", "new")
    assert outside.read_text() == "precious" and not (tmp_path / "file").is_symlink()
    (tmp_path / "link").symlink_to(outside)
    with pytest.raises(FileExistsError):
        create(tmp_path / "link")
    locks = make_folder(tmp_path / "locks")
    (locks / "x.owner").symlink_to(outside)
    with locked(locks / "x.lock", "work"):
        pass
    (locks / "y.lock").symlink_to(outside)
    with pytest.raises(CannotWriteError), locked(locks / "y.lock", "work"):
        pass
    assert outside.read_text() == "precious"


def test_the_lock_of_an_output_is_beside_it_and_goes_with_it(tmp_path: Path) -> None:
    output = tmp_path / ("n" * 250)
    code = (
        "import sys,pathlib\nfrom pipeline.errors import LockedError\nfrom pipeline.lake.locks import locked_output\n"
        "try:\n    with locked_output(pathlib.Path(sys.argv[1]), 'work'):\n        print('mine')\n"
        "except LockedError:\n    print('locked')"
    )
    with locked_output(output, "work"):
        assert len(list(tmp_path.iterdir())) == 2
        for expected in ("locked", "mine"):
            if expected == "mine":
                output = tmp_path / "another"
            done = subprocess.run([sys.executable, "-c", code, output], capture_output=True, text=True, cwd=ROOT, check=True)
            assert done.stdout.strip() == expected
    assert list(tmp_path.iterdir()) == []


def test_new_folders_are_synced_into_their_parents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr("pipeline.lake.atomic.sync_folder", synced.append)
    make_folder(tmp_path / "a" / "b")
    assert synced == [tmp_path, tmp_path / "a"]
    make_folder(tmp_path / "a" / "b")
    assert len(synced) == 2


def test_the_content_is_synced_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr("pipeline.lake.atomic.sync_file", lambda path: done.append("content"))
    monkeypatch.setattr("pipeline.lake.atomic.sync_folder", lambda path: done.append("folder"))
    monkeypatch.setattr(Path, "replace", lambda self, target: done.append("name"))
    with atomic_path(tmp_path / "file"):
        done.append("written")
    assert done == ["written", "content", "name", "folder"]
