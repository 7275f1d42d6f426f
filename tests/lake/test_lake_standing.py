"""Which row a retracted row stands for. Contents are numbers; 90 and above are wrong ones."""

import pytest

from pipeline.lake.standing import past_the_end, standing_for


@pytest.mark.parametrize(
    ("brought", "restored", "expected"),
    [
        ({4: 90}, {4: 4}, {4: 4}),  # in place
        ({4: 90, 5: 91}, {4: 4, 5: 5}, {4: 4, 5: 5}),
        ({0: 1, 1: 2, 2: 90, 3: 4}, {0: 0, 1: 1, 2: 2, 3: 3, 4: 4}, {2: 3}),  # a line was removed above
        ({0: 80, 1: 0, 2: 90, 3: 2}, {0: 0, 1: 1, 2: 2}, {2: 1}),  # inserted above
        ({1: 90, 2: 1, 3: 2}, {1: 1, 2: 2}, {}),  # inserted, and wrong
        ({3: 90, 4: 91}, {3: 3}, {3: 3}),  # changed, and added at the end
        ({0: 1, 1: 90}, {0: 0, 1: 1, 2: 2}, {1: 2}),  # the last one
        ({0: 1, 1: 0}, {0: 0, 1: 1}, {}),  # exchanged
        ({2: 7, 3: 90, 4: 7}, {2: 7, 3: 3, 4: 7}, {3: 3}),  # those that say the same
        ({5: 90}, {}, {}),
        ({}, {5: 5}, {}),
        ({}, {}, {}),
    ],
)
def test_standing_for(brought: dict[int, int], restored: dict[int, int], expected: dict[int, int]) -> None:
    assert standing_for(brought, restored) == expected


def test_past_the_end() -> None:
    assert past_the_end({0: 1, 1: 90}, {0: 0, 1: 1}) == range(2, 3)
    assert not past_the_end({0: 80, 1: 0}, {0: 0}) and not past_the_end({1: 90}, {1: 1}) and not past_the_end({}, {})
    assert standing_for({0: 1, 1: 90}, {0: 0, 1: 1} | {2: 2}) == {1: 2}
