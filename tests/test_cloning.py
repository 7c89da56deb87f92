"""Online cloning: the shared checks, what is learnt from a teacher, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import msgspec
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from controllers import Loop, evaluate
from controllers.cloning import Cloner
from tests.checks import CONTROLLER_CHECKS, Make, assert_same, observation_at, play, snapshot
from threefactor import Network, tick

jitted = pytest.mark.skipif(not hasattr(tick.run, "signatures"), reason="numba is switched off: too slow")
BOX = Box(np.array([-2.0, 0.5]), np.array([1.0, 0.75]), dtype=np.float64)
SMALL: dict[str, Any] = {"n_hidden": 24}
VARIANTS: dict[str, tuple[gym.Space[Any], dict[str, Any]]] = {
    "discrete": (Discrete(3, start=2), {}), "box": (BOX, {"student_acts": 0.5}),
    "stack": (Discrete(3), {"n_hidden": (24, 16), "ticks": 3, "rest": "observation"}),
    "sgd": (BOX, {"optimiser": "sgd", "learning_rate": 0.01, "ticks": 2, "dtype": "float64"}),
    "memory": (Discrete(3), {"recurrent": True, "adaptive_share": 0.5, "rest": "never"}),
    "scheduled": (BOX, {"slope_schedule": {"rule": "self_ranging"}, "normalise_observations": False}),
}  # fmt: skip


class Linear:
    """Teaches a fixed linear policy of any space, with its first three or two outputs."""

    def __init__(self, space: gym.Space[Any]) -> None:
        self.start = int(space.start) if isinstance(space, Discrete) else None
        self.w = np.random.default_rng(3).normal(size=(3, 4))

    def act(self, observation: Any) -> Any:
        """The largest output, or two outputs scaled to the box."""
        y = self.w @ np.asarray(observation, float).reshape(-1)
        if self.start is not None:
            return int(np.argmax(y)) + self.start
        return BOX.low + (BOX.high - BOX.low) / (1.0 + np.exp(-y[:2]))


class Tutored(Cloner):
    """A student whose checkpoints know their teacher."""

    @classmethod
    def load(cls, path: Any, teacher: Any = None) -> Cloner:
        """With the linear teacher."""
        student = super().load(path)
        student.teacher = Linear(student.actions.space)
        return student


class Upright:
    """Balances the pole of CartPole; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = self.episodes = 0

    def act(self, observation: Any) -> int:
        """Push to where it falls."""
        self.asked += 1
        return int(observation[2] + observation[3] > 0)

    def reset(self) -> None:
        """A new episode."""
        self.episodes += 1


