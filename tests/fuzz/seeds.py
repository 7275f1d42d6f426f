"""Deliveries to be mutated: small, sound files of every format that is read."""

import bz2
import csv
import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq

WORDS = ("good", "bad", "dull", "a film", "café", "電影", "it's", 'the "best"', "so, so", "<br />", "7.5", "…", "😀")
LABELS = ("pos", "neg")
Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class Seed:
    """A sound file.

    Args:
        suffix: of its name, with the dots.
        plain: what it holds before compression.
        pack: compresses.
        text: `csv`, `tsv` or `jsonl` where every line is accounted for.
    """

    suffix: str
    plain: bytes
    pack: Callable[[bytes], bytes]
    text: str | None = None


def make_seed(random: Random) -> Seed:
    """A file of a random format and compression, with a few dozen reviews."""
    rows = [_row(random, number) for number in range(random.choice((3, 12, 40, 150)))]
    name = random.choices(list(FORMATS), WEIGHTS)[0]
    plain = FORMATS[name](random, rows)
    ending = random.choice(("", "", "", *PACK)) if name in COMPRESSIBLE else ""
    text = name.lstrip(".") if name in (".csv", ".tsv", ".jsonl") else None
    return Seed(name + ending, plain, PACK.get(ending, bytes), text)


def _row(random: Random, number: int) -> Row:
    words = " ".join(random.choices(WORDS, k=random.randrange(1, 12)))
    label = random.choice((*LABELS, *LABELS, None))
    return {"id": f"r{number}", "text": f"{words} {number}", "label": label, "stars": random.randrange(1, 6)}


def _csv(random: Random, rows: list[Row]) -> bytes:
    out = io.StringIO(newline="")
    end = random.choice(("\n", "\n", "\r\n", "\r"))
    quoting = random.choice((csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    escape = random.choice((None, None, None, "\\"))
    writer = csv.DictWriter(
        out,
        list(rows[0]),
        delimiter=random.choice(",,,;|"),
        lineterminator=end,
        quoting=quoting,
        doublequote=escape is None,
        escapechar=escape,
    )
    writer.writeheader()
    for row in rows:
        breaks = random.choice(("", "", "", "\n", "\n\n", end))
        said = random.choice(("", "", ' "so, really" '))
        writer.writerow({**row, "text": f"{row['text']}{said}{breaks and f'{breaks}Second line, of it{breaks}'}"})
        if random.random() < 0.03:
            out.write(end)
    text = out.getvalue()
    return _encoded(random, text if random.random() < 0.8 else text.rstrip("\r\n"))


def _encoded(random: Random, text: str) -> bytes:
    way = random.random()
    if way < 0.9:
        return text.encode()
    if way < 0.95:
        return text.encode("utf-8-sig")
    return text.encode("cp1252", "ignore")


def _tsv(random: Random, rows: list[Row]) -> bytes:
    end = random.choice(("\n", "\n", "\r\n"))
    lines = ["\t".join(rows[0]), *("\t".join("" if v is None else str(v) for v in row.values()) for row in rows)]
    return _encoded(random, end.join([*lines, ""]))


def _jsonl(random: Random, rows: list[Row]) -> bytes:
    ascii_only = random.random() < 0.5
    lines = [json.dumps(row, ensure_ascii=ascii_only) + random.choice(("\n", "\n", "\n", "\r\n", "\n\n")) for row in rows]
    return "".join(lines).encode()


def _json(random: Random, rows: list[Row]) -> bytes:
    if random.random() < 0.3:
        return _jsonl(random, rows)
    return json.dumps(rows, indent=random.choice((None, 1)), ensure_ascii=False).encode()


def _table(random: Random, rows: list[Row]) -> pa.Table:
    table = pa.Table.from_pylist(rows)
    kinds = (pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string()))
    columns = [table["id"], table["text"].cast(random.choice(kinds[:3])), table["label"].cast(random.choice(kinds[:2]))]
    if random.random() < 0.3:
        columns[2] = columns[2].dictionary_encode()
    return pa.table([*columns, table["stars"]], list(rows[0]))


def _parquet(random: Random, rows: list[Row]) -> bytes:
    out = io.BytesIO()
    options = {
        "compression": random.choice(("snappy", "zstd", "none", "gzip")),
        "use_dictionary": random.random() < 0.5,
        "row_group_size": random.choice((5, 1000)),
        "data_page_version": random.choice(("1.0", "2.0")),
        "write_page_checksum": random.random() < 0.3,
    }
    pq.write_table(_table(random, rows), out, **options)
    return out.getvalue()


def _arrow(random: Random, rows: list[Row]) -> bytes:
    table, out = _table(random, rows), io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=random.choice((None, "lz4", "zstd")))
    opened = random.choice((pa.ipc.new_file, pa.ipc.new_stream))
    with opened(out, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=random.choice((5, 1000)))
    return out.getvalue()


def _tar(random: Random, rows: list[Row]) -> bytes:
    out = io.BytesIO()
    kind = random.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    with tarfile.open(fileobj=out, mode="w", format=kind) as tar:
        for number, row in enumerate(rows):
            content = str(row["text"]).encode()
            folder = "x" * 120 if random.random() < 0.05 else "train"
            member = tarfile.TarInfo(f"{folder}/{row['label'] or 'unsup'}/{number}_{row['stars']}.txt")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        films = "".join(f"film{number // 3}\n" for number in range(len(rows))).encode()
        member = tarfile.TarInfo("train/urls_pos.txt")
        member.size = len(films)
        tar.addfile(member, io.BytesIO(films))
    return out.getvalue()


def _zip(random: Random, rows: list[Row]) -> bytes:
    """Members have no time of writing, so that the same seed gives the same bytes."""
    out = io.BytesIO()
    kind = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(out, "w", kind) as archive:
        if random.random() < 0.5:
            archive.writestr(zipfile.ZipInfo("export/reviews.csv"), _csv(random, rows), kind)
        else:
            for number, row in enumerate(rows):
                member = zipfile.ZipInfo(f"train/{row['label'] or 'unsup'}/{number}_{row['stars']}.txt")
                archive.writestr(member, str(row["text"]), kind)
    return out.getvalue()


def _txt(random: Random, rows: list[Row]) -> bytes:
    return "\n".join(str(row["text"]) for row in rows).encode(random.choice(("utf-8", "utf-8", "utf-16")))


def _zst(content: bytes) -> bytes:
    return bytes(pa.compress(content, codec="zstd", asbytes=True))


PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": lambda content: gzip.compress(content, 6, mtime=0),
    ".zst": _zst,
    ".bz2": bz2.compress,
}
COMPRESSIBLE = (".csv", ".tsv", ".jsonl", ".json", ".tar", ".txt")
FORMATS: dict[str, Callable[[Random, list[Row]], bytes]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".jsonl": _jsonl,
    ".json": _json,
    ".parquet": _parquet,
    ".feather": _arrow,
    ".arrow": _arrow,
    ".tar": _tar,
    ".zip": _zip,
    ".txt": _txt,
}
WEIGHTS = (7, 3, 4, 3, 3, 1, 1, 2, 1, 1)
