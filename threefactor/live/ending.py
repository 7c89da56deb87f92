"""How a live loop that a command runs comes to its end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from threefactor.live.loop import LiveLoop


@contextmanager
def stopped_by_signals(loop: LiveLoop) -> Iterator[None]:
    """Ctrl-C, or a request to terminate, ends the loop between two ticks. In the main thread only."""
    before = {number: signal.signal(number, lambda *_: loop.stop()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
