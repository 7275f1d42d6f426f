"""Bad inputs: the message that a person reads, the exit code, no traceback, and a lake that stays as it was or whole."""

import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cli.app import PLACES
from pipeline.cli.derive import configs
from pipeline.lake.content import footer_sha256
from pipeline.lake.manifest import write_manifest
from pipeline.options.option import fields_of
from tests.support.commands import Run, run_here
from tests.support.paths import ROOT
from tests.support.reviews import write_corpus


@dataclass(frozen=True)
class Place:
    """A lake with a table and a model, and a folder for bad files."""

    lake: Path
    work: Path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, command: Run) -> Path:
    lake = tmp_path_factory.mktemp("trained") / "lake"
    write_corpus(lake / "raw")
    assert command("ingest", "--lake", lake).code == 0
    small = ("--epochs", 1, "--embedding-dim", 4, "--hidden-dim", 4)
    assert command("train", "--lake", lake, "--arch", "rnn", *small).code == 0
    return lake


@pytest.fixture
def place(trained: Path, tmp_path: Path) -> Place:
    shutil.copytree(trained, tmp_path / "lake")
    (tmp_path / "work").mkdir()
    return Place(tmp_path / "lake", tmp_path / "work")


Arguments = list[object]
Prepare = Callable[[Place], Arguments]
CASES: dict[str, tuple[int, str, Prepare]] = {}


def case(code: int, message: str) -> Callable[[Prepare], Prepare]:
    """Registers a bad input: exit code, a pattern of the message, and a function that makes it and gives the command."""

    def register(prepare: Prepare) -> Prepare:
        CASES[prepare.__name__] = (code, message, prepare)
        return prepare

    return register


def reviews(place: Place, **columns: pa.Array | list[object]) -> Path:
    pq.write_table(pa.table(columns), place.work / "in.parquet")
    return place.work / "in.parquet"


def written(place: Place, name: str, content: bytes) -> Path:
    path = place.work / name
    path.write_bytes(content)
    return path


@case(66, r"no such file or folder: .*nowhere.*Check the path")
def ingest_no_such_path(place: Place) -> Arguments:
    return ["ingest", place.work / "nowhere"]


@case(66, r"link is a link to link, which does not exist\. Fix the link")
def ingest_a_link_to_itself(place: Place) -> Arguments:
    (place.work / "link").symlink_to("link")
    return ["ingest", place.work / "link"]


@case(2, r"SOURCE: empty name")
def ingest_an_empty_name(place: Place) -> Arguments:
    return ["ingest", ""]


@case(66, r"no reviews in .*work.*pipeline sample")
def ingest_empty_folder(place: Place) -> Arguments:
    return ["ingest", place.work]


@case(65, r"1 of 1 rows were rejected, so none are left.*empty_text")
def ingest_empty_text_file(place: Place) -> Arguments:
    return ["ingest", written(place, "a.txt", b"")]


@case(65, r"1 of 1 rows are malformed.*nul_byte.*rejects")
def ingest_binary_file_named_txt(place: Place) -> Arguments:
    return ["ingest", written(place, "a.txt", b"\x7fE\x00LF\xff")]


@case(65, r"1 of 1 rows are malformed.*invalid_utf8")
def ingest_invalid_utf8(place: Place) -> Arguments:
    return ["ingest", written(place, "a.txt", b"caf\xe9 good")]


@case(2, r"a\.docx: unsupported file type\..*Supported: \.csv")
def ingest_unknown_kind(place: Place) -> Arguments:
    return ["ingest", written(place, "a.docx", b"x")]


@case(65, r"rows are malformed; --max-bad allows 5%.*a\.csv, row 1: unclosed_quote")
def ingest_csv_whose_quotation_never_ends(place: Place) -> Arguments:
    return ["ingest", written(place, "a.csv", b'text,label\ngood,pos\n"so ' + b"bad,neg\n" * 200_000)]


