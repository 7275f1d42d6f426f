"""What runs in a task around our functions: errors and warnings come back as values, as they would from a thread."""

import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from pipeline.errors import PipelineError
from pipeline.printable import printable
from pipeline.progress import BRIEF, ONCE

MOST_CAUSES = 5
KEPT_EXTRA = (BRIEF, ONCE)


@dataclass(frozen=True, slots=True)
class Warned:
    """A warning on its way to the process that started the task."""

    logger: str
    level: int
    message: str
    extra: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a task gives: a value or an error, the latter with its causes; and what it warned of."""

    value: Any = None
    errors: tuple[BaseException, ...] = ()
    warnings: tuple[Warned, ...] = ()


def opened(done: Done, said: set[tuple[str, str]]) -> Any:
    """The value of a task. Logs its warnings; those with the attribute `ONCE` unless they are in `said`, to which they go.

    Raises:
        Exception: what was raised in the task.
    """
    for warned in done.warnings:
        if ONCE in warned.extra:
            key = warned.logger, str(warned.extra[ONCE])
            if key in said:
                continue
            said.add(key)
        logging.getLogger(warned.logger).log(warned.level, "%s", warned.message, extra=warned.extra)
    if done.errors:
        error, *causes = done.errors
        last = error
        for cause in causes:
            last.__cause__ = cause
            last = cause
        raise error
    return done.value


def guarded(function: Callable[..., Any], *arguments: Any) -> Done:
    """Calls the function. Of an argument that is itself `Done`, it gets the value; an error there is the result."""
    plain, warnings = [], list[Warned]()
    for argument in arguments:
        if isinstance(argument, Done):
            warnings += argument.warnings
            if argument.errors:
                return replace(argument, warnings=tuple(warnings))
            argument = argument.value
        plain.append(argument)
    with _caught(warnings) as caught:
        caught.value = function(*plain)
    return caught.done(warnings)


def guarded_pair(function: Callable[..., tuple[Any, Any]], *arguments: Any) -> tuple[Done, Any]:
    """As `guarded` for a function that gives a small value, which the caller wants at once, and a large one for other tasks.
    The large one is None after an error."""
    done = guarded(function, *arguments)
    if done.errors:
        return done, None
    head, body = done.value
    return replace(done, value=head), body


def guarded_stream(function: Callable[..., Iterator[Any]], *arguments: Any) -> Iterator[Done]:
    """As `guarded` for a generator; an error is its last item."""
    items = function(*arguments)
    ended = object()
    while True:
        warnings = list[Warned]()
        with _caught(warnings) as caught:
            caught.value = next(items, ended)
        if caught.value is ended:
            return
        yield caught.done(warnings)
        if caught.errors:
            return


@dataclass
class _Caught:
    value: Any = None
    errors: tuple[BaseException, ...] = ()

    def done(self, warnings: list[Warned]) -> Done:
        return Done(value=None if self.errors else self.value, errors=self.errors, warnings=tuple(warnings))


@contextmanager
def _caught(warnings: list[Warned]) -> Iterator[_Caught]:
    """Keeps the block's error and its warnings."""
    handler = _Kept(warnings)
    logging.getLogger().addHandler(handler)
    caught = _Caught()
    try:
        yield caught
    except Exception as error:
        caught.errors = tuple(_chain(error))
    finally:
        logging.getLogger().removeHandler(handler)


class _Kept(logging.Handler):
    def __init__(self, warnings: list[Warned]) -> None:
        super().__init__(logging.WARNING)
        self.warnings = warnings

    def emit(self, record: logging.LogRecord) -> None:
        extra = {name: getattr(record, name) for name in KEPT_EXTRA if hasattr(record, name)}
        self.warnings.append(Warned(record.name, record.levelno, record.getMessage(), extra))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes, each fit to be sent: pickle keeps no cause, and not every error can be pickled."""
    told = "".join(traceback.format_exception(error))
    error.add_note(f"In a Ray task:\n{told}")
    found: BaseException | None = error
    for _ in range(MOST_CAUSES):
        if found is None:
            return
        yield _portable(found)
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


def _portable(error: BaseException) -> BaseException:
    try:
        again = pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its class makes of it
        again = None
    if type(again) is type(error) and str(again) == str(error):
        return error
    unsent = PipelineError(printable(f"{type(error).__name__}: {error}"))
    code = getattr(error, "exit_code", None)
    if isinstance(code, int):
        unsent.exit_code = code
    return unsent
