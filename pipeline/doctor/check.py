"""What a check finds."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import PipelineError, by_cause

State = Literal["OK", "WARN", "FAIL"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One finding. `remedy` says how to mend what is not OK; `exit_code` is what a FAIL ends the command with."""

    name: str
    state: State
    detail: str
    remedy: str = ""
    exit_code: int = PipelineError.exit_code


def ok(name: str, detail: str) -> Check:
    """All is well."""
    return Check(name=name, state="OK", detail=detail)


def warn(name: str, detail: str, remedy: str) -> Check:
    """Works, but somebody should look at it."""
    return Check(name=name, state="WARN", detail=detail, remedy=remedy)


def fail(name: str, detail: str, remedy: str, exit_code: int = PipelineError.exit_code) -> Check:
    """Does not work."""
    return Check(name=name, state="FAIL", detail=detail, remedy=remedy, exit_code=exit_code)


def guarded(name: str, check: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    """The findings of `check`; an error that it did not expect is a finding too."""
    try:
        yield from check()
    except Exception as caught:
        error = by_cause(caught)
        code = getattr(error, "exit_code", None)
        if isinstance(code, int):
            what, _, remedy = str(error).rpartition(". ")
            yield fail(name, what or str(error), remedy if what else "", code)
        else:
            yield fail(name, f"{type(error).__name__}: {error}", "Fix the problem, or report it.")


def exit_code(checks: Iterable[Check]) -> int:
    """0 when nothing fails, else the code of the first failure."""
    return next((check.exit_code for check in checks if check.state == "FAIL"), 0)
