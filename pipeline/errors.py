"""The exception tree and its exit codes.

PipelineError                 70  internal error, unless a subclass says otherwise
├── UsageError                 2  an option or a combination of options
├── DataError                 65  bad data, or a broken contract
├── InputNotFoundError        66  input not found
├── StorageUnavailableError   69  storage unreachable
├── ClusterUnavailableError   69  the Ray cluster is unreachable, or its workers end: try again
├── CannotWriteError          73  no permission, no space
├── LockedError               75  another run holds the lock: try again
├── OutOfMemoryError          75  the machine had too little memory: try again, or use smaller batches
└── (StoppedError)       130/143  a signal; BaseException, so that no handler for errors swallows it

Every message says what happened, to what, what is allowed and what to do. `schemas.contract.ContractError` (65) is
not part of the tree, because `schemas` does not import other packages of the project.

Errors of the operating system are mapped by their number, regardless of the library that raised them: see `by_cause`.
"""

import errno
import os
import re
from collections.abc import Collection, Iterable

EXIT_DONE = 0
EXIT_NOTHING_NEW = 99


class PipelineError(Exception):
    """An error with a message for users. `exit_code` is the exit code of the process.

    Args:
        brief: the message without anything from the input but names of files, for mail and reports; by default the message.
    """

    exit_code = 70

    def __init__(self, message: str = "", *, brief: str | None = None) -> None:
        super().__init__(message)
        self._brief = brief

    @property
    def brief(self) -> str:
        """The message without a customer's text: no value of a cell, no label and no name of a column."""
        return str(self) if self._brief is None else self._brief


class UsageError(PipelineError, ValueError):
    """An invalid value, or an invalid combination of options."""

    exit_code = 2


class DataError(PipelineError, ValueError):
    """The data is invalid or damaged."""

    exit_code = 65


class InputNotFoundError(PipelineError, ValueError):
    """An input does not exist."""

    exit_code = 66


class StorageUnavailableError(PipelineError):
    """The storage is unreachable."""

    exit_code = 69


class ClusterUnavailableError(PipelineError):
    """A Ray cluster cannot be reached, or cannot do the work."""

    exit_code = 69


class CannotWriteError(PipelineError):
    """An output cannot be written."""

    exit_code = 73


class LockedError(PipelineError):
    """Another run holds the lock."""

    exit_code = 75


class OutOfMemoryError(PipelineError):
    """There was not enough memory; a retry may succeed."""

    exit_code = 75


class StoppedError(BaseException):
    """A signal asked the run to stop. `exit_code` is 128 plus the signal's number."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by signal {signal_number}")
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number


def unknown_choice(
    what: str, given: str, known: Iterable[str], remedy: str = "", unlisted: Collection[str] = ()
) -> UsageError:
    """An error for a name that is not among the known ones: suggests the one that was meant, if there is one, and lists all
    but the `unlisted`, sorted."""
    names = sorted(known, key=lambda name: (name.casefold(), name))
    listed = ", ".join(name for name in names if name not in unlisted)
    return UsageError(
        f"{what}: {given!r} is not known.{meant(given, names)} Known: {listed}.{' ' + remedy if remedy else ''}"
    )


def meant(given: str, known: Iterable[str]) -> str:
    """The question whether another name was meant, with a blank in front; "" where none is near enough."""
    found = nearest(given, known)
    return f" Did you mean {found!r}?" if found is not None else ""


def nearest(given: str, known: Iterable[str]) -> str | None:
    """The name that was probably meant: the same in upper or lower case, the one with the fewest letters that differ, up to
    a third of them, or else the longest that the given one begins with. None rather than a wrong one."""
    wanted, names = _letters(given), sorted(known)
    if not wanted or not names:
        return None
    distance, name = min((_distance(wanted, _letters(name)), name) for name in names)
    if distance <= (max(1, len(wanted) // 3) if len(wanted) > 1 else 0):
        return name
    begun = [name for name in names if len(name) >= SHORTEST and wanted.startswith(_letters(name))]
    return max(begun, key=len, default=None)


SHORTEST = 3
"""A longer name may have been meant by a name of at least so many letters."""


def _letters(name: str) -> str:
    return name.strip().lstrip("-").casefold()


def _distance(one: str, other: str) -> int:
    """How many letters have to be put in, taken out, replaced or swapped with their neighbour."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        before, last, row = row, before, [i]
        for j, there in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != there))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == there:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]


UNREACHABLE = frozenset(
    getattr(errno, name)
    for name in (
        *("EIO", "ESTALE", "ETIMEDOUT", "EREMOTEIO", "ENOTCONN", "ESHUTDOWN"),
        *("EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH"),
    )
    if hasattr(errno, name)
)
"""The disk, the mount or the server does not answer: trying again may help, and the data may be fine."""
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""Only writing fails with these."""
DENIED = frozenset({errno.EACCES, errno.EPERM})
_NUMBER = re.compile(r"\[[Ee]rrno (\d+)\]|\(os error (\d+)\)|Os \{ code: (\d+)")
"""How pyarrow, Rust's libraries (deltalake, safetensors) and Python put the number into a message."""


def errno_of(error: BaseException) -> int | None:
    """The operating system's error number behind an error, however many libraries wrapped it; None when there is none."""
    found: BaseException | None = error
    seen: set[int] = set()
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        if isinstance(found, OSError) and found.errno:
            return found.errno
        if match := _NUMBER.search(str(found)):
            return int(next(filter(None, match.groups())))
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
    return None


def by_cause(error: Exception) -> Exception:
    """The error that the operating system's number asks for, or the same error where the number decides nothing.

    A library reports a full disk or a lost mount with an error of its own, and a reader may take either for bad data.
    """
    number = errno_of(error)
    if is_out_of_memory(error) and not isinstance(error, PipelineError):
        return OutOfMemoryError(out_of_memory())
    if number in UNREACHABLE and not isinstance(error, StorageUnavailableError):
        return unreachable(number, _first_sentence(error))
    if isinstance(getattr(error, "exit_code", None), int):
        return error
    if number in FULL or number in DENIED:
        assert number is not None
        place = getattr(error, "filename", None)
        return CannotWriteError(
            f"cannot write{f' {place}' if place else ''}: {os.strerror(number)}. Check the free space, the owner and the "
            f"permissions, then run the same command again. ({_first_sentence(error)})"
        )
    return error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, through whatever library: torch has no type for it."""
    return isinstance(error, MemoryError) or errno_of(error) == errno.ENOMEM or "can't allocate memory" in str(error)


def out_of_memory(what: str = "") -> str:
    """The message for memory that ran out in the middle of `what`."""
    where = f" {what}" if what else ""
    return f"out of memory{where}. Lower --batch-size or --workers, or use a machine with more memory, then run it again."


def unreachable(number: int | None, what: str) -> StorageUnavailableError:
    """The error for a storage that failed with `number` in the middle of `what`."""
    assert number is not None
    return StorageUnavailableError(
        f"the storage failed ({os.strerror(number)}): {what}. This does not mean that the data is bad. Check the disk, the "
        "mount and the system log, then run the same command again."
    )


def _first_sentence(error: Exception) -> str:
    return " ".join(str(error).split()).split(". ")[0].rstrip(".") or type(error).__name__
