"""Which models were trained on certain shards of the table, and how to put another one in the live one's place."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pipeline.errors import PipelineError
from pipeline.lake.live import before_live
from pipeline.lake.log import Commit, with_merged
from pipeline.lake.paths import Lake
from pipeline.lake.retraction import shards_at
from pipeline.models.bundle import Bundle, model_ids, read_bundle
from pipeline.models.pretrained import Pretrained, all_pretrained


@dataclass(frozen=True, kw_only=True)
class TrainedOn:
    """Models by id. `live` is the live one if it is among them, else ""."""

    models: tuple[str, ...]
    live: str
    remedy: str
    """The command that makes another model live; "" where none has to."""


def trained_on(lake: Lake, commits: Sequence[Commit], holding: Collection[str], since: int) -> TrainedOn:
    """The models that were trained on a version with one of the shards `holding`.

    A model counts, too, if a shard of its version was deleted, so that nobody knows, unless its version is older than
    `since`; if the log no longer has its version; and if it has learned from a model that counts (`--teacher`,
    `--init`), or started from a pretrained one that does.
    """
    holding = with_merged(commits, holding)
    bundles = {}
    for name in model_ids(lake):
        with suppress(PipelineError):  # a damaged bundle is doctor's to name
            bundles[name] = read_bundle(lake.models / name)
    versions = {bundle.table_version for bundle in bundles.values() if bundle.table_version is not None}
    seen = {version for version in versions if _has(lake, commits, version, holding, since)}
    starts = {one.fingerprint for one in pretrained_on(lake, commits, holding, since).values()}
    found = _with_students(
        bundles,
        {name for name, one in bundles.items() if one.table_version in seen or one.training.get("init") in starts},
    )
    others = {name: bundle.created for name, bundle in bundles.items() if name not in found}
    live = ""
    with suppress(PipelineError):
        live = lake.latest_model()
    if live not in found:
        return TrainedOn(models=tuple(found), live="", remedy="")
    remedy = "pipeline train"
    if others:
        before = before_live(lake, frozenset({*found, *others}))
        newest = max(others, key=lambda name: (others[name], name))
        remedy = "pipeline models rollback" if before in others else f"pipeline models promote {newest}"
    return TrainedOn(models=tuple(found), live=live, remedy=remedy)


def pretrained_on(lake: Lake, commits: Sequence[Commit], holding: Collection[str], since: int = 0) -> dict[str, Pretrained]:
    """The pretrained models, of folds as well, that read a version with one of the shards `holding`, as in `trained_on`; by
    their path in the lake."""
    holding = with_merged(commits, holding)
    return {
        found.folder.relative_to(lake.root).as_posix(): found
        for place in (Lake(lake.root), lake.crossval())
        for found in all_pretrained(place, lambda *_: None)
        if found.table_version is not None and _has(lake, commits, found.table_version, holding, since)
    }


def _with_students(bundles: Mapping[str, Bundle], found: set[str]) -> list[str]:
    """The models, and those that have learned from them, directly or not; sorted."""
    while True:
        teachers = {bundles[name].content_key for name in found} | {bundles[name].fingerprint for name in found}
        learned = {
            name
            for name, bundle in bundles.items()
            if not teachers.isdisjoint(str(bundle.training.get(key)) for key in ("teacher", "init_from"))
        }
        if learned <= found:
            return sorted(found)
        found = found | learned


def _has(lake: Lake, commits: Sequence[Commit], version: int, holding: Collection[str], since: int) -> bool:
    if version < since:
        return False
    names = shards_at(commits, version)
    known = bool(commits) and commits[0].version == 0 and version <= commits[-1].version
    return not known or not names.isdisjoint(holding) or any(not (lake.tokens / name).exists() for name in names)
