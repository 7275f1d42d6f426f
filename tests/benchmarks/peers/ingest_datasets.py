"""Hugging Face datasets: batched `map` in two processes. Its Arrow files are the output.

A first map reads and tokenizes, the main process counts, a second one maps tokens to ids: with whole Arrow tables in and
out and Arrow's kernels, its best; or, with --how python, with lists of strings in Python, as its documentation shows.
"""

from collections import Counter
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, concatenate_datasets, disable_caching, disable_progress_bars
from ingest_common import FIRST, UNKNOWN, arguments, basic_english, index_of, prove, read, review_files

PROCESSES, ROWS = 2, 1000


def tokenize(table: pa.Table) -> pa.Table:
    texts = pa.array([read(path).lower().replace('"', "").replace("<br />", " ") for path in table["path"].to_pylist()])
    texts = pc.replace_substring_regex(texts, r"([.,()!?'])", r" \1 ")
    texts = pc.replace_substring_regex(texts, "[;:]", " ")
    # Trimmed, because white space at either end would give an empty token, and because Arrow 26 takes a blank at the very
    # end of the buffer for a part of the last token, now and then. No review is empty.
    return pa.table({"tokens": pc.utf8_split_whitespace(pc.utf8_trim_whitespace(texts))})


def tokenize_lists(batch: dict[str, list[str]]) -> dict[str, list[list[str]]]:
    return {"tokens": [basic_english(read(path)) for path in batch["path"]]}


def encode_lists(batch: dict[str, list[list[str]]], words: list[str]) -> dict[str, list[list[int]]]:
    index = _index(tuple(words))
    return {"ids": [[index.get(token, UNKNOWN) for token in tokens] for tokens in batch["tokens"]]}


@cache
def _index(words: tuple[str, ...]) -> dict[str, int]:
    return {token: number for number, token in enumerate(words, start=FIRST)}


def encode(table: pa.Table, words: list[str]) -> pa.Table:
    lists = table["tokens"].combine_chunks()
    flat = lists.flatten().dictionary_encode()
    known = pc.fill_null(pc.add(pc.index_in(flat.dictionary, value_set=pa.array(words)), FIRST), UNKNOWN)
    offsets = pc.subtract(lists.offsets, lists.offsets[0])
    return pa.table({"ids": pa.ListArray.from_arrays(offsets, known.take(flat.indices))})


def main() -> None:
    options = arguments(how=("arrow", "python"))
    disable_progress_bars()
    if options.check:
        check(options.output)
        return
    disable_caching()
    whole = options.how == "arrow"
    paths = Dataset.from_dict({"path": review_files(options.input)}).with_format("arrow" if whole else None)
    how = {"batched": True, "batch_size": ROWS, "num_proc": PROCESSES}
    tokens = paths.map(
        tokenize if whole else tokenize_lists,
        remove_columns="path",
        cache_file_name=str(options.output / "tokens.arrow"),
        **how,
    )
    counts: Counter[str] = Counter()
    for table in tokens.with_format("arrow").iter(8 * ROWS):
        found = table["tokens"].combine_chunks().flatten().value_counts()
        counts.update(dict(zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True)))
    words = list(index_of(counts))
    tokens.with_format("arrow" if whole else None).map(
        encode if whole else encode_lists,
        fn_kwargs={"words": words},
        remove_columns="tokens",
        cache_file_name=str(options.output / "ids.arrow"),
        **how,
    )
    (options.output / "words.txt").write_text("\n".join(words), encoding="utf-8")


def check(folder: Path) -> None:
    ids = concatenate_datasets([Dataset.from_file(str(path)) for path in sorted(folder.glob("ids*.arrow"))])
    words = (folder / "words.txt").read_text(encoding="utf-8").split("\n")
    tables = ids.with_format("arrow").iter(ROWS)
    prove((row.values.to_numpy() for table in tables for row in table["ids"]), len(words))


if __name__ == "__main__":
    main()
