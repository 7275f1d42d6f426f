"""How ranks find each other when a launcher starts them again, and what the launcher is told."""

from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

import pytest
from torch.distributed import HashStore

from pipeline.engines import torchrun
from pipeline.errors import PipelineError
from schemas.run import Receipt

WAIT = timedelta(seconds=30)


def meet(store: HashStore, size: int, ranks: "list[int]") -> "list[Future[str]]":
    """Some ranks meet at a store, each in a thread."""
    with ThreadPoolExecutor(len(ranks)) as pool:
        return [pool.submit(torchrun.meet, store, rank, size, WAIT) for rank in ranks]


def test_ranks_agree_on_a_name_that_no_earlier_start_had() -> None:
    store = HashStore()
    names = [{future.result() for future in meet(store, 3, [0, 1, 2])} for _ in range(3)]
    assert all(len(found) == 1 for found in names)
    assert len(set.union(*names)) == 3


def test_a_rank_of_an_earlier_start_that_was_killed_while_it_waited_is_passed_over() -> None:
    store = HashStore()
    store.set("pipeline/rank-1", "killed")
    names = {future.result() for future in meet(store, 2, [0, 1])}
    assert len(names) == 1


def test_a_rank_that_does_not_come_is_named() -> None:
    store = HashStore()
    short = timedelta(seconds=0.2)
    with pytest.raises(PipelineError, match=r"rank 0 waited for rank 1, rank 2 for 0.2 s.*--rdzv-endpoint"):
        torchrun.meet(store, 0, 3, short)
    with pytest.raises(PipelineError, match="rank 1 waited for rank 0"):
        torchrun.meet(store, 1, 3, short)


@pytest.mark.parametrize(("given", "name"), [(None, None), ("", None), ("none", None), ("nightly", "nightly")])
def test_a_launch_has_a_name_only_if_it_was_given_one(given: str | None, name: str | None) -> None:
    environment = {} if given is None else {"TORCHELASTIC_RUN_ID": given}
    assert torchrun.launch_id(environment) == name


@pytest.mark.parametrize(("code", "told"), [(0, 0), (99, 0), (65, 65)])
def test_a_launcher_takes_nothing_new_for_success(code: int, told: int) -> None:
    receipt = Receipt(run_id="r", command="train", seconds=1.0, exit_code=code)
    assert torchrun.receipt_for_launcher(receipt).exit_code == told


@pytest.mark.parametrize(
    ("environment", "warns"),
    [
        ({"GROUP_WORLD_SIZE": "2", "TORCHELASTIC_USE_AGENT_STORE": "True", "RANK": "0"}, True),
        ({"GROUP_WORLD_SIZE": "2", "TORCHELASTIC_USE_AGENT_STORE": "True", "RANK": "1"}, False),
        ({"GROUP_WORLD_SIZE": "2", "TORCHELASTIC_USE_AGENT_STORE": "False", "RANK": "0"}, False),
        ({"GROUP_WORLD_SIZE": "1", "TORCHELASTIC_USE_AGENT_STORE": "True", "RANK": "0"}, False),
    ],
)
def test_a_launcher_that_cannot_take_back_a_lost_node_is_warned_of(
    environment: dict[str, str], warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    torchrun.check_launcher(environment)
    assert bool(caplog.messages) == warns
    assert not warns or "TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1" in caplog.messages[0]


def test_only_ranks_that_may_follow_a_lost_one_wait_for_its_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    assert torchrun.lock_seconds(True) == 0, "one process by itself"
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert torchrun.lock_seconds(False) == 0 and torchrun.lock_seconds(True) > 60
    monkeypatch.setenv("GROUP_WORLD_SIZE", "2")
    assert torchrun.lock_seconds(False) > 60
