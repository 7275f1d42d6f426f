"""Delimiter, quotation mark and encoding: found out from a file's beginning, or given."""

import codecs
import csv
import io
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UsageError
from pipeline.readers import csv_records
from pipeline.readers.base import Dialect, FileFault, Reading, Source
from pipeline.readers.dialect import sniff

GERMAN = [("Die Qualität ist gut, größer als gedacht – 5€", "positiv"), ("Schön war’s nicht; nie wieder", "negativ")] * 20


def table(rows, delimiter=",", header=("text", "label"), **options) -> str:
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=delimiter, **options).writerows([header, *rows])
    return stream.getvalue()


def rows_of(folder: Path, content: bytes, name: str = "reviews.csv", dialect: Dialect = Dialect()):  # noqa: B008
    path = folder / name
    path.write_bytes(content)
    source = Source(path=path, name=name, format=path.suffix[1:])
    parts = list(csv_records.read(source, Reading(dialect=dialect)))
    assert not [row for part in parts for row in part.bad]
    return [row for part in parts for row in zip(*(column.to_pylist() for column in part.table.columns), strict=True)]


def encoded(rows):
    return [tuple(cell.encode() for cell in row) for row in rows]


# Delimiters


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("count", [0, 1, 2, 40])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_delimiters_are_told_apart_with_few_rows_and_with_the_others_in_the_text(delimiter, count, quoting):
    rows = [("bad, worse; worst | never", "1,5", "line one\nline two, so;"), ("good", "2,0", "a\tb")] * 20
    text = table(rows[:count], delimiter, ("text", "price", "notes"), quoting=quoting)
    assert sniff(text.encode(), whole=True).delimiter == delimiter


def test_a_comma_that_explains_as_much_stays():
    assert sniff(b"a;b,c\n1;2,3\n4;5,6\n", whole=True).delimiter == ","
    assert sniff(b"text;label,split\ngood;pos,train\nbad,train\n", whole=True).delimiter == ","


def test_the_delimiter_of_the_header_stays_though_most_rows_are_ragged():
    ragged = b"text,label\n" + b"good, so, really,pos\n" * 10
    assert sniff(ragged, whole=True).delimiter == ","


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_one_column_of_text_is_read_whole(tmp_path, quoting):
    rows = [("good, so; really",), ("bad | worse",), ("fine",)]
    assert rows_of(tmp_path, table(rows, header=("text",), quoting=quoting).encode()) == encoded(rows)
    assert rows_of(tmp_path, b"text\ngood, so really\nbad, worse\nfine\n") == [
        (b"good, so really",),
        (b"bad, worse",),
        (b"fine",),
    ]


@pytest.mark.parametrize("line", [b"sep=;\r\n", b'"sep=;"\n', b"\xef\xbb\xbfsep=;\n\n"])
def test_a_line_that_names_the_delimiter_for_excel_is_followed_and_passed_over(tmp_path, line):
    assert rows_of(tmp_path, line + b"text;label\ngood, so;pos\n") == [(b"good, so", b"pos")]
    assert rows_of(tmp_path, b"sep=,\ntext,label\n") == []
    assert rows_of(tmp_path, b"sep=x,label\ngood,pos\n") == [(b"good", b"pos")]


def test_the_name_tsv_means_tabs_and_no_quotation_marks():
    found = sniff(b'text,more\tlabel\n"good, so"\tpos\n', "tsv", whole=True)
    assert (found.delimiter, found.quote) == ("\t", "")


def test_what_is_given_is_taken_as_it_is(tmp_path):
    content = b"text;label,b\ngut, ja;pos\n"
    assert rows_of(tmp_path, content, dialect=Dialect(delimiter=",")) == [(b"gut", b" ja;pos")]
    assert rows_of(tmp_path, b"text\tlabel\n'a\tb'\tpos\n", "reviews.tsv", Dialect(quote="'")) == [(b"a\tb", b"pos")]
    assert rows_of(tmp_path, b'text,label\n"good,pos\n', dialect=Dialect(quote="")) == [(b'"good', b"pos")]


@given(rows=st.lists(st.tuples(st.text(max_size=20), st.text(max_size=9)), max_size=20), start=st.binary(max_size=30))
def test_any_sample_gives_a_dialect_and_the_same_each_time(rows, start):
    sample = start + table(rows).encode("utf-8", "surrogatepass")
    assert sniff(sample) == sniff(sample)


# Quotation marks


def test_apostrophes_that_quote_are_told_from_those_of_the_text(tmp_path):
    quoted = b"text,label\n'good, so','pos'\n'it''s bad','neg'\n"
    assert rows_of(tmp_path, quoted) == [(b"good, so", b"pos"), (b"it's bad", b"neg")]
    plain = b"text,label\n'twas good,pos\n'tis bad,neg\nit's 'so' so,neg\n"
    assert rows_of(tmp_path, plain)[0] == (b"'twas good", b"pos")
    assert sniff(b"text,label\n'good','pos'\n\"bad, so\",'neg'\n", whole=True).quote == '"'


# Encodings


@pytest.mark.parametrize(
    ("encoding", "rows"),
    [
        ("utf-8", GERMAN),
        ("utf-8-sig", GERMAN),
        ("cp1252", GERMAN),
        ("utf-16", GERMAN),
        ("utf-16-le", GERMAN),
        ("utf-16-be", GERMAN),
        ("utf-32", GERMAN),
        ("cp1252", [("C’était très décevant, déjà reçu cassé", "nég"), ("¡Qué mal sabor! Señor, ¿por qué?", "neg")]),
        ("cp1251", [("Очень хороший фильм, всем советую", "да"), ("Ужасная игра и скучный сюжет", "нет")] * 20),
        ("cp1253", [("Πολύ καλή ταινία, την συνιστώ", "ναι"), ("Απαίσια ηθοποιία και πλοκή", "όχι")] * 20),
        ("gb18030", [("这部电影非常好看，推荐给大家", "好"), ("剧情太无聊了，演员演技很差", "坏")] * 20),
    ],
)
def test_encodings_are_found_out(tmp_path, encoding, rows):
    assert rows_of(tmp_path, table(rows, ";").encode(encoding)) == encoded(rows)


