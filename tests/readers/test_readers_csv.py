"""CSV and TSV files: what was written is read, and what cannot be read is a fault of its own lines."""

import csv
import gzip
import io
import random
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.readers import csv_records, csv_split
from pipeline.readers.base import Dialect, FileFault, Reading, Source
from pipeline.readers.bounds import CSV_ROW_BYTES, Bounds
from pipeline.text import kernels, numpy_csv
from schemas.bad_row import BadRow

Row = tuple[str | None, ...]


def source_of(path: Path, compression: str | None = None) -> Source:
    return Source(path=path, name=path.name, format=path.name.split(".")[1], compression=compression)


def rows_and_faults(path: Path, **reading: object) -> tuple[dict[int, tuple[bytes | None, ...]], list[BadRow]]:
    """The rows of a file by their numbers, and its faults."""
    rows: dict[int, tuple[bytes | None, ...]] = {}
    bad: list[BadRow] = []
    for part in csv_records.read(source_of(path), Reading(**reading)):  # type: ignore[arg-type]
        assert len(part.row) == len(part.table)
        cells = [column.to_pylist() for column in part.table.columns]
        rows |= dict(zip(part.row.tolist(), zip(*cells, strict=True), strict=True))
        bad += part.bad
    numbers = sorted([*rows, *(row.row for row in bad)])
    assert numbers == list(range(len(numbers))), "every record has a number of its own, without gaps"
    return rows, bad


def written(folder: Path, content: bytes, name: str = "reviews.csv") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def read_bytes(folder: Path, content: bytes, name: str = "reviews.csv", **reading: object):
    return rows_and_faults(written(folder, content, name), **reading)


def texts(rows: dict[int, tuple[bytes | None, ...]]) -> list[bytes | None]:
    return [row[0] for row in rows.values()]


# What is read


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_a_byte_order_mark_do_not_matter(tmp_path, end, mark):
    lines = [b"text,label", b'"good, ""very"" good",pos', b'say "no",neg', b",", b""]
    rows, bad = read_bytes(tmp_path, mark + end.join(lines))
    assert list(rows.values()) == [(b'good, "very" good', b"pos"), (b'say "no"', b"neg"), (None, None)]
    assert not bad


def test_line_breaks_in_quotes_are_part_of_the_value(tmp_path):
    rows, bad = read_bytes(tmp_path, b'text,label\n"one\ntwo\r\n\r\nthree",pos\nnext,neg\n')
    assert rows == {0: (b"one\ntwo\r\n\r\nthree", b"pos"), 1: (b"next", b"neg")}
    assert not bad


def test_blank_lines_are_passed_over_before_the_header_too(tmp_path):
    rows, bad = read_bytes(tmp_path, b"\n  \r\n\ntext,label\n\ngood,pos\n\n\r\nbad,neg\n\n")
    assert rows == {0: (b"good", b"pos"), 1: (b"bad", b"neg")}
    assert not bad


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf", b"text,label", b"text,label\n", b"text,label\r\n\r\n"])
def test_a_file_without_rows_has_no_fault(tmp_path, content):
    assert read_bytes(tmp_path, content) == ({}, [])


def test_an_empty_cell_is_null_quoted_or_not(tmp_path):
    rows, _ = read_bytes(tmp_path, b'text,label\n"",\n')
    assert rows == {0: (None, None)}


def test_column_names_are_trimmed_and_binary(tmp_path):
    path = written(tmp_path, b'\xef\xbb\xbf text ,"label ",\t id\ngood,pos,1\n')
    assert csv_records.schema(source_of(path), Reading()) == pa.schema(
        [("text", pa.binary()), ("label", pa.binary()), ("id", pa.binary())]
    )
    rows, _ = rows_and_faults(path, columns=("id", "text"))
    assert rows == {0: (b"1", b"good")}


def test_a_file_without_a_header_has_no_columns(tmp_path):
    assert csv_records.schema(source_of(written(tmp_path, b"\n")), Reading()) == pa.schema([])


def test_columns_that_share_a_name_are_all_read_unless_one_is_asked_for(tmp_path):
    path = written(tmp_path, b"text,a,a\ngood,1,2\n")
    assert rows_and_faults(path)[0] == {0: (b"good", b"1", b"2")}
    with pytest.raises(FileFault, match="the column 'a' appears twice") as caught:
        rows_and_faults(path, columns=("a",))
    assert caught.value.reason == "column"


