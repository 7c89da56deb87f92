"""Slopes to start from, by the kind of task.

The recommendations of Van den Berghe, Stroobants, Reddi, de Croon 2025 (arXiv:2510.24461): steep surrogates, 50 to 100,
where targets are given; shallow ones, 1 to 10, where only a reward is; and a slope that follows the score where neither
is known. `python -m demos.presets` measures what becomes of them under a rule that learns online.
"""

from __future__ import annotations

from typing import Any

from threefactor.schedules import ScheduleSettings


def preset(task: str) -> dict[str, Any]:
    """Settings of the surrogate for a kind of task.

    Parameters
    ----------
    task : {"supervised", "reinforcement", "unknown"}

    Returns
    -------
    dict
        `surrogate`, `normalisation`, `slope` and `slope_schedule`, as controllers take them. A bare `Network` takes the
        first three; its owner calls ``network.slope = SlopeSchedule(schedule).update(score)``. The surrogate has the
        same area at every slope, so that the slope does not change the size of the steps.

    Raises
    ------
    ValueError
        Another task.

    Examples
    --------
    >>> preset("reinforcement")["slope"]
    2.0
    """
    schedules = {
        "supervised": ScheduleSettings(rule="fixed", slope=50.0),
        "reinforcement": ScheduleSettings(rule="fixed", slope=2.0),
        "unknown": ScheduleSettings(rule="self_ranging", slope=2.0),
    }
    if task not in schedules:
        raise ValueError(f"unknown preset {task!r}; choose one of {', '.join(schedules)}.")
    schedule = schedules[task]
    shape = {"surrogate": "fast_sigmoid", "normalisation": "area"}
    return {**shape, "slope": schedule.slope, "slope_schedule": schedule}
