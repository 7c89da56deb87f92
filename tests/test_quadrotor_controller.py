"""The geometric controller of the quadrotor against its equations and in its world."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from controllers import QuadrotorController
from controllers import geometric as places
from envs import Quadrotor
from envs import quadrotor_dynamics as world_places
from envs.quadrotor import LEARNING_TO_FLY, RL_TOOLS
from tests.checks import assert_same

Floats = npt.NDArray[np.float64]
SETS = pytest.mark.parametrize("model", [LEARNING_TO_FLY, RL_TOOLS], ids=["learning to fly", "rl tools"])
X, Y, YAW = np.array([[1.0, -1.0, -1.0, 1.0], [-1.0, -1.0, 1.0, 1.0], [-1.0, 1.0, -1.0, 1.0]])


def cross(by: Floats) -> Floats:
    """Matrix of the cross product with a vector."""
    return np.array([[0.0, -by[2], by[1]], [by[2], 0.0, -by[0]], [-by[1], by[0], 0.0]])


class Twin:
    """The controller once more, from its equations, with matrices."""

    def __init__(self, model: dict[str, Any]) -> None:
        self.m, self.j, self.c = model["mass"], np.array(model["inertia"]), np.array(model["thrust"])
        self.torques = np.stack([model["arm"] * Y, -model["arm"] * X, model["drag"] * YAW])
        self.way = 1.0 - math.exp(-0.01 / model["lag"])
        self.speeds, self.integral = np.full(4, 0.5), np.zeros(3)

    def lifts(self, u: Floats) -> Floats:
        """Thrusts [N]."""
        return np.asarray(np.polyval(self.c[::-1], u), np.float64)

    def act(self, seen: Floats) -> Floats:
        """What the controller commands."""
        p, r, v, w = seen[:3], seen[3:12].reshape(3, 3), seen[12:15], seen[15:]
        a = -np.array([22.0, 22.0, 40.0]) * p - np.array([4.4, 4.4, 20.0]) * v - self.integral
        a[:2] *= min(1.0, places.MOST_SIDEWAYS / float(np.linalg.norm(a[:2])))
        force = self.m * np.array([a[0], a[1], max(a[2], -places.MOST_SINKING) + 9.81])
        size = np.linalg.norm(force)
        coupling = np.cross(w, self.j * w)
        spin = (self.torques @ self.lifts(self.speeds) - coupling) / self.j
        by, later = 0.042 * w + 0.5 * 0.042**2 * spin, w + 0.042 * spin
        angle = np.linalg.norm(by)
        k = cross(by / angle)
        r = r @ (np.eye(3) + np.sin(angle) * k + (1.0 - np.cos(angle)) * k @ k)
        x, y, along = force / size @ r
        tilt = math.atan2(math.hypot(x, y), along) / math.hypot(x, y)
        heading = math.atan2(r[1, 0], r[0, 0]) * max(r[2, 2], 0.0)
        wanted = np.array([-235.0 * tilt * y, 235.0 * tilt * x, -15.0 * heading])
        torque = self.j * (wanted - [6.5 * later[0], 6.5 * later[1], 60.0 * w[2]]) + coupling
        lifts = self.allot(torque, float(size * max(along, places.LEAST_SHARE)))
        discriminant = self.c[1] ** 2 + 4.0 * self.c[2] * (lifts - self.c[0])
        u = (-self.c[1] + np.sqrt(np.maximum(discriminant, 0.0))) / (2.0 * self.c[2])
        command = np.clip(self.speeds + (u - self.speeds) / self.way, 0.0, 1.0)
        self.speeds = self.speeds + self.way * (command - self.speeds)
        self.integral = np.clip(self.integral + 8.0 * 0.01 * p, -3.0, 3.0)
        return np.asarray(2.0 * command - 1.0)

    def allot(self, torque: Floats, lift: float) -> Floats:
        """Tilt, lift and yaw within what a step can reach."""
        part = self.torques / np.square(self.torques).sum(1, keepdims=True)
        tilt, yaw = torque[:2] @ part[:2], torque[2] * part[2]
        low = self.lifts(self.speeds * (1.0 - self.way)) - tilt
        high = self.lifts(self.speeds * (1.0 - self.way) + self.way) - tilt
        if low.max() > high.min():
            return np.asarray(tilt + (low.max() + high.min()) / 2.0)
        each = np.clip(lift / 4.0, low.max(), high.min())
        most = np.where(yaw > 0.0, high - each, each - low).min()
        return np.asarray(tilt + each + np.clip(yaw, -most, most))


@SETS
def test_quadrotor_controller_is_its_twin(model: dict[str, Any]) -> None:
    """Over flights from random starts and over noise, every branch: commands, speeds and integral, to 1e-12."""
    rng, starved, still = np.random.default_rng(0), 0, np.array([0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0])
    for trial in range(30):
        pilot, twin = QuadrotorController(**model), Twin(model)
        env = Quadrotor(**model)
        seen = np.asarray(env.reset(seed=trial)[0], np.float64)
        for _ in range(60):
            if trial % 3 == 0:
                seen = still + np.sqrt(trial + 1.0) * rng.normal(0.0, 0.3, 18)
            expected, given = twin.act(seen), pilot.act(seen)
            np.testing.assert_allclose(given, expected.astype(np.float32), rtol=1e-6, atol=1e-6)
            np.testing.assert_allclose(pilot._action, expected, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(pilot.speeds, twin.speeds, rtol=1e-12)
            np.testing.assert_allclose(pilot._row[places.INTEGRAL : places.MASS], twin.integral, rtol=1e-12)
            twin.speeds = pilot.speeds  # a command divides rounding by a small number, and the next one again
            starved += bool(np.abs(expected).max() == 1.0)
            shown, _, terminated, truncated, _ = env.step(given)
            seen = np.asarray(shown, np.float64)
            if terminated or truncated:
                break
    assert starved > 100


def flown(env: Quadrotor, pilot: Any, starts: int) -> tuple[float, float]:
    """Share of starts held for all steps, and mean distance in the second half of these flights [m]."""
    held, off = 0, []
    for seed in range(starts):
        action, path, over = pilot.begin(env.reset(seed=seed)[0]), [], False
        while not over:
            observation, reward, terminated, truncated, _ = env.step(action)
            action = pilot.step(observation, reward, terminated, truncated)
            path.append(np.linalg.norm(env.world[world_places.POSITION : world_places.POSITION + 3]))
            over = terminated or truncated
        if truncated and not terminated:
            held += 1
            off.append(float(np.mean(path[250:])))
    return held / starts, float(np.mean(off))


@SETS
def test_quadrotor_controller_holds_its_place(model: dict[str, Any]) -> None:
    """From at least 95 of 100 random starts, tilted by up to 90 degrees, for 5 s, to 4 cm."""
    share, off = flown(Quadrotor(**model), QuadrotorController(**model), 100)
    assert share >= 0.95 and off < 0.04


def test_quadrotor_controllers_integral_leans_into_the_wind() -> None:
    """It takes away most of what a steady wind pushes the craft aside."""
    windy = Quadrotor(**LEARNING_TO_FLY, wind=(0.03, 0.0, 0.0), limit=800)
    with_it, without = (flown(windy, QuadrotorController(**LEARNING_TO_FLY, integral=k), 5)[1] for k in (8.0, 0.0))
    assert with_it < 0.5 * without


def test_quadrotor_controller_knows_its_rotors() -> None:
    """Its model of their speeds is right, to rounding; where another action is carried out it can be told."""
    env, rng = Quadrotor(**LEARNING_TO_FLY), np.random.default_rng(0)
    pilot = QuadrotorController(**LEARNING_TO_FLY)
    action = pilot.begin(env.reset(seed=2)[0])
    for step in range(100):
        done = np.clip(action + (rng.normal(0.0, 0.1, 4) if step % 2 else 0.0), -1.0, 1.0)
        observation, *_ = env.step(done)
        speeds = env.world[world_places.ROTORS : world_places.ROTORS + 4]
        assert (np.abs(pilot.speeds - speeds).max() < 1e-6) == (step % 2 == 0)
        pilot.speeds = speeds
        action = pilot.act(observation)
    pilot.speeds = np.array([-0.1, 0.2, 1.0, 1.1])
    assert pilot.speeds.tolist() == [0.0, 0.2, 1.0, 1.0]


def test_quadrotor_controller_begins_anew_and_can_be_copied() -> None:
    """An episode does not depend on what was before; a pickle goes on identically."""
    pilot, rng = QuadrotorController(**RL_TOOLS), np.random.default_rng(1)
    shown = rng.normal(0.0, 0.3, (30, 18))
    first = [pilot.begin(shown[0]), *(pilot.act(x) for x in shown[1:])]
    again = [pilot.begin(shown[0]), *(pilot.act(x) for x in shown[1:20])]
    twin = pickle.loads(pickle.dumps(pilot))
    assert_same(first, [*again, *(twin.act(x) for x in shown[20:])])
