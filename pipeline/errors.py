"""The exception tree and its exit codes.

PipelineError                 70  our own fault, unless a descendant says otherwise
├── UsageError                 2  an option or a combination of options
├── DataError                 65  bad data, or a broken contract
├── InputNotFoundError        66  no such input
├── StorageUnavailableError   69  storage unreachable
├── CannotWriteError          73  no permission, no space
├── LockedError               75  another run holds the lock: try again
└── (StoppedError)       130/143  a signal; BaseException, so that no handler for errors swallows it

Every message says what happened, to what, what is allowed and what to do. `schemas.contract.ContractError` (65) stands
outside the tree because schemas import nothing of ours.
"""

import difflib
from collections.abc import Iterable

EXIT_DONE = 0
EXIT_NOTHING_NEW = 99


class PipelineError(Exception):
    """An error with a message for people. `exit_code` is what the process ends with."""

    exit_code = 70


class UsageError(PipelineError, ValueError):
    """An option's value, or a combination of options, that cannot be."""

    exit_code = 2


class DataError(PipelineError, ValueError):
    """The data is not what it has to be."""

    exit_code = 65


class InputNotFoundError(PipelineError, ValueError):
    """What should be read is not there."""

    exit_code = 66


class StorageUnavailableError(PipelineError):
    """The storage does not answer."""

    exit_code = 69


class CannotWriteError(PipelineError):
    """What should be written cannot be."""

    exit_code = 73


class LockedError(PipelineError):
    """Somebody else is at work in the same place."""

    exit_code = 75


class StoppedError(BaseException):
    """A signal asked the run to stop. `exit_code` is 128 plus the signal's number."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by signal {signal_number}")
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number


def unknown_choice(what: str, given: str, known: Iterable[str], remedy: str = "") -> UsageError:
    """An error for a name that is not among the known ones: lists them all, the nearest first.

    Example: `unknown_choice("--arch", "bilstn", ["gru", "bilstm"])` names `bilstm` first.
    """
    ranked = sorted(known, key=lambda name: (-difflib.SequenceMatcher(None, given, name).ratio(), name))
    nearest = f" Did you mean {ranked[0]!r}?" if ranked and difflib.get_close_matches(given, ranked[:1]) else ""
    return UsageError(
        f"{what}: {given!r} is not known.{nearest} Known: {', '.join(ranked)}.{' ' + remedy if remedy else ''}"
    )
