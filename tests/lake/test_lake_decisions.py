"""The decisions about models, on disk."""

from dataclasses import replace
from pathlib import Path

from pipeline.lake.decisions import (
    NOT_PROMOTED,
    PROMOTED,
    WORSE,
    Decision,
    add_decision,
    decision_of,
    decisions,
    incomplete_promotion,
)
from pipeline.lake.live import TRAINED, make_live
from pipeline.lake.paths import Lake

FIRST = Decision(
    model_id="a",
    run_id="run",
    decided="2026-01-31T04:00:00Z",
    table_version=3,
    decision=PROMOTED,
    reason="first",
    message="no other",
    live=None,
    margin=0.005,
)


def test_a_torn_line_is_passed_over_and_the_last_decision_counts(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.models.mkdir()
    assert list(decisions(lake)) == [] and decision_of(lake, "a") is None
    add_decision(lake, FIRST)
    with lake.decisions.open("ab") as file:
        file.write(b'{"model_id": "b", "dec')
    refused = replace(FIRST, decision=NOT_PROMOTED, reason=WORSE)
    add_decision(lake, refused)
    assert list(decisions(lake)) == [FIRST, refused]
    assert decision_of(lake, "a") == refused and decision_of(lake, "b") is None


def test_a_promotion_is_incomplete_until_a_model_went_live_after_it(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    make_live(lake, "old", TRAINED)
    assert incomplete_promotion(lake) is None
    promoted = replace(FIRST, decided="2999-01-31T04:00:00Z")
    add_decision(lake, promoted)
    assert incomplete_promotion(lake) == promoted
    add_decision(lake, replace(promoted, model_id="b", decision=NOT_PROMOTED))
    assert incomplete_promotion(lake) is None
    add_decision(lake, FIRST)  # earlier than what is live: somebody chose since
    assert incomplete_promotion(lake) is None
