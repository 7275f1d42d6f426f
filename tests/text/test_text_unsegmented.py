"""Text without blanks is noticed, and nothing else is taken for it."""

import pyarrow as pa
import pytest

from pipeline.text.tokenizers import tokenize
from pipeline.text.unsegmented import unsegmented_share, unsegmented_warning
from pipeline.text.vocabulary import TokenCounts
from schemas.tokenizers import TOKENIZERS

WITHOUT_BLANKS = {
    "Chinese": "这部电影的剧情非常精彩，演员的表演也很出色。我会推荐给所有的朋友！",
    "Chinese with ASCII commas and a brand": "这部iPhone手机的电池续航时间真的非常好,屏幕的显示效果也让人十分满意",
    "Japanese": "この映画は本当に素晴らしかったです。カメラワークも最高でした。",
    "Thai": "หนังเรื่องนี้สนุกมากและนักแสดงเล่นได้ดีมาก",
    "Khmer": "ភាពយន្តនេះពិតជាល្អណាស់ខ្ញុំចូលចិត្តវា",
}
WITH_BLANKS = {
    "English": "I would not recommend this film to anybody, see https://films.example/titles/a-very-long-one",
    "Russian": "Высокопрофессиональная режиссура и достопримечательности великолепны!",
    "Arabic": "فيلم رائع جداً وأنصح الجميع بمشاهدته",
    "Hindi": "यह फिल्म बहुत अच्छी है और कलाकारों का अभिनय शानदार है",
    "Korean": "정말 재미있게 봤습니다 배우들의 연기도 훌륭했습니다",
    "rows of marks and emoji": "-------------------------- 😍😍😍😍😍😍😍😍😍😍😍😍😍😍😍😍😍 ★★★★★★★★★★★★★★★★★★",
    "Chinese with blanks between its words": "这 部 电影 的 剧情 非常 精彩 ， 演员 的 表演 也 很 出色",
    "nothing": "",
}


def counts_of(tokenizer: str, *texts: str) -> pa.Table:
    counts = TokenCounts()
    counts.add(tokenize(tokenizer, pa.array(texts, pa.string())).flatten())
    return counts.total()


@pytest.mark.parametrize("tokenizer", sorted(set(TOKENIZERS) - {"unicode"}))
@pytest.mark.parametrize("language", WITHOUT_BLANKS)
def test_text_without_blanks_is_warned_of(language: str, tokenizer: str) -> None:
    warning = unsegmented_warning(counts_of(tokenizer, WITHOUT_BLANKS[language]), tokenizer)
    assert warning is not None
    assert f"--tokenizer {tokenizer} splits at white space" in warning and "--tokenizer unicode" in warning


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("language", WITH_BLANKS)
def test_text_with_blanks_is_not(language: str, tokenizer: str) -> None:
    assert unsegmented_warning(counts_of(tokenizer, WITH_BLANKS[language]), tokenizer) is None


@pytest.mark.parametrize("language", WITHOUT_BLANKS)
def test_the_tokenizer_that_the_warning_names_makes_no_such_tokens(language: str) -> None:
    assert unsegmented_share(counts_of("unicode", WITHOUT_BLANKS[language])) == 0


def test_the_share_counts_occurrences_and_bytes() -> None:
    counts = pa.table({"token": ["电" * 20, "a" * 60], "count": pa.array([3, 1], pa.int64())})
    assert unsegmented_share(counts) == pytest.approx(0.75)


def test_a_quotation_in_another_language_is_not_warned_of() -> None:
    assert (
        unsegmented_warning(
            counts_of("basic_english", WITH_BLANKS["English"] * 20, "世界最高の映画だと思いました"), "basic_english"
        )
        is None
    )
