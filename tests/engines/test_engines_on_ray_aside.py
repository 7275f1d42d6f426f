"""Calls that another thread makes, so that whoever waits for them can be told to stop."""

import threading
from collections.abc import Callable, Iterator

import pytest

from pipeline.engines.on_ray.aside import Aside
from pipeline.errors import ClusterUnavailableError


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Ends calls that hang."""
    event = threading.Event()
    yield event
    event.set()


def lost() -> None:
    raise ClusterUnavailableError("the head is lost")


def test_a_call_gives_its_value_and_its_errors_in_another_thread() -> None:
    aside = Aside(lost, 10)
    assert aside(threading.get_ident) != threading.get_ident()
    for error in (TimeoutError("of the call"), KeyError("missing")):

        def fail(error: Exception = error) -> None:
            raise error

        with pytest.raises(type(error)) as raised:
            aside(fail)
        assert raised.value is error
    aside.close()


def test_who_waits_for_a_call_that_hangs_is_told(release: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.engines.on_ray.aside.END_SECONDS", 0.1)
    aside = Aside(lost, 0.01)
    hang: Callable[[], bool] = release.wait
    with pytest.raises(ClusterUnavailableError, match="the head is lost"):
        aside(hang)
    aside.close()  # does not wait for it
