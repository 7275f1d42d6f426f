"""Whether a Ray cluster answers: what listens at an address, and for how long a head may be silent."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipeline.engines.on_ray import pulse
from pipeline.engines.on_ray.pulse import Pulse, greet
from pipeline.errors import ClusterUnavailableError

SETTINGS_FRAME = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


@contextmanager
def listening(answer: bytes) -> Iterator[str]:
    """A server that sends an answer to whoever says something, and hangs up; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return  # it is closed
                with connection:
                    if connection.recv(100):
                        connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def nobody() -> str:
    """An address at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def greeted(address: str) -> None:
    greet("127.0.0.1", int(address.rpartition(":")[2]))


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9\r\n", b"-ERR\r\n", b""])
def test_what_listens_there_is_something_else(answer: bytes) -> None:
    with listening(answer) as address, pytest.raises(OSError, match=r"not the head of a Ray cluster|reset"):
        greeted(address)


def test_a_server_of_grpc() -> None:
    with listening(SETTINGS_FRAME) as address:
        greeted(address)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pulse, "time", clock)
    return clock


def pass_time(clock: Clock, checked: Pulse, seconds: float) -> None:
    """Looks every second."""
    for _ in range(int(seconds)):
        clock.now += 1
        checked.check()


def test_a_head_may_be_silent_for_a_while(clock: Clock) -> None:
    checked = Pulse(nobody())
    pass_time(clock, checked, pulse.SILENT_SECONDS)
    with pytest.raises(ClusterUnavailableError, match=r"has not answered for 3\d seconds"):
        pass_time(clock, checked, 2 * pulse.LOOK_SECONDS)


def test_a_process_that_was_stopped_itself_does_not_blame_the_head(clock: Clock) -> None:
    checked = Pulse(nobody())
    clock.now += 3600
    checked.check()
    pass_time(clock, checked, pulse.SILENT_SECONDS - 1)


def test_a_head_that_answers_again_is_there(clock: Clock) -> None:
    with listening(SETTINGS_FRAME) as head:
        checked = Pulse(head)
        pass_time(clock, checked, 100)
    pass_time(clock, checked, pulse.SILENT_SECONDS)
    with pytest.raises(ClusterUnavailableError, match="--engine local"):
        pass_time(clock, checked, 2 * pulse.LOOK_SECONDS)
