"""Numbers on the command line of commands without a config, with messages in our own words."""

import typer

INTEGER, FLOAT = "N", "NUMBER"
"""What help shows in place of a value."""


def whole_number(text: str | int) -> int:
    """Parses an option's value; also accepts its default.

    Raises:
        typer.BadParameter: not a whole number.
    """
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a whole number.") from None


def any_number(text: str | float) -> float:
    """Parses an option's value; also accepts its default.

    Raises:
        typer.BadParameter: not a number.
    """
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number.") from None
