"""The job behind `pipeline fetch`: downloads a public data set into the lake's raw/."""

from jobs.runtime import recorded_run
from pipeline.config.fetch import FetchConfig
from pipeline.errors import DataError
from pipeline.lake.download import digests_of, download
from pipeline.lake.locks import locked
from pipeline.lake.paths import Lake
from schemas.run import Receipt


def run(config: FetchConfig) -> Receipt:
    """Places the file in raw/; the receipt's exit code is 99 when it is there already with the right digest.

    Raises:
        DataError: the file there, or the one served, is another one.
        InputNotFoundError, StorageUnavailableError: the download failed.
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
                        f"{target} already exists, but its {name} is {found[name]}, expected {digest.lower()}. "
                        "It is never overwritten: move it away and fetch again."
                    )
            run.nothing_new = True
        else:
            found = download(source.url, target, source.digests, config.timeout_seconds)
        run.metrics.update(bytes=target.stat().st_size, **found)
    return run.receipt()