def test_a_missing_column_is_a_fault_of_the_file(tmp_path):
    with pytest.raises(FileFault, match="'label' is missing; there are text, stars") as caught:
        read_bytes(tmp_path, b"text,stars\ngood,5\n", columns=("text", "label"))
    assert caught.value.reason == "column"


def test_bytes_that_are_not_utf8_are_passed_on_and_a_ragged_row_with_them_is_a_fault(tmp_path):
    content = b"text,label\ncaf\xe9,pos\ncaf\xe9,pos,\xff\nlast,neg\n"
    rows, bad = read_bytes(tmp_path, content, dialect=Dialect(encoding="utf-8"))
    assert rows == {0: (b"caf\xe9", b"pos"), 2: (b"last", b"neg")}
    assert [(row.row, row.reason, row.detail, row.excerpt) for row in bad] == [
        (1, "malformed_row", "3 columns instead of 2", b"caf\xe9,pos,\xff")
    ]


def test_a_value_that_begins_with_a_byte_order_mark_keeps_it(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_records, "BLOCK_BYTES", 11)
    rows, _ = read_bytes(tmp_path, b"text,label\n\xef\xbb\xbfgood,pos\n\xef\xbb\xbfbad,neg\n")
    assert texts(rows) == [b"\xef\xbb\xbfgood", b"\xef\xbb\xbfbad"]


def test_quotation_marks_in_a_tsv_are_text_unless_one_is_named(tmp_path):
    content = b'text\tlabel\n"I loved it\tpos\nsaid "no"\tneg\n"quoted"\tpos\n'
    assert texts(read_bytes(tmp_path, content, "reviews.tsv")[0]) == [b'"I loved it', b'said "no"', b'"quoted"']
    assert texts(read_bytes(tmp_path, b'a\tb\n"x\ty"\t1\n', "reviews.tsv", dialect=Dialect(quote='"'))[0]) == [b"x\ty"]


def test_a_compressed_file_is_read_and_a_cut_one_is_damaged(tmp_path):
    content = gzip.compress(b"text,label\n" + b"".join(b"review %d,pos\n" % number for number in range(1000)))
    path = written(tmp_path, content, "reviews.csv.gz")
    parts = list(csv_records.read(source_of(path, "gzip"), Reading()))
    assert sum(len(part.table) for part in parts) == 1000
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(FileFault) as caught:
        list(csv_records.read(source_of(path, "gzip"), Reading()))
    assert caught.value.reason == "damaged"


# Faults of quoting


def unclosed(bad: list[BadRow]) -> list[bytes]:
    assert {row.reason for row in bad} <= {"unclosed_quote"}
    return [row.excerpt for row in bad]


def test_text_after_a_closing_quotation_mark_is_a_fault_of_its_line(tmp_path):
    rows, bad = read_bytes(tmp_path, b'text,label\ngood,pos\n"Great" film,pos\nbad,neg\n')
    assert rows == {0: (b"good", b"pos"), 2: (b"bad", b"neg")}
    assert unclosed(bad) == [b'"Great" film,pos']


def test_a_stray_mark_costs_the_lines_up_to_the_next_quoted_field_and_that_one_is_a_row(tmp_path):
    rows, bad = read_bytes(tmp_path, b'text,label\n"I loved it,pos\nhated it,neg\n"good, so",pos\nlast,neg\n')
    assert rows == {2: (b"good, so", b"pos"), 3: (b"last", b"neg")}
    assert unclosed(bad) == [b'"I loved it,pos', b"hated it,neg"]
    assert all("opened in row 0" in row.detail for row in bad)


def test_a_stray_mark_that_a_mark_within_a_line_closes_costs_that_line_too(tmp_path):
    rows, bad = read_bytes(tmp_path, b'text,label\n"I loved it,pos\n\nthe "best" film,pos\nlast,neg\n')
    assert rows == {2: (b"last", b"neg")}
    assert unclosed(bad) == [b'"I loved it,pos', b'the "best" film,pos']


def test_a_stray_mark_that_nothing_closes_costs_the_lines_to_the_end(tmp_path):
    rows, bad = read_bytes(tmp_path, b'text,label\r\ngood,pos\r\n"I loved it,pos\r\nhated it,neg\r\nlast,ne')
    assert rows == {0: (b"good", b"pos")}
    assert unclosed(bad) == [b'"I loved it,pos', b"hated it,neg", b"last,ne"]


