"""The options of `pipeline fetch`, and the public data sets it knows."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pipeline.options.check import validate
from pipeline.options.option import Option

MOST_SECONDS = 24 * 60 * 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A public file: where it is, its file name in raw/, and its published digests."""

    url: str
    file: str
    digests: Mapping[str, str]


SOURCES: Mapping[str, Source] = {
    "imdb": Source(
        url="https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
        file="aclImdb_v1.tar.gz",
        digests={"md5": "7c2ac02c03563afcf9b574c7e56c153a"},
    )
}
"""The data sets by name. imdb: Maas et al. 2011, "Learning Word Vectors for Sentiment Analysis"."""


@dataclass(frozen=True, kw_only=True)
class FetchConfig:
    """What to fetch. `url`, `md5` and `sha256` None: as published; a given digest replaces the published one.

    Raises:
        UsageError: a value that is not allowed.
    """

    lake: Path
    dataset: Annotated[
        str,
        Option(
            metavar="DATASET",
            help="imdb: Maas et al. 2011, 84 MB, 100,000 reviews.",
            choices=SOURCES,
            positional=True,
        ),
    ]
    url: Annotated[str | None, Option(metavar="URL", help="Download from this URL instead.", default="the publisher's")] = (
        None
    )
    md5: Annotated[
        str | None,
        Option(
            metavar="HEX",
            help="Expected MD5.",
            default="as published",
            accepts=lambda text: re.fullmatch("[0-9a-fA-F]{32}", text) is not None,
            expected="32 hexadecimal digits",
        ),
    ] = None
    sha256: Annotated[
        str | None,
        Option(
            metavar="HEX",
            help="Expected SHA-256; replaces the MD5.",
            accepts=lambda text: re.fullmatch("[0-9a-fA-F]{64}", text) is not None,
            expected="64 hexadecimal digits",
        ),
    ] = None
    timeout_seconds: Annotated[
        float,
        Option(
            name="timeout",
            help="Seconds to wait for the server to send data.",
            above=0,
            maximum=MOST_SECONDS,
        ),
    ] = 60.0

    def __post_init__(self) -> None:
        from pipeline.lake.download import check_url

        validate(self)
        check_url(self.source.url)

    @property
    def source(self) -> Source:
        """The source, with the options applied."""
        known = SOURCES[self.dataset]
        given = {name: value for name, value in (("md5", self.md5), ("sha256", self.sha256)) if value is not None}
        return Source(url=self.url or known.url, file=known.file, digests=given or known.digests)
