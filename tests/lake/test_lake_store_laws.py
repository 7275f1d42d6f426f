"""The laws that every store keeps. New stores are added to `stores`."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import UsageError
from pipeline.lake import atomic, probe
from pipeline.lake.atomic import claimed
from pipeline.lake.store import ABSENT, ANY, Store, StoreChangedError, Stored, StoreMissingError, check_uri, open_store
from tests.support.stores import EmptyStores, stores


@pytest.fixture(params=stores(), scope="module")
def empty(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmptyStores]:
    """Makes empty stores of one kind."""
    with request.param(tmp_path_factory) as make:
        yield make


@pytest.fixture
def store(empty: EmptyStores) -> Store:
    return empty()


def test_what_was_written_is_read_listed_and_fetched(store: Store, tmp_path: Path) -> None:
    written = store.write("a/b.bin", b"content")
    assert written == Stored("a/b.bin", 7, written.stamp)
    assert store.stat("a/b.bin") == written
    assert list(store.list()) == [written]
    assert store.read("a/b.bin") == (b"content", written.stamp)
    assert store.fetch("a/b.bin", tmp_path / "deep" / "copy") == written
    assert (tmp_path / "deep" / "copy").read_bytes() == b"content"


def test_files_are_written_like_bytes(store: Store, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(3_000_001))
    assert store.write("large", tmp_path / "large").size == 3_000_001
    store.fetch("large", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "large").read_bytes()


def test_an_empty_object_is_an_object(store: Store, tmp_path: Path) -> None:
    assert store.write("empty", b"").size == 0
    assert store.read("empty")[0] == b""
    store.fetch("empty", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b""


@pytest.mark.parametrize("name", ["day=2024-01-01/r%20é?.txt", "a b/日本 + ü.parquet", "x/#1&2;3'\"", "~a/b!c*(d)"])
def test_names_are_any_text(store: Store, tmp_path: Path, name: str) -> None:
    written = store.write(name, b"1")
    assert [stored.name for stored in store.list()] == [name]
    assert store.read(name) == (b"1", written.stamp)
    assert store.fetch(name, tmp_path / "copy").name == name
    store.remove([name])
    assert list(store.list()) == []


def test_what_is_not_there_is_missing(store: Store, tmp_path: Path) -> None:
    store.write("a/b", b"1")
    for name in ("no", "a", "a/b/c", "a/bc"):
        assert store.stat(name) is None
        with pytest.raises(StoreMissingError, match=name):
            store.read(name)
        with pytest.raises(StoreMissingError, match=name):
            store.fetch(name, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    assert list(store.list("no/")) == []


def test_an_empty_store_lists_nothing(store: Store) -> None:
    assert list(store.list()) == []
    assert list(store.list("a/")) == []
    store.remove(["a"])


def test_removed_objects_are_gone_and_others_stay(store: Store) -> None:
    for name in ("a/1", "a/2", "b"):
        store.write(name, b"1")
    store.remove(["a/1", "never there", "b"])
    assert [stored.name for stored in store.list()] == ["a/2"]
    store.remove([])


def test_a_prefix_is_text_not_a_folder(store: Store) -> None:
    for name in ("log/1", "log/10", "log/2", "logs/1"):
        store.write(name, b"1")
    assert [stored.name for stored in store.list("log/")] == ["log/1", "log/10", "log/2"]
    assert [stored.name for stored in store.list("log/1")] == ["log/1", "log/10"]
    assert [stored.name for stored in store.list("log")] == ["log/1", "log/10", "log/2", "logs/1"]


def test_the_list_is_sorted_by_name(store: Store) -> None:
    names = ["b", "a/é", "a/z", "a0", "Z", "a-/x"]
    for name in names:
        store.write(name, b"1")
    assert [stored.name for stored in store.list()] == sorted(names, key=str.encode)


def test_a_stamp_changes_with_the_content_and_never_comes_back(store: Store) -> None:
    stamps = [store.write("a", b"%d" % number).stamp for number in range(20)]
    assert len(set(stamps)) == 20


def test_put_if_absent(store: Store) -> None:
    first = store.write("a", b"first", over=ABSENT)
    with pytest.raises(StoreChangedError, match=r"a exists already"):
        store.write("a", b"second", over=ABSENT)
    assert store.read("a") == (b"first", first.stamp)
    store.remove(["a"])
    store.write("a", b"third", over=ABSENT)


def test_put_over_a_stamp(store: Store) -> None:
    first = store.write("a", b"first")
    second = store.write("a", b"second", over=first.stamp)
    with pytest.raises(StoreChangedError, match="a was changed meanwhile"):
        store.write("a", b"third", over=first.stamp)
    assert store.read("a") == (b"second", second.stamp)
    store.remove(["a"])
    with pytest.raises(StoreChangedError, match="a was removed meanwhile"):
        store.write("a", b"third", over=second.stamp)
    assert store.stat("a") is None


@pytest.mark.parametrize("over", [ABSENT, "the stamp"])
def test_exactly_one_of_many_writers_wins(store: Store, over: object) -> None:
    condition = ABSENT if over is ABSENT else store.write("a", b"before").stamp
    writers, won = 8, []
    start = threading.Barrier(writers)

    def write(number: int) -> None:
        start.wait()
        try:
            store.write("a", b"%d" % number, over=condition)
        except StoreChangedError:
            return
        won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.read("a")[0] == b"%d" % won[0]


def test_a_file_of_lines_that_many_add_to_gets_each_line_once(store: Store) -> None:
    """Whoever is told that somebody else was faster looks whether that was so: only the answer may have been lost."""
    store.write("lines", b"")

    def add(writer: int) -> None:
        for number in range(5):
            line = b"%d %d\n" % (writer, number)
            while True:
                content, stamp = store.read("lines")
                if line in content:
                    break
                with suppress(StoreChangedError):
                    store.write("lines", content + line, over=stamp)
                    break

    threads = [threading.Thread(target=add, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = store.read("lines")[0].splitlines()
    assert sorted(lines) == [b"%d %d" % (writer, number) for writer in range(4) for number in range(5)]


def test_who_removes_does_not_disturb_who_writes(store: Store) -> None:
    failed: list[BaseException] = []

    def write_and_remove(writer: int) -> None:
        try:
            for _ in range(5):
                store.write(f"folder/{writer}", b"1")
                assert store.read(f"folder/{writer}")[0] == b"1"
                store.remove([f"folder/{writer}"])
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write_and_remove, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert list(store.list()) == []


NAMES = st.sampled_from(["a", "b/c", "b/d", "e f/g"])
CONTENTS = st.binary(max_size=5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), NAMES, CONTENTS, st.sampled_from(["any", "absent", "current", "stale"])),
        st.tuples(st.just("remove"), NAMES, st.just(b""), st.just("")),
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_a_store_does_what_a_dictionary_does(empty: EmptyStores, steps: list[tuple[str, str, bytes, str]]) -> None:
    store = empty()
    expected: dict[str, bytes] = {}
    stamps: dict[str, str] = {}
    for serial, (action, name, content, over) in enumerate(steps):
        if action == "remove":
            store.remove([name])
            expected.pop(name, None)
            continue
        condition = {"any": ANY, "absent": ABSENT, "current": stamps.get(name, "none"), "stale": "stale"}[over]
        content += b" %d" % serial
        allowed = over == "any" or (over == "absent" and name not in expected) or (over == "current" and name in expected)
        if allowed:
            stamps[name] = store.write(name, content, over=condition).stamp
            expected[name] = content
        else:
            with pytest.raises(StoreChangedError):
                store.write(name, content, over=condition)
    assert [stored.name for stored in store.list()] == sorted(expected)
    for name, content in expected.items():
        assert store.read(name) == (content, stamps[name])


@pytest.mark.parametrize("name", ["", "/a", "a//b", "a/", "../a", "a/./b", "a\nb"])
def test_names_that_not_every_store_can_hold_are_refused(store: Store, name: str) -> None:
    with pytest.raises(UsageError, match="not a name for an object"):
        store.write(name, b"1")


def test_conditional_writes_and_the_clock_are_asked_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fast() -> float:
        return time.time() + 100

    ahead = probe.check_conditional_writes(store)
    assert ahead is not None and abs(ahead) < probe.MOST_SKEW_SECONDS
    monkeypatch.setattr(probe, "time", SimpleNamespace(time=fast))
    behind = probe.check_conditional_writes(store)
    assert behind is not None and -101 <= behind <= -98
    assert list(store.list()) == []


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("ftp://host/a", "'ftp' is not known|ftp://.*is not known.*Known: .*s3://"),
        ("s3://key:secret@bucket/a", "must not contain credentials"),
        ("s3:///a", "expected s3://bucket/prefix"),
        ("az://account", "expected az://account/container/prefix"),
        ("file://host/a", "three slashes"),
        ("s3://bucket/../a", "must not contain"),
        ("s3://bucket/a//b", "must not contain"),
    ],
)
def test_malformed_uris_are_refused(uri: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        check_uri(uri)
    assert "secret" not in str(refused.value)


def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    store = open_store(tmp_path.as_uri())
    store.write("a/b", b"1")
    (tmp_path / "a" / ".tmp-0123-c").write_bytes(b"half")
    assert [stored.name for stored in store.list()] == ["a/b"]
    with claimed(tmp_path / "a" / ".tmp-0123-c"):
        store.sweep()
        assert (tmp_path / "a" / ".tmp-0123-c").exists()
    store.sweep()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["b"]


def test_a_folder_that_somebody_removes_while_it_is_empty_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, removed = atomic.create, []

    def create_too_late(path: Path) -> None:
        if not removed:
            path.parent.rmdir()
            removed.append(path.parent)
        create(path)

    monkeypatch.setattr(atomic, "create", create_too_late)
    store = open_store(tmp_path.as_uri())
    store.write("a/b", b"1")
    assert removed == [tmp_path / "a"] and store.read("a/b")[0] == b"1"


def test_a_file_uri_names_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a share"
    store = open_store(folder.as_uri() + "/")
    store.write("a", b"1")
    assert (folder / "a").read_bytes() == b"1"
    assert store.uri == folder.as_uri()
