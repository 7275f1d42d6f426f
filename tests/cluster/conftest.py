"""Nodes that end with the test that started them."""

from collections.abc import Iterator

import pytest

from tests.cluster.launchers import Node


@pytest.fixture
def running() -> Iterator[list[Node]]:
    """Nodes that a failed test leaves end with it."""
    nodes: list[Node] = []
    yield nodes
    for node in nodes:
        node.kill()
