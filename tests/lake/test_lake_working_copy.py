"""A lake on a store, worked on in local copies: what one machine commits, another finds; nothing is lost or doubled."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import load
from pipeline.errors import StorageUnavailableError
from pipeline.lake.folder_store import FolderStore
from pipeline.lake.store import StoreChangedError, Stored
from pipeline.lake.working_copy import WorkingCopy, merge_lines
from tests.support.commands import Run
from tests.support.machines import Machine, contents, review_ids
from tests.support.table_rows import table_rows

TRAIN = ("train", "--arch", "rnn", "--epochs", 1, "--embedding-dim", 4, "--hidden-dim", 4, "--no-baseline")


def csv(path: Path, *texts: str) -> Path:
    path.write_text("text,label\n" + "".join(f"{text},{('neg', 'pos')[n % 2]}\n" for n, text in enumerate(texts)))
    return path


def before_commit(monkeypatch: pytest.MonkeyPatch, step: Callable[[], object]) -> None:
    """Calls `step` once, when the next commit is about to enter the store and the lease of the run has expired."""
    commit, steps = WorkingCopy.commit, [step]

    def late(self: WorkingCopy, *arguments: Any) -> None:
        if steps:
            self.store.remove([stored.name for stored in self.store.list(".locks/")])
            steps.pop()()
        commit(self, *arguments)

    monkeypatch.setattr(WorkingCopy, "commit", late)


def test_another_machine_finds_what_was_ingested(machine: Machine, other: Machine, corpus: Path) -> None:
    receipt = machine.done("ingest", corpus)
    assert receipt["outputs"]["tokens"] == f"{machine.lake}/tokens"
    again = other.done("ingest", corpus, code=99)
    assert again["known"] == receipt["written"] == 130


def test_a_second_writer_is_told_to_run_again_and_nothing_is_lost(
    machine: Machine, other: Machine, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.done("ingest", csv(tmp_path / "first.csv", "one", "two"))
    mine, theirs = csv(tmp_path / "mine.csv", "three", "four"), csv(tmp_path / "theirs.csv", "five", "six")
    before_commit(monkeypatch, lambda: other.done("ingest", theirs))
    outcome = machine.run("ingest", mine)
    assert outcome.code == 75
    assert "somebody else has committed version 1" in outcome.stderr and "run the same command again" in outcome.stderr
    assert sum(table_rows(store).values()) == 4
    assert machine.done("ingest", mine)["written"] == 2
    assert sorted(table_rows(store).values()) == [1] * 6


def test_a_commit_whose_answer_was_lost_counts(
    machine: Machine, store: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = FolderStore.write

    def unanswered(self: FolderStore, name: str, content: Any, **options: Any) -> Stored:
        stored = write(self, name, content, **options)
        if name.startswith("tokens/_delta_log/"):
            raise StoreChangedError(f"{name} exists already")
        return stored

    monkeypatch.setattr(FolderStore, "write", unanswered)
    assert machine.done("ingest", corpus)["written"] == 130
    assert sum(table_rows(store).values()) == 130


@pytest.mark.slow
def test_commands_that_only_read_write_nothing(machine: Machine, other: Machine, store: Path, corpus: Path) -> None:
    machine.done("ingest", corpus)
    machine.done(*TRAIN)
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    for words in (("status",), ("runs",), ("models",), ("models", "show"), ("vocab",), ("inspect", corpus)):
        assert other.run(*words).code == 0, words
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == before


@pytest.mark.slow
def test_shards_are_fetched_when_they_are_read(machine: Machine, other: Machine, corpus: Path) -> None:
    machine.done("ingest", corpus)
    said = other.said("doctor") + other.said("status", code=1)
    assert not list(other.root.glob("tokens/*.parquet"))
    assert f"working copy of {machine.lake} in {other.root.parent}" in said
    assert f"of {machine.lake}, in {other.root.parent}: " in said
    assert "130 reviews" in said
    assert other.done(*TRAIN)["read"] == 120
    assert len(list(other.root.glob("tokens/*.parquet"))) == 3


def test_shards_beyond_the_size_of_the_cache_go_and_come_back(machine: Machine, store: Path, corpus: Path) -> None:
    machine.done("ingest", corpus)
    machine.run("runs", PIPELINE_CACHE_SIZE="0")
    assert not list(machine.root.glob("tokens/*.parquet"))
    assert machine.done("ingest", corpus, code=99, PIPELINE_CACHE_SIZE="0")["known"] == 130
    assert len(list(store.glob("tokens/*.parquet"))) == 3


def test_a_size_that_is_none_is_refused(machine: Machine, corpus: Path) -> None:
    outcome = machine.run("runs", PIPELINE_CACHE_SIZE="much")
    assert outcome.code == 2 and "'50 GB'" in outcome.stderr


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["everything", "stamps", "log", "models", "shards", "LATEST"])
def test_what_is_lost_of_a_working_copy_comes_back(lost: str, machine: Machine, store: Path, corpus: Path) -> None:
    machine.done("ingest", corpus)
    machine.done(*TRAIN)
    before = contents(store)
    places = {
        "everything": machine.cache,
        "stamps": machine.root / ".origin" / "stamps.json",
        "log": machine.root / "tokens" / "_delta_log",
        "models": machine.root / "models",
        "shards": machine.root / "tokens",
        "LATEST": machine.root / "models" / "LATEST",
    }
    place = places[lost]
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    assert machine.done("vacuum", "--keep-hours", 0, code=99)["metrics"]["deleted"] == 0
    assert machine.done("ingest", corpus, code=99)["known"] == 130
    assert machine.run("doctor", "--verify").code == 0
    assert {name: content for name, content in contents(store).items() if name in before} == before


def test_what_nobody_committed_is_dropped_from_a_working_copy(machine: Machine, store: Path, corpus: Path) -> None:
    machine.done("ingest", corpus)
    (log,) = machine.root.glob("tokens/_delta_log/*.json")
    log.with_name(f"{1:020d}.json").write_text(log.read_text())
    shard = next(machine.root.glob("tokens/*.parquet"))
    shutil.copy(shard, shard.with_name(f"train-{'0' * 64}.parquet"))
    assert machine.done("ingest", corpus, code=99)["known"] == 130
    assert len(list(machine.root.glob("tokens/_delta_log/*.json"))) == 1
    assert len(list(machine.root.glob("tokens/*.parquet"))) == len(list(store.glob("tokens/*.parquet"))) == 3


@pytest.mark.slow
def test_a_model_that_could_not_be_pushed_goes_with_the_next_push(
    machine: Machine, store: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.done("ingest", corpus)
    with monkeypatch.context() as patched:
        write = FolderStore.write
        patched.setattr(
            FolderStore,
            "write",
            lambda self, name, *rest, **options: (
                write(self, name, *rest, **options) if name.startswith(".locks/") else unreachable()
            ),
        )
        outcome = machine.run(*TRAIN)
    assert outcome.code == 69 and "does not answer" in outcome.stderr
    assert not (store / "models").exists()
    assert machine.done(*TRAIN, code=99)["outputs"]["model_id"] == (store / "models" / "LATEST").read_text().strip()
    (decision,) = (store / "models" / "decisions.jsonl").read_text().splitlines()
    assert json.loads(decision)["decision"] == "promoted"


def unreachable() -> Stored:
    raise StorageUnavailableError("the store does not answer. Check the network, then run the same command again.")


@pytest.mark.slow
def test_a_pull_that_breaks_off_does_not_push_old_files_later(
    machine: Machine, other: Machine, store: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.done("ingest", corpus)
    models = [machine.done(*TRAIN, "--seed", seed)["outputs"]["model_id"] for seed in (1, 2)]
    assert other.run("models", "promote", models[0]).code in (0, 99)
    assert machine.run("models", "promote", models[1]).code in (0, 99)
    fetch = FolderStore.fetch
    with monkeypatch.context() as patched:
        patched.setattr(
            FolderStore,
            "fetch",
            lambda self, name, path: unreachable() if name == "models/LATEST" else fetch(self, name, path),
        )
        assert other.run("runs").code == 69
    other.done("ingest", corpus, code=99)
    assert (store / "models" / "LATEST").read_text().strip() == models[1]


@pytest.mark.slow
def test_what_is_lost_beside_a_run_is_not_removed_in_the_store(
    machine: Machine, store: Path, corpus: Path, pipeline: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.done("ingest", corpus)
    machine.done(*TRAIN)
    before = contents(store / "models")

    def beside() -> None:
        shutil.rmtree(machine.root / "models")
        Machine(pipeline, machine.lake, machine.cache).run("vacuum", "--keep-hours", 0)

    late = csv(machine.cache.parent / "late.csv", "late", "later")
    before_commit(monkeypatch, beside)
    machine.run("ingest", late)
    assert contents(store / "models") == before
    assert machine.run("doctor", "--verify").code == 0


def test_without_the_store_a_command_says_so(machine: Machine, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.done("ingest", corpus)
    monkeypatch.setattr(FolderStore, "list", lambda *_: unreachable())
    outcome = machine.run("status")
    assert outcome.code == 69
    assert "does not answer" in outcome.stderr and "Nothing was done" in outcome.stderr


@pytest.mark.slow
def test_of_two_promotions_at_a_time_one_counts(
    machine: Machine, other: Machine, store: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.done("ingest", corpus)
    models = [machine.done(*TRAIN, "--seed", seed)["outputs"]["model_id"] for seed in (1, 2, 3)]
    machine.run("models", "promote", models[0])
    push, pushes = WorkingCopy.push, [lambda: other.run("models", "promote", models[1])]

    def late(self: WorkingCopy, command: str = "") -> None:
        if pushes:
            pushes.pop()()
        push(self, command)

    monkeypatch.setattr(WorkingCopy, "push", late)
    outcome = machine.run("models", "promote", models[2])
    assert outcome.code == 75 and "models/LATEST" in outcome.stderr
    assert (store / "models" / "LATEST").read_text().strip() == models[1]
    history = [json.loads(line)["model_id"] for line in (store / "models" / "live.jsonl").read_text().splitlines()]
    assert history[-1] == models[1] and models[2] not in history[-2:]
    assert machine.run("models", "promote", models[2]).code == 0
    assert (store / "models" / "LATEST").read_text().strip() == models[2]


def test_lines_that_two_machines_add_are_all_kept() -> None:
    assert merge_lines(b"a\nb\n", b"a\nc\n") == b"a\nb\nc\n"
    assert merge_lines(b"a\nb\n", b"a\n") == b"a\nb\n"
    assert merge_lines(b"a", b"c\n") == b"a\nc\n"
    theirs, ours = (b'{"model_id": "m", "run_id": "%d", "decision": "promoted"}\n' % run for run in (1, 2))
    assert merge_lines(theirs, ours) == theirs  # the training was finished on both


def test_a_command_beside_a_run_leaves_its_work_alone(
    machine: Machine, store: Path, corpus: Path, pipeline: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = Machine(pipeline, machine.lake, machine.cache)
    before_commit(monkeypatch, lambda: beside.said("runs"))
    assert machine.done("ingest", corpus)["written"] == 130
    assert sum(table_rows(store).values()) == 130
    assert machine.run("doctor", "--verify").code == 0


def test_what_is_vacuumed_or_erased_is_gone_everywhere(
    machine: Machine, other: Machine, store: Path, corpus: Path, tmp_path: Path
) -> None:
    machine.done("ingest", corpus)
    film = corpus / "aclImdb" / "train" / "pos" / "3_9.txt"
    film.write_text("This was written again.")
    other.done("ingest", corpus)
    shards = set(store.glob("tokens/*.parquet"))
    assert machine.done("vacuum", "--keep-hours", 0)["metrics"]["deleted"] == 1
    assert len(set(store.glob("tokens/*.parquet"))) == len(shards) - 1
    assert other.done("ingest", corpus, code=99)["known"] == 130
    machine.done("erase", "--review-id", film.as_uri())
    assert film.as_uri() not in review_ids(store.glob("tokens/*.parquet"))
    other.run("runs")
    assert film.as_uri() not in review_ids(other.root.glob("tokens/*.parquet"))
    assert other.run("doctor", "--verify").code == 0


def test_a_shard_that_is_vacuumed_while_it_is_committed_again_stays(
    machine: Machine, other: Machine, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = csv(tmp_path / "a.csv", "one", "two")
    machine.done("ingest", source)
    csv(source, "three", "four")
    machine.done("ingest", source)
    csv(source, "one", "two")  # gives the very shard that the first version had
    before_commit(monkeypatch, lambda: other.done("vacuum", "--keep-hours", 0))
    assert machine.run("ingest", source).code in (0, 75)  # the vacuum may have taken the version
    machine.run("ingest", source)
    assert sum(table_rows(store).values()) == 2
    assert other.run("doctor", "--verify").code == 0


def test_shards_that_no_version_uses_are_vacuumed_once_they_are_old(
    machine: Machine, other: Machine, store: Path, corpus: Path
) -> None:
    machine.done("ingest", corpus)
    used = next(store.glob("tokens/train-*.parquet"))
    young, old = (used.with_name(f"train-{digit * 64}.parquet") for digit in "01")
    for path, age in ((young, 0), (old, 30 * 86_400)):
        shutil.copy(used, path)
        os.utime(path, (time.time() - age,) * 2)
    unfinished = used.with_name(f".tmp-0a0b0c0d-{used.name}")
    unfinished.write_bytes(b"a writer was killed here")
    deleted = other.done("vacuum")["metrics"]["files"]
    assert deleted == [old.name]
    assert not unfinished.exists() and not list(store.glob(".locks/train-*.lease"))
    assert young.exists() and not old.exists()


def test_a_shard_that_is_damaged_in_a_working_copy_is_fetched_again(machine: Machine, store: Path, corpus: Path) -> None:
    machine.done("ingest", corpus)
    before = contents(store / "tokens")
    shard = next(machine.root.glob("tokens/train-*.parquet"))
    status = shard.stat()
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    os.utime(shard, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert machine.run("doctor", "--verify").code == 0
    assert shard.read_bytes() == before[shard.name]
    assert machine.done("repair", code=99)


def test_a_shard_that_is_damaged_in_the_store_is_repaired_from_its_sources(
    machine: Machine, other: Machine, store: Path, corpus: Path
) -> None:
    machine.done("ingest", corpus)
    rows = table_rows(store)
    shard = next(store.glob("tokens/train-*.parquet"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    assert other.run("doctor", "--verify").code == 65
    assert other.done("repair")["metrics"]["shards"] == 1
    assert table_rows(store) == rows
    for one in (machine, other):
        assert one.run("doctor", "--verify").code == 0


def test_a_delivery_is_taken_back_on_another_machine(machine: Machine, other: Machine, store: Path, tmp_path: Path) -> None:
    machine.done("ingest", csv(tmp_path / "good.csv", "one", "two"))
    rows = table_rows(store)
    bad = csv(tmp_path / "bad.csv", "three", "four")
    machine.done("ingest", bad)
    assert other.done("retract", "latest")["metrics"]["removed"] == 2
    assert table_rows(store) == rows
    assert machine.done("ingest", bad, code=99)["metrics"]["retracted"] == 2
    machine.done("upgrade", code=99)


def test_what_is_committed_counts_although_the_store_then_goes_away(
    machine: Machine, other: Machine, store: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = FolderStore.write
    gone: list[bool] = []

    def last(self: FolderStore, name: str, content: Any, **options: Any) -> Stored:
        if gone:
            unreachable()
        gone.extend([True] * name.startswith("tokens/_delta_log/"))
        return write(self, name, content, **options)

    with monkeypatch.context() as patched:
        patched.setattr(FolderStore, "write", last)
        outcome = machine.run("ingest", corpus)
    assert outcome.code == 0 and "does not answer" in outcome.stderr
    assert not list(store.glob("runs/*.json"))
    for lease in store.glob(".locks/*.lease"):
        lease.unlink()  # it expires
    assert other.done("ingest", corpus, code=99)["known"] == 130
    assert machine.done("ingest", corpus, code=99)["known"] == 130
    assert len(list(store.glob("runs/*-ingest-*.json"))) == 3


@pytest.mark.slow
def test_places_inside_the_lake_may_be_named_by_their_uri(
    machine: Machine, other: Machine, store: Path, tmp_path: Path
) -> None:
    for folder in ("raw", "incoming"):
        (store / folder).mkdir(parents=True)
    csv(store / "raw" / "a.csv", *(f"film {n} was {('bad', 'good')[n % 2]}" for n in range(40)))
    csv(store / "incoming" / "b.csv", "film 1 was good", "film 2 was bad")
    receipt = machine.done("ingest", f"{machine.lake}/raw/a.csv")
    assert machine.done("ingest", code=99)["known"] == receipt["written"] == 40
    assert next(iter(table_rows(store)))[0].startswith("raw/a.csv")
    machine.done(*TRAIN)
    output = f"{machine.lake}/predictions/c.csv"
    scored = other.done("score", f"{machine.lake}/incoming/b.csv", "--output", output)
    assert scored["outputs"]["predictions"] == output
    assert (store / "predictions" / "c.csv").read_text().count("\n") == 3
    record = json.loads((store / "runs" / f"{scored['run_id']}.json").read_bytes())
    assert record["config"]["lake"] == machine.lake and str(other.cache) not in json.dumps(record)
    again = ("score", f"{machine.lake}/incoming/b.csv", "--output", output)
    assert machine.done(*again, code=99)["known"] == 2


def test_patterns_and_settings_name_files_of_the_lake(machine: Machine, other: Machine, store: Path) -> None:
    (store / "raw" / "day").mkdir(parents=True)
    csv(store / "raw" / "day" / "a.csv", "film 1 was bad", "film 2 was good")
    assert machine.done("ingest", f"{machine.lake}/raw/*/*.csv")["written"] == 2
    (store / "pipeline.toml").write_text('[ingest]\nsource = ["raw/day"]\n')
    assert other.done("ingest", code=99)["known"] == 2
    shutil.rmtree(other.root.parent)
    (store / "pipeline.toml").write_text(f'[ingest]\nsource = ["{machine.lake}/raw/day/a.csv"]\n')
    assert other.done("ingest", code=99)["known"] == 2


def test_a_file_of_the_lake_is_inspected_under_its_uri(machine: Machine, store: Path, tmp_path: Path) -> None:
    (store / "raw").mkdir(parents=True)
    csv(store / "raw" / "a.csv", "film 1 was bad", "film 2 was good")
    # The cache is below the working folder, as that of a user is below the home.
    inspected = machine.command("--lake", machine.lake, "inspect", cwd=tmp_path, PIPELINE_CACHE=str(machine.cache))
    assert f"{machine.lake}/raw/a.csv" in inspected.stdout and f"{machine.cache.name}/" not in inspected.stdout


def test_what_others_put_into_a_lake_is_fetched_when_it_is_read(machine: Machine, store: Path) -> None:
    (store / "archive").mkdir(parents=True)
    csv(store / "archive" / "a.csv", "film 1 was bad", "film 2 was good")
    csv(store / "export.csv", "film 3 was bad")
    machine.said("runs")
    assert not list(machine.root.rglob("*.csv"))
    assert machine.done("ingest", f"{machine.lake}/archive/")["written"] == 2
    assert [path.name for path in machine.root.rglob("*.csv")] == ["a.csv"]


@pytest.mark.slow
def test_a_model_is_loaded_from_python(
    machine: Machine, other: Machine, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.done("ingest", corpus)
    model_id = machine.done(*TRAIN)["outputs"]["model_id"]
    monkeypatch.setenv("PIPELINE_CACHE", str(other.cache))
    with load(machine.lake) as model:
        assert model.model_id == model_id
        assert model.predict_proba(["a good film"]).shape == (1, 2)


def test_workers_of_a_launcher_do_not_pull_again(machine: Machine, corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.done("ingest", corpus)
    copy = WorkingCopy(machine.root, machine.lake)
    monkeypatch.setenv("PIPELINE_OPENED", machine.lake)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(FolderStore, "list", lambda *_: unreachable())
    copy.open()
    monkeypatch.delenv("RANK")
    with pytest.raises(StorageUnavailableError):
        copy.open()


def test_credentials_and_other_storages_are_refused(command: Run) -> None:
    assert "must not contain credentials" in command("--lake", "s3://key:secret@bucket/lake", "status").stderr
    outcome = command("--lake", "ftp://host/lake", "status")
    assert outcome.code == 2 and "ftp://" in outcome.stderr and "s3://" in outcome.stderr
    outcome = command("--lake", "s3:/bucket/lake", "status")
    assert outcome.code == 2 and "two slashes, such as s3://bucket/lake" in outcome.stderr
