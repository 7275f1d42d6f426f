"""Buckets as stores, on a real S3 server: faults of the network and of the server, and what people are told."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.errors import CannotWriteError, DataError, InputNotFoundError, StorageUnavailableError, UsageError
from pipeline.lake import object_client, object_store
from pipeline.lake.aws_profile import from_profile
from pipeline.lake.object_client import INSTALL
from pipeline.lake.object_errors import translated
from pipeline.lake.object_store import PART_BYTES, ObjectStore
from pipeline.lake.probe import MOST_SKEW_SECONDS, check_conditional_writes
from pipeline.lake.store import (
    ABSENT,
    StoreChangedError,
    StoreMissingError,
    StoreRefusedError,
    StoreUnsupportedError,
    open_store,
)
from tests.support.faulty_proxy import Faults, faulty
from tests.support.paths import ROOT
from tests.support.s3_server import BUCKET, CREDENTIALS, empty_store, empty_uri, environment, put_object, s3_server

SECRET = CREDENTIALS["AWS_SECRET_ACCESS_KEY"]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def faults() -> Faults:
    """None yet: a test adds its own."""
    return Faults()


@pytest.fixture
def store(server: str, faults: Faults) -> Iterator[ObjectStore]:
    """An empty store behind the faults."""
    with faulty(server, faults) as url, environment(url):
        yield empty_store()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that refuses is given up at once."""
    monkeypatch.setattr(object_client, "RETRIES", {"max_retries": 0, "retry_timeout": timedelta(seconds=1)})
    monkeypatch.setattr(object_store, "ATTEMPTS", 1)


@pytest.mark.s3
def test_a_large_file_goes_in_parts_and_comes_back_whole(store: ObjectStore, faults: Faults, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(os.urandom(PART_BYTES * 2 + 12345))
    store.write("large", tmp_path / "large")
    assert faults.counts["PUT"] == 3 and faults.counts["POST"] == 2
    assert store.fetch("large", tmp_path / "copy").size == PART_BYTES * 2 + 12345
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "large").read_bytes()


