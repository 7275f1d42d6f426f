"""Columns as people deliver them: labels to be mapped, partitions, several schemas in one folder, near misses of names."""

import gzip
import logging
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import DataError
from pipeline.readers.labels import LabelMap
from pipeline.readers.limits import Limit
from tests.support.commands import Run
from tests.support.ingested import ingest, left_out, rejects_of, rows_of
from tests.support.tables import write_csv, write_table

STARS = ("Score,Text", *(f"{1 + number % 5},film {number}" for number in range(20)))
REVIEWS = ("text,label", "fine,pos", "dull,neg")


def options_of(command: str) -> list[str]:
    """The options that a message says to give."""
    return command.split()


@pytest.mark.parametrize(
    ("given", "classes"),
    [
        ("neg=1,2 pos=4,5", {"neg": 8, "pos": 8}),
        ("bad=..2.5 fair=3 good=4..", {"bad": 8, "fair": 4, "good": 8}),
        ("low=1..1 high=5", {"low": 4, "high": 4}),
    ],
)
def test_stars_become_classes_by_values_and_ranges(tmp_path: Path, given: str, classes: dict[str, int]) -> None:
    source = write_csv(tmp_path / "r.csv", *STARS)
    label_map = LabelMap.parse(given)
    receipt = ingest(
        tmp_path / "lake", source, text_column=("Text",), label_column="Score", label_map=label_map, max_bad=Limit(number=0)
    )
    labels = receipt.metrics["labels"]
    found = [labels[row["label"]] for row in rows_of(tmp_path / "lake")]
    assert {label: found.count(label) for label in labels} == classes
    assert {reason for _, reason in (rejects_of(receipt) if receipt.rejected else [])} <= {"unmapped"}
    assert receipt.rejected == 20 - sum(classes.values())


def test_words_are_mapped_whatever_format_they_come_in(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", "text,label", "fine,very good ", "dull,bad", "so,5.0")
    write_table(tmp_path / "b.parquet", text=["fine", "dull"], label=pa.array([5.0, 1.0]))
    label_map = LabelMap.parse("pos=very good,5 neg=bad,1")
    receipt = ingest(tmp_path / "lake", tmp_path, label_map=label_map)
    assert (receipt.written, receipt.rejected, receipt.metrics["labels"]) == (5, 0, ["neg", "pos"])


@pytest.mark.parametrize("given", ["neg=0.0,False pos=1.00,TRUE", {"neg": [0.0, False], "pos": [1, True]}])
def test_the_rule_for_values_holds_in_the_map_too(tmp_path: Path, given: str | dict[str, object]) -> None:
    source = write_csv(tmp_path / "r.csv", "text,label", "fine,1", "dull,0.0", "so,true", "bad,False")
    receipt = ingest(tmp_path / "lake", source, label_map=LabelMap.parse(given))
    assert (receipt.written, receipt.rejected, receipt.metrics["labels"]) == (4, 0, ["neg", "pos"])


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("neg=1..3 pos=3..5", "3 is in 'neg' and in 'pos'"),
        ("neg=0..0.5 pos=0.5..1", "0.5 is in 'neg' and in 'pos'"),
        ("neg=1..5 pos=3", "3 is in 'neg' and in 'pos'"),
        ("neg=1 pos=1.0", "'1.0' is in 'neg' and in 'pos'"),
        ({"neg": [[1, 2]]}, "[1, 2] is not a single value"),
        (["neg=1"], "['neg=1'] is neither a string nor a table"),
        (5, "5 is neither a string nor a table"),
    ],
)
def test_a_map_that_can_be_read_in_two_ways_is_refused(given: object, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        LabelMap.parse(given)  # type: ignore[arg-type]  # as it may stand in TOML


def test_ranges_of_one_class_may_meet() -> None:
    label_map = LabelMap.parse("neg=-5..-1,-1..0,0 pos=1..5")
    assert [label_map(value) for value in ("-5", "-0.0", "0.5", "5")] == ["neg", "neg", None, "pos"]


@pytest.mark.parametrize("given", ["5", '["neg=1"]', "{neg = [[1]], pos = [5]}"])
def test_a_label_map_of_another_type_in_pipeline_toml_is_a_usage_error(
    tmp_path: Path, run_main: Callable[..., int], capsys: pytest.CaptureFixture[str], given: str
) -> None:
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "pipeline.toml").write_text(f"[ingest]\nlabel-map = {given}\n")
    assert run_main("ingest", write_csv(tmp_path / "r.csv", *STARS), "--lake", tmp_path / "lake") == 2
    assert "pipeline.toml" in capsys.readouterr().err


