"""Files of soft targets: what is written is read, row group by row group, and nothing else passes for it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import DataError
from pipeline.lake.paths import Lake
from pipeline.lake.targets import TargetReader, TargetWriter, shard_name, target_path
from schemas.targets import TARGETS


def write(path: Path, groups: list[np.ndarray]) -> Path:
    with TargetWriter(path, "0123456789abcdef", Path("train-x.parquet")) as writer:
        for probability_NC in groups:
            writer.write(probability_NC)
    return path


@given(rows=st.lists(st.integers(1, 40), min_size=1, max_size=4), classes=st.integers(2, 5), seed=st.integers(0, 99))
def test_what_is_written_is_read(rows: list[int], classes: int, seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    random = np.random.default_rng(seed)
    groups = [random.dirichlet(np.ones(classes), count).astype(np.float32) for count in rows]
    for probability_NC in groups:
        probability_NC[random.random(len(probability_NC)) < 0.3] = np.nan
    path = write(tmp_path_factory.mktemp("targets") / "x.parquet", groups)
    with TargetReader(path, rows, classes) as reader:
        for group, probability_NC in enumerate(groups):
            np.testing.assert_array_equal(reader.read(group), probability_NC)


def test_a_file_of_another_shard_or_of_other_labels_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", [np.full((3, 2), 0.5, np.float32)])
    with pytest.raises(DataError, match=r"row groups of \[3\] rows, its shard of \[4\]"):
        TargetReader(path, [4], 2)
    with TargetReader(path, [3], 3) as reader, pytest.raises(DataError, match="a probability for each label"):
        reader.read(0)
    pq.write_table(pa.table({"probabilities": [[0.5, 0.5]] * 3}), path)
    with pytest.raises(DataError, match=TARGETS.remedy.split(";")[0]):
        TargetReader(path, [3], 2)
    with pytest.raises(FileNotFoundError):
        TargetReader(tmp_path / "none.parquet", [3], 2)


def test_shards_are_known_by_their_content(tmp_path: Path) -> None:
    named = Path(f"train-{'0' * 64}.parquet")
    assert target_path(Lake(tmp_path), "teacher", named) == tmp_path / ".targets" / "teacher" / named.name
    one, copy, other = (tmp_path / f"{name}.parquet" for name in ("one", "copy", "other"))
    one.write_bytes(b"content")
    copy.write_bytes(b"content")
    other.write_bytes(b"other content")
    assert shard_name(one) == shard_name(copy) != shard_name(other)
