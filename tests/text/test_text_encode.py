"""From texts to IDs at once: the same as token by token, compiled and in NumPy."""

import sys

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.text import numpy_kernels
from pipeline.text.encode import token_ids
from pipeline.text.tokenizers import RULES, lower_beyond_ascii, tokenize
from pipeline.text.vocabulary import TokenCounts, Vocabulary, build_vocabulary
from schemas.vocabulary import UNK_ID

LONG = "extraordinarily-long-compound-w"
KNOWN = ["the film", "a great FILM, isn't it?", "straße élan ünnötig", "<br />not-so <b", f"{LONG}ord"]
WORDS = ["film", "FILM", "great", "x" * 70, f"{LONG}ord", f"{LONG}ard", "<pad>"]
MARKS = [",", ".", '"', "<br />", '<B"r />', "<", ";", " ", "\n"]
WIDE = ["\u00a0", "\u3000", "É", "ß", "ΟΔΟΣ", "İ", "😀"]
PIECES = st.sampled_from([*WORDS, *MARKS, *WIDE])
TEXTS = st.lists(st.none() | st.text(max_size=30) | st.lists(PIECES, max_size=12).map("".join), max_size=6)


def vocabulary(tokenizer: str) -> Vocabulary:
    counts = TokenCounts()
    counts.add(tokenize(tokenizer, pa.array(KNOWN)).flatten())
    return build_vocabulary(counts, tokenizer, ("neg", "pos"), max_vocab=0, min_count=1)


@pytest.fixture(params=["compiled", "numpy"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same twice where nothing was compiled."""
    if request.param == "numpy":
        monkeypatch.setattr("pipeline.text.encode.encode", numpy_kernels.encode)
        monkeypatch.setattr("pipeline.text.vocabulary.word_slots", numpy_kernels.word_slots)
    return str(request.param)


@pytest.mark.parametrize("tokenizer", RULES)
def test_ids_are_those_of_the_tokens(kind: str, tokenizer: str) -> None:
    words = vocabulary(tokenizer)

    @given(texts=TEXTS)
    def check(texts: list[str | None]) -> None:
        array = pa.array(texts, pa.string())
        found = token_ids(words, array)
        expected = words.encode(tokenize(tokenizer, array.fill_null("")))
        assert found.ids.to_pylist() == expected.to_pylist()
        assert found.unknown_N.tolist() == [ids.count(UNK_ID) for ids in expected.to_pylist()]
        assert found.lengths().tolist() == [len(ids) for ids in expected.to_pylist()]

    check()


def test_a_slice_has_the_ids_of_its_own_texts(kind: str) -> None:
    words = vocabulary("basic_english")
    texts = pa.array(["great great", None, "film", "the film"])
    assert token_ids(words, texts.slice(2)).ids.to_pylist() == token_ids(words, texts).ids.to_pylist()[2:]


@given(texts=TEXTS)
def test_capital_letters_beyond_ascii_are_lowered_as_python_does(texts: list[str | None]) -> None:
    found = lower_beyond_ascii(pa.array(texts, pa.string())).to_pylist()
    assert [text and text.lower() for text in found] == [text and text.lower() for text in texts]
    assert all(text is None or text.isascii() or _beyond_ascii(text) == _beyond_ascii(text.lower()) for text in found)


def test_every_capital_letter_is_found(kind: str) -> None:
    capitals = [chr(code) for code in range(128, sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    capitals = [letter for letter in capitals if letter.lower() != letter]
    assert lower_beyond_ascii(pa.array(capitals)).to_pylist() == [letter.lower() for letter in capitals]


def _beyond_ascii(text: str) -> list[str]:
    return [letter for letter in text if not letter.isascii()]
