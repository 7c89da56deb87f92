"""Fixtures that several files of tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.boards import Pretence, Served, wait_for


@pytest.fixture(scope="module")
def page() -> Iterator[tuple[Pretence, Served]]:
    """A loop that is none, and its page."""
    with Pretence() as pretence, Served(pretence.board) as served:
        yield pretence, served


@pytest.fixture
def pretence(page: tuple[Pretence, Served]) -> Pretence:
    """The loop."""
    pretence = page[0]
    wait_for(lambda: not pretence.board.bell[0] & 1)  # the viewers of other tests are gone
    pretence.hear()
    return pretence


@pytest.fixture
def served(page: tuple[Pretence, Served]) -> Served:
    """The server of its page."""
    return page[1]
