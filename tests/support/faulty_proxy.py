"""An HTTP proxy in front of a server that has the faults of a network and of a busy store."""

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive", "date", "server"}


@dataclass
class Faults:
    """What goes wrong, and how often: 0 is never, 1 always, 10 every tenth time.

    Args:
        refuse_every: the server answers 500 and 503 in turn, and does nothing.
        hang_up_every: a download ends in the middle of its body.
        lose_every: a write is done, and the connection closes before the answer.
        deny: methods that are answered with 403.
        drop: headers, in lower case, that the server does not understand.
        delay_seconds: before each answer.
    """

    refuse_every: int = 0
    hang_up_every: int = 0
    lose_every: int = 0
    deny: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    delay_seconds: float = 0.0
    counts: "Counter[str]" = field(default_factory=Counter)
    """How often each of them happened, and the requests by method."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: Counter[str] = Counter()

    def is_due(self, what: str, every: int) -> bool:
        """Whether it is time for a fault."""
        with self._lock:
            self._seen[what] += 1
            due = bool(every) and self._seen[what] % every == 0
            self.counts[what] += due
            return due


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Proxy"

    def handle_one_request(self) -> None:
        """Takes any method."""
        with suppress(ConnectionError):
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
            self.wfile.flush()

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""

    def _answer(self, body: bytes) -> None:
        faults = self.server.faults
        faults.counts[self.command] += 1
        time.sleep(faults.delay_seconds)
        if self.command in faults.deny:
            self._send(403, [], b"<Error><Code>AccessDenied</Code></Error>")
        elif faults.is_due("refused", faults.refuse_every):
            self._send(503 if faults.counts["refused"] % 2 else 500, [], b"<Error><Code>SlowDown</Code></Error>")
        else:
            # moto looks at a condition and writes in two steps, between which another thread may write.
            with self.server.one_at_a_time if self.command == "PUT" else nullcontext():
                status, headers, content = self._forward(body)
            is_write = self.command in ("PUT", "POST", "DELETE")
            if is_write and status < 300 and faults.is_due("lost", faults.lose_every):
                self.close_connection = True
            elif (
                self.command == "GET"
                and len(content) > 1
                and status < 300
                and faults.is_due("hung up", faults.hang_up_every)
            ):
                self._send(status, headers, content, up_to=len(content) // 2)
            else:
                self._send(status, headers, content)

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(*self.server.upstream, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in self.server.faults.drop and name.lower() not in ("connection", "content-length"):
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _send(self, status: int, headers: list[tuple[str, str]], content: bytes, up_to: int | None = None) -> None:
        self.send_response(status)
        length = str(len(content))
        for name, value in headers:
            if name.lower() == "content-length":
                length = value  # of an answer to HEAD, which has no content
            elif name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[:up_to])
        if up_to is not None:
            self.close_connection = True


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, upstream: tuple[str, int], faults: Faults) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream, self.faults = upstream, faults
        self.one_at_a_time = threading.Lock()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is none."""


@contextmanager
def faulty(upstream: str, faults: Faults) -> Iterator[str]:
    """A proxy before the server at `upstream` (`http://host:port`), as its URL."""
    host, _, port = upstream.removeprefix("http://").partition(":")
    with _Proxy((host, int(port)), faults) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{proxy.server_port}"
        finally:
            proxy.shutdown()
            thread.join()