def test_one_stray_mark_in_twenty_thousand_quoted_rows_costs_one(tmp_path):
    lines = [f'"review {number}, so","pos"\n' for number in range(20_000)]
    lines[5_000] = '"review 5000, so,"pos"\n'
    rows, bad = read_bytes(tmp_path, ("text,label\n" + "".join(lines)).encode())
    assert len(rows) == 19_999
    assert [row.row for row in bad] == [5_000]


SWALLOWING = b'text,label\ngood,pos\nbad,neg\n"I loved it,pos\nhated it,neg\n\nfine so far",neg\nlast,pos\n'


def test_rows_between_two_stray_marks_are_known_by_their_labels(tmp_path):
    rows, bad = read_bytes(tmp_path, SWALLOWING, label="label")
    assert rows == {0: (b"good", b"pos"), 1: (b"bad", b"neg"), 5: (b"last", b"pos")}
    assert unclosed(bad) == [b'"I loved it,pos', b"hated it,neg", b'fine so far",neg']


def test_labels_of_earlier_blocks_count_and_the_label_column_need_not_be_read(tmp_path):
    rows, bad = read_in_blocks(tmp_path, SWALLOWING, 8, columns=("text",), label="label")
    assert list(rows.values()) == [(b"good",), (b"bad",), (b"last",)]
    assert len(bad) == 3


def test_lines_that_look_like_rows_with_labels_that_no_row_has_are_a_review(tmp_path):
    rows, bad = read_bytes(tmp_path, b'text,label\ngood,pos\n"plot, weak\nacting, fine\nso",pos\n', label="label")
    assert rows[1] == (b"plot, weak\nacting, fine\nso", b"pos")
    assert not bad


@pytest.mark.parametrize("label", [None, "label"])
def test_without_labels_columns_of_numbers_or_of_few_values_tell_rows(tmp_path, label):
    header = "id,text,stars\n" if label is None else "id,text,label\n"
    lines = [f"{number + 100},review {number},{number % 5 if label is None else ''}\n" for number in range(50)]
    swallowing = [
        *lines[:20],
        '120,"stray,3\n' if label is None else '120,"stray,\n',
        *lines[21:24],
        '124,end",3\n',
        *lines[25:],
    ]
    if label:
        swallowing[24] = '124,end",\n'
    rows, bad = read_bytes(tmp_path, (header + "".join(swallowing)).encode(), label=label)
    assert sorted(rows) == [*range(20), *range(25, 50)]
    assert len(unclosed(bad)) == 5


def test_without_other_rows_to_compare_with_nothing_is_doubted(tmp_path):
    rows, bad = read_bytes(tmp_path, b'text,label\n"I loved it,pos\nhated it",neg\n', label="label")
    assert rows == {0: (b"I loved it,pos\nhated it", b"neg")}
    assert not bad


def test_a_ragged_record_is_one_fault_unless_its_lines_are_rows(tmp_path):
    content = b'text,label\ngood,pos\nbad,neg\n"two\nlines",pos,x\n"I loved it,pos\nhated it",neg,"x"\nlast,pos\n'
    rows, bad = read_bytes(tmp_path, content, label="label")
    assert sorted(rows) == [0, 1, 4]
    assert [row.reason for row in bad] == ["malformed_row", "malformed_row"]
    assert bad[0].excerpt == b'"two\nlines",pos,x'


LONG_REVIEWS = 10_000


@pytest.fixture(scope="module")
def long_reviews() -> list[tuple[str, str]]:
    """Reviews of several lines with commas, quotation marks, digits and blank lines."""
    chance = random.Random(0)
    words = [
        "film",
        "plot,",
        '"great"',
        "the",
        "a",
        "10/10",
        "pos",
        "neg,",
        "it's",
        "2,000",
        "5",
        "so;",
        'He said: "no",',
        "\t",
    ]
    return [
        (
            "\n".join(" ".join(chance.choices(words, k=chance.randint(0, 12))) for _ in range(chance.randint(2, 8))),
            chance.choice(["pos", "neg"]),
        )
        for _ in range(LONG_REVIEWS)
    ]


