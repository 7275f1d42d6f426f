"""The charts of the morning page as SVG."""

import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pipeline.status.chart import FONT, HEIGHT, WIDTH, Line, line_chart

START = datetime(2026, 1, 1, 2, 15, tzinfo=UTC)
POINTS = st.lists(st.tuples(st.integers(0, 400), st.floats(0, 1e6)), max_size=70)
SVG = "{http://www.w3.org/2000/svg}"


def line(name: str, points: list[tuple[int, float]]) -> Line:
    return Line(name=name, colour="train", points=[(START + timedelta(days=day), value, name) for day, value in points])


@given(first=POINTS, second=POINTS, limit=st.none() | st.floats(0, 1e6))
def test_everything_is_drawn_inside_the_picture(
    first: list[tuple[int, float]], second: list[tuple[int, float]], limit: float | None
) -> None:
    svg = line_chart([line("one", first), line("two <&> ☂", second)], "{:g}".format, limit)
    if not first and not second:
        assert svg == ""
        return
    drawn = ET.fromstring(svg)
    circles = list(drawn.iter(f"{SVG}circle"))
    assert len(circles) == len(first) + len(second)
    top = float(drawn.attrib["viewBox"].split()[1])
    for circle in circles:
        assert 0 <= float(circle.attrib["cx"]) <= WIDTH and top <= float(circle.attrib["cy"]) <= HEIGHT
    for text in drawn.iter(f"{SVG}text"):
        assert top <= float(text.attrib["y"]) - FONT / 2 and float(text.attrib["y"]) <= HEIGHT and text.text


def test_a_higher_value_stands_higher_and_a_later_one_further_right() -> None:
    drawn = ET.fromstring(line_chart([line("one", [(0, 0.0), (1, 0.4), (9, 0.2)])], "{:g}".format))
    places = [(float(found.attrib["cx"]), float(found.attrib["cy"])) for found in drawn.iter(f"{SVG}circle")]
    assert [x for x, _ in places] == sorted(x for x, _ in places)
    assert places[1][0] - places[0][0] < places[2][0] - places[1][0], "by date, not by number"
    assert places[1][1] < places[2][1] < places[0][1]
