"""The Typer application, the options that all commands share, and the one place that turns errors into messages."""

import contextlib
import importlib
import io
import os
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from pipeline import process
from pipeline.cli.console import LOG_FORMATS, TEXT, Session, set_up, start_logging
from pipeline.cli.finish import Finish, forget, say
from pipeline.errors import EXIT_DONE, CannotWriteError, PipelineError, StoppedError, UsageError, by_cause, meant
from pipeline.printable import printable, printable_lines
from pipeline.version import __version__

if TYPE_CHECKING:
    from pipeline.lake.paths import Lake

DEBUG = "PIPELINE_DEBUG"
OWN_PACKAGES = ("schemas", "pipeline", "jobs")
NO_COMMAND = re.compile(r"No such command '(?P<name>.*?)'\.", re.DOTALL)
CLOSED: set[str] = set()
"""The standard streams that the caller closed."""


PLACES = (
    *("--lake", "--config", "--tokens", "--vocabulary", "--embeddings", "--init", "--init-from", "--teacher", "--model"),
    *("--input", "--output", "--predictions", "--metrics-file", "--from"),
)
"""Options whose values are paths, or names of models and files."""


class PrintableGroup(TyperGroup):
    """The commands. Typer's own error messages quote arguments, so their text is escaped first."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The commands in workflow order; Typer lists those with subcommands last."""
        return sorted(super().list_commands(ctx), key=COMMANDS.index)

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Parses the options before the command."""
        with _printable_usage_errors():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        """Parses the rest and runs the command."""
        with _printable_usage_errors():
            return super().invoke(ctx)


@contextlib.contextmanager
def _printable_usage_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if hasattr(error, "format_message"):  # a ClickException; where that class stands differs between Typer's versions
            error.message = printable(_suggesting(error))  # type: ignore[attr-defined]
        raise


def _suggesting(error: Any) -> str:
    """The message of an error of the command line. Whether another option or command was meant, is for us to say."""
    context = getattr(error, "ctx", None)
    if context is None:
        return str(error.message)
    if getattr(error, "option_name", None) and hasattr(error, "possibilities"):
        error.possibilities = None
        names = [name for option in context.command.get_params(context) for name in (*option.opts, *option.secondary_opts)]
        return f"No such option: {error.option_name}.{meant(error.option_name, (name for name in names if name[0] == '-'))}"
    if (found := NO_COMMAND.match(error.message)) is not None:
        names = list(COMMANDS if context.parent is None else context.command.list_commands(context))
        return f"{found[0]}{meant(found['name'], names)}"
    return str(error.message)


app = typer.Typer(
    name="pipeline",
    cls=PrintableGroup,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

LakeOption = Annotated[
    str | None,
    typer.Option(
        "--lake",
        metavar="FOLDER|URI",
        help="The lake: a folder, or a URI such as s3://bucket/lake.  [default: $PIPELINE_LAKE, else ./data_lake]",
        show_default=False,
    ),
]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"review-pipeline {__version__}")
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    lake: LakeOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show only warnings and errors.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every step and the source of each option.")] = False,
    log_format: Annotated[
        str,
        typer.Option(
            "--log-format",
            metavar="|".join(LOG_FORMATS),
            help="Write log lines to stderr as text or as JSON.  [default: text]",
            show_default=False,
        ),
    ] = TEXT,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Review sentiment from raw files to predictions: ingest, train, score. Made for scheduled runs.

    Exit codes: 0 done; 99 nothing new; 1 needs a person (status only); 2 usage error; 65 bad data; 66 input not found;
    69 storage unreachable; 70 internal error; 73 cannot write; 75 locked, try again; 130/143 stopped by a signal.
    """
    context.obj = Session(lake, quiet, verbose, log_format)
    set_up(context.obj)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def lake_of(context: typer.Context, lake: str | None) -> "Lake":
    """The lake given by the options, up to date with its store; `--lake` works before and after the command."""
    from pipeline.lake.paths import Lake

    found = Lake.find(lake or Session.of(context).lake)
    found.open()
    return found


def lake_there(context: typer.Context, lake: str | None) -> "Lake":
    """The same for commands that only look at a lake.

    Raises:
        InputNotFoundError: there is no such lake.
    """
    found = lake_of(context, lake)
    found.check_there()
    return found


def in_lake(lake: "Lake", value: Any) -> Any:
    """A value with URIs inside a lake on a store as paths in its working copy, where their files are from now on."""
    if lake.origin is None:
        return value
    if isinstance(value, tuple | list):
        return type(value)(in_lake(lake, item) for item in value)
    if not isinstance(value, str | Path):
        return value
    path = lake.local(str(value))
    if not path.is_relative_to(lake.root):
        return value
    lake.fetch(path)
    return str(path) if isinstance(value, str) else path