@pytest.mark.parametrize("quoting", [csv.QUOTE_ALL, csv.QUOTE_MINIMAL])
@pytest.mark.parametrize("label_first", [False, True])
@pytest.mark.parametrize("label", ["label", None])
def test_ten_thousand_reviews_of_several_lines_pass_untouched(tmp_path, long_reviews, quoting, label_first, label):
    path = tmp_path / "reviews.csv"
    order = (1, 0) if label_first else (0, 1)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, quoting=quoting)
        writer.writerow([("text", "label")[at] for at in order])
        writer.writerows([row[at] for at in order] for row in long_reviews)
    rows, bad = rows_and_faults(path, columns=("text", "label"), label=label)
    assert [row.excerpt for row in bad] == []
    assert list(rows.values()) == [(text.encode() or None, name.encode()) for text, name in long_reviews]


def test_a_mark_that_stays_open_past_the_limit_is_a_stray_one_and_the_rows_after_the_limit_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_records, "BLOCK_BYTES", 300)
    lines = ["text,label", '"I loved it,pos', *(f"review {number},neg" for number in range(1000))]
    rows, bad = read_bytes(tmp_path, "\n".join(lines).encode(), bounds=Bounds(row=1000))
    assert len(rows) + len(bad) == 1001
    assert 40 < len(bad) < 80
    assert rows[1000] == (b"review 999", b"neg")


def test_a_mark_that_is_never_closed_takes_bounded_memory_however_long_the_file(tmp_path):
    line = b"x" * 1000 + b",neg\n"
    path = written(tmp_path, b'text,label\n"I loved it,pos\n' + line * 40_000)
    good = bad = 0
    tracemalloc.start()
    for part in csv_records.read(source_of(path), Reading()):
        good, bad = good + len(part.table), bad + len(part.bad)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert good + bad == 40_001
    assert bad * len(line) < CSV_ROW_BYTES + len(line)
    assert peak < 28 << 20


def test_a_line_longer_than_the_limit_is_a_fault_of_the_file_that_names_row_and_remedy(tmp_path):
    content = b"text,label\ngood,pos\nbad,neg\n" + b"x" * (CSV_ROW_BYTES + 1) + b",pos\n"
    with pytest.raises(FileFault, match=r"row 2 is larger than 4MiB, the limit of --max-row-bytes.*--quote none") as caught:
        read_bytes(tmp_path, content)
    assert caught.value.reason == "too_large"


def test_marks_that_do_not_match_in_the_header_are_a_fault_of_the_file(tmp_path):
    with pytest.raises(FileFault, match="header do not match; fix it, or read it with --quote none") as caught:
        read_bytes(tmp_path, b'"text,label\ngood,pos\n')
    assert caught.value.reason == "damaged"
    assert read_bytes(tmp_path, b'"text,label\ngood,pos\n', dialect=Dialect(quote=""))[0] == {0: (b"good", b"pos")}


def test_many_faults_leave_in_small_batches(tmp_path):
    path = written(tmp_path, b"text,label\n" + b"x\n" * 100_000)
    sizes = [len(part.bad) for part in csv_records.read(source_of(path), Reading())]
    assert sum(sizes) == 100_000
    assert max(sizes) <= csv_records.MAX_BAD


# Laws

CELLS = st.text(st.sampled_from(list("ab \",;\t|\n\r'é\x00")) | st.characters(codec="utf-8"), max_size=12)
TABLES = st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), max_size=12))
BODIES = st.text(st.sampled_from(list('ab",\n\r')), max_size=60) | st.lists(
    st.sampled_from(['"good, ""so""",pos\n', "bad,neg\r\n", '"two\nlines",pos\r', '"stray,pos\n', '"mid" dle,neg\n', "\n"]),
    max_size=12,
).map("".join)
EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from([b"", b'"', b",", b"\n", b"\r", b"x", b"\xff", b"\x00"])), max_size=4
)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("laws")


def read_in_blocks(folder: Path, content: bytes, block: int, limit: int = CSV_ROW_BYTES, **reading: object):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_records, "BLOCK_BYTES", block)
        return read_bytes(folder, content, bounds=Bounds(row=limit), **reading)


