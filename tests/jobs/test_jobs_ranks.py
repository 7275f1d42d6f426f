"""What the nodes of a training must have in common."""

from pathlib import Path
from typing import Any

import pytest

from jobs import ranks
from pipeline.config.train import TrainConfig
from pipeline.errors import UsageError
from pipeline.lake.paths import Lake


def decisive(folder: str, **options: Any) -> dict[str, str]:
    return ranks.decisive(TrainConfig(lake=Lake(Path(folder)), arch="gru", **options))


def test_where_things_are_and_how_they_run_may_differ() -> None:
    ranks.check_same(decisive("/mnt/one", workers=1), decisive("/mnt/two", workers=2, device="cpu", resume=True))


def test_another_option_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--epochs is 3 on .*, and 2 on the node of rank 0"):
        ranks.check_same(decisive("/lake", epochs=3), decisive("/lake", epochs=2))
    with pytest.raises(UsageError, match=r"--model is "):
        ranks.check_same(decisive("/lake", model={"hidden_dim": 8}), decisive("/lake", model={"hidden_dim": 16}))


def test_another_release_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    main = decisive("/lake")
    monkeypatch.setattr(ranks, "__version__", "9.9")
    with pytest.raises(UsageError, match=r"the release of review-pipeline is \"9\.9\""):
        ranks.check_same(decisive("/lake"), main)
