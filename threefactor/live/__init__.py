"""Live loops: pace, deadlines, samples of a source, and an account of time."""

from threefactor.live.loop import Counts, LiveLoop
from threefactor.live.sources import Sample, Source, SourceError
from threefactor.live.timing import Clock, Histogram

__all__ = ["Clock", "Counts", "Histogram", "LiveLoop", "Sample", "Source", "SourceError"]