@pytest.mark.parametrize("block", [1, 2, 3, 7])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252", "gb18030"])
def test_blocks_may_end_within_a_character(tmp_path, monkeypatch, block, encoding):
    monkeypatch.setattr(csv_records, "BLOCK_BYTES", block)
    dialect = Dialect(encoding=encoding)
    assert rows_of(tmp_path, table(GERMAN, lineterminator="\r\n").encode(encoding), dialect=dialect) == encoded(GERMAN)


def test_letters_after_the_sample_are_faults_of_their_rows_and_a_few_before_it_do_not_make_it_another_encoding(tmp_path):
    mostly = table([("schön", "ja")] * 5).encode() + b"sch\xf6n,ja\r\n"
    assert rows_of(tmp_path, mostly)[-1] == (b"sch\xf6n", b"ja")
    later = table([("good", "pos")] * 200_000).encode() + b"sch\xf6n,ja\r\n"
    assert rows_of(tmp_path, later)[-1] == (b"sch\xf6n", b"ja")


@pytest.mark.parametrize("given", ["cp1252", "latin-1", "koi8_r", "gb18030", "utf-16"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-8", "utf-16"])
def test_what_a_file_is_counts_more_than_the_encoding_that_was_given(tmp_path, caplog, given, encoding):
    caplog.set_level(logging.INFO)
    if (given, encoding) == ("utf-16", "utf-8"):
        return  # no bytes tell
    content = table(GERMAN).encode(encoding)
    assert rows_of(tmp_path, content, dialect=Dialect(encoding=given)) == encoded(GERMAN)
    assert ("so it is not read as" in caplog.text) == (given != encoding)


@pytest.mark.parametrize("text", ["good", "sch\xf6n", "\xc3\xb6\xf6"])
def test_an_encoding_that_was_given_is_used_where_the_file_can_be_in_it(tmp_path, text):
    content = f"text,label\n{text},ja\n".encode("latin-1")
    assert rows_of(tmp_path, content, dialect=Dialect(encoding="latin-1")) == [(text.encode(), b"ja")]
    one = "text,label\n\u90a6,ja\n"
    assert rows_of(tmp_path, one.encode("gb18030"), dialect=Dialect(encoding="gb18030")) == [("\u90a6".encode(), b"ja")]


def test_bytes_that_the_encoding_lacks_are_faults_of_their_rows(tmp_path):
    assert rows_of(tmp_path, b"text,label\nsch\xf6n,ja\na\x81b,ja\n", dialect=Dialect(encoding="cp1252")) == [
        ("schön".encode(), b"ja"),
        (b"a\x81b", b"ja"),
    ]


def test_utf16_that_is_cut_short_is_a_damaged_file_that_names_the_option(tmp_path):
    content = codecs.BOM_UTF16_LE + table(GERMAN).encode("utf-16-le")[:-1]
    with pytest.raises(FileFault, match=r"is not utf-16 \(truncated data\).*--encoding") as caught:
        rows_of(tmp_path, content)
    assert caught.value.reason == "damaged"


def test_an_encoding_that_nobody_knows_is_refused_with_examples():
    for name in ("klingon", "hex", "idna\0"):
        with pytest.raises(UsageError, match="such as utf-8, utf-16, cp1252"):
            sniff(b"text\n", given=Dialect(encoding=name))
    for dialect in (Dialect(delimiter='"'), Dialect(delimiter="ab"), Dialect(quote="é"), Dialect(delimiter="")):
        with pytest.raises(UsageError, match="Use one"):
            sniff(b"text\n", given=dialect)


# What is logged, and the guess of a header


def test_what_is_not_usual_is_logged_once_with_the_option_and_the_option_silences_it(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    content = table(GERMAN, ";").encode("cp1252")
    rows_of(tmp_path, content)
    assert [(record.levelname, record.message) for record in caplog.records] == [
        (
            "WARNING",
            "reviews.csv is not UTF-8; reading it as cp1252. If characters look wrong, set the encoding with --encoding.",
        ),
        (
            "INFO",
            'reviews.csv: detected delimiter semicolon and quotation mark "; override them with --delimiter and --quote.',
        ),
    ]
    caplog.clear()
    rows_of(tmp_path, content, dialect=Dialect(delimiter=";", encoding="cp1252"))
    rows_of(tmp_path, b"text,label\ngood,pos\n")
    rows_of(tmp_path, b"text\tlabel\ngood\tpos\n", "reviews.tsv")
    assert not caplog.records


@pytest.mark.parametrize(
    ("content", "is_header"),
    [
        (b"text,label\ngood,pos\n", True),
        (b"\n\n text , label \ngood,pos\n", True),
        (b'positiv,"good, so"\nnegativ,bad\npositiv,fine\n', False),
        (b"5,good\n3,fine\n", False),
        (b"text," + b"a review that is too long for the name of a column and has no comma\ngood,pos\n", False),
        (b"text,text\ngood,pos\n", False),
        (b"", True),
    ],
)
def test_whether_the_first_record_names_columns(content, is_header):
    assert sniff(content, whole=True).has_header == is_header
