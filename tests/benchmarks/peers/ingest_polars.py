"""A Polars pipeline: files read in two threads, then whole columns: lower, replace, extract, count, encode, Parquet."""

import os
from concurrent.futures import ThreadPoolExecutor

os.environ["POLARS_MAX_THREADS"] = "2"

import polars as pl
from ingest_common import FIRST, MAX_VOCAB, UNKNOWN, arguments, batches, prove, read, review_files


def main() -> None:
    options = arguments()
    ids, words = options.output / "ids.parquet", options.output / "words.parquet"
    if options.check:
        rows = pl.read_parquet(ids)["ids"]
        prove((row.to_numpy() for row in rows), len(pl.read_parquet(words)))
        return
    with ThreadPoolExecutor(2) as pool:
        parts = pool.map(lambda paths: pl.Series([read(path) for path in paths]), batches(review_files(options.input)))
        texts = pl.concat(parts)
    text = pl.col("text").str.to_lowercase().str.replace_all('"', "", literal=True)
    text = text.str.replace_all("<br />", " ", literal=True)
    tokens = pl.DataFrame({"text": texts}).lazy().select(tokens=text.str.extract_all(r"[.,()!?']|[^\s;:.,()!?']+")).collect()
    counts = tokens.lazy().select(token=pl.col("tokens").explode()).drop_nulls().group_by("token").len()
    counts = counts.filter(~pl.col("token").is_in(["<pad>", "<unk>"]))
    vocabulary = counts.sort(["len", "token"], descending=[True, False]).head(MAX_VOCAB).collect()
    known = pl.element().cast(pl.Enum(vocabulary["token"]), strict=False).to_physical().cast(pl.Int32) + FIRST
    encoded = tokens.lazy().select(ids=pl.col("tokens").list.eval(known.fill_null(UNKNOWN)))
    encoded.collect().write_parquet(ids, compression="zstd")
    vocabulary.write_parquet(words)


if __name__ == "__main__":
    main()
