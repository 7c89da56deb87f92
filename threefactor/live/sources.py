"""What comes into a live loop: samples, and how a source hands them over."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol


class SourceError(RuntimeError):
    """A source that can no longer be used as it was: its samples would mean something else."""


class Sample(NamedTuple):
    """One moment of a source."""

    observation: Any  #: what the agent or decoder sees
    reward: float = 0.0  #: that the last action led to
    terminated: bool = False  #: whether the episode ended there
    truncated: bool = False  #: whether it was cut off there
    labels: tuple[tuple[Any, int], ...] = ()  #: for decoders: what was wanted, and how many samples ago
    moment: int | None = None  #: when it was taken, in `Clock.now` [ns], where the source knows


class Source(Protocol):
    """Where samples come from."""

    def read(self, timeout: float) -> Sample | None:
        """The newest sample that was not read yet, waiting up to `timeout` seconds for one; None if there is none."""
