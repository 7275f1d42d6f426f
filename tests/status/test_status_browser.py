"""The morning page in a real browser: nothing in the console, nothing fetched, nothing wider than the screen."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.lake.paths import Lake
from pipeline.status.facts import Limits
from pipeline.status.status import look
from pipeline.status.write import write_page
from tests.support.browser import CHROMIUM, WHY, browse, check_page
from tests.support.nights import NOW, add_night, lake_of_nights

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=WHY)


def page_of(lake: Lake, now: datetime = NOW) -> Path:
    return write_page(look(lake, Limits(min_free=0), now))


@pytest.mark.parametrize("nights", [0, 1, 61])
def test_page_is_quiet_self_contained_and_fits_phone_and_desktop(tmp_path: Path, nights: int) -> None:
    lake = lake_of_nights(tmp_path / ("a-lake-with-a-long-name-" * 5), nights)
    if nights:
        lines = ("x" * 200, "3 new classes")
        add_night(lake, NOW - timedelta(hours=2), 99, failed="train", attention=lines)
    page = page_of(lake)
    check_page(page, 700)


def test_a_page_that_no_night_has_replaced_says_that_it_is_old(tmp_path: Path) -> None:
    lake = lake_of_nights(tmp_path, 1)
    fresh = browse(page_of(lake, datetime.now(UTC))).stdout
    assert 'id="age" hidden' in fresh
    old = browse(page_of(lake, datetime.now(UTC) - timedelta(days=3, hours=1))).stdout
    assert "This page is 3 days old" in old and 'id="age" hidden' not in old
