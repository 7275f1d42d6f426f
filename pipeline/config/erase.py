"""The options of `pipeline erase`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pipeline.errors import InputNotFoundError, UsageError
from pipeline.options.check import validate
from pipeline.options.option import Option


@dataclass(frozen=True, kw_only=True)
class EraseConfig:
    """Which reviews to erase.

    Raises:
        UsageError: a value that is not allowed, or no review.
    """

    lake: Path
    review_id: Annotated[tuple[str, ...], Option(metavar="ID", help="ID of a review; can be repeated.")] = ()
    from_file: Annotated[
        Path | None, Option(name="from", metavar="FILE", help="File with one review ID per line.", paths=True)
    ] = None
    group: Annotated[
        tuple[str, ...], Option(metavar="GROUP", help="All reviews of this group, such as a customer; can be repeated.")
    ] = ()
    id_column: Annotated[
        tuple[str, ...],
        Option(
            metavar="COLUMN",
            help="Column of prediction files with review IDs; can be repeated.",
            default="review_id and every --id-column of ingest",
        ),
    ] = ()
    dry_run: Annotated[bool, Option(help="Show what would be erased, without changing anything.")] = False
    yes: Annotated[bool, Option(help="Do not ask for confirmation on a terminal.")] = False

    def __post_init__(self) -> None:
        validate(self)
        if not (self.review_id or self.from_file or self.group):
            raise UsageError("no review to erase. Pass --review-id ID, --from FILE or --group GROUP.")
        if not all(self.review_id) or not all(self.group):
            raise UsageError("--review-id, --group: empty value. Pass the ID of a review, or the name of a group.")

    def ids(self) -> list[str]:
        """The ids that were given, those of the file included.

        Raises:
            InputNotFoundError: the file does not exist.
            UsageError: it cannot be read, or has no id.
        """
        if self.from_file is None:
            return list(dict.fromkeys(self.review_id))
        try:
            lines = self.from_file.expanduser().read_text(encoding="utf-8-sig").splitlines()
        except FileNotFoundError:
            raise InputNotFoundError(f"--from {self.from_file} does not exist. Pass a file with one ID per line.") from None
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--from {self.from_file} cannot be read: {error}. Pass a UTF-8 file.") from error
        found = [line.strip() for line in lines if line.strip()]
        if not found:
            raise UsageError(f"--from {self.from_file} has no ID. Write one per line.")
        return list(dict.fromkeys([*self.review_id, *found]))