@given(
    table=TABLES,
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    delimiter=st.sampled_from(",;\t|"),
    quote=st.sampled_from("\"'"),
    block=st.integers(1, 40) | st.just(1 << 20),
)
def test_what_the_csv_module_writes_is_read_back(place, table, quoting, end, delimiter, quote, block):
    width = len(table[0]) if table else 1
    # Before Python 3.13 the module quotes only the line break that ends its own lines.
    breaks = "\r\n" if quoting == csv.QUOTE_MINIMAL else ""
    table = [[cell.translate({ord(mark): " " for mark in breaks if mark not in end}) for cell in row] for row in table]
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, quoting=quoting, lineterminator=end, delimiter=delimiter, quotechar=quote)
    writer.writerows([[f"column{number}" for number in range(width)], *table])
    dialect = Dialect(delimiter=delimiter, quote=quote, encoding="utf-8")
    rows, bad = read_in_blocks(place, stream.getvalue().encode(), block, dialect=dialect)
    assert not bad
    assert list(rows.values()) == [tuple(cell.encode() or None for cell in row) for row in table]


def empty_lines_inside(value: bytes) -> int:
    return csv_split.LINE_END.split(value)[1:-1].count(b"")


def lines_in(value: bytes) -> int:
    return len(csv_split.LINE_END.findall(value))


@given(body=BODIES, edits=EDITS, block=st.integers(1, 40) | st.just(1 << 20), limit=st.sampled_from([20, 1 << 20]))
@settings(max_examples=300)
@example(body='"a,\r\nb', edits=[], block=1, limit=20)
def test_every_line_of_a_damaged_file_is_a_row_a_reject_or_blank(place, body, edits, block, limit):
    content = body.encode()
    for where, put in edits:
        at = int(where * len(content))
        content = content[:at] + put + content[at + 1 :]
    content = b"text,label\n" + content
    try:
        rows, bad = read_in_blocks(place, content, block, limit)
    except FileFault as fault:
        assert fault.reason == "too_large"
        assert limit == 20
        return
    values = [value for row in rows.values() for value in row if value]
    malformed = [row.excerpt for row in bad if row.reason == "malformed_row"]
    in_rows = len(rows) + sum(map(lines_in, values))
    in_rejects = len(bad) + sum(map(lines_in, malformed))
    blank = content.splitlines().count(b"") - sum(map(empty_lines_inside, values + malformed))
    assert 1 + in_rows + in_rejects + blank == len(content.splitlines())
    assert read_in_blocks(place, content, 1 << 20, limit) == (rows, bad), "wherever the file is cut into blocks"


@pytest.mark.parametrize("scan", [kernels.csv_records, numpy_csv.csv_records], ids=["compiled", "numpy"])
@given(
    data=BODIES.map(str.encode) | st.binary(max_size=60),
    final=st.booleans(),
    quote=st.sampled_from(["", '"']),
    limit=st.sampled_from([8, 1 << 20]),
)
def test_splitting_with_a_kernel_is_splitting_field_by_field(scan, data, final, quote, limit):
    marks = csv_split.Marks(b",", quote.encode(), limit)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "csv_records", scan)
        try:
            exact = csv_split.split_exactly(data, 0, marks, final)
        except csv_split.TooLongError as error:
            with pytest.raises(csv_split.TooLongError) as caught:
                csv_split.split(data, marks, final)
            assert caught.value.start == error.start
            return
        fast = csv_split.split(data, marks, final)
    for name in ("start", "stop", "after", "columns", "fault", "inner", "rest"):
        np.testing.assert_array_equal(getattr(fast, name), getattr(exact, name), name)


@given(
    content=st.binary(max_size=200), start=st.sampled_from([b"", b"text,label\n", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf"])
)
def test_any_bytes_are_rows_faults_of_rows_or_a_fault_of_the_file(place, content, start):
    try:
        rows_and_faults(written(place, start + content), label="label")
    except FileFault as fault:
        assert fault.reason in ("damaged", "too_large")


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_header_in_the_middle_is_no_review(tmp_path: Path, mark: bytes) -> None:
    """As `cat january.csv february.csv` makes it."""
    one, two = b'id,"text", label\r\n1,fine,pos\r\n', b"2,text,label\r\n3,text,pos\r\n"
    header = one.splitlines(keepends=True)[0]
    rows, bad = read_bytes(tmp_path, one + mark + header + two, columns=("text", "label"))
    assert rows == {0: (b"fine", b"pos"), 2: (b"text", b"label"), 3: (b"text", b"pos")}
    assert [(row.row, row.reason) for row in bad] == [(1, "repeated_header")]


def test_a_review_of_one_word_may_be_the_name_of_its_only_column(tmp_path: Path) -> None:
    rows, bad = read_bytes(tmp_path, b"awful\nfine\nawful\n")
    assert (rows, bad) == ({0: (b"fine",), 1: (b"awful",)}, [])
