"""The Arrow tokenizers against a plain-Python reference."""

import re
import string
import sys
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.errors import UsageError
from pipeline.text.tokenizers import TOKENIZERS, tokenize

BASIC_ENGLISH_RULES = [
    ("'", " '  "), ('"', ""), (r"\.", " . "), (r"<br \/>", " "), (",", " , "), (r"\(", " ( "), (r"\)", " ) "),
    (r"\!", " ! "), (r"\?", " ? "), (r"\;", " "), (r"\:", " "), (r"\s+", " "),
]  # fmt: skip


def reference(name: str, text: str) -> list[str]:
    """The rules as they are stated, a text at a time."""
    lowered = text.lower()
    if name == "punctuation":
        return lowered.translate(str.maketrans("", "", string.punctuation)).split()
    for pattern, replacement in BASIC_ENGLISH_RULES:
        lowered = re.sub(pattern, replacement, lowered)
    return lowered.split()


# Letters that this Python's Unicode does not know yet are lowered by Arrow's newer tables alone.
ASSIGNED = [chr(c) for c in range(1, sys.maxunicode) if unicodedata.category(chr(c)) not in ("Cn", "Cs")]
PIECES = ["<br />", '<br "/>', "'", '"', "...", "!?", "; :", "don't", "İ", "ΑΣ", "Σ", "É", "\u00a0", "\x1c", " "]
pieces = st.sampled_from(PIECES)
texts = st.lists(st.one_of(pieces, st.text(st.sampled_from(ASSIGNED), max_size=8)), max_size=30).map("".join)


@pytest.mark.parametrize("name", TOKENIZERS)
@given(batch=st.lists(texts, max_size=5))
@example(batch=["", "  ", "a"])
@example(batch=['He said "It\'s <br /><br />GREAT"; (really)?', "ΣΑΣ ΟΔΟΣ.", "İstanbul"])
def test_agrees_with_the_reference(name: str, batch: list[str]) -> None:
    assert tokenize(name, pa.array(batch, pa.string())).to_pylist() == [reference(name, text) for text in batch]


def test_null_stays_null_and_no_token_is_an_empty_list() -> None:
    assert tokenize("basic_english", pa.array([None, "", "ok"], pa.string())).to_pylist() == [None, [], ["ok"]]


def test_a_slice_of_a_batch_is_tokenized_alone() -> None:
    batch = pa.array(["one", "two three", "four"], pa.string())
    assert tokenize("punctuation", batch.slice(1, 1)).to_pylist() == [["two", "three"]]


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'basic_englsh' is not known. Did you mean 'basic_english'\?.*punctuation"):
        tokenize("basic_englsh", pa.array(["a"]))
