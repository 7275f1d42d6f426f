"""The pages in a real browser: nothing in the console, nothing fetched, nothing wider than the screen."""

from pathlib import Path

import pytest

from pipeline.reports.compare import write_comparison
from pipeline.reports.write import write_report
from tests.support.browser import CHROMIUM, WHY, WIDTHS, check_page, measured
from tests.support.report_bundles import make_bundle

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=WHY)


@pytest.fixture(params=["report", "comparison"])
def page(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    first = make_bundle(tmp_path)
    if request.param == "report":
        return write_report(first, models=tmp_path)
    return write_comparison([first, make_bundle(tmp_path, "another-model-with-a-long-name-" * 2)], tmp_path / "page.html")


def test_page_is_quiet_self_contained_and_fits_phone_and_desktop(page: Path) -> None:
    check_page(page, 1000)


def test_the_measure_sees_what_is_wrong(tmp_path: Path) -> None:
    """Or the test above could not fail."""
    bad = tmp_path / "bad.html"
    bad.write_text('<p style="width:2000px">wide</p><img src="http://127.0.0.1:9/absent.png"><script>undefined.x</script>')
    frames, complains = measured(bad, 1)
    assert complains and len(frames) == len(WIDTHS)
    for frame in frames:
        assert frame["content"] > frame["width"] and frame["fetched"] == ["http://127.0.0.1:9/absent.png"]
