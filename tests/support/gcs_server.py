"""A stand-in for Google Cloud Storage: as much of its XML API as obstore asks for, in this process.

It holds that requests are made as Google documents them, not that Google's servers answer so.

Source: https://cloud.google.com/storage/docs/xml-api/reference-headers
"""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

BUCKET = "reviews"
META = "x-goog-meta-"


@dataclass(frozen=True)
class _Object:
    content: bytes
    generation: int
    metadata: dict[str, str]

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.content, usedforsecurity=False).hexdigest()}"'


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, _Object] = {}
        self.generation = 1000
        self.lock = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""

    def do_PUT(self) -> None:
        """Writes an object if its generation is the one in the header, 0 if there is none."""
        content = self.rfile.read(int(self.headers["Content-Length"]))
        wanted = self.headers.get("x-goog-if-generation-match")
        with self.server.lock:
            there = self.server.objects.get(self.key)
            if wanted is not None and int(wanted) != (there.generation if there else 0):
                self.answer(412)
                return
            self.server.generation += 1
            metadata = {name.lower(): value for name, value in self.headers.items() if name.lower().startswith(META)}
            made = self.server.objects[self.key] = _Object(content, self.server.generation, metadata)
        self.answer(200, b"", made)

    def do_GET(self) -> None:
        """Answers with an object, or the list of those with a prefix."""
        query = parse_qs(urlsplit(self.path).query)
        if "list-type" in query:
            self.answer(200, self.listing(query.get("prefix", [""])[0]))
            return
        found = self.server.objects.get(self.key)
        self.answer(200 if found else 404, found.content if found else b"", found)

    do_HEAD = do_GET

    def do_DELETE(self) -> None:
        """Removes an object."""
        with self.server.lock:
            self.answer(204 if self.server.objects.pop(self.key, None) else 404)

    @property
    def key(self) -> str:
        """The object's name."""
        return unquote(urlsplit(self.path).path).removeprefix(f"/{BUCKET}/")

    def listing(self, prefix: str) -> bytes:
        """The document that lists objects; it has no generations."""
        found = [(name, stored) for name, stored in sorted(self.server.objects.items()) if name.startswith(prefix)]
        contents = "".join(
            f"<Contents><Key>{escape(name)}</Key><Size>{len(stored.content)}</Size>"
            f"<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>{escape(stored.etag)}</ETag></Contents>"
            for name, stored in found
        )
        return f"<ListBucketResult>{contents}</ListBucketResult>".encode()

    def answer(self, status: int, body: bytes = b"", stored: _Object | None = None) -> None:
        """Sends an answer."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if stored is not None:
            self.send_header("ETag", stored.etag)
            self.send_header("x-goog-generation", str(stored.generation))
            self.send_header("Last-Modified", formatdate(usegmt=True))
            for name, value in stored.metadata.items():
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def gcs_server() -> Iterator[None]:
    """For the block, `gs://reviews` is a bucket of a stand-in."""
    with _Server() as server, pytest.MonkeyPatch.context() as patched:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        patched.setenv("GOOGLE_BASE_URL", f"http://127.0.0.1:{server.server_port}")
        patched.setenv("GOOGLE_BEARER_TOKEN", "testing")
        patched.setenv("NO_PROXY", "127.0.0.1")
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
