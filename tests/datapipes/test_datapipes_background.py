"""Calls in the background: in order, one at a time, and their errors arrive."""

import threading

import pytest

from pipeline.datapipes.background import Background


def test_calls_are_made_in_order_in_another_thread() -> None:
    found: list[int] = []
    threads = set()

    def note(number: int) -> None:
        threads.add(threading.get_ident())
        found.append(number)

    with Background(note) as call:
        for number in range(50):
            call(number)
    assert found == list(range(50))
    assert len(threads) == 1 and threading.get_ident() not in threads


def test_an_error_arrives_at_the_next_call_or_at_the_end() -> None:
    def fail() -> None:
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"), Background(fail) as call:
        call()
    with Background(fail) as call:
        call()
        with pytest.raises(OSError, match="no space"):
            call()


def test_the_error_of_the_block_counts_more_than_that_of_a_call() -> None:
    def fail() -> None:
        raise OSError("no space")

    with pytest.raises(KeyError, match="first"), Background(fail) as call:
        call()
        raise KeyError("first")
