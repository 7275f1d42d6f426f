"""Tokenizers as Arrow kernels: a whole batch of texts in, a list of tokens for each out. The kernels release the GIL.

`basic_english` follows the rules of torchtext's tokenizer of that name: lower-case; quotation marks go; each of
`. , ( ) ! ? '` becomes a token; `<br />`, `;` and `:` become blanks; split at white space.
`punctuation` is the book's: lower-case, strip ASCII punctuation, split at white space.
Both agree with Python's `str.lower` and `str.split` on every character that this Python's Unicode knows.
"""

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import unknown_choice


def tokenize(name: str, texts: pa.StringArray) -> pa.ListArray:
    """Splits each text into tokens.

    Args:
        name: one of `TOKENIZERS`.
        texts: strings; null gives null, a text without tokens an empty list.

    Returns:
        list<string>, one a text.

    Raises:
        UsageError: no tokenizer of that name.
    """
    check_tokenizer(name)
    return _split(_KERNELS[name](_lower(texts)))


def check_tokenizer(name: str) -> None:
    """Raises `UsageError` when there is no tokenizer `name`."""
    if name not in _KERNELS:
        raise unknown_choice("--tokenizer", name, TOKENIZERS)


def _basic_english(lowered: pa.StringArray) -> pa.StringArray:
    unquoted = pc.replace_substring_regex(lowered, '"', "")
    spaced = pc.replace_substring_regex(unquoted, r"([.,()!?'])", r" \1 ")
    return pc.replace_substring_regex(spaced, r"<br />|[;:]", " ")


def _punctuation(lowered: pa.StringArray) -> pa.StringArray:
    return pc.replace_substring_regex(lowered, r"[!-/:-@\[-`{-~]+", "")


_KERNELS: dict[str, Callable[[pa.StringArray], pa.StringArray]] = {
    "basic_english": _basic_english,
    "punctuation": _punctuation,
}
TOKENIZERS: tuple[str, ...] = tuple(_KERNELS)
DEFAULT_TOKENIZER = "basic_english"


def _lower(texts: pa.StringArray) -> pa.StringArray:
    """`str.lower` of each text. Two letters grow or depend on context, which the kernel ignores; Python lowers those."""
    lowered = pc.utf8_lower(texts)
    special = pc.match_substring_regex(texts, "[\u0130\u03a3]")
    if pc.any(special).as_py():
        patched = [None if text is None else text.lower() for text in texts.filter(special).to_pylist()]
        lowered = pc.replace_with_mask(lowered, pc.fill_null(special, False), pa.array(patched, lowered.type))
    return lowered


def _split(texts: pa.StringArray) -> pa.ListArray:
    """Splits at white space; unlike the bare kernel gives no empty tokens."""
    trimmed = pc.utf8_trim_whitespace(texts)
    blank = pc.equal(trimmed, "")
    if not pc.any(blank).as_py():
        return pc.utf8_split_whitespace(trimmed)
    lists = pc.utf8_split_whitespace(pc.if_else(blank, pa.scalar(None, trimmed.type), trimmed))
    null = pc.is_null(texts) if texts.null_count else None
    return pa.ListArray.from_arrays(lists.offsets, lists.values, mask=null)