def test_the_label_map_of_pipeline_toml_is_a_table(tmp_path: Path, command: Run) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()
    (lake / "pipeline.toml").write_text(
        '[ingest]\ntext_column = ["Text"]\nlabel_column = "Score"\n[ingest.label_map]\nneg = ["1..2"]\npos = [4, 5]\n'
    )
    done = command("ingest", write_csv(tmp_path / "r.csv", *STARS), "--lake", lake)
    assert (done.code, done.receipt["written"], done.receipt["metrics"]["labels"]) == (0, 16, ["neg", "pos"])


def test_unknown_labels_are_named_with_the_remedy_and_the_remedy_works(tmp_path: Path, command: Run) -> None:
    lake, source = tmp_path / "lake", write_csv(tmp_path / "r.csv", *REVIEWS)
    ingest(lake, source)
    more = [f"film {number},{'mixed' if number % 3 else 'odd'}" for number in range(30)]
    write_csv(source, *REVIEWS, *more)
    done = command("ingest", source, "--lake", lake)
    assert (done.code, done.receipt["rejected"], done.receipt["known"]) == (99, 30, 2)
    assert "30 rows rejected" in done.stderr
    assert "'mixed' (20), 'odd' (10)" in done.stderr
    remedy = "--rebuild-vocab"
    assert f"ingest everything again with {remedy}" in done.stderr
    again = command("ingest", source, "--lake", lake, remedy)
    assert (again.code, again.receipt["written"]) == (0, 32)
    assert again.receipt["metrics"]["labels"] == ["mixed", "neg", "odd", "pos"]


@pytest.mark.parametrize(("delimiter", "option"), [(",", ","), ("\t", "tab"), ("|", "'|'")])
def test_another_delimiter_than_the_lakes_is_named_and_its_option_works(
    tmp_path: Path, command: Run, delimiter: str, option: str
) -> None:
    lake = tmp_path / "lake"
    lake.mkdir()
    (lake / "pipeline.toml").write_text('[ingest]\ndelimiter = ";"\n')
    rows = [line.replace(",", delimiter) for line in REVIEWS]
    given = ("ingest", write_csv(tmp_path / "r.csv", *rows), "--lake", lake)
    refused = command(*given)
    said = f"Its only column is {rows[0]!r}; if these are several, pass --delimiter {option}, otherwise"
    assert refused.code == 65 and said in refused.stderr
    assert command(*given, "--delimiter", *shlex.split(option)).receipt["written"] == 2


def test_odd_labels_are_named_with_the_remedy_and_the_remedy_works(tmp_path: Path, command: Run) -> None:
    lake = tmp_path / "lake"
    rows = [f"film {number},{('POS', 'pos', 'NEG', 'neg', 'n/a')[number % 5]}" for number in range(40)]
    given = ("--lake", lake, "ingest", write_csv(tmp_path / "r.csv", "text,label", *rows))
    said = command(*given).stderr
    assert "to merge them, ingest again with --label-map and --rebuild-vocab, and put the label-map into" in said
    assert "put it into skip-labels in pipeline.toml, then ingest again with --prune, and once more with" in said
    (lake / "pipeline.toml").write_text('[ingest]\nlabel-map = "neg=NEG,neg pos=POS,pos"\nskip-labels = "n/a"\n')
    pruned = command(*given, "--prune")
    assert pruned.receipt["metrics"]["pruned"] == 8
    assert "maps the classes 'NEG', 'POS' to others, but the lake keeps them until" in pruned.stderr
    rebuilt = command(*given, "--rebuild-vocab")
    assert (rebuilt.code, rebuilt.receipt["metrics"]["labels"]) == (0, ["neg", "pos"]) and "WARN" not in rebuilt.stderr
    assert {row["label"] for row in rows_of(lake)} == {0, 1}


