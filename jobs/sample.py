"""The job behind `pipeline sample`: writes the synthetic corpus, and a Parquet file of raw reviews to score."""

import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from jobs.runtime import Run, recorded_run
from pipeline.errors import CannotWriteError, UsageError
from pipeline.lake.atomic import PREFIX, atomic_path, make_folder, sync_folder, writing
from pipeline.lake.links import place_to_write
from pipeline.lake.paths import Lake
from pipeline.progress import track
from pipeline.text.synthetic.corpus import ROOT, Corpus
from pipeline.text.synthetic.scorable import write_reviews
from schemas.run import Receipt


@dataclass(frozen=True, kw_only=True)
class SampleConfig:
    """What to write where. `folder` None is the lake's raw/; `score_input` None writes no Parquet file."""

    lake: Path
    folder: Path | None = None
    corpus: Corpus = field(default_factory=Corpus)
    score_input: Path | None = None
    score_reviews: int = 500

    def __post_init__(self) -> None:
        if self.score_reviews < 1:
            raise UsageError(f"--score-reviews {self.score_reviews}: expected 1 or more.")


def run(config: SampleConfig) -> Receipt:
    """Writes missing files; the receipt's exit code is 99 if all of them exist with the same bytes.

    Raises:
        UsageError: a target has other content.
        CannotWriteError: a target is not writable.
    """
    lake = Lake(config.lake)
    # A corpus elsewhere is none of the lake's business, so nothing is written there.
    with recorded_run("sample", lake, config, record=_folder(config).is_relative_to(lake.root)) as run:
        lake.fetch(_folder(config) / ROOT, *([config.score_input] if config.score_input else []))
        wrote = [_write_corpus(run, config)]
        if config.score_input is not None:
            wrote.append(_write_score_input(run, config, config.score_input))
        run.nothing_new = not any(wrote)
    return run.receipt()


def _folder(config: SampleConfig) -> Path:
    return place_to_write(config.folder or Lake(config.lake).raw)


def _write_corpus(run: Run, config: SampleConfig) -> bool:
    folder = _folder(config)
    target = folder / ROOT
    run.outputs["corpus"] = target
    reviews = config.corpus.reviews + config.corpus.test_reviews + config.corpus.unsup
    if target.exists():
        _check_same(config.corpus.files(), target)
        run.known += reviews
        return False
    make_folder(folder)
    temporary = folder / f"{PREFIX}{secrets.token_hex(4)}-{ROOT}"
    try:
        with writing(target), track("sample", reviews) as progress:
            for name, content in config.corpus.files():
                path = temporary / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                progress.advance(path.suffix == ".txt" and path.parent.parent != temporary)
            temporary.rename(target)
            sync_folder(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    run.written += reviews
    return True


def _check_same(files: Iterator[tuple[str, bytes]], target: Path) -> None:
    """Raises `UsageError` unless `target` holds exactly these files."""
    expected = set()
    for name, content in files:
        expected.add(name)
        path = target / name
        if not path.is_file() or path.read_bytes() != content:
            raise _other(target, f"{name} is {'different' if path.exists() else 'missing'}")
    for path in target.rglob("*") if target.is_dir() else ():
        if path.is_file() and path.relative_to(target).as_posix() not in expected:
            raise _other(target, f"{path.relative_to(target)} does not belong to it")


def _other(target: Path, detail: str) -> UsageError:
    return UsageError(
        f"{target} contains something other than this sample ({detail}), and is never overwritten. "
        "Choose another FOLDER, remove it, or use the options it was created with."
    )


def _write_score_input(run: Run, config: SampleConfig, target: Path) -> bool:
    target = place_to_write(target)
    run.outputs["score_input"] = target
    before = target.read_bytes() if target.is_file() else None
    if before is None and target.exists():
        raise CannotWriteError(f"{target} is a folder. Pass a file path to --score-input.")
    with atomic_path(target) as temporary:
        write_reviews(temporary, config.corpus, config.score_reviews)
        if before is not None and temporary.read_bytes() != before:
            raise UsageError(
                f"{target} contains something other than this sample and is never overwritten. "
                "Choose another path for --score-input, or remove it."
            )
    if before is not None:
        run.known += config.score_reviews
        return False
    run.written += config.score_reviews
    return True
