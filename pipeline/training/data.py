"""Sources of training data: a version of the lake's table, or plain Parquet shards, with their vocabulary."""

import hashlib
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import DataError, InputNotFoundError
from pipeline.lake.links import without_links
from pipeline.lake.log import changed_at, same_rows_since
from pipeline.lake.paths import Lake
from pipeline.lake.shards import Shard, common_vocabulary, plain_shards
from pipeline.lake.vocabularies import read_vocabulary
from pipeline.text.vocabulary import Vocabulary

if TYPE_CHECKING:
    from pipeline.lake.table import TokenTable


@dataclass(frozen=True)
class TrainingData:
    """Shards in a fixed order, and their name: a table version, or a fingerprint of the files."""

    shards: tuple[Shard, ...]
    vocabulary: Vocabulary
    table_version: int | None
    identity: dict[str, Any]

    def to_json(self, lake: Lake, tokens: Path | None) -> dict[str, Any]:
        """What `on_other_node` needs, as JSON values."""
        place = tokens or lake.tokens
        shards = [
            [shard.path.relative_to(place).as_posix(), shard.split, shard.rows, list(shard.row_groups)]
            for shard in self.shards
        ]
        return {"shards": shards, "table_version": self.table_version, "identity": self.identity}

    @classmethod
    def on_other_node(
        cls, found: Mapping[str, Any], lake: Lake, *, tokens: Path | None = None, vocabulary: Path | None = None
    ) -> "TrainingData":
        """The data that another node has opened, in this node's files. A shard is opened when its rows are needed, so a
        node reads its share only.

        Raises:
            InputNotFoundError: the vocabulary is not here.
        """
        place = tokens or lake.tokens
        fingerprint = found["identity"]["vocabulary"]
        shards = tuple(
            Shard(place / name, split, rows, tuple(row_groups), fingerprint)
            for name, split, rows, row_groups in found["shards"]
        )
        known = read_vocabulary(_vocabulary_path(lake, fingerprint, tokens, vocabulary))
        return cls(shards, known, found["table_version"], found["identity"])

    def check_same(self, tokens: Path | None) -> None:
        """Checks that this node has the same shards as the one that opened them. Those of a table have their content in
        their name, and are checked when they are read.

        Raises:
            DataError: they differ.
            InputNotFoundError: one is not here.
        """
        if tokens is None:
            return
        for shard in self.shards:
            if not shard.path.is_file():
                raise InputNotFoundError(
                    f"--tokens {tokens}: {shard.path} is not on {platform.node()}, but it is on the node of rank 0. Put the "
                    "same files on every node, or use a shared folder."
                )
        if _fingerprint(self.shards) != self.identity["tokens"]:
            raise DataError(
                f"--tokens {tokens}: the shards on {platform.node()} differ from those on the node of rank 0. Put the same "
                "files on every node, or use a shared folder."
            )


def open_data(
    lake: Lake, *, tokens: Path | None = None, table_version: int | None = None, vocabulary: Path | None = None
) -> TrainingData:
    """Opens the shards in `tokens`, else the lake's table; plain shards are read without deltalake.

    Raises:
        InputNotFoundError: no shards, no such version, or no vocabulary for them.
        DataError: the shards have different vocabularies, or are damaged.
    """
    shards: tuple[Shard, ...]
    if tokens is not None:
        if not tokens.exists():
            raise InputNotFoundError(f"--tokens {tokens}: no such file or folder. Pass token shards, or remove the option.")
        shards = tuple(plain_shards(tokens))
        version = None
        where = str(tokens)
        identity: dict[str, Any] = {"tokens": _fingerprint(shards)}
    else:
        from pipeline.lake.table import TokenTable

        table = TokenTable.open(lake.tokens, table_version)
        if table_version is None:
            table = _before_merges(lake, table)
        shards = table.shards
        version = table.version
        where = str(lake.tokens)
        # Vacuum commits, too, and what it leaves is the same data. Merged shards are the same rows in another order.
        identity = {"table_version": changed_at(lake.tokens, version)}
    if not shards:
        raise DataError(f"{where} contains no token shards. Ingest some reviews with 'pipeline ingest'.")
    fingerprint = common_vocabulary(shards, where)
    found = read_vocabulary(_vocabulary_path(lake, fingerprint, tokens, vocabulary))
    if found.fingerprint != fingerprint:
        raise DataError(
            f"the vocabulary has the fingerprint {found.fingerprint}, but the shards of {where} need {fingerprint}. "
            "Pass the vocabulary they were made with (--vocabulary)."
        )
    return TrainingData(shards, found, version, {**identity, "vocabulary": fingerprint})


def _before_merges(lake: Lake, table: "TokenTable") -> "TokenTable":
    """The version with the same rows before `pipeline compact` merged shards, as long as vacuum has left its files.

    The order of training follows the shards, so a finished training stays finished, and an unfinished one goes on.
    """
    from pipeline.lake.table import TokenTable

    version = same_rows_since(lake.tokens, table.version)
    if version == changed_at(lake.tokens, table.version):
        return table
    with suppress(InputNotFoundError, DataError):
        return TokenTable.open(lake.tokens, version)
    return table


def _vocabulary_path(lake: Lake, fingerprint: str, tokens: Path | None, given: Path | None) -> Path:
    if given is not None:
        return given
    name = f"{fingerprint}.parquet"
    places = [lake.vocabulary / name]
    if tokens is not None:
        folder = without_links(tokens) if tokens.is_dir() else without_links(tokens).parent
        places += [folder.parent / "vocabulary" / name]
    for place in places:
        if place.is_file():
            return place
    raise InputNotFoundError(
        f"no vocabulary {fingerprint} for the shards: not at {', '.join(map(str, places))}. Pass its file (--vocabulary)."
    )


def _fingerprint(shards: tuple[Shard, ...]) -> str:
    """16 hex digits over the names and contents of the files."""
    digest = hashlib.sha256()
    for shard in shards:
        try:
            with shard.path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DataError(f"the token shard {shard.path} cannot be read: {error}. Restore it.") from error
        digest.update(f"{shard.path.name}\0{content}\n".encode())
    return digest.hexdigest()[:16]
