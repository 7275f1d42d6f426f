"""Options that limit the size of input; `pipeline.readers.bounds` explains each one."""

from dataclasses import dataclass
from typing import Annotated, Any

from pipeline.options.option import BOUNDS, Option, fields_of
from pipeline.readers.bounds import CSV_ROW_BYTES, GIB, KIB, ROW_BYTES, Bounds, in_units, size_of

_DEFAULTS = Bounds()


def _size(help: str, default: str, maximum: int = GIB, minimum: int = KIB) -> Option:
    return Option(
        panel=BOUNDS,
        metavar="SIZE",
        help=help,
        default=default,
        minimum=minimum,
        maximum=maximum,
        expected=f"a size from {in_units(minimum)} to {in_units(maximum)}, such as 16MiB",
        from_text=size_of,
        from_toml=size_of,
        to_text=in_units,
    )


@dataclass(frozen=True, kw_only=True)
class BoundsConfig:
    """Limits shared by every command that reads user files. Sizes in bytes."""

    max_row_bytes: Annotated[
        int | None,
        _size(
            "Maximum size of a table row or a line of text.",
            f"{in_units(CSV_ROW_BYTES)} in CSV, {in_units(ROW_BYTES)} elsewhere",
        ),
    ] = None
    max_value_bytes: Annotated[
        int, _size("Maximum size of a review; larger reviews are rejected.", in_units(_DEFAULTS.value))
    ] = _DEFAULTS.value
    max_batch_bytes: Annotated[
        int, _size("Maximum amount of text passed to a worker at once.", in_units(_DEFAULTS.batch))
    ] = _DEFAULTS.batch
    max_page_bytes: Annotated[int, _size("Maximum decompressed size of a Parquet page.", in_units(_DEFAULTS.page))] = (
        _DEFAULTS.page
    )
    max_name_bytes: Annotated[int, _size("Maximum length of a member name in an archive.", in_units(_DEFAULTS.name))] = (
        _DEFAULTS.name
    )
    max_list_bytes: Annotated[
        int, _size("Maximum size of a film list (urls_*.txt in aclImdb).", in_units(_DEFAULTS.films))
    ] = _DEFAULTS.films
    max_ratio: Annotated[
        int,
        Option(
            panel=BOUNDS,
            metavar="N",
            help="Maximum compression ratio of files that decompress to more than 64MiB.",
            minimum=1,
        ),
    ] = _DEFAULTS.ratio

    max_columns: Annotated[
        int, Option(panel=BOUNDS, metavar="N", help="Maximum number of columns in a table.", minimum=1)
    ] = _DEFAULTS.columns

    @property
    def given_bounds(self) -> dict[str, Any]:
        """The limits that differ from the defaults, with their keys and values as in TOML."""
        values = {field: getattr(self, field.name) for field in fields_of(BoundsConfig)}
        return {
            field.key: field.option.to_text(value) if field.option.from_text else value
            for field, value in values.items()
            if value != field.default
        }

    @property
    def bounds(self) -> Bounds:
        """The limits in the form the readers expect."""
        return Bounds(
            row=self.max_row_bytes or 0,
            value=self.max_value_bytes,
            batch=self.max_batch_bytes,
            name=self.max_name_bytes,
            films=self.max_list_bytes,
            page=self.max_page_bytes,
            ratio=self.max_ratio,
            columns=self.max_columns,
        )
