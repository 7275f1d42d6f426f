"""How a command ends: its receipt, as JSON or in words, and its exit code."""

import contextlib
import json
import os
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from pipeline.cli.console import Session, as_log_line
from pipeline.printable import printable, printable_json

if TYPE_CHECKING:
    from schemas.run import Receipt

JsonOption = Annotated[
    bool,
    typer.Option(
        "--json",
        rich_help_panel="Output",
        help="Print the result as one line of JSON, even on a terminal.",
    ),
]


@dataclass(frozen=True)
class Finish:
    """Ends a command: prints the receipt and exits with its exit code.

    The receipt is the last line of stdout, as JSON; on a terminal it is a summary in words, except with `--json`.
    """

    session: Session
    lake: str | None = None
    """`--lake` as it was given, before or after the command."""
    as_json: bool = False

    def command(self, name: str) -> list[str]:
        """The start of a command line for workers, so that their output matches this process."""
        return [*self.session.arguments, name, *(["--json"] if self.as_json else [])]

    def __call__(self, receipt: "Receipt", *, to_stderr: bool = False) -> None:
        """Prints the receipt, on stderr if stdout is reserved for data.

        The exit code is right even if the receipt cannot be printed.
        """
        try:
            for line in self._lines(receipt, sys.stderr if to_stderr else sys.stdout):
                typer.echo(line, err=to_stderr)
            sys.stdout.flush()
        except (OSError, ValueError) as error:
            forget(sys.stdout)
            say(
                f"the run succeeded, but its receipt could not be printed: {error}. "
                f"'pipeline runs show {receipt.run_id}' shows it."
            )
        raise typer.Exit(receipt.exit_code)

    @property
    def is_for_scripts(self) -> bool:
        """Whether stdout gets the receipt as JSON instead of a summary in words."""
        return self.as_json or not sys.stdout.isatty()

    def _lines(self, receipt: "Receipt", stream: TextIO) -> list[str]:
        if self.as_json or not stream.isatty():
            return [printable_json(receipt.to_json())]
        if self.session.quiet:
            return []
        from pipeline.cli.summary import summary

        return summary(receipt, f" --lake {shlex.quote(self.lake)}" if self.lake else "").lines(stream.fileno())


def print_json(result: Any, indent: int | None = None) -> None:
    """Prints a result as JSON that is safe to show, on one line unless `indent` is given."""
    typer.echo(printable_json(json.dumps(result, ensure_ascii=False, indent=indent)))


@contextlib.contextmanager
def whoever_reads() -> Iterator[None]:
    """For printing by a command whose exit code is its answer: a reader that is done early, like `head`, leaves it as it
    is."""
    try:
        yield
    except BrokenPipeError:
        forget(sys.stdout)


def say(message: str) -> None:
    """Reports on stderr why a command failed."""
    text = as_log_line(printable(message)) or f"pipeline: {printable(message)}"
    with contextlib.suppress(OSError, ValueError):  # nobody reads it; the exit code still says it
        if sys.stderr.isatty() and not text.startswith("{"):
            from pipeline.cli.listing import wrapped

            text = "\n".join(wrapped(text, wide=os.get_terminal_size(sys.stderr.fileno()).columns))
        print(text, file=sys.stderr, flush=True)


def tell(message: str) -> None:
    """Writes a line to stderr that a person must know."""
    with contextlib.suppress(OSError, ValueError):  # nobody reads it; the run record has it
        print(as_log_line(printable(message), "warning") or printable(message), file=sys.stderr, flush=True)


def forget(stream: TextIO) -> None:
    """Discards what a stream could not write, so that it does not fail again at exit."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
