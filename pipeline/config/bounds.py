"""Options that bound what a delivery may ask for; `pipeline.readers.bounds` says what each is for."""

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
    """What every command that reads people's files has. Sizes in bytes."""

    max_row_bytes: Annotated[
        int | None,
        _size(
            "Largest row of a table, or line of a text file.",
            f"{in_units(CSV_ROW_BYTES)} in CSV, {in_units(ROW_BYTES)} elsewhere",
        ),
    ] = None
    max_value_bytes: Annotated[int, _size("Largest review; larger ones are rejected.", in_units(_DEFAULTS.value))] = (
        _DEFAULTS.value
    )
    max_batch_bytes: Annotated[int, _size("Text that a worker takes at once.", in_units(_DEFAULTS.batch))] = _DEFAULTS.batch
    max_page_bytes: Annotated[int, _size("Largest page of a Parquet file, decompressed.", in_units(_DEFAULTS.page))] = (
        _DEFAULTS.page
    )
    max_name_bytes: Annotated[int, _size("Largest name of a member of an archive.", in_units(_DEFAULTS.name))] = (
        _DEFAULTS.name
    )
    max_list_bytes: Annotated[int, _size("Largest list of films.", in_units(_DEFAULTS.films))] = _DEFAULTS.films
    max_ratio: Annotated[
        int,
        Option(
            panel=BOUNDS,
            metavar="N",
            help="Bytes that a compressed file may give for each of its own, above 64MiB.",
            minimum=1,
        ),
    ] = _DEFAULTS.ratio

    max_columns: Annotated[int, Option(panel=BOUNDS, metavar="N", help="Most columns of a table.", minimum=1)] = (
        _DEFAULTS.columns
    )

    @property
    def given_bounds(self) -> dict[str, Any]:
        """Those that are not the defaults, by the keys of TOML and as TOML has them."""
        values = {field: getattr(self, field.name) for field in fields_of(BoundsConfig)}
        return {
            field.key: field.option.to_text(value) if field.option.from_text else value
            for field, value in values.items()
            if value != field.default
        }

    @property
    def bounds(self) -> Bounds:
        """The bounds as the readers take them."""
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
