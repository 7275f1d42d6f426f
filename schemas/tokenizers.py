"""The tokenizers: their names in vocabularies and models, and what each does. Implemented in `pipeline.text`."""

from types import MappingProxyType

TOKENIZERS = MappingProxyType(
    {
        "basic_english": "lower case, split into words and . , ( ) ! ? ', as in torchtext",
        "punctuation": "lower case, ASCII punctuation removed, split at white space",
        "unicode": "lower case, word boundaries of UAX #29, for languages written without spaces",
    }
)
"""Name → summary. A name never changes its meaning: tables and models of years ago depend on it."""
DEFAULT_TOKENIZER = "basic_english"