@case(65, r"no column 'text'\. Did you mean 'texts'\? Its columns: 'texts', 'score'")
def ingest_csv_without_the_column(place: Place) -> Arguments:
    return ["ingest", written(place, "a.csv", b"texts,score\ngood,1\n")]


@case(2, r"pipeline\.toml: \[ingest\]: max_bad and max-bad are one option\. Remove one of them\.")
def one_option_in_two_spellings(place: Place) -> Arguments:
    (place.lake / "pipeline.toml").write_text('[ingest]\nmax_bad = "1%"\nmax-bad = "50%"\n')
    return ["ingest", written(place, "a.csv", b"text,label\ngood,pos\n")]


@case(65, r"2 of 3 rows are malformed; --max-bad allows 0; nothing was committed.*row 1: malformed_row")
def ingest_ragged_csv(place: Place) -> Arguments:
    return ["ingest", "--max-bad-rows", 0, written(place, "a.csv", b"text,label\ngood,pos\na,b,c\nbad\n")]


@case(65, r"a\.csv\.gz: cannot be read as csv \(gzip\).*truncated.*Nothing was committed")
def ingest_truncated_gzip(place: Place) -> Arguments:
    content = gzip.compress(b"text,label\n" + os.urandom(40_000).hex().encode() + b",pos\n")
    return ["ingest", written(place, "a.csv.gz", content[: len(content) // 2])]


@case(65, r"a\.tar: the archive is damaged or truncated")
def ingest_broken_archive(place: Place) -> Arguments:
    return ["ingest", written(place, "a.tar", b"no tar at all" * 100)]


@case(65, r"1 of \d rows are malformed; --max-bad allows 0.*row 2: malformed_row")
def ingest_broken_json_on_line_three(place: Place) -> Arguments:
    lines = b'{"text": "good"}\n{"text": "bad"}\n{"text": \n'
    return ["ingest", "--max-bad-rows", 0, written(place, "a.jsonl", lines)]


@case(65, r"the text column 'text' is int64; expected text\. Text columns: body")
def ingest_parquet_of_a_wrong_type(place: Place) -> Arguments:
    return ["ingest", reviews(place, text=[1, 2], body=["a", "b"])]


@case(65, r"in\.parquet: cannot be read as parquet.*Nothing was committed")
def ingest_no_parquet_at_all(place: Place) -> Arguments:
    return ["ingest", written(place, "in.parquet", b"PAR1 is not enough")]


@case(65, r"2 of 2 rows were rejected, so none are left.*missing_text")
def ingest_null_text_only(place: Place) -> Arguments:
    return ["ingest", reviews(place, text=pa.array([None, None], pa.string()))]


@case(65, r"unknown_label \(the label is unknown to the lake; add it with --rebuild-vocab\)")
def ingest_label_unknown_to_the_lake(place: Place) -> Arguments:
    return ["ingest", written(place, "a.csv", b"text,label\nso so,mixed\n")]


@case(2, r"--tokenizer: 'basic_inglish' is not known\. Did you mean 'basic_english'\?")
def ingest_unknown_tokenizer(place: Place) -> Arguments:
    return ["ingest", "--tokenizer", "basic_inglish"]


@case(2, r"--max-vocab 7: the lake's vocabulary .*--rebuild-vocab")
def ingest_options_against_the_lake(place: Place) -> Arguments:
    return ["ingest", "--max-vocab", 7]


@case(65, r"version 2 of the token contract; this release reads 1\. Upgrade review-pipeline")
def ingest_into_a_lake_of_a_newer_schema(place: Place) -> Arguments:
    shard = next(place.lake.glob("tokens/*.parquet"))
    table = pq.read_table(shard)
    newer = shard.with_name("newer.parquet")
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"review_pipeline.schema_version": b"2"}), newer)
    newer = newer.rename(shard.with_name(f"{shard.name.split('-')[0]}-{footer_sha256(newer)}.parquet"))
    (entry,) = place.lake.glob("tokens/_delta_log/*.json")
    text = entry.read_text().replace(shard.name, newer.name)
    text = text.replace(f'"size":{shard.stat().st_size}', f'"size":{newer.stat().st_size}')
    entry.write_text(re.sub(r'"listing_sha256":"\w+"', '"listing_sha256":""', text))
    return ["ingest"]


