"""Regulator: the shared checks, what is learnt from an error, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from controllers import Decoder, Frozen, Regulator
from tests.checks import CONTROLLER_CHECKS, Make, assert_same, snapshot
from threefactor import tick

jitted = pytest.mark.skipif(not hasattr(tick.run, "signatures"), reason="numba is switched off: too slow")
BOX = Box(np.array([-2.0, 0.5]), np.array([1.0, 0.75]), dtype=np.float64)
SMALL: dict[str, Any] = {"n_hidden": 24}
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {}, "sgd": {"optimiser": "sgd", "learning_rate": 0.01, "dtype": "float64", "recurrent": True},
    "adam": {"optimiser": "adam", "learning_rate": 0.001, "n_fields": 0, "normalise_observations": False},
}  # fmt: skip


class Linear:
    """Two commands, linear in what is seen."""

    def act(self, observation: Any) -> Any:
        """Within the box."""
        y = np.tanh(np.asarray(observation, float).reshape(-1)[:2])
        return BOX.low + (BOX.high - BOX.low) * (0.5 + 0.2 * y)


class Based(Regulator):
    """A regulator whose checkpoints know their base."""

    @classmethod
    def load(cls, path: Any, **given: Any) -> Regulator:
        """With the linear base."""
        return super().load(path, base=Linear(), **given)


def maker(settings: dict[str, Any]) -> Make:
    """Builds a regulator of five observations beside the linear base."""
    return lambda seed: Based(5, BOX, base=Linear(), seed=seed, **SMALL, **settings)


@jitted
@pytest.mark.parametrize("check", CONTROLLER_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", VARIANTS)
def test_shared_checks(name: str, check: Callable[[Make], None]) -> None:
    """The list that every controller must pass."""
    check(maker(VARIANTS[name]))


class Spring:
    """x' = action + load - x, tenfold a unit of time; the base pulls back by a half."""

    space = Box(-1.0, 1.0, (1,), np.float64)

    def __init__(self) -> None:
        self.x = np.zeros(1)

    def act(self, observation: Any) -> Any:
        """The base's command."""
        return -0.5 * np.asarray(observation)

    def reset(self) -> None:
        """Nothing is kept."""

    def run(self, regulator: Any, steps: int, load: Callable[[float], float]) -> float:
        """Mean distance from the origin in the last fifth of the steps."""
        off = []
        action = regulator.begin(self.x)
        for _ in range(steps):
            self.x = self.x + 0.1 * (action + load(float(self.x[0])) - self.x)
            action = regulator.step(self.x, 0.0, False, False)
            off.append(abs(float(self.x[0])))
        return float(np.mean(off[-steps // 5 :]))


@jitted
def test_learns_what_the_base_lacks() -> None:
    """A load leaves the base an error, which the regulator takes away, more and more; a frozen copy keeps it away."""

    def load(x: float) -> float:
        return 0.5 + 0.3 * np.sin(6.0 * x)

    alone = Spring().run(Frozen(Spring()), 400, load)
    world = Spring()
    regulator = Regulator(1, Spring.space, base=world, seed=1)
    assert alone > 0.2
    assert world.run(regulator, 1000, load) < 0.1 * alone
    copy = Frozen(regulator)
    before = snapshot(regulator)
    assert Spring().run(copy, 400, load) < 0.2 * alone
    assert_same(before, snapshot(regulator))
    regulator.learning = False
    assert world.run(regulator, 400, load) < 0.2 * alone


@jitted
def test_direct_adaptive_control_without_a_base() -> None:
    """An error of one's own makes a controller where there was none."""

    def error(seen: Any, command: Any) -> Any:
        assert not command.any()
        return 2.0 * np.asarray(seen)

    world = Spring()
    assert world.run(Regulator(1, Spring.space, error=error, seed=1), 600, lambda x: 0.5) < 0.05


@jitted
@pytest.mark.parametrize(("optimiser", "rate"), [("intentional", 0.05), ("sgd", 0.001)])
def test_a_step_goes_down_the_error(optimiser: str, rate: float) -> None:
    """Of equal looks the second comes out lower; "intentional": by about the share of the error that was meant."""
    regulator = Regulator(
        3,
        Spring.space,
        error=lambda seen, command: np.zeros(1),
        optimiser=optimiser,
        learning_rate=rate,
        dtype="float64",
    )
    population, seen = regulator.population, np.array([0.5, -1.0, 2.0])
    for _ in range(60):  # until the norm that the step is divided by has settled
        population.look(seen, learns=True)
        population.learn(np.array([0.2]))
    rest = population.network.fast.copy()
    first = float(population.look(seen, learns=False)[0])
    population.network.fast[:] = rest
    population.look(seen, learns=False)
    population.learn(np.array([0.2]))
    population.network.fast[:] = rest
    change = float(population.look(seen, learns=False)[0]) - first
    assert -0.015 < change < (-0.003 if optimiser == "intentional" else 0.0)  # 0.01 was meant


def test_refuses(tmp_path: Path) -> None:
    """What cannot be regulated, decoded or loaded is said so, and changes nothing."""
    with pytest.raises(ValueError, match="a regulator takes a Box"):
        Regulator(3, Discrete(2), base=Linear())
    with pytest.raises(ValueError, match="neither a base nor an error"):
        Regulator(3, BOX)
    with pytest.raises(ValueError, match="unknown setting 'hidden'"):
        Decoder(3, hidden=4)
    regulator = Regulator(3, BOX, base=Linear(), error=lambda seen, command: [np.nan, 0.0], **SMALL)
    with pytest.raises(RuntimeError, match="call begin"):
        regulator.step(np.zeros(3), 0.0, False, False)
    regulator.begin(np.zeros(3))
    before = snapshot(regulator.population.network)
    with pytest.raises(ValueError, match="Nothing was learnt"):
        regulator.step(np.zeros(3), 0.0, False, False)
    assert_same(before, snapshot(regulator.population.network))
    Decoder(4, **SMALL).save(tmp_path / "decoder")
    with pytest.raises(ValueError, match="Decoder"):
        Regulator.load(tmp_path / "decoder", base=Linear())


def test_for_env_takes_what_features_make() -> None:
    """The number of inputs follows from the features."""
    env = gym.make("Pendulum-v1")
    regulator = Regulator.for_env(env, error=lambda seen, command: seen[2], features=lambda seen: seen[:2], **SMALL)
    assert regulator.n_observation == 2
    assert env.action_space.contains(regulator.begin(env.reset(seed=0)[0]))
