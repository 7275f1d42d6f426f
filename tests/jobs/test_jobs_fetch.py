"""`pipeline fetch` against a real HTTP server on loopback."""

import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from jobs.fetch import FetchConfig, run
from pipeline.config.fetch import SOURCES
from pipeline.errors import (
    CannotWriteError,
    DataError,
    InputNotFoundError,
    LockedError,
    StorageUnavailableError,
    UsageError,
)
from pipeline.lake.locks import locked
from pipeline.lake.paths import Lake

CONTENT = os.urandom(3_000_000)
MD5 = hashlib.md5(CONTENT).hexdigest()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    requests: list[str]

    def do_GET(self) -> None:
        self.requests.append(self.path)
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/whole")
            self.end_headers()
        elif self.path in ("/whole", "/truncated", "/huge"):
            self.send_response(200)
            self.send_header("Content-Length", str(1 << 60 if self.path == "/huge" else len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[: 1_000_000 if self.path != "/whole" else None])
        elif self.path in ("/unsized", "/missized"):
            self.send_response(200)
            if self.path == "/missized":
                self.send_header("Content-Length", "many")
            self.end_headers()
            self.wfile.write(CONTENT)
        elif self.path == "/silent":
            time.sleep(1.5)
        else:
            self.send_error(int(self.path.removeprefix("/status/")))

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "*")
    Handler.requests = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def left_in_raw(lake: Lake) -> list[str]:
    return [path.name for path in lake.raw.glob("*")] if lake.raw.exists() else []


@pytest.mark.parametrize("path", ["/whole", "/moved", "/unsized", "/missized"])
def test_file_lands_whole_in_raw(lake: Lake, server: str, path: str) -> None:
    receipt = run(FetchConfig(lake=lake.root, dataset="imdb", url=server + path, md5=MD5))
    assert (lake.raw / "aclImdb_v1.tar.gz").read_bytes() == CONTENT
    assert receipt.exit_code == 0 and receipt.outputs == {"raw": str(lake.raw / "aclImdb_v1.tar.gz")}
    assert receipt.metrics == {"bytes": len(CONTENT), "md5": MD5, "sha256": SHA256}
    assert left_in_raw(lake) == ["aclImdb_v1.tar.gz"]


def test_second_fetch_asks_nobody(lake: Lake, server: str) -> None:
    config = FetchConfig(lake=lake.root, dataset="imdb", url=f"{server}/whole", sha256=SHA256.upper())
    run(config)
    assert run(config).exit_code == 99
    assert Handler.requests == ["/whole"]


@pytest.mark.parametrize(
    ("path", "error", "says"),
    [
        ("/truncated", StorageUnavailableError, r"ended after 1,000,000 of 3,000,000 bytes"),
        ("/status/404", InputNotFoundError, "404 Not Found"),
        ("/status/403", InputNotFoundError, "403 Forbidden"),
        ("/status/503", StorageUnavailableError, "503 Service Unavailable"),
        ("/huge", CannotWriteError, "Free some space"),
    ],
)
def test_what_goes_wrong_leaves_nothing_behind(
    lake: Lake, server: str, path: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        run(FetchConfig(lake=lake.root, dataset="imdb", url=server + path, md5=MD5))
    assert left_in_raw(lake) == []
    record = json.loads(next(lake.runs.iterdir()).read_text())
    assert record["outcome"] == "failed" and server in record["error"] + record["config"]["url"]


def test_silent_server_is_given_up(lake: Lake, server: str) -> None:
    with pytest.raises(StorageUnavailableError, match="timed out"):
        run(FetchConfig(lake=lake.root, dataset="imdb", url=f"{server}/silent", timeout_seconds=0.2))
    assert left_in_raw(lake) == []


def test_another_file_than_the_published_one_is_not_kept(lake: Lake, server: str) -> None:
    with pytest.raises(DataError, match=rf"md5 is {MD5}, expected {SOURCES['imdb'].digests['md5']}"):
        run(FetchConfig(lake=lake.root, dataset="imdb", url=f"{server}/whole"))
    assert left_in_raw(lake) == []


def test_refused_connection(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/whole"
        with pytest.raises(StorageUnavailableError, match="Connection refused"):
            run(FetchConfig(lake=lake.root, dataset="imdb", url=url))


def test_unknown_host(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(StorageUnavailableError, match="does not answer"):
        run(FetchConfig(lake=lake.root, dataset="imdb", url="http://nowhere.invalid/whole"))


def test_file_of_the_users_own_is_never_overwritten(lake: Lake, server: str) -> None:
    lake.raw.mkdir(parents=True)
    (lake.raw / "aclImdb_v1.tar.gz").write_bytes(b"mine")
    with pytest.raises(DataError, match="never overwritten"):
        run(FetchConfig(lake=lake.root, dataset="imdb", url=f"{server}/whole", md5=MD5))
    assert (lake.raw / "aclImdb_v1.tar.gz").read_bytes() == b"mine" and Handler.requests == []


def test_two_at_once_are_one_too_many(lake: Lake, server: str) -> None:
    with locked(lake.locks / "fetch.lock", "fetch"), pytest.raises(LockedError, match="try again"):
        run(FetchConfig(lake=lake.root, dataset="imdb", url=f"{server}/whole", md5=MD5))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"dataset": "imbd"}, "Did you mean 'imdb'"),
        ({"url": "ftp://x/y"}, "https://"),
        ({"url": "reviews.tar.gz"}, "https://"),
        ({"md5": "abc"}, "32 hexadecimal"),
        ({"sha256": "z" * 64}, "64 hexadecimal"),
        ({"url": "http://[::1/x"}, "https://"),
        ({"url": "http://host:port/x"}, "https://"),
        ({"url": "https://host/café"}, "percent-encode"),
        ({"url": "https://host/a b"}, "percent-encode"),
        ({"timeout_seconds": 0}, "--timeout 0"),
        ({"timeout_seconds": float("nan")}, "--timeout nan"),
        ({"timeout_seconds": float("inf")}, "--timeout inf"),
        ({"timeout_seconds": 1e12}, "--timeout 1000000000000"),
    ],
)
def test_impossible_options(lake: Lake, wrong: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        FetchConfig(**{"lake": lake.root, "dataset": "imdb", **wrong})  # type: ignore[arg-type]