@case(65, r"the vocabulary .* cannot be read")
def ingest_with_a_damaged_vocabulary(place: Place) -> Arguments:
    next(place.lake.glob("vocabulary/*.parquet")).write_bytes(b"PAR1")
    return ["ingest"]


@case(2, r"--arch: 'bilstn' is not known\. Did you mean 'bilstm'\? Known: attention-rnn, bag, ")
def train_unknown_arch(place: Place) -> Arguments:
    return ["train", "--arch", "bilstn"]


@case(66, r"there is no lake at .*absent.*--lake.*pipeline init FILE")
def train_without_a_lake(place: Place) -> Arguments:
    return ["train", "--lake", place.work / "absent"]


@case(66, r"no token table in .*empty.*pipeline ingest")
def train_without_a_table(place: Place) -> Arguments:
    (place.work / "empty").mkdir()
    return ["train", "--lake", place.work / "empty"]


@case(65, r"one class only")
def train_on_one_class(place: Place) -> Arguments:
    lake = place.work / "lake"
    source = written(place, "a.csv", b"text,label\n" + b"good film,pos\n" * 20)
    assert run_here("ingest", source, "--lake", lake).code == 0
    return ["train", "--lake", lake]


@case(2, r"--device.*'tpu' is not known")
def train_on_an_unknown_device(place: Place) -> Arguments:
    return ["train", "--device", "tpu", "--force"]


@case(66, r"no model in .*pipeline train")
def score_without_a_model(place: Place) -> Arguments:
    shutil.rmtree(place.lake / "models")
    return ["score", reviews(place, text=["good"])]


@case(66, r"no.* model.*'nobody'|nobody")
def score_with_an_unknown_model(place: Place) -> Arguments:
    return ["score", reviews(place, text=["good"]), "--model", "nobody"]


@case(66, r"nowhere\.parquet")
def score_no_such_file(place: Place) -> Arguments:
    return ["score", place.work / "nowhere.parquet"]


@case(65, r"in\.parquet")
def score_no_parquet_at_all(place: Place) -> Arguments:
    return ["score", written(place, "in.parquet", b"text\ngood\n")]


@case(65, r"no column 'text'\. Its columns: 'body'\. Choose one with --text-column\. Nothing was written")
def score_without_the_column(place: Place) -> Arguments:
    return ["score", reviews(place, body=["good"])]


@case(65, r"'text'.*int64.*body")
def score_a_column_of_a_wrong_type(place: Place) -> Arguments:
    return ["score", reviews(place, text=[1], body=["good"])]


@case(2, r"already has the columns prediction.*--keep text, or rename")
def score_what_was_scored_before(place: Place) -> Arguments:
    return ["score", reviews(place, text=["good"], prediction=["pos"])]