def test_a_lake_without_labels_takes_them_from_its_first_labelled_ingest(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    unlabelled = write_csv(tmp_path / "old.csv", "text", "fine film", "dull film", "so so")
    assert ingest(lake, unlabelled).metrics["labels"] == []
    first = ingest(lake, write_csv(tmp_path / "new.csv", *REVIEWS))
    assert (first.written, first.rejected, first.metrics["labels"]) == (2, 0, ["neg", "pos"])
    assert len(rows_of(lake)) == 5
    assert ingest(lake, unlabelled, tmp_path / "new.csv").exit_code == 99
    odd = ingest(lake, write_csv(tmp_path / "odd.csv", "text,label", "fine,odd", "dull,neg"))
    assert (odd.written, rejects_of(odd)) == (1, [(0, "unknown_label")])


@pytest.mark.parametrize(
    ("header", "column"), [("text,Label", "Label"), ("text, sentiment", "sentiment"), ("text,stars", "stars")]
)
def test_a_near_miss_of_the_labels_column_is_a_warning_whose_option_works(
    tmp_path: Path, command: Run, header: str, column: str
) -> None:
    source = write_csv(tmp_path / "r.csv", header, "fine,1", "dull,0")
    done = command("ingest", source, "--lake", tmp_path / "lake")
    assert (done.code, done.receipt["metrics"]["labels"]) == (0, [])
    remedy = next(line for line in done.stderr.splitlines() if "--label-column" in line).partition("pass ")[2]
    assert remedy == f"--label-column {column}"
    again = command("ingest", source, "--lake", tmp_path / "labelled", *options_of(remedy))
    assert again.receipt["metrics"]["labels"] == ["0", "1"]


def test_blanks_around_a_columns_name_do_not_count(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "r.csv", " text , label", "fine,pos", "dull,neg")
    assert ingest(tmp_path / "lake", source).metrics["labels"] == ["neg", "pos"]


def test_hive_partitions_are_columns(tmp_path: Path) -> None:
    for label in ("neg", "pos", "__HIVE_DEFAULT_PARTITION__"):
        for shop in ("7", "a%2Fb"):
            write_table(tmp_path / f"in/label={label}/shop={shop}/part-0.parquet", text=["fine", f"dull {label} {shop}"])
    receipt = ingest(tmp_path / "lake", tmp_path / "in", group_column="shop")
    assert (receipt.written, receipt.metrics["labels"]) == (12, ["neg", "pos"])
    assert {row["group"] for row in rows_of(tmp_path / "lake")} == {"7", "a/b"}
    assert sum(row["label"] is None for row in rows_of(tmp_path / "lake")) == 4


def test_hive_partitions_of_folders_of_texts(tmp_path: Path) -> None:
    for label in ("neg", "pos"):
        folder = tmp_path / f"in/label={label}/split=valid"
        folder.mkdir(parents=True)
        (folder / "1.txt").write_text(f"film {label}")
        (folder / "2.txt").write_text("film")
    receipt = ingest(tmp_path / "lake", tmp_path / "in", split_column="split")
    assert receipt.metrics["labels"] == ["neg", "pos"]
    assert [(row["label"], row["split"]) for row in rows_of(tmp_path / "lake")] == [(0, "valid")] * 2 + [(1, "valid")] * 2


def test_a_column_of_the_file_goes_before_a_partition_of_its_name(tmp_path: Path) -> None:
    write_table(tmp_path / "in/label=odd/p.parquet", text=["fine", "dull"], label=["pos", "neg"])
    assert ingest(tmp_path / "lake", tmp_path / "in").metrics["labels"] == ["neg", "pos"]


def test_several_schemas_in_one_folder_are_one_table(tmp_path: Path) -> None:
    """Column order, widths of integers, large and dictionary strings, null-typed and further columns."""
    folder = tmp_path / "in"
    write_table(folder / "a.parquet", text=["one"], label=pa.array([1], pa.int32()), note=["x"])
    write_table(folder / "b.parquet", label=pa.array([0], pa.int64()), text=pa.array(["two"], pa.large_string()))
    write_table(folder / "c.parquet", text=pa.array(["three"]).dictionary_encode(), label=pa.array(["1"]), note=pa.nulls(1))
    write_table(folder / "d.feather", text=pa.array([b"four"]), label=pa.array([0.0]), more=[[1]])
    write_table(folder / "e.arrow", text=pa.array(["five"], pa.string_view()), label=pa.nulls(1))
    write_csv(folder / "f.csv", "note;label;text", "x;1;six", "x;0;seven")
    (folder / "g.json").write_text('[{"label": 1, "text": "eight"}]')
    receipt = ingest(tmp_path / "lake", folder)
    assert (receipt.read, receipt.written, receipt.quarantined, receipt.metrics["labels"]) == (8, 8, 0, ["0", "1"])
    assert [row["label"] for row in rows_of(tmp_path / "lake") if row["split"] == "train"] == [1, 0, 1, 0, 1, 0, 1]


def test_a_file_without_the_column_is_left_out_and_its_columns_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_csv(tmp_path / "a.csv", *REVIEWS)
    write_csv(tmp_path / "b.csv", "Text,label", "fine,pos")
    write_table(tmp_path / "c.parquet", text=[1, 2], body=["x", "y"])
    with caplog.at_level(logging.WARNING):
        receipt = ingest(tmp_path / "lake", tmp_path)
    assert (receipt.read, left_out(receipt)) == (2, [("b.csv", "column"), ("c.parquet", "column")])
    said = "\n".join(caplog.messages)
    assert "b.csv: no column 'text'. Did you mean 'Text'?" in said
    assert "the text column 'text' is int64; expected text. Text columns: body" in said


def test_a_reviews_column_that_nobody_has_ends_the_run_with_the_option_to_write(tmp_path: Path, command: Run) -> None:
    source = write_csv(tmp_path / "r.csv", "Review,label", "fine,pos", "dull,neg")
    with pytest.raises(DataError, match=r"no column 'review'. Did you mean 'Review'\?.*Choose one with --text-column"):
        ingest(tmp_path / "lake", source, text_column=("review",))
    done = command("ingest", source, "--lake", tmp_path / "lake", "--text-column", "Review")
    assert (done.code, done.receipt["written"]) == (0, 2)


def test_what_was_delivered_twice_is_counted(tmp_path: Path) -> None:
    plain = write_csv(tmp_path / "a.csv", *REVIEWS)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    assert ingest(tmp_path / "one", tmp_path).metrics["duplicates"] == 2
    assert ingest(tmp_path / "two", plain).metrics["duplicates"] == 0
    later = ingest(tmp_path / "two", tmp_path)
    assert (later.written, later.known, later.metrics["duplicates"]) == (2, 2, 2)
    assert ingest(tmp_path / "two", tmp_path).metrics["duplicates"] == 0


def test_rows_that_their_file_lost_are_counted_and_pruned_when_asked(tmp_path: Path) -> None:
    lake, source = tmp_path / "lake", write_csv(tmp_path / "r.csv", *REVIEWS, "so so,neg")
    other = write_csv(tmp_path / "other.csv", *REVIEWS)
    ingest(lake, source, other)
    write_csv(source, *REVIEWS)
    kept = ingest(lake, source)
    assert (kept.exit_code, kept.metrics["missing"], kept.metrics["pruned"], len(rows_of(lake))) == (99, 1, 0, 5)
    pruned = ingest(lake, source, prune=True)
    assert (pruned.exit_code, pruned.metrics["missing"], pruned.metrics["pruned"], len(rows_of(lake))) == (0, 1, 1, 4)
    assert ingest(lake, source, other, prune=True).exit_code == 99


def test_rows_of_a_file_that_is_left_out_are_not_missing(tmp_path: Path) -> None:
    lake, source = tmp_path / "lake", tmp_path / "r.parquet"
    write_table(source, text=["fine", "dull"])
    good = write_csv(tmp_path / "good.csv", *REVIEWS)
    ingest(lake, source, good)
    source.write_bytes(source.read_bytes()[:-20])
    receipt = ingest(lake, source, good, prune=True)
    assert (receipt.exit_code, receipt.quarantined, receipt.metrics["missing"], len(rows_of(lake))) == (99, 1, 0, 4)


BAD_OF_40 = ("text,label", *(f"film {number},pos" for number in range(38)), "a,b,c", "d,e,f")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_bad": Limit.parse("4%")}, r"2 of 40 rows are malformed; --max-bad allows 4%"),
        ({"max_bad": Limit.parse("1")}, r"2 of 40 rows are malformed; --max-bad allows 1;"),
        ({"strict": True}, r"2 of 40 rows are malformed; --max-bad allows 0"),
    ],
)
def test_more_malformed_rows_than_allowed_commit_nothing(tmp_path: Path, options: dict[str, object], message: str) -> None:
    source = write_csv(tmp_path / "r.csv", *BAD_OF_40)
    with pytest.raises(DataError, match=message):
        ingest(tmp_path / "lake", source, **options)
    assert not (tmp_path / "lake/tokens").exists()
    for allowed in ("5%", "2"):
        assert ingest(tmp_path / allowed, source, max_bad=Limit.parse(allowed)).written == 38


