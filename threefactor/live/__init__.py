"""Live loops: pace, deadlines, samples of a source, and an account of time."""

from threefactor.live.counts import Counts
from threefactor.live.driven import Driven
from threefactor.live.loop import LiveLoop
from threefactor.live.sources import Sample, Source, SourceError
from threefactor.live.timing import Clock, Histogram

__all__ = ["Clock", "Counts", "Driven", "Histogram", "LiveLoop", "Sample", "Source", "SourceError"]