@case(65, r"weights|model\.safetensors")
def score_with_damaged_weights(place: Place) -> Arguments:
    weights = next(place.lake.glob("models/*/model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-9])
    return ["score", reviews(place, text=["good"])]


@case(65, r"version 99.*[Uu]pgrade")
def score_with_a_model_of_a_newer_version(place: Place) -> Arguments:
    path = next(place.lake.glob("models/*/model.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 99}))
    write_manifest(path.parent, ["model.json"])
    return ["score", reviews(place, text=["good"])]


@case(73, r"cannot write .*Check the owner, the permissions")
def score_to_a_place_that_cannot_be_written(place: Place) -> Arguments:
    blocked = written(place, "file", b"")
    return ["score", reviews(place, text=["good"]), "--output", blocked / "out.parquet"]


@case(73, r"cannot write .*choose another place with --lake")
def ingest_into_a_file(place: Place) -> Arguments:
    return ["ingest", place.lake / "raw", "--lake", written(place, "lake", b"")]


@case(2, r"ftp://.*s3://")
def a_lake_on_a_storage_that_is_not_served(place: Place) -> Arguments:
    return ["ingest", "--lake", "ftp://host/lake"]


@case(2, r"No such option")
def an_unknown_option(place: Place) -> Arguments:
    return ["ingest", "--wokers", 2]


def digests(lake: Path) -> dict[str, str]:
    """Everything in the lake that a failed run must leave alone."""
    folders = ("tokens", "vocabulary", "models", "predictions")
    paths = [path for name in folders for path in sorted((lake / name).rglob("*")) if path.is_file()]
    return {str(path.relative_to(lake)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.mark.parametrize("name", CASES)
def test_a_bad_input_is_explained(name: str, place: Place, capfd: pytest.CaptureFixture[str], run_main: Callable) -> None:
    code, message, prepare = CASES[name]
    arguments = prepare(place)
    before = digests(place.lake)
    capfd.readouterr()
    found = run_main(*(arguments if "--lake" in arguments else [*arguments, "--lake", place.lake]))
    said = capfd.readouterr()
    assert found == code, said.err
    assert re.search(message, " ".join(said.err.split())), said.err
    assert "Traceback" not in said.err
    assert said.out == ""
    assert digests(place.lake) == before
    assert not list(place.lake.rglob(".tmp-*"))
    scratch = place.lake / ".scratch"
    assert not scratch.exists() or not any(path.is_file() for path in scratch.rglob("*"))


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare to mount read-only")
def test_a_read_only_lake(place: Place) -> None:
    """A real read-only mount, since root writes anywhere else."""
    command = (
        f"mount --bind {place.lake} {place.lake} && mount -o remount,ro,bind {place.lake} && "
        f"exec {sys.executable} -m pipeline ingest {place.lake}/raw --lake {place.lake}"
    )
    probe = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip(f"mount namespaces are not allowed here: {probe.stderr.decode().strip()}")
    done = subprocess.run(["unshare", "-m", "sh", "-c", command], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 73, done.stderr
    assert "Read-only file system" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("report", "--output"),
        ("report", "--predictions"),
        ("export", "--output"),
        ("train", "--embeddings"),
        ("train", "--tokens"),
        ("train", "--config"),
        ("nightly", "--metrics-file"),
        ("erase", "--from"),
        ("upgrade",),
        ("sample",),
        ("sample", "out", "--score-input"),
    ],
    ids=" ".join,
)
def test_a_uri_where_a_path_is_needed_is_refused_and_no_folder_is_named_after_it(
    words: tuple[str, ...], command: Run, tmp_path: Path
) -> None:
    outcome = command("--lake", "lake", *words, "s3://bucket/folder/file.toml", cwd=tmp_path)
    assert outcome.code == 2, outcome.stderr
    assert "s3://bucket/folder/file.toml: expected a path on this machine, not a URI" in outcome.stderr
    assert not (tmp_path / "s3:").exists()


@pytest.mark.parametrize(
    "arguments", [("--lake", "", "ingest"), ("score", "in.csv", "--output="), ("train", "--tokens", "")]
)
def test_an_empty_path_is_refused(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """`--lake "$LAKE"` where the variable is not set would otherwise mean the default lake."""
    done = run_here(*arguments, cwd=tmp_path)
    name = next(word for word in arguments if word.startswith("--")).rstrip("=")
    assert (done.code, done.stdout) == (2, "")
    assert f"{name}: empty. Leave it out for the default" in done.stderr and not list(tmp_path.iterdir())


def test_every_option_with_a_path_is_among_those_that_must_not_be_empty() -> None:
    named = [field for config in configs().values() for field in fields_of(config) if not field.option.positional]
    places = {
        field.label for field in named if field.kind is Path or field.option.names_model or field.option.names_pretrained
    }
    assert places <= set(PLACES)
