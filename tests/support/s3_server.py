"""A real S3 server in a process of its own on this machine: moto's."""

import itertools
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote

import pytest

from pipeline.lake.object_store import ObjectStore
from tests.support.paths import ROOT

BUCKET = "reviews"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "the-secret-of-the-tests", "AWS_REGION": "us-east-1"}
_NUMBERS = itertools.count()


@contextmanager
def s3_server() -> Iterator[str]:
    """Starts the server with an empty bucket; gives its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        _make_bucket(url, process)
        yield url
    finally:
        process.kill()
        process.wait()


@contextmanager
def environment(url: str) -> Iterator[None]:
    """For the block, the environment in which `s3://` means the server at this URL."""
    with pytest.MonkeyPatch.context() as patched:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patched.delenv(name)
        for name, value in settings(url).items():
            patched.setenv(name, value)
        yield


def settings(url: str) -> dict[str, str]:
    """The environment of a process for which `s3://` means the server at this URL."""
    nowhere = "/nonexistent"  # whoever runs the tests may have a profile
    return {
        **CREDENTIALS,
        "AWS_ENDPOINT_URL": url,
        "AWS_CONFIG_FILE": nowhere,
        "AWS_SHARED_CREDENTIALS_FILE": nowhere,
        "NO_PROXY": "127.0.0.1",
    }


def put_object(url: str, name: str, content: bytes = b"") -> None:
    """Writes an object of any name, such as the marker `folder/`, as other tools than ours do."""
    headers = {"Content-Type": "application/octet-stream"}
    request = urllib.request.Request(f"{url}/{BUCKET}/{quote(name)}", content, headers, method="PUT")
    urllib.request.urlopen(request, timeout=60).close()


def empty_uri() -> str:
    """A URI below which nothing is yet."""
    return f"s3://{BUCKET}/prefix {next(_NUMBERS)}"


def empty_store() -> ObjectStore:
    """An empty store on the server of the environment."""
    return ObjectStore(empty_uri())


def _make_bucket(url: str, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(urllib.request.Request(f"{url}/{BUCKET}", method="PUT"), timeout=10).close()
            return
        except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < until, error
            time.sleep(0.1)