@pytest.mark.s3
def test_a_download_goes_on_where_the_server_hung_up(store: ObjectStore, faults: Faults, tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    store.write("a", content)
    faults.hang_up_every = 2
    for number in range(4):
        store.fetch("a", tmp_path / str(number))
        assert (tmp_path / str(number)).read_bytes() == content
    assert faults.counts["hung up"] >= 3


@pytest.mark.s3
@pytest.mark.usefixtures("impatient")
def test_a_server_that_only_hangs_up_is_unreachable_and_leaves_no_file(
    store: ObjectStore, faults: Faults, tmp_path: Path
) -> None:
    store.write("a", bytes(1000))
    faults.hang_up_every = 1
    with pytest.raises(StorageUnavailableError, match="does not answer"):
        store.fetch("a", tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.s3
def test_an_object_that_is_replaced_while_it_is_fetched_arrives_as_one_of_the_two(
    store: ObjectStore, faults: Faults, tmp_path: Path
) -> None:
    store.write("a", b"1" * 5_000_000)
    faults.hang_up_every = 3
    ended = threading.Event()

    def replace() -> None:
        number = 0
        while not ended.wait(0.2):
            number += 1
            store.write("a", b"%d" % (number % 10) * 5_000_000)

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        for number in range(10):
            store.fetch("a", tmp_path / str(number))
            assert len(set((tmp_path / str(number)).read_bytes())) == 1
    finally:
        ended.set()
        thread.join()
    assert faults.counts["hung up"] > 0


@pytest.mark.s3
def test_content_that_is_not_what_was_written_is_refused(store: ObjectStore, tmp_path: Path) -> None:
    import obstore

    told = {"sha256": hashlib.sha256(b"what was meant").hexdigest()}
    obstore.put(store._client, "a", b"what is there", attributes=told)  # noqa: SLF001
    with pytest.raises(DataError, match=r"a: the content that arrived is not the one that was written.*again"):
        store.fetch("a", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.s3
def test_objects_of_other_tools_are_read(store: ObjectStore) -> None:
    import obstore

    obstore.put(store._client, "a", b"1")  # noqa: SLF001
    assert store.read("a")[0] == b"1"


@pytest.mark.s3
def test_a_write_whose_answer_was_lost_is_known_to_have_been_done(store: ObjectStore, faults: Faults) -> None:
    faults.lose_every = 1
    first = store.write("a", b"first", over=ABSENT)
    assert faults.counts["lost"] >= 1
    second = store.write("a", b"second", over=first.stamp)
    third = store.write("a", b"third")
    faults.lose_every = 0
    assert store.read("a") == (b"third", third.stamp)
    assert len({first.stamp, second.stamp, third.stamp}) == 3


@pytest.mark.s3
def test_two_writers_of_the_same_content_are_told_apart_when_answers_are_lost(store: ObjectStore, faults: Faults) -> None:
    faults.lose_every = 2
    for number in range(6):
        won = []
        start = threading.Barrier(2)

        def write(name: str, start: threading.Barrier = start, won: list[int] = won) -> None:
            start.wait()
            try:
                store.write(name, b"the same", over=ABSENT)
                won.append(1)
            except StoreChangedError:
                pass

        threads = [threading.Thread(target=write, args=(f"a{number}",)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
    assert faults.counts["lost"] > 0


@pytest.mark.s3
def test_a_slow_server_is_waited_for(store: ObjectStore, faults: Faults) -> None:
    faults.delay_seconds = 0.7
    store.write("a", b"1", over=ABSENT)
    assert store.read("a")[0] == b"1"


@pytest.mark.s3
def test_the_question_about_conditional_writes(store: ObjectStore) -> None:
    ahead = check_conditional_writes(store)
    assert ahead is not None and abs(ahead) < MOST_SKEW_SECONDS
    assert list(store.list()) == []


@pytest.mark.s3
@pytest.mark.parametrize(("header", "named"), [("if-none-match", "If-None-Match"), ("if-match", "If-Match")])
def test_a_store_without_conditional_writes_is_refused(store: ObjectStore, faults: Faults, header: str, named: str) -> None:
    faults.drop = (header,)
    with pytest.raises(StoreUnsupportedError, match=rf"does not support conditional writes \({named}\).*folder") as refused:
        check_conditional_writes(store)
    assert refused.value.exit_code == 69
    assert list(store.list()) == []


@pytest.mark.s3
def test_a_refusal_says_what_to_check_and_not_the_secret(store: ObjectStore, faults: Faults) -> None:
    store.write("a", b"1")
    faults.deny = ("PUT", "GET", "HEAD", "POST", "DELETE")
    with pytest.raises(CannotWriteError, match=r"s3://.*/a: the store denies writing.*object-stores\.md") as denied:
        store.write("a", b"2")
    assert SECRET not in str(denied.value) and denied.value.exit_code == 73
    for ask in (lambda: store.read("a"), lambda: store.stat("a"), lambda: list(store.list())):
        with pytest.raises(StoreRefusedError, match="the store denies reading") as refused:
            ask()
        assert refused.value.exit_code == 69
    with pytest.raises(CannotWriteError):
        store.write("b", b"2", over=ABSENT)
    with pytest.raises(CannotWriteError):
        store.remove(["a"])


@pytest.mark.s3
def test_a_bucket_that_is_not_there_is_named(store: ObjectStore, tmp_path: Path) -> None:
    absent = ObjectStore("s3://no-such-bucket/lake")
    for ask in (lambda: absent.read("a"), lambda: list(absent.list()), lambda: absent.write("a", b"1", over=ABSENT)):
        with pytest.raises(InputNotFoundError, match="s3://no-such-bucket/lake: there is no such bucket"):
            ask()


@pytest.mark.usefixtures("impatient")
def test_a_server_that_is_not_there_is_unreachable() -> None:
    with environment("http://127.0.0.1:9"):
        store = ObjectStore(empty_uri())
        asks = (
            lambda: store.read("a"),
            lambda: list(store.list()),
            lambda: store.write("a", b"1"),
            lambda: store.write("a", b"1", over=ABSENT),
            lambda: store.remove(["a"]),
        )
        for ask in asks:
            with pytest.raises(StorageUnavailableError, match=r"s3://.* does not answer: .*Check the network") as failed:
                ask()
            assert failed.value.exit_code == 69 and SECRET not in str(failed.value)


@pytest.mark.s3
@pytest.mark.usefixtures("impatient")
def test_what_is_missing_is_missing_and_not_asked_for_again(store: ObjectStore, faults: Faults) -> None:
    with pytest.raises(StoreMissingError):
        store.read("a")
    assert faults.counts["GET"] == 1


@pytest.mark.parametrize("status, code", [(400, "ExpiredToken"), (403, "ExpiredToken"), (400, "TokenRefreshRequired")])
def test_credentials_that_expired_are_said_to_have_expired(status: int, code: str) -> None:
    from obstore.exceptions import GenericError

    text = f"Error performing PUT - Server returned non-2xx status code: {status}: <Error><Code>{code}</Code></Error>"
    for writing in (False, True):
        error = translated(GenericError(text), "s3://bucket", "a", writing=writing)
        assert isinstance(error, StoreRefusedError) and error.exit_code == 69
        assert "s3://bucket/a: the credentials have expired. Renew them" in str(error)


def test_what_the_store_does_not_accept_is_not_a_matter_of_the_network() -> None:
    from obstore.exceptions import GenericError

    text = "Error performing {} - Server returned non-2xx status code: 400 Bad Request: {}"
    refused = translated(GenericError(text.format("HEAD", "")), "s3://bucket", "a", writing=False)
    assert isinstance(refused, StoreRefusedError) and "400 Bad Request. Check the credentials" in str(refused)
    slow = "<Error><Code>RequestTimeout</Code></Error>"
    again = translated(GenericError(text.format("PUT", slow)), "s3://bucket", "a", writing=True)
    assert isinstance(again, StorageUnavailableError) and not isinstance(again, StoreRefusedError)


@pytest.mark.s3
def test_markers_of_folders_are_no_objects(server: str, store: ObjectStore) -> None:
    prefix = store.uri.removeprefix(f"s3://{BUCKET}/")
    for name in ("", "raw/", "raw/2026/", "empty/", "raw/2026/nothing.txt"):
        put_object(server, f"{prefix}/{name}")
    store.write("raw/2026/a.csv", b"1")
    store.write("nothing", b"")
    assert [stored.name for stored in store.list()] == ["nothing", "raw/2026/a.csv", "raw/2026/nothing.txt"]
    assert [stored.name for stored in store.list("raw/")] == ["raw/2026/a.csv", "raw/2026/nothing.txt"]


@pytest.mark.parametrize("place", ["169.254.169.254/latest/api/token", "metadata.google.internal/computeMetadata"])
def test_missing_credentials_are_said_to_be_missing(place: str) -> None:
    from obstore.exceptions import GenericError

    text = f"Generic S3 error: Error performing PUT http://{place} in 3ms - Server returned status code: 403 Forbidden"
    error = translated(GenericError(text), "s3://bucket", "a", writing=True)
    assert isinstance(error, StoreRefusedError) and error.exit_code == 69
    assert "no credentials for s3://bucket were found" in str(error) and "object-stores.md" in str(error)


def test_without_the_extra_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['obstore'] = None; sys.argv = ['pipeline', 'ingest', 's3://bucket/raw/']; "
        "from pipeline.cli.app import run_command_line; sys.exit(run_command_line())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert f"s3://bucket needs obstore, which is not installed. Install it with: {INSTALL}" in done.stderr
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert INSTALL == "pip install 'review-pipeline[s3]'" and any(line.startswith("obstore") for line in extras["s3"])


@pytest.fixture
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the files with profiles, of which there are none yet."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return tmp_path


def test_without_profiles_the_environment_decides(profiles: Path) -> None:
    assert from_profile() == {}


def test_keys_region_and_endpoint_come_from_the_profile(profiles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (profiles / "credentials").write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n[other]\n")
    (profiles / "config").write_text(
        "[default]\nregion = eu-central-1\n[profile work]\naws_access_key_id = c\naws_secret_access_key = d\n"
        "aws_session_token = e\nendpoint_url = http://localhost:9000\n[sso-session x]\nsso_region = y\n"
    )
    assert from_profile() == {"region": "eu-central-1", "access_key_id": "a", "secret_access_key": "b"}
    monkeypatch.setenv("AWS_PROFILE", "work")
    keys = {"access_key_id": "c", "secret_access_key": "d", "session_token": "e"}
    assert from_profile() == {"endpoint": "http://localhost:9000", **keys}
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:9001")
    assert from_profile() == keys
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "f")
    assert from_profile() == {}


def test_a_profile_that_is_not_there_is_named(profiles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (profiles / "config").write_text("[profile work]\nregion = eu-central-1\n")
    monkeypatch.setenv("AWS_PROFILE", "wrok")
    with pytest.raises(UsageError, match=r"'wrok' is not known\. Did you mean 'work'"):
        from_profile()


def test_a_profile_that_asks_somebody_needs_boto3(profiles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (profiles / "config").write_text("[default]\nsso_session = x\n")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"uses sso_session, for which boto3 is needed.*pip install boto3"):
        from_profile()


def test_boto3_asks_for_the_credentials_of_a_profile(profiles: Path) -> None:
    answer = {"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b", "SessionToken": "c"}
    (profiles / "answer.json").write_text(json.dumps(answer))
    (profiles / "config").write_text(f"[default]\ncredential_process = cat {profiles / 'answer.json'}\n")
    found = from_profile()
    keys = found["credential_provider"]()
    assert (keys["access_key_id"], keys["secret_access_key"], keys["token"]) == ("a", "b", "c")


@pytest.mark.parametrize("uri", ["s3://bucket", "s3://bucket/lake", "gs://bucket/lake", "az://account/container/lake"])
def test_stores_are_opened_without_asking_them(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_store(f"{uri}/").uri == uri


def test_a_damaged_file_of_profiles_is_named_without_its_secrets(profiles: Path) -> None:
    (profiles / "credentials").write_text("aws_secret_access_key = the-secret\n")
    with pytest.raises(UsageError, match=r"credentials cannot be read: line 1 is invalid") as refused:
        from_profile()
    assert "the-secret" not in str(refused.value)
