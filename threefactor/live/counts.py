"""An account of what happened in a live loop."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Counts:
    """What happened in a live loop.

    Attributes
    ----------
    ticks : int
        Carried out; one in which no new sample came is one, too.
    answered : int
        Samples that were answered.
    missed, missed_by_compute : int
        Ticks that ended after their deadline, and how many of them because their work alone took too long.
    skipped : int
        Ticks that were left out, as their time had come while an earlier one still ran.
    held : int
        Actions that came too late and were not sent.
    idle, paused : int
        Ticks without a new sample, and those whose sample was left unanswered during a pause.
    stalls : int
        How often the source was silent for too long.
    refused, refused_labels : int
        Samples, and labels, that the agent or decoder refused as bad.
    """

    ticks: int = 0
    answered: int = 0
    missed: int = 0
    missed_by_compute: int = 0
    skipped: int = 0
    held: int = 0
    idle: int = 0
    paused: int = 0
    stalls: int = 0
    refused: int = 0
    refused_labels: int = 0