def finish_of(context: typer.Context, lake: str | None, as_json: bool) -> Finish:
    """How a command with these options ends."""
    session = Session.of(context)
    return Finish(session, lake or session.lake, as_json)


def refuse_empty_places(arguments: Sequence[str]) -> None:
    """An empty path would mean the working folder, or the default: it mostly comes from a variable that is not set.

    Raises:
        UsageError: an option of `PLACES` has an empty value.
    """
    for place, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if argument == "--":
            return
        if name in PLACES and (not value if equals else arguments[place + 1 : place + 2] == [""]):
            raise UsageError(f"{name}: empty. Leave it out for the default; if it comes from a variable, set that.")


def refuse_foreign_packages() -> None:
    """Our packages have plain names; another project's `jobs` or `schemas` must not run in their place.

    Raises:
        PipelineError: one of our packages would be imported from elsewhere.
    """
    home = Path(__file__).resolve().parents[2]
    for name in OWN_PACKAGES:
        spec = importlib.util.find_spec(name)
        places = [Path(place).resolve() for place in (spec.submodule_search_locations or [])] if spec else []
        if places != [home / name]:
            found = ", ".join(map(str, places)) or (spec.origin if spec else None) or "nowhere"
            raise PipelineError(
                f"the package {name!r} would be imported from {found}, not from {home}. review-pipeline needs an "
                "environment of its own: install it in a fresh one, and run it from a folder that does not shadow it."
            )


def main() -> None:
    """Runs the command line and ends the process with the design's exit codes."""
    _open_streams()
    code = run_command_line()
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        code = code or _unprinted(error)
    process.end(code)


def _open_streams() -> None:
    """Opens streams that the caller closed; otherwise the next file opened would receive their output."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is the stream's
            CLOSED.add(name)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without UTF-8 shows an escape, and no traceback


def _unprinted(error: OSError | ValueError) -> int:
    """The exit code of a command whose stdout was closed: 0 if the reader is done, as with `head`."""
    forget(sys.stdout)
    if isinstance(error, BrokenPipeError):
        return EXIT_DONE
    say(f"cannot write to stdout: {error}. Free some space, or redirect the output.")
    return CannotWriteError.exit_code


def run_command_line() -> int:
    """Runs the command line; gives the exit code."""
    from pipeline.signals import as_stop, raise_on_stop

    start_logging()
    debug = os.environ.get(DEBUG) == "1"
    process.tune(next((word for word in sys.argv[1:] if word in COMMANDS), ""))
    try:
        refuse_foreign_packages()
        refuse_empty_places(sys.argv[1:])
        load_commands(sys.argv[1:])
        raise_on_stop()
        app(prog_name=app.info.name)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # Typer ends with 1 then
            return _unprinted(end.__context__)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except (StoppedError, Exception) as caught:
        error = as_stop(caught)
        if isinstance(error, StoppedError):
            command = next((word for word in sys.argv[1:] if word in COMMANDS), "")
            again = "with --resume" if command in ("train", "pretrain") else "again"
            say(f"{error}; no file is half-written. Run the same command {again} to continue.")
            return error.exit_code
        assert isinstance(error, Exception)
        if debug:
            print(printable_lines(traceback.format_exc()), end="", file=sys.stderr)
        return _explain(error)
    return EXIT_DONE


def load_commands(arguments: Sequence[str] = ()) -> None:
    """Imports the command files, each of which registers itself with `app`; the order is that of `--help`.

    If `arguments` name a command, the others are skipped: setting them up would take longer than running it.
    """
    for name in [name for name in COMMANDS if name in arguments] or COMMANDS:
        importlib.import_module(f"pipeline.cli.{name}")


COMMANDS: tuple[str, ...] = (
    "init",
    "inspect",
    "ingest",
    "pretrain",
    "train",
    "crossval",
    "score",
    "nightly",
    "evaluate",
    "report",
    "export",
    "status",
    "models",
    "runs",
    "vocab",
    "schema",
    "doctor",
    "sample",
    "fetch",
    "compact",
    "vacuum",
    "retract",
    "erase",
    "repair",
    "upgrade",
)


def _explain(error: Exception) -> int:
    """Says what happened in one message and gives the exit code."""
    error = by_cause(error)
    code = getattr(error, "exit_code", None)
    if isinstance(code, int):
        say(str(error))
        return code
    say(f"{type(error).__name__}: {error}. This is an internal error; {DEBUG}=1 shows the traceback. Please report it.")
    return PipelineError.exit_code
