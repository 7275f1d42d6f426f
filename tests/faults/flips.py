"""One flipped bit, and what a reader makes of it: refused, the same as before, or, which must never be, something else."""

import hashlib
import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from jobs import score
from pipeline.config.score import ScoreConfig
from pipeline.errors import PipelineError
from pipeline.lake.paths import Lake
from pipeline.lake.shards import open_shard
from pipeline.models.bundle import find_bundle
from pipeline.training.checkpoint import TrainingFolder
from pipeline.training.data import open_data
from schemas.contract import ContractError

Read = Callable[[Lake], object]
REFUSED, SAME, OTHER = "refused", "same", "other"


def read_table(lake: Lake) -> object:
    """Every row of the table and the vocabulary to it, as training and ingest read them."""
    data = open_data(lake)
    rows = []
    for shard in data.shards:
        with open_shard(shard.path) as file:
            rows += file.read().to_pylist()
    vocabulary = data.vocabulary
    return rows, vocabulary.tokens.to_pylist(), vocabulary.counts.to_pylist(), vocabulary.labels, vocabulary.tokenizer


def read_model(lake: Lake) -> object:
    """The live model as scoring loads it."""
    bundle = find_bundle(lake)
    weights = hashlib.sha256()
    for name, tensor in sorted(bundle.load_model().state_dict().items()):
        weights.update(name.encode() + tensor.numpy().tobytes())
    vocabulary = bundle.load_vocabulary()
    return bundle.model_id, bundle.labels, bundle.max_length, bundle.tokenizer, weights.hexdigest(), vocabulary.fingerprint


def read_predictions(lake: Lake) -> object:
    """The predictions after `pipeline score` was asked for them again."""
    score.run(ScoreConfig(lake=lake.root, sources=(str(lake.root / "input.parquet"),), workers=1))
    return pq.read_table(lake.predictions / "input.parquet").to_pylist()


def read_checkpoint(lake: Lake) -> object:
    """What a training would resume from: the newest whole checkpoint."""
    (folder,) = lake.checkpoints.iterdir()
    found = TrainingFolder(folder).read()
    if found is None:
        raise PipelineError("no whole checkpoint")
    return found.state, {(a, b): tensor.tolist() for a, part in found.tensors.items() for b, tensor in part.items()}


TARGETS: dict[str, tuple[str, Read]] = {
    "shards": ("tokens/*.parquet", read_table),
    "log": ("tokens/_delta_log/*.json", read_table),
    "vocabulary": ("vocabulary/*.parquet", read_table),
    "bundle": ("models/{live}/[!.]*", read_model),
    "predictions": ("predictions/*.parquet", read_predictions),
    "checkpoints": ("checkpoints/*/*", read_checkpoint),
}


@dataclass
class Flips:
    """Outcomes of flips, and the files whose flips changed nothing that is read."""

    outcomes: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def flip_bits(lake: Lake, target: str, count: int, seed: int = 0) -> Flips:
    """Flips `count` single bits, one at a time, anywhere in a target's files."""
    pattern, read = TARGETS[target]
    pattern = pattern.format(live=lake.latest_model())
    files = [path for path in sorted(lake.root.glob(pattern)) if path.is_file()]
    whole = {path: path.read_bytes() for path in files}
    before = read(lake)
    chance = random.Random(f"{target} {seed}")
    found = Flips()
    for _ in range(count):
        path = chance.choice(files)
        place, bit = chance.randrange(len(whole[path])), chance.randrange(8)
        content = bytearray(whole[path])
        content[place] ^= 1 << bit
        path.write_bytes(content)
        outcome = _outcome(read, lake, before)
        found.outcomes[outcome] += 1
        if outcome == SAME:
            found.unread[path.suffix if target != "bundle" else path.name] += 1
        if outcome == OTHER:
            found.wrong.append(f"{path.relative_to(lake.root)}: bit {bit} of byte {place} of {len(content)}")
        for one, old in whole.items():
            if not one.exists() or one.read_bytes() != old:
                one.write_bytes(old)
        for aside in lake.root.glob("checkpoints/*/*.damaged"):
            aside.unlink()
    return found


def _outcome(read: Read, lake: Lake, before: object) -> str:
    try:
        after = read(lake)
    except (PipelineError, ContractError):
        return REFUSED
    if any(lake.root.glob("checkpoints/*/*.damaged")):  # put aside with a warning, and an older one read
        return REFUSED
    return SAME if after == before else OTHER


def copy_lake(lake: Lake, folder: Path) -> Lake:
    """A copy to be damaged."""
    return Lake(Path(shutil.copytree(lake.root, folder)))
