"""Leases: locks in a store, for processes on different machines.

A lease is an object `.locks/NAME.lease` with its holder and the time until which it is held. Whoever finds none, or one
whose time is over, writes its own with a conditional write, so that one of several wins; a thread renews it. A holder that
was suspended for too long finds another's lease in its place. A lease saves work: two runs do not compute the same thing. It
is not what keeps their results apart, because a suspended holder may wake at any moment: that is the conditional commit.

The clocks of the machines must agree to within a sixth of the time for which a lease is held.

Source: C. Gray and D. Cheriton, "Leases: an efficient fault-tolerant mechanism for distributed file cache consistency",
SOSP 1989.
"""

import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from pipeline.errors import LockedError, PipelineError
from pipeline.lake.store import ABSENT, Over, Store, StoreChangedError, StoreMissingError

log = logging.getLogger(__name__)

LEASE_SECONDS = 60.0
"""How long a lease is held after it was last renewed."""
SKEW = 6
"""Others count a lease as expired later than its holder by this fraction of its time."""
RENEWALS = 4
"""How often a lease is renewed before it would expire."""
POLL_SECONDS = 2.0
MOST_LEFT_SECONDS = 2 * LEASE_SECONDS
"""A lease that would be held for longer is one of a clock that is wrong, and does not count."""


class LeaseLostError(LockedError):
    """The holder was suspended, or cut off from the store, for so long that another run took its lease."""


class Lease:
    """A lease of this process. `leased` acquires, renews and releases it.

    Args:
        name: of its object in the store.
        what: describes it in messages.
        seconds: how long it is held after it was last renewed.
        owner: whose other leases of this name were left by processes that are dead; "" if nobody can know that.
    """

    def __init__(self, store: Store, name: str, what: str, seconds: float, owner: str = "") -> None:
        self.store = store
        self.name = name
        self.what = what
        self.seconds = seconds
        self.owner = owner
        self._stamp = ""
        self._renewed = 0.0
        self._lost = False
        self._one_at_a_time = threading.Lock()
        self._ended = threading.Event()

    def check(self) -> None:
        """Returns if the lease is still held; asks the store if it was not renewed in time.

        Raises:
            LeaseLostError: another run took it.
            StorageUnavailableError: the store does not answer.
        """
        if not self._lost and now() - self._renewed > self.seconds:
            self._renew()
        if self._lost:
            raise LeaseLostError(
                f"{self.what} was locked by this run, but the lock expired: the run was suspended, or did not reach "
                f"{self.store.uri}, for more than {self.seconds:.0f} seconds, and another run took over. Nothing of the "
                "other run was overwritten; run the same command again."
            )

    def acquire(self, wait_seconds: float) -> None:
        """Takes the lease when it is free.

        Raises:
            LockedError: it was not within `wait_seconds`.
        """
        until = now() + wait_seconds
        while True:
            is_last = now() >= until  # before the look, which may take long
            holder, over = self._found()
            if holder is None:
                with suppress(StoreChangedError):  # another was faster
                    self._write(over)
                    return
            elif is_last:
                raise LockedError(
                    f"{self.what} is locked by another run ({holder}). Only one run at a time can use it; wait for it to "
                    f"finish, then try again. The lock of a crashed run expires after {self.seconds * (1 + 1 / SKEW):.0f} "
                    "seconds."
                )
            else:
                time.sleep(min(POLL_SECONDS, max(0.05, until - now())))

    def keep_renewing(self) -> None:
        """Renews the lease until it is released or lost."""
        while not self._ended.wait(self.seconds / RENEWALS) and not self._lost:
            try:
                self._renew()
            except PipelineError as error:
                log.debug("the lease %s/%s was not renewed: %s", self.store.uri, self.name, error)

    def release(self) -> None:
        """Leaves an expired lease behind: a conditional write, which a removal is not on every store."""
        self._ended.set()
        with self._one_at_a_time, suppress(StoreChangedError):
            if not self._lost:
                self.store.write(self.name, self._note(held=False), over=self._stamp)

    def _renew(self) -> None:
        with self._one_at_a_time:
            if not self._lost and not self._ended.is_set():
                try:
                    self._write(self._stamp)
                except StoreChangedError:
                    self._lost = True

    def _write(self, over: str | Over) -> None:
        began = now()
        self._stamp = self.store.write(self.name, self._note(held=True), over=over).stamp
        self._renewed = began

    def _found(self) -> tuple[str | None, str | Over]:
        """Who holds the lease, None if nobody; and what a write would replace."""
        try:
            content, stamp = self.store.read(self.name)
        except StoreMissingError:
            return None, ABSENT
        try:
            note = json.loads(content)
            held = _is_held(note, self._skew) and not (self.owner and note.get("owner") == self.owner)
            return (_described(note) if held else None), stamp
        except (ValueError, KeyError, TypeError):
            return None, stamp  # not a lease: whatever it is, nobody holds it

    def _note(self, *, held: bool) -> bytes:
        expires = datetime.fromtimestamp(time.time() + self.seconds, UTC).isoformat() if held else None
        holder = f"process {os.getpid()} on {socket.gethostname()}"
        # The serial number gives each renewal a stamp of its own.
        note = {"holder": holder, "expires": expires, "serial": secrets.token_hex(8), "owner": self.owner}
        return json.dumps(note).encode()

    @property
    def _skew(self) -> float:
        """How far the clocks of two machines may differ, in seconds."""
        return self.seconds / SKEW


@contextmanager
def leased(
    store: Store,
    name: str,
    what: str,
    wait_seconds: float = 0.0,
    seconds: float | None = None,
    owner: str = "",
) -> Iterator[Lease]:
    """Holds the lease `.locks/NAME.lease` for the block. `what` describes it in the messages of other runs, `owner` is a
    working copy: who holds a lock in it knows that other holders of the lease in the same one are dead.

    Raises:
        LockedError: another run holds it and did not release it within `wait_seconds`.
        StorageUnavailableError, CannotWriteError: the store does not answer, or refuses.
    """
    lease = Lease(store, f".locks/{name}.lease", what, LEASE_SECONDS if seconds is None else seconds, owner)
    lease.acquire(wait_seconds)
    renewal = threading.Thread(target=lease.keep_renewing, name=f"lease {name}", daemon=True)
    renewal.start()
    try:
        yield lease
    finally:
        try:
            lease.release()
        except PipelineError as error:
            log.warning("%s stays locked for up to %.0f seconds: %s", what, lease.seconds, error)
        renewal.join()


def free_leases(store: Store) -> list[str]:
    """The names of the leases that nobody holds."""
    free = []
    for stored in store.list(".locks/"):
        with suppress(StoreMissingError, ValueError, KeyError, TypeError):
            if stored.name.endswith(".lease") and not _is_held(json.loads(store.read(stored.name)[0]), LEASE_SECONDS):
                free.append(stored.name)
    return free


def _described(note: dict[str, Any]) -> str:
    """Who holds a lease, and for how long, if it is not renewed again."""
    return f"{note['holder']}, renewed until {datetime.fromisoformat(note['expires']):%H:%M:%S} UTC"


def _is_held(note: dict[str, Any], skew: float) -> bool:
    if not note["expires"]:
        return False
    left = datetime.fromisoformat(note["expires"]).timestamp() - time.time()
    return -skew < left <= MOST_LEFT_SECONDS


def now() -> float:
    """Seconds on a clock that also counts while the machine is suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
