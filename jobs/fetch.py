"""The job behind `pipeline fetch`: downloads a public data set into the lake's raw/."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jobs.runtime import recorded_run
from pipeline.errors import DataError, UsageError, unknown_choice
from pipeline.lake.download import check_url, digests_of, download
from pipeline.lake.locks import locked
from pipeline.lake.paths import Lake
from schemas.run import Receipt

DIGEST_LENGTHS = {"md5": 32, "sha256": 64}
MOST_SECONDS = 24 * 60 * 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A public file: where it is, what it is called in raw/, and its digests as published."""

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
    """What to fetch. `url`, `md5` and `sha256` None: as published; a digest given takes the published one's place."""

    lake: Path
    dataset: str
    url: str | None = None
    md5: str | None = None
    sha256: str | None = None
    timeout_seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.dataset not in SOURCES:
            raise unknown_choice("fetch", self.dataset, SOURCES)
        for name, length in DIGEST_LENGTHS.items():
            digest = getattr(self, name)
            if digest is not None and not re.fullmatch(f"[0-9a-fA-F]{{{length}}}", digest):
                raise UsageError(f"--{name} {digest}: give {length} hexadecimal digits.")
        if not 0 < self.timeout_seconds <= MOST_SECONDS:
            raise UsageError(f"--timeout {self.timeout_seconds}: give seconds above 0, at most {MOST_SECONDS:,}.")
        check_url(self.source.url)

    @property
    def source(self) -> Source:
        """The source with what the options replace."""
        known = SOURCES[self.dataset]
        given = {name: getattr(self, name) for name in DIGEST_LENGTHS if getattr(self, name) is not None}
        return Source(url=self.url or known.url, file=known.file, digests=given or known.digests)


def run(config: FetchConfig) -> Receipt:
    """Places the file in raw/; the receipt's exit code is 99 when it is there already with the right digest.

    Raises:
        DataError: the file there, or the one served, is another one.
        InputNotFoundError, StorageUnavailableError: it is not to be had.
        CannotWriteError: raw/ cannot be written.
    """
    source = config.source
    lake = Lake(config.lake)
    target = lake.raw / source.file
    with recorded_run("fetch", lake, config) as run, locked(lake.locks / "fetch.lock", "fetch"):
        run.outputs["raw"] = target
        if target.exists():
            found = digests_of(target)
            for name, digest in source.digests.items():
                if found[name] != digest.lower():
                    raise DataError(
                        f"{target} is there already, but its {name} is {found[name]}, expected was {digest.lower()}. "
                        "It is never overwritten: move it away and fetch again."
                    )
            run.nothing_new = True
        else:
            found = download(source.url, target, source.digests, config.timeout_seconds)
        run.metrics.update(bytes=target.stat().st_size, **found)
    return run.receipt()
