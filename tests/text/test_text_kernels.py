"""The kernels as such: files read side by side; compiled wherever they could have been."""

import itertools
import os
import shutil
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.text import kernels, numpy_kernels

READERS = {"compiled": kernels.read_files, "numpy": numpy_kernels.read_files}
"""The same twice where nothing was compiled."""
LIMIT = 100_000

ReadFiles = Callable[[bytes, bytes, int], tuple[Any, Any]]


@pytest.fixture(params=READERS)
def read_files(request: pytest.FixtureRequest) -> ReadFiles:
    return READERS[request.param]


def test_compiled_where_a_compiler_was_there() -> None:
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert kernels.COMPILED or not (compiler and headers.exists()), "install again: pip install --editable ."


@pytest.mark.parametrize(
    "sizes", [[], [0], [3, 0, 5], [16_384, 16_385, 65_536, 65_537, LIMIT - 1, LIMIT, LIMIT + 1, 4 * LIMIT]]
)
def test_files_stand_side_by_side_cut_at_the_limit(tmp_path: Path, read_files: ReadFiles, sizes: list[int]) -> None:
    contents = [bytes(np.random.default_rng(size).integers(0, 256, size, np.uint8)) for size in sizes]
    paths = [tmp_path / f"{number}ä.txt" for number in range(len(sizes))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    data, bounds = read_files(bytes(tmp_path), b"".join(os.fsencode(path.name) + b"\0" for path in paths), LIMIT)
    edges = np.frombuffer(bounds, np.int64)
    found = [bytes(data)[begin:end] for begin, end in itertools.pairwise(edges)]
    assert found == [content[:LIMIT] for content in contents]


@pytest.mark.parametrize("name", ["absent.txt", "folder.txt"])
def test_an_unreadable_file_is_named(tmp_path: Path, read_files: ReadFiles, name: str) -> None:
    (tmp_path / "folder.txt").mkdir()
    (tmp_path / "good.txt").write_text("good")
    with pytest.raises(OSError) as caught:
        read_files(bytes(tmp_path), f"good.txt\0{name}\0".encode(), LIMIT)
    assert Path(os.fsdecode(caught.value.filename)).name == name


def test_a_folder_that_is_not_there_is_no_empty_one(tmp_path: Path, read_files: ReadFiles) -> None:
    with pytest.raises(FileNotFoundError):
        read_files(bytes(tmp_path / "absent"), b"good.txt\0", LIMIT)


NAMERS = {"compiled": kernels.folder_names, "numpy": numpy_kernels.folder_names}


@pytest.mark.parametrize("folder_names", NAMERS.values(), ids=NAMERS)
def test_names_of_a_folder_are_sorted_and_all_else_has_its_kind(tmp_path: Path, folder_names: Any) -> None:
    texts = ["10_1.txt", "9_1.txt", "a.txt", "ä.txt", "z b.txt", os.fsdecode(b"\xff.txt")]
    for name in [*reversed(texts), "a.txt.gz", "reviews.csv", ".hidden.txt", "_side.txt", "txt"]:
        (tmp_path / name).write_text("text")
    (tmp_path / "folder.txt").mkdir()
    (tmp_path / "link.txt").symlink_to(tmp_path / "a.txt")
    files, rest = folder_names(bytes(tmp_path), b".txt")
    assert files.split(b"/") == sorted(map(os.fsencode, texts))
    expected = [b"?link.txt", b"dfolder.txt", b"fa.txt.gz", b"freviews.csv", b"ftxt"]
    assert rest.endswith(b"\0") and sorted(rest.split(b"\0")[:-1]) == expected
    (tmp_path / "empty").mkdir()
    assert folder_names(bytes(tmp_path / "empty"), b".txt") == (b"", b"")


@pytest.mark.parametrize("folder_names", NAMERS.values(), ids=NAMERS)
def test_a_folder_that_cannot_be_read_has_no_names(tmp_path: Path, folder_names: Any) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        folder_names(bytes(tmp_path / "absent"), b".txt")
    assert os.fsdecode(caught.value.filename) == str(tmp_path / "absent")
