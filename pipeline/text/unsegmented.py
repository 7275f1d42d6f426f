"""Detects text written without white space that was tokenized by splitting at white space."""

import pyarrow as pa
import pyarrow.compute as pc

from schemas.tokenizers import TOKENIZERS

SEGMENTING_TOKENIZER = "unicode"
"""The tokenizer to recommend; it never makes such tokens."""
WITHOUT_BLANKS = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
"""Letters of scripts that don't separate words."""
LONGEST_WORD = 12
"""In characters: words of these scripts are seldom longer (`ประสบการณ์` has 10), while clauses mostly are."""
GREATEST_SHARE = 0.1
"""Names and quotations in another language stay below this share."""


def unsegmented_share(counts: pa.Table) -> float:
    """Share of the bytes of all tokens that belong to whole clauses of a language written without blanks.

    Args:
        counts: token: string, count: int64, as returned by `TokenCounts.total`.

    Returns:
        0 to 1; 0 without tokens.
    """
    tokens = counts["token"]
    num_bytes = pc.multiply(pc.cast(pc.binary_length(tokens), pa.int64()), counts["count"])
    is_clause = pc.and_(pc.greater(pc.utf8_length(tokens), LONGEST_WORD), pc.match_substring_regex(tokens, WITHOUT_BLANKS))
    whole = pc.sum(num_bytes).as_py() or 0
    return (pc.sum(num_bytes.filter(is_clause)).as_py() or 0) / max(whole, 1)


def unsegmented_warning(counts: pa.Table, tokenizer: str) -> str | None:
    """A warning for the user if `tokenizer` made tokens of whole clauses, else None.

    Example: `if warning := unsegmented_warning(counts.total(), "basic_english"): log.warning("%s", warning)`
    """
    assert tokenizer in TOKENIZERS
    share = unsegmented_share(counts)
    if tokenizer == SEGMENTING_TOKENIZER or share <= GREATEST_SHARE:
        return None
    return (
        f"{share:.0%} of the text became tokens of whole clauses: --tokenizer {tokenizer} splits at white space, and "
        "Chinese, Japanese, Thai, Lao, Khmer and Burmese are written without it. A model learns little from such tokens. "
        f"Ingest again with --tokenizer {SEGMENTING_TOKENIZER} --rebuild-vocab."
    )