def test_the_default_allows_one_of_twenty(tmp_path: Path, command: Run) -> None:
    done = command("ingest", write_csv(tmp_path / "r.csv", *BAD_OF_40), "--lake", tmp_path / "lake")
    assert (done.code, done.receipt["written"], done.receipt["rejected"]) == (0, 38, 2)
    assert "2 rows rejected: malformed_row" in done.stderr
    assert "a,b,c" not in done.stderr
    done = command("ingest", write_csv(tmp_path / "r.csv", *BAD_OF_40, "g,h,i"), "--lake", tmp_path / "other")
    assert (done.code, (tmp_path / "other/tokens").exists()) == (65, False)
    remedy = "--max-bad"
    assert remedy in done.stderr
    assert command("ingest", tmp_path / "r.csv", "--lake", tmp_path / "other", remedy, "3").code == 0


def test_partitioned_datasets_of_others_are_read(tmp_path: Path) -> None:
    table = pa.table({"text": ["fine", "dull", "so"], "label": ["pos", "neg", "pos"], "day": ["1", "2", "2"]})
    pq.write_to_dataset(table, tmp_path / "in", partition_cols=["label", "day"])
    receipt = ingest(tmp_path / "lake", tmp_path / "in", group_column="day")
    found = sorted((row["label"], row["group"]) for row in rows_of(tmp_path / "lake"))
    assert (receipt.metrics["labels"], found) == (["neg", "pos"], [(0, "2"), (1, "1"), (1, "2")])
