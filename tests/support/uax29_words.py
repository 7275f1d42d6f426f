"""The rules of the tokenizer `unicode` as they are stated, a text at a time."""

import regex

BOUNDARY = regex.compile(r"(?V1w)\b")
INVISIBLE = regex.compile(r"[\p{White_Space}\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}]+")


def words_of(text: str) -> list[str]:
    """The words of a text, unchanged: split at the word boundaries of UAX #29, without lower-casing."""
    return [word for word in BOUNDARY.split(text) if word and not INVISIBLE.fullmatch(word)]
