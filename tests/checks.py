"""What every controller must do, whatever it controls: one list of checks, each run on each controller.

A check takes `make`, which builds a fresh controller from a seed. The world is a script: what tick t shows, rewards and
ends depends on t alone, so that a run can be cut anywhere and compared with one that was not.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

Make = Callable[[int], Any]
Floats = npt.NDArray[np.float64]
NOT_FINITE = (np.nan, np.inf, -np.inf)
EPISODE, CUT = 13, 29  # ticks after which the script terminates, and truncates


def observation_at(controller: Any, t: int) -> Floats:
    """What tick t shows."""
    return np.random.default_rng([7, t]).normal(1.0, 2.0, controller.n_observation)


def spoilt(controller: Any, value: float) -> Floats:
    """An observation that holds one bad value."""
    return np.append(np.zeros(controller.n_observation - 1), value)


def ends_at(t: int) -> tuple[bool, bool]:
    """Whether tick t terminates, and whether it truncates."""
    return t % EPISODE == EPISODE - 1, t % CUT == CUT - 1


def play(controller: Any, ticks: Iterable[int]) -> list[Any]:
    """Drive a controller through ticks of the script, beginning anew at tick 0 and after an end; its actions."""
    actions = []
    for t in ticks:
        if t == 0 or any(ends_at(t - 1)):
            actions.append(controller.begin(observation_at(controller, t)))
        actions.append(controller.step(observation_at(controller, t + 1), float(np.cos(t)), *ends_at(t)))
    return actions


def flat(what: Any, name: str = "") -> dict[str, Any]:
    """Everything that a controller's state holds, by path: copies of arrays, and plain values."""
    if isinstance(what, np.ndarray):
        return {name: what.copy()}
    if isinstance(what, np.random.Generator):
        return flat(what.bit_generator.state, name)
    if isinstance(what, dict):
        return {k: v for key, value in what.items() for k, v in flat(value, f"{name}.{key}").items()}
    if isinstance(what, list | tuple):
        return {k: v for i, value in enumerate(what) for k, v in flat(value, f"{name}.{i}").items()}
    if what is None or isinstance(what, bool | int | float | str | np.generic):
        return {name: what}
    return flat(what.__getstate__(), name)


def snapshot(controller: Any) -> dict[str, Any]:
    """All that the controller would keep, as it is now."""
    return flat(controller.__getstate__())


def assert_same(ours: Any, theirs: Any) -> None:
    """Assert that two snapshots, or two runs of actions, are equal to the last bit."""
    ours, theirs = flat(ours), flat(theirs)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)


def differ(ours: Any, theirs: Any) -> bool:
    """Whether two snapshots or runs differ anywhere."""
    return any(not np.array_equal(value, flat(theirs)[name]) for name, value in flat(ours).items())


# --- the online contract ---------------------------------------------------------------------------------------------


def check_acts_before_learning(make: Make) -> None:
    """A controller that has learnt nothing gives valid actions, greedy and exploring."""
    controller = make(0)
    space, observation = controller.actions.space, observation_at(controller, 0)
    assert space.contains(controller.act(observation))
    assert space.contains(controller.begin(observation))
    assert space.contains(controller.step(observation, 1.0, False, False))


def check_every_action_is_of_the_space(make: Make) -> None:
    """The space contains every action of a run, greedy ones too, and none changes after it was handed out."""
    controller = make(0)
    space, actions, copies = controller.actions.space, [], []
    for t in range(100):
        actions += [*play(controller, [t]), controller.act(observation_at(controller, t))]
        copies += [np.copy(action) for action in actions[len(copies) :]]
    for action, copy in zip(actions, copies, strict=True):
        assert space.contains(action), action
        np.testing.assert_array_equal(action, copy)


def check_leaves_its_inputs_alone(make: Make) -> None:
    """Observations may be read-only, come back as they were, and may be overwritten after the call."""
    kept, shared = make(0), make(0)
    buffer = np.zeros(kept.n_observation)
    play(kept, range(1))
    play(shared, range(1))
    for t in range(1, 10):
        fresh = observation_at(kept, t)
        fresh.flags.writeable = False
        before = fresh.copy()
        buffer[:] = fresh
        expected, got = (c.step(x, 0.5, False, False) for c, x in ((kept, fresh), (shared, buffer)))
        buffer[:] = np.nan
        np.testing.assert_array_equal(fresh, before)
        np.testing.assert_array_equal(expected, got)
    assert_same(snapshot(kept), snapshot(shared))


def check_accepts_what_is_like_an_array(make: Make) -> None:
    """Lists, float32, strided and integer observations of equal value give equal runs."""
    controllers = [make(0) for _ in range(4)]
    x = np.round(observation_at(controllers[0], 3) * 4)
    forms = (x, x.tolist(), x.astype(np.float32), np.repeat(x, 2)[::2].astype(int))
    for controller, given in zip(controllers, forms, strict=True):
        controller.begin(given)
        controller.step(given, np.float32(0.5), np.bool_(False), np.bool_(False))
    for other in controllers[1:]:
        assert_same(snapshot(controllers[0]), snapshot(other))


def check_seed_decides_the_run(make: Make) -> None:
    """Of one seed two controllers act and learn identically, and not nothing; one of another seed acts otherwise."""
    first, second, other = make(3), make(3), make(4)
    actions = play(first, range(120))
    assert_same(actions, play(second, range(120)))
    assert_same(snapshot(first), snapshot(second))
    assert differ(snapshot(first), snapshot(make(3)))
    assert differ(actions, play(other, range(120)))


# --- keeping ---------------------------------------------------------------------------------------------------------


