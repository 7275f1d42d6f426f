"""Whether a cluster answers. Ray waits for minutes for one that does not, and then ends the process with exit code 1."""

import os
import socket
import time

from pipeline.errors import ClusterUnavailableError

ANSWER_SECONDS = 10
LOOK_SECONDS = 3
"""How often `Pulse.check` looks."""
SILENT_SECONDS = 30
"""For how long a head may be silent; Ray would end this process after a minute."""
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""How a connection of HTTP/2, so of gRPC, begins: a fixed text and an empty frame of settings. Source: RFC 9113, 3.4."""
FRAME_HEAD, FRAME_KIND, SETTINGS = 9, 3, 4


def greet(host: str, port: int) -> None:
    """Opens a connection to a server that speaks gRPC, as the head of a cluster does, and closes it.

    Raises:
        OSError: nobody answers, or something else does.
    """
    with socket.create_connection((host, port), ANSWER_SECONDS) as connection:
        if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
            return  # it waits for a certificate
        connection.sendall(GREETING)
        answer = b""
        while len(answer) < FRAME_HEAD:
            received = connection.recv(FRAME_HEAD - len(answer))
            if not received:
                break
            answer += received
    if len(answer) < FRAME_HEAD or answer[FRAME_KIND] != SETTINGS:
        raise OSError("what listens there is not the head of a Ray cluster")


class Pulse:
    """Whether the head of the cluster still answers.

    Args:
        head: HOST:PORT.
    """

    def __init__(self, head: str) -> None:
        self.head = head
        self._answered = self._looked = time.monotonic()

    def check(self) -> None:
        """Looks once in a while.

        Raises:
            ClusterUnavailableError: the head has been silent for `SILENT_SECONDS`.
        """
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        if now - self._looked > SILENT_SECONDS:
            self._answered = now  # this process was busy or stopped, so nobody knows
        try:
            greet(*parted(self.head))
        except OSError as error:
            silent = time.monotonic() - self._answered
            if silent > SILENT_SECONDS:
                raise ClusterUnavailableError(
                    f"the head of the Ray cluster at {self.head} has not answered for {silent:.0f} seconds: {error}. "
                    "Nothing was committed. Start Ray there again, then run the command again; or use --engine local."
                ) from error
        else:
            self._answered = time.monotonic()
        self._looked = time.monotonic()


def parted(address: str) -> tuple[str, int]:
    """The two parts of HOST:PORT."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
