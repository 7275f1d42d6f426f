"""The tokenizers against a plain-Python reference, with the compiled kernels and with NumPy's."""

import re
import string
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.errors import UsageError
from pipeline.text import kernels, numpy_kernels, tokenizers
from pipeline.text.tokenizers import TOKENIZERS, tokenize
from tests.support.uax29_words import words_of

KERNELS = {"compiled": kernels.split, "numpy": numpy_kernels.split}
"""The same twice where nothing was compiled."""

BASIC_ENGLISH_RULES = [
    ("'", " '  "),
    ('"', ""),
    (r"\.", " . "),
    (r"<br \/>", " "),
    (",", " , "),
    (r"\(", " ( "),
    (r"\)", " ) "),
    (r"\!", " ! "),
    (r"\?", " ? "),
    (r"\;", " "),
    (r"\:", " "),
    (r"\s+", " "),
]


def reference(name: str, text: str) -> list[str]:
    """The rules as they are stated, a text at a time."""
    lowered = text.lower()
    if name == "punctuation":
        return lowered.translate(str.maketrans("", "", string.punctuation)).split()
    if name == "unicode":
        return [word for chunk in lowered.replace("<br />", " ").split() for word in words_of(chunk)]
    for pattern, replacement in BASIC_ENGLISH_RULES:
        lowered = re.sub(pattern, replacement, lowered)
    return lowered.split()


characters = st.characters(min_codepoint=1, max_codepoint=sys.maxunicode, exclude_categories=["Cs"])
PIECES = ["<br />", '<br "/>', "'", '"', "...", "!?", "; :", "don't", "İ", "ΑΣ", "Σ", "É", "\u00a0", "\x1c", " "]
pieces = st.sampled_from(PIECES)
tricky = st.text(st.sampled_from(tokenizers.WIDE_WHITE_SPACE + '<br />"ab.'), max_size=12)
texts = st.lists(st.one_of(pieces, tricky, st.text(characters, max_size=8)), max_size=30).map("".join)


@pytest.fixture(params=KERNELS)
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizers, "split", KERNELS[request.param])


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("name", TOKENIZERS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.lists(texts, max_size=5))
@example(batch=["", "  ", "a"])
@example(batch=['He said "It\'s <br /><br />GREAT"; (really)?', "ΣΑΣ ΟΔΟΣ.", "İstanbul"])
def test_agrees_with_the_reference(name: str, batch: list[str]) -> None:
    assert tokenize(name, pa.array(batch, pa.string())).to_pylist() == [reference(name, text) for text in batch]


@pytest.mark.usefixtures("kernel")
def test_null_stays_null_and_no_token_is_an_empty_list() -> None:
    assert tokenize("basic_english", pa.array([None, "", "ok"], pa.string())).to_pylist() == [None, [], ["ok"]]


@pytest.mark.usefixtures("kernel")
def test_a_slice_of_a_batch_is_tokenized_alone() -> None:
    batch = pa.array(["one", "two three", "four"], pa.string())
    assert tokenize("punctuation", batch.slice(1, 1)).to_pylist() == [["two", "three"]]


@given(batch=st.lists(st.one_of(st.none(), texts), max_size=6))
def test_both_kernels_give_the_same_dictionary_and_indices(batch: list[str | None]) -> None:
    data, bounds = tokenizers.text_buffers(pa.array(batch, pa.string()))
    rules = tokenizers.RULES["basic_english"]
    found = [split(data, bounds, rules.classes, tokenizers.LOWER, rules.mark, tokenizers.WIDE) for split in KERNELS.values()]
    assert bytes(found[0][0]) == bytes(found[1][0])
    for one, other in zip(found[0][1:], found[1][1:], strict=True):
        assert np.frombuffer(one, np.int32).tolist() == np.frombuffer(other, np.int32).tolist()


def test_many_distinct_tokens_keep_their_order() -> None:
    words = [f"w{number * 7919 % 100_003}" for number in range(50_000)]
    tokens = tokenize("punctuation", pa.array([" ".join(words)]))
    assert tokens.flatten().dictionary.to_pylist() == words
    assert tokens.to_pylist() == [words]


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'basic_englsh' is not known. Did you mean 'basic_english'\?.*punctuation"):
        tokenize("basic_englsh", pa.array(["a"]))