def check_goes_on_after_loading(make: Make) -> None:
    """A loaded controller equals the saved one, amid an episode, and goes on identically: traces, random numbers."""
    controller = make(1)
    play(controller, range(70))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "controller"
        controller.save(path)
        loaded = type(controller).load(path)
    _assert_goes_on(controller, loaded)


def check_goes_on_after_pickling(make: Make) -> None:
    """An unpickled controller equals the pickled one and goes on identically."""
    controller = make(1)
    play(controller, range(70))
    _assert_goes_on(controller, pickle.loads(pickle.dumps(controller)))


def _assert_goes_on(controller: Any, twin: Any) -> None:
    assert_same(snapshot(controller), snapshot(twin))
    shown = observation_at(controller, 1)
    assert_same(controller.act(shown), twin.act(shown))
    assert_same(play(controller, range(70, 150)), play(twin, range(70, 150)))
    assert_same(snapshot(controller), snapshot(twin))


def check_state_stays_flat(make: Make) -> None:
    """What a controller holds has the same entries of the same size however long it has run."""
    controller = make(0)
    play(controller, range(30))
    before = {name: np.size(value) for name, value in snapshot(controller).items()}
    play(controller, range(30, 2000))
    assert {name: np.size(value) for name, value in snapshot(controller).items()} == before


# --- acting and learning do not mix ----------------------------------------------------------------------------------


def check_act_disturbs_no_learning(make: Make) -> None:
    """With greedy actions and `reset` in between, a run learns and acts as without."""
    disturbed, plain = make(2), make(2)
    for t in range(60):
        assert_same(play(disturbed, [t]), play(plain, [t]))
        for k in range(t % 3):
            disturbed.act(observation_at(disturbed, 10 * t + k))
        if t % 7 == 0:
            disturbed.reset()
    disturbed.reset()
    plain.reset()
    assert_same(snapshot(disturbed), snapshot(plain))


def check_act_repeats_itself_after_reset(make: Make) -> None:
    """Greedy actions depend on nothing but what was shown since `reset`."""
    controller = make(2)
    play(controller, range(60))
    shown = [observation_at(controller, t) for t in range(20)]
    controller.reset()
    first = [controller.act(x) for x in shown]
    controller.reset()
    assert_same(first, [controller.act(x) for x in shown])


# --- bad input -------------------------------------------------------------------------------------------------------


def _assert_refused(make: Make, calls: list[Callable[[Any], Any]], message: str) -> None:
    """Each call raises, changes nothing, and the run goes on as that of an undisturbed twin."""
    for call in calls:
        controller, twin = make(5), make(5)
        for each in (controller, twin):
            play(each, range(20))
        before = snapshot(controller)
        with pytest.raises(ValueError, match=message):
            call(controller)
        assert_same(before, snapshot(controller))
        assert_same(play(controller, range(20, 60)), play(twin, range(20, 60)))
        assert_same(snapshot(controller), snapshot(twin))


def check_observations_that_are_not_finite_are_refused(make: Make) -> None:
    """NaN or infinity in an observation is an error that names it; nothing changes, and learning goes on."""
    for v in NOT_FINITE:
        calls = [lambda c, v=v: c.step(spoilt(c, v), 0.0, False, False), lambda c, v=v: c.begin(spoilt(c, v))]
        _assert_refused(make, calls, "observation.*finite")


def check_act_refuses_observations_that_are_not_finite(make: Make) -> None:
    """So it is for a greedy action."""
    _assert_refused(make, [lambda c, v=v: c.act(spoilt(c, v)) for v in NOT_FINITE], "observation.*finite")


def check_rewards_that_are_not_finite_are_refused(make: Make) -> None:
    """A reward of NaN or infinity is an error that names it, and nothing changes."""
    calls = [lambda c, v=v: c.step(observation_at(c, 0), v, False, False) for v in NOT_FINITE]
    _assert_refused(make, calls, "reward.*finite")


def check_wrong_shapes_are_refused(make: Make) -> None:
    """An observation of another size is an error that says both shapes, and nothing changes."""
    calls = [
        lambda c: c.step(np.zeros(c.n_observation + 1), 0.0, False, False),
        lambda c: c.begin(np.zeros(c.n_observation - 1)),
        lambda c: c.act([]),
    ]
    _assert_refused(make, calls, r"observation has shape \(\d,\).*takes")


def check_step_needs_a_beginning(make: Make) -> None:
    """A step before `begin`, or after an episode's end, raises and changes nothing."""
    controller = make(0)
    before = snapshot(controller)
    with pytest.raises(RuntimeError, match="begin"):
        controller.step(observation_at(controller, 0), 0.0, False, False)
    assert_same(before, snapshot(controller))
    for end in ((True, False), (False, True)):
        controller.begin(observation_at(controller, 0))
        controller.step(observation_at(controller, 1), 0.0, *end)
        with pytest.raises(RuntimeError, match="begin"):
            controller.step(observation_at(controller, 2), 0.0, False, False)


CONTROLLER_CHECKS: tuple[Callable[[Make], None], ...] = (
    check_acts_before_learning, check_every_action_is_of_the_space, check_leaves_its_inputs_alone,
    check_accepts_what_is_like_an_array, check_seed_decides_the_run, check_goes_on_after_loading,
    check_goes_on_after_pickling, check_state_stays_flat, check_act_disturbs_no_learning,
    check_act_repeats_itself_after_reset, check_observations_that_are_not_finite_are_refused,
    check_act_refuses_observations_that_are_not_finite, check_rewards_that_are_not_finite_are_refused,
    check_wrong_shapes_are_refused, check_step_needs_a_beginning,
)  # fmt: skip