def maker(name: str) -> Make:
    """What the checks build the variant's students with."""
    space, settings = VARIANTS[name]
    return lambda seed: Tutored(4, space, Linear(space), seed, **{**SMALL, **settings})


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("check", CONTROLLER_CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_shared_check(check: Callable[[Make], None], variant: str) -> None:
    """The student passes the checks that every controller must pass."""
    check(maker(variant))


# --- learning --------------------------------------------------------------------------------------------------------


@jitted
def test_learns_to_balance_while_it_acts() -> None:
    """In CartPole, where it acts from the start, it comes to do in over 95 % of its states what the teacher would."""
    env, teacher = gym.make("CartPole-v1"), Upright()
    student = Cloner.for_env(env, teacher, seed=0, n_hidden=256, learning_rate=0.002)
    for _ in Loop(student, env, 0).run(16_000):
        pass
    assert min(evaluate(student, env, 3, seed=1)) > 400.0
    agreed, observation = [], env.reset(seed=2)[0]
    student.reset()
    for _ in range(1000):
        action = student.act(observation)
        agreed.append(action == teacher.act(observation))
        observation, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            observation = env.reset()[0]
    assert np.mean(agreed) > 0.95


def box_error(**settings: Any) -> float:
    """Mean squared error of a student of the linear teacher after 5,000 observations, in units of the box."""
    student, rng = Cloner(4, BOX, Linear(BOX), **settings), np.random.default_rng(0)
    student.begin(rng.normal(size=4))
    for _ in range(5000):
        student.step(rng.normal(size=4), 0.0, False, False)
    shown = rng.normal(size=(300, 4))
    off = [(student.act(x) - Linear(BOX).act(x)) / (BOX.high - BOX.low) for x in shown]
    return float(np.mean(np.square(off)) * 4.0)


@jitted
def test_hidden_layers_learn() -> None:
    """A box policy is learnt to less than half the error that is left when the hidden layer is frozen."""
    learnt, frozen = box_error(), box_error(freeze_hidden=True)
    assert learnt < 0.5 * frozen < 0.1
    assert box_error(n_hidden=(64, 64)) < frozen


def test_frozen_hidden_layers_stay() -> None:
    """With `freeze_hidden` only the readout changes."""
    for frozen in (True, False):
        student = Cloner(4, Discrete(3), Linear(Discrete(3)), n_hidden=(12, 10), freeze_hidden=frozen)
        before = {name: w.copy() for name, w in student.network.weights.items()}
        play(student, range(100))
        changed = {name for name, w in student.network.weights.items() if not np.array_equal(w, before[name])}
        assert changed == ({"w_out"} if frozen else {"w_in", "w_in_1", "w_out"})


@pytest.mark.parametrize("rest", ["observation", "episode"])
@pytest.mark.parametrize("space", [Discrete(3), BOX], ids=["discrete", "box"])
def test_is_the_engine_with_the_teachers_error(space: gym.Space[Any], rest: str) -> None:
    """A bare network that is shown the same and told the difference ends with the same weights."""
    student = Cloner(4, space, Linear(space), rest=rest, ticks=3, normalise_observations=False, **SMALL)
    network, teacher = Network(**msgspec.to_builtins(student.network.settings)), Linear(space)
    for t in range(40):
        x = observation_at(student, t)
        if t == 0:
            student.begin(x)
        else:
            student.step(x, 0.0, False, False)
        if rest == "observation":
            network.reset()
        for _ in range(3):
            y = network.step(x)
        if isinstance(space, Discrete):
            network.learn(y - np.eye(3)[teacher.act(x)])
        else:
            network.learn(y - (2.0 * (teacher.act(x) - BOX.low) / (BOX.high - BOX.low) - 1.0))
    for name, w in network.weights.items():
        np.testing.assert_allclose(student.network.weights[name], w, rtol=1e-5, atol=1e-6)


# --- in the loop -----------------------------------------------------------------------------------------------------


def test_who_acts() -> None:
    """The student, the teacher, or now the one and now the other; the teacher's box actions come back as they are."""
    for space in (Discrete(3, start=2), BOX):
        for share in (0.0, 0.5, 1.0):
            student, teacher = Cloner(4, space, Linear(space), student_acts=share, **SMALL), Linear(space)
            student.begin(observation_at(student, 0))
            same = []
            for t in range(1, 200):
                action = student.step(observation_at(student, t), 0.0, False, False)
                same.append(np.allclose(action, teacher.act(observation_at(student, t)), rtol=1e-9))
            assert (np.mean(same) == 1.0) == (share == 0.0)
            if space is BOX:
                assert abs(np.mean(same) - (1.0 - share)) < 0.15


@pytest.mark.parametrize("end", [(True, False), (False, True)], ids=["terminated", "truncated"])
def test_ends_teach_nothing_and_steer_the_slope(end: tuple[bool, bool]) -> None:
    """Where nobody acts the teacher is not asked; the schedule gets the return of the whole episode."""
    teacher = Upright()
    student = Cloner(4, Discrete(2), teacher, slope_schedule={"rule": "adaptive"}, **SMALL)
    student.begin(observation_at(student, 0))
    student.step(observation_at(student, 1), 30.0, False, False)
    before, slope = {name: w.copy() for name, w in student.network.weights.items()}, student.slope
    student.step(observation_at(student, 2), 10.0, *end)
    assert (teacher.asked, teacher.episodes, student.steps) == (2, 1, 2)
    assert_same(before, dict(student.network.weights))
    assert slope == 2.0 and student.slope == pytest.approx(20.0)
    student.begin(observation_at(student, 3))
    student.step(observation_at(student, 4), 60.0, *end)
    assert student.slope == pytest.approx(0.5 * (20.0 + 0.5 * (60.0 + 20.0)))


def test_act_asks_nobody_and_changes_nothing() -> None:
    """Greedy actions leave all as it was but the neurons that only they use."""
    teacher = Upright()
    student = Cloner(4, Discrete(2), teacher, rest="episode", **SMALL)
    play(student, range(30))
    before, asked = snapshot(student), teacher.asked
    for t in range(20):
        student.act(observation_at(student, t))
    student.reset()
    assert teacher.asked == asked
    assert_same(before, snapshot(student))


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "action"),
    [(Discrete(3), 3), (Discrete(3), 0.5), (Discrete(3), [0, 1]), (BOX, [0.0]), (BOX, [np.nan, 0.6]), (BOX, np.inf)],
    ids=str,
)
def test_teachers_that_do_not_fit_are_refused(space: gym.Space[Any], action: Any) -> None:
    """An action that is not of the space is an error that shows it, and nothing is learnt."""
    student = Cloner(4, space, Linear(space), **SMALL)
    play(student, range(5))
    before = snapshot(student.network)
    student.teacher.act = lambda observation: action  # type: ignore[union-attr, method-assign]
    with pytest.raises(ValueError, match=r"the teacher's action is .*nothing was learnt"):
        student.step(observation_at(student, 6), 0.0, False, False)
    assert_same(before, snapshot(student.network))


def test_without_a_teacher_it_only_acts(tmp_path: Path) -> None:
    """A loaded student acts as the saved one; `begin` and `step` say what is missing."""
    student = Cloner(4, BOX, Linear(BOX), **SMALL)
    play(student, range(50))
    student.save(tmp_path / "student")
    loaded = Cloner.load(tmp_path / "student")
    x = observation_at(student, 3)
    np.testing.assert_array_equal(student.act(x), loaded.act(x))
    with pytest.raises(RuntimeError, match="no teacher"):
        loaded.begin(x)
    with pytest.raises(ValueError, match="checkpoint of Cloner, not of Network"):
        Network.load(tmp_path / "student")


@pytest.mark.parametrize(
    "settings",
    [{"n_hidden": ()}, {"n_hidden": 0}, {"ticks": 0}, {"student_acts": 1.5}, {"rest": "daily"}, {"height": np.nan}],
    ids=str,
)
def test_bad_settings_are_refused(settings: dict[str, Any]) -> None:
    """Out of range, or unknown: an error that names the setting."""
    with pytest.raises(ValueError, match=next(iter(settings))):
        Cloner(4, BOX, None, **settings)


def test_reward_must_be_a_number() -> None:
    """Something else is an error that shows it."""
    student = Cloner(4, BOX, Linear(BOX), **SMALL)
    student.begin(np.zeros(4))
    with pytest.raises(ValueError, match="reward is 'much'"):
        student.step(np.zeros(4), "much", False, False)  # type: ignore[arg-type]
