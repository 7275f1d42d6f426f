"""The tokenizer `unicode`: what UAX #29 says of each script, and two laws that tie it to the libraries."""

import re
import sys
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from uniseg.wordbreak import words as uniseg_words

from pipeline.text import uax29
from pipeline.text.tokenizers import tokenize
from schemas.tokenizers import TOKENIZERS
from tests.support.paths import ROOT
from tests.support.uax29_words import BOUNDARY, INVISIBLE, words_of

SCRIPTS = {
    "English": (
        "Don't pay $3.14, e-mail U.S.A. a_b",
        ["don't", "pay", "$", "3.14", ",", "e", "-", "mail", "u.s.a", ".", "a_b"],
    ),
    "quotation marks": ("he said: “Wow!”", ["he", "said", ":", "“", "wow", "!", "”"]),
    "French": ("L’été à Nîmes… déçu ?", ["l’été", "à", "nîmes", "…", "déçu", "?"]),
    "Russian": ("ОЧЕНЬ хорошо!", ["очень", "хорошо", "!"]),
    "Arabic": ("فيلم رائع، جداً", ["فيلم", "رائع", "،", "جداً"]),
    "Hindi": ("बहुत अच्छी फिल्म।", ["बहुत", "अच्छी", "फिल्म", "।"]),
    "Chinese": ("这部电影很好看。", ["这", "部", "电", "影", "很", "好", "看", "。"]),
    "ideographs beyond the basic plane": ("\U00020000\U00020001", ["\U00020000", "\U00020001"]),
    "Japanese": ("東京タワーのカメラ", ["東", "京", "タワー", "の", "カメラ"]),
    "Korean": ("정말 좋아요", ["정말", "좋아요"]),
    "Thai": ("ดีมาก", ["ดี", "ม", "า", "ก"]),
    "emoji": ("👨‍👩‍👧‍👦🇫🇷🇩🇪👍🏽❤️1️⃣😍😍", ["👨‍👩‍👧‍👦", "🇫🇷", "🇩🇪", "👍🏽", "❤️", "1️⃣", "😍", "😍"]),
    "markup": ("Great<br /><br />fun", ["great", "fun"]),
    "invisible": ("a\u200b \u200b \ufe0f \x01 b\u00adc", ["a", "b\u00adc"]),
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_words_of_each_script(script: str) -> None:
    text, words = SCRIPTS[script]
    assert tokenize("unicode", pa.array([text])).to_pylist() == [words]


characters = st.characters(min_codepoint=1, max_codepoint=sys.maxunicode, exclude_categories=["Cs"])
PIECES = [
    "don't",
    "3.14",
    "\u0301",
    "\u200d",
    "\ufe0f",
    "日本",
    "カタカナ",
    "ไทย",
    "👍🏽",
    "🇫🇷",
    "\u202f",
    "\u00a0",
    "\r\n",
    " ",
    "<br />",
]
texts = st.lists(st.one_of(st.sampled_from(PIECES), st.text(characters, max_size=6)), max_size=20).map("".join)


HANGUL_FILLERS = "\u115f\u1160\u3164\uffa0"
"""Letters by their category, and yet nothing to see."""


def is_visible(word: str) -> bool:
    return any(unicodedata.category(c)[0] in "LNPS" and c not in HANGUL_FILLERS for c in word)


@given(batch=st.lists(st.one_of(st.none(), texts), max_size=5))
@example(batch=["\u200d😀", "a \u200d😀", "\u0301x \u0301x"])
def test_a_batch_is_split_as_each_of_its_chunks_alone(batch: list[str | None]) -> None:
    wanted = [
        None if text is None else [word for chunk in text.lower().replace("<br />", " ").split() for word in words_of(chunk)]
        for text in batch
    ]
    assert tokenize("unicode", pa.array(batch, pa.string())).to_pylist() == wanted


@given(text=texts)
def test_white_space_first_changes_no_boundary(text: str) -> None:
    """What is split at white space, then at word boundaries, is the whole text at its word boundaries.

    UAX #29 glues marks and joiners to the white space before them, and takes U+202F, which Python calls white space, for a
    part of a word: such texts are left out.
    """
    text = text.lower().replace("<br />", " ")
    whole = BOUNDARY.split(text)
    assume(not any(piece.strip() and piece != "".join(piece.split()) for piece in whole))
    assert tokenize("unicode", pa.array([text])).to_pylist() == [[w for w in whole if w and not INVISIBLE.fullmatch(w)]]


EVERY_CLASS = "aéяשא日ひカー한ไ1٣_‿.,;:'’\"·-!。$😀👍🏽❤☺🇫🇷\u0301\u0e31\u0903\u200d\ufe0f\u20e3\u00ad\u200b\u2060\x01"
"""Characters of each Word_Break class. The two libraries carry tables of different Unicode versions; these never moved."""


@settings(max_examples=500)
@given(chunk=st.text(st.sampled_from(EVERY_CLASS), min_size=1, max_size=10))
def test_another_implementation_of_the_rules_agrees(chunk: str) -> None:
    assert [w for w in BOUNDARY.split(chunk) if w] == list(uniseg_words(chunk))


@given(text=texts)
def test_only_what_nobody_sees_is_left_out(text: str) -> None:
    for chunk in text.split():
        assert [w for w in words_of(chunk) if is_visible(w)] == [w for w in BOUNDARY.split(chunk) if is_visible(w)]


def test_large_batches_are_cut_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = pa.array([f"日本{number} naïve-{number % 7}, plain{number} 😀" for number in range(200)])
    whole = tokenize("unicode", texts)
    monkeypatch.setattr(uax29, "GROUP_BYTES", 16)
    assert tokenize("unicode", texts).equals(whole)
    assert whole[3].as_py() == ["日", "本", "3", "naïve", "-", "3", ",", "plain3", "😀"]


def test_the_dictionary_keeps_the_order_of_first_occurrence() -> None:
    tokens = tokenize("unicode", pa.array(["b a-b", "c, b 日b"]))
    assert tokens.flatten().dictionary.to_pylist() == ["b", "a", "-", "c", ",", "日"]


def documented() -> dict[str, list[str]]:
    """Text → tokens, from the table in docs/tokenizers.md."""
    page = (ROOT / "docs" / "tokenizers.md").read_text(encoding="utf-8")
    rows = page.partition("| text | tokens |")[2].partition("\n\n")[0].splitlines()[2:]
    cells = [re.findall(r"`([^`]+)`", row) for row in rows]
    return {text: tokens for text, *tokens in cells}


@pytest.mark.parametrize("text", documented())
def test_the_documentation_shows_what_it_does(text: str) -> None:
    assert tokenize("unicode", pa.array([text])).to_pylist() == [documented()[text]]


def test_the_documentation_names_every_tokenizer() -> None:
    page = (ROOT / "docs" / "tokenizers.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)`", page.partition("Examples for `unicode`")[0], re.MULTILINE) == list(TOKENIZERS)
