"""The options of `pipeline ingest`."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pipeline.errors import UsageError
from pipeline.options.check import validate
from pipeline.options.option import DATA, HARDWARE, OUTPUT, Option


def _tokenizers() -> Iterable[str]:
    from pipeline.text.tokenizers import TOKENIZERS

    return TOKENIZERS


def _splits() -> Iterable[str]:
    from schemas.review import SPLITS

    return SPLITS


@dataclass(frozen=True, kw_only=True)
class IngestConfig:
    """What to ingest and how. None: the lake's own choice, or the default when the lake has none yet.

    Raises:
        UsageError: a value that is not allowed.
    """

    lake: Path
    sources: Annotated[
        tuple[str, ...],
        Option(
            name="source",
            metavar="[SOURCE]...",
            help="Files and folders.",
            default="the lake's raw/",
            positional=True,
            paths=True,
        ),
    ] = ()
    tokenizer: Annotated[
        str | None,
        Option(help="basic_english or punctuation.", default="the lake's, else basic_english", choices=_tokenizers),
    ] = None
    max_vocab: Annotated[
        int | None,
        Option(help="Most tokens in a new vocabulary; 0 for all.", default="the lake's, else 30000", minimum=0),
    ] = None
    min_count: Annotated[
        int | None,
        Option(help="Least occurrences of a token in a new vocabulary.", default="the lake's, else 1", minimum=1),
    ] = None
    text_column: Annotated[str, Option(panel=DATA, help="Column of tables that holds the review.")] = "text"
    label_column: Annotated[
        str | None, Option(panel=DATA, help="Column that holds the label.", default="label, where there is one")
    ] = None
    id_column: Annotated[
        str | None, Option(panel=DATA, help="Column that identifies a review.", default="source and row")
    ] = None
    group_column: Annotated[
        str | None, Option(panel=DATA, help="Column of what a validation split must not tear apart.")
    ] = None
    split_column: Annotated[str | None, Option(panel=DATA, help="Column that holds train, valid, test or unsup.")] = None
    split: Annotated[
        str | None,
        Option(
            panel=DATA,
            help="Split of reviews whose source names none.",
            default="train when labelled, else unsup",
            choices=_splits,
        ),
    ] = None
    dedupe: Annotated[bool, Option(panel=DATA, help="Leave out, and count, content that stands elsewhere.")] = False
    max_bad_rows: Annotated[
        int | None,
        Option(
            panel=DATA,
            help="Commit nothing when more rows than this are bad.",
            default="no limit, but not all",
            minimum=0,
        ),
    ] = None
    rebuild_vocab: Annotated[bool, Option(help="Make a new vocabulary; the sources must hold every known review.")] = False
    workers: Annotated[
        int | None, Option(panel=HARDWARE, help="Worker threads; 0 for none.", default="one a core", minimum=0)
    ] = None
    dry_run: Annotated[bool, Option(panel=OUTPUT, help="Read and count, write nothing.")] = False

    def __post_init__(self) -> None:
        validate(self)
        if not all(self.sources):
            raise UsageError("SOURCE: a name is empty. Give files and folders, or none for the lake's raw/.")
