"""Raw reviews as a shop would deliver them: a Parquet file with the text and the shop's own columns."""

import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.text.synthetic import words
from pipeline.text.synthetic.corpus import CLASSES, Corpus, film_title, films_of
from pipeline.text.synthetic.reviews import Pen

SCORABLE = pa.schema(
    [
        pa.field("review_id", pa.string()),
        pa.field("text", pa.string()),
        pa.field("shop", pa.string()),
        pa.field("price", pa.float64()),
        pa.field("bought", pa.date32()),
        pa.field("title", pa.string()),
        pa.field("stars", pa.int32()),
    ]
)
"""`text` is to be scored; `stars` is the true rating, to compare predictions with; other columns pass through."""

ROWS_PER_GROUP = 1024
FIRST_DAY = datetime.date(2024, 1, 1)


def write_reviews(path: Path, corpus: Corpus, count: int) -> None:
    """Writes `count` reviews of films outside train and test; labels in mixed order."""
    labels = list(CLASSES[corpus.classes].items())
    films = films_of("test", max(count, corpus.test_reviews))
    with pq.ParquetWriter(path, SCORABLE, compression="zstd") as writer:
        for start in range(0, count, ROWS_PER_GROUP):
            rows = [_row(corpus, labels, films, number) for number in range(start, min(start + ROWS_PER_GROUP, count))]
            writer.write_table(pa.Table.from_pylist(rows, schema=SCORABLE))


def _row(corpus: Corpus, labels: list[tuple[str, tuple[int, ...]]], films: range, number: int) -> dict[str, object]:
    pen = Pen(f"{corpus.seed}/shop/{number}")
    label, given = labels[pen.below(len(labels))]
    stars, film, text = corpus.review("shop", label, number, given, films)
    return {
        "review_id": f"r{number:07d}",
        "text": text,
        "shop": pen.pick(words.SHOPS),
        "price": round(3.0 + pen.below(2000) / 100, 2),
        "bought": FIRST_DAY + datetime.timedelta(days=pen.below(700)),
        "title": film_title(film),
        "stars": stars,
    }
