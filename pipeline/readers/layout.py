"""Split, label and stars from the path of a `.txt` file, in the layout of aclImdb: `SPLIT/LABEL/N_STARS.txt`."""

import re
from dataclasses import dataclass

SPLIT_FOLDERS = {"train": "train", "test": "test", "valid": "valid", "val": "valid", "dev": "valid"}
"""Folder names that mean a split."""
URLS = re.compile(r"urls_(?P<label>[^/]+)\.txt")
"""`urls_neg.txt` beside `neg/`: line N names the film of review N."""
STARS = re.compile(r"\d{1,9}_(\d{1,3})")
HIDDEN = (".", "_")
"""Names that begin so are passed over: unfinished and side files of Spark, Delta, Hadoop, macOS and editors."""
SIDE_FILES = {"imdbEr.txt"}
"""Text files of aclImdb that are not reviews."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Split and label from a folder's path; None if not present."""

    split: str | None = None
    label: str | None = None


def layout_of(folder: str) -> Layout:
    """Split and label of a folder (with slashes) of reviews; the label of `unsup` is None, and its split `unsup`."""
    parts = folder.rsplit("/", 2)
    split = SPLIT_FOLDERS.get(parts[-2]) if len(parts) >= 2 else None
    if split is None:
        return Layout()
    return Layout("unsup", None) if parts[-1] == "unsup" else Layout(split, parts[-1])


def stars_of(stem: str) -> int | None:
    """Stars in a file name of aclImdb: `12_8` tells 8; unlabelled reviews carry 0, which means none."""
    match = STARS.fullmatch(stem)
    return int(match[1]) or None if match else None


def is_urls_file(folder: str, name: str) -> bool:
    """Whether a text file is a list of films rather than a review."""
    return name.startswith("urls_") and folder.rsplit("/", 1)[-1] in SPLIT_FOLDERS and URLS.fullmatch(name) is not None


def is_hidden(name: str) -> bool:
    """Whether a member of an archive, or a folder above it, is to be passed over."""
    if "/." not in name and "/_" not in name and not name.startswith(HIDDEN):
        return False
    return any(part.startswith(HIDDEN) and part not in (".", "..") for part in name.split("/"))
