"""The quadrotor's dynamics: an independent twin of its step, and physics that can be worked out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from envs import Quadrotor
from envs import quadrotor_dynamics as places
from envs.quadrotor import RL_TOOLS

Floats = npt.NDArray[np.float64]
CALM: dict[str, Any] = {"force": 0.0, "torque": 0.0, "noise": (0.0, 0.0, 0.0, 0.0)}
SETS = pytest.mark.parametrize("model", [{}, RL_TOOLS], ids=["learning to fly", "rl tools"])
# Of the rotors: where they are, in arms, and which way they turn the body.
X, Y, YAW = np.array([[1.0, -1.0, -1.0, 1.0], [-1.0, -1.0, 1.0, 1.0], [-1.0, 1.0, -1.0, 1.0]])


def still(env: Quadrotor, rotors: float = 0.0) -> Floats:
    """The row of a world that has just begun, at rest and upright at the origin, undisturbed."""
    env.reset(seed=0)
    env.world[: places.STEPS] = 0.0
    env.world[places.ATTITUDE] = 1.0
    env.world[places.ROTORS : places.ROTORS + 4] = rotors
    return env.world


def hover(env: Quadrotor) -> float:
    """Share of the top speed at which four rotors carry the craft."""
    world = env.world
    c0, c1, c2 = world[places.THRUST : places.THRUST + 3]
    lift = world[places.MASS] * world[places.GRAVITY] / 4.0
    return float((-c1 + math.sqrt(c1 * c1 + 4.0 * c2 * (lift - c0))) / (2.0 * c2))


def command(share: float | Floats) -> Floats:
    """The action that asks for shares of the top speed."""
    return 2.0 * np.broadcast_to(share, 4) - 1.0


def entries(row: Floats, place: int, count: int) -> Floats:
    """Some entries of a row, apart from it."""
    return row[place : place + count].copy()


def matrix(q: Floats) -> Floats:
    """Rotation of a quaternion of length 1, as (w, x, y, z): Rodrigues' formula."""
    cross = np.array([[0.0, -q[3], q[2]], [q[3], 0.0, -q[1]], [-q[2], q[1], 0.0]])
    turned: Floats = np.eye(3) + 2.0 * q[0] * cross + 2.0 * cross @ cross
    return turned


def quaternion_product(a: Floats, b: Floats) -> Floats:
    """Hamilton's."""
    return np.array([a[0] * b[0] - a[1:] @ b[1:], *(a[0] * b[1:] + b[0] * a[1:] + np.cross(a[1:], b[1:]))])


class Twin:
    """The step once more, from the equations, in plain NumPy; parameters from the row, by name."""

    def __init__(self, row: Floats) -> None:
        self.p, self.v, self.w = entries(row, 0, 3), entries(row, places.VELOCITY, 3), entries(row, places.TURN, 3)
        self.q, self.u = entries(row, places.ATTITUDE, 4), entries(row, places.ROTORS, 4)
        self.row, self.steps = row.copy(), float(row[places.STEPS])
        self.words = [int(word) for word in entries(row, places.DRAW, 2)]

    def rate(self, state: Floats, wanted: Floats) -> Floats:
        """Derivative of p, q, v, w, u in one row."""
        row, q, v, w, u = self.row, state[3:7], state[7:10], state[10:13], state[13:17]
        lifts = entries(row, places.MOTORS, 4) * np.polyval(entries(row, places.THRUST, 3)[::-1], u)
        arms = row[places.ARM] * np.stack([X, Y, 0.0 * X], 1)
        torque = np.cross(arms, np.outer(lifts, [0.0, 0.0, 1.0])).sum(0) + entries(row, places.TORQUE, 3)
        torque[2] += row[places.DRAG] * (YAW * lifts).sum()
        inertia = np.diag(entries(row, places.INERTIA, 3))
        force = entries(row, places.FORCE, 3) + entries(row, places.WIND, 3)
        acceleration = (matrix(q / np.linalg.norm(q)) * (q @ q)) @ [0.0, 0.0, lifts.sum()]
        acceleration += (1.0 - q @ q) * np.array([0.0, 0.0, lifts.sum()])  # as R is written for q of any length
        acceleration = (acceleration + force) / row[places.MASS] - [0.0, 0.0, row[places.GRAVITY]]
        spin = np.linalg.solve(inertia, torque - np.cross(w, inertia @ w))
        turning = 0.5 * quaternion_product(q, np.array([0.0, *w]))
        return np.concatenate([v, turning, acceleration, spin, (wanted - u) / row[places.LAG]])

    def normal(self) -> list[float]:
        """18 normal numbers."""

        def uniform() -> float:
            low, carry = self.words
            product = 4294883355 * low + carry
            self.words = [product % 2**32, product // 2**32]
            return (low ^ carry) / 2**31 - 1.0

        found: list[float] = []
        while len(found) < 18:
            x, y = uniform(), uniform()
            if 0.0 < x * x + y * y < 1.0:
                found += [c * math.sqrt(-2.0 * math.log(x * x + y * y) / (x * x + y * y)) for c in (x, y)]
        return found

    def step(self, action: Floats) -> tuple[Floats, float, bool, bool]:
        """What `env.step` gives."""
        row, wanted, dt = self.row, np.clip((action + 1.0) / 2.0, 0.0, 1.0), self.row[places.INTERVAL]
        state = np.concatenate([self.p, self.q, self.v, self.w, self.u])
        k1 = self.rate(state, wanted)
        k2 = self.rate(state + dt / 2.0 * k1, wanted)
        k3 = self.rate(state + dt / 2.0 * k2, wanted)
        k4 = self.rate(state + dt * k3, wanted)
        state = state + dt / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
        self.p, self.q, self.v, self.w, self.u = np.split(state, [3, 7, 10, 13])
        self.q = self.q / np.linalg.norm(self.q)
        self.steps += 1.0
        pace = 2.0 * math.pi / row[places.PERIOD]
        t, radius = self.steps * dt, row[places.RADIUS]
        p = self.p - radius * np.array([math.sin(pace * t), math.sin(2.0 * pace * t) / 2.0, 0.0])
        v = self.v - radius * pace * np.array([math.cos(pace * t), math.cos(2.0 * pace * t), 0.0])
        away = min(np.sum((self.q - sign * np.array([1.0, 0.0, 0.0, 0.0])) ** 2) for sign in (1.0, -1.0))
        alive, near, slow, level, calm = entries(row, places.ALIVE, 5)
        reward = alive - near * p @ p - slow * v @ v - level * away - calm * np.sum((wanted - 0.667) ** 2)
        noise = np.repeat(entries(row, places.NOISE, 4), [3, 9, 3, 3]) * self.normal()
        seen = np.concatenate([p, matrix(self.q).reshape(-1), v, self.w]) + noise
        ended = np.abs(p).max() > 0.6 or np.linalg.norm(v) > 1000.0 or np.linalg.norm(self.w) > 1000.0
        return seen, float(reward), bool(ended), self.steps >= row[places.LIMIT]


CHANGED: dict[str, Any] = {
    "radius": 0.3, "period": 2.0, "wind": (0.01, -0.02, 0.005), "motors": (1, 0.7, 1, 0.9), "stage": 2,
}  # fmt: skip


@pytest.mark.parametrize("arguments", [{}, RL_TOOLS, CHANGED], ids=["learning to fly", "rl tools", "changed"])
def test_same_as_the_twin(arguments: dict[str, Any]) -> None:
    """State, observation, reward and end, over random actions of many episodes, to 1e-12."""
    env, rng, ends, steps = Quadrotor(**arguments), np.random.default_rng(1), [0, 0], 0
    for episode in range(25):
        env.world[places.LIMIT] = 7 if episode == 0 else 500
        env.reset(seed=episode)
        twin, over = Twin(env.world), False
        while not over:
            action = rng.uniform(-1.2, 1.2, 4) if episode % 2 else rng.uniform(0.2, 0.5, 4)
            seen, reward, terminated, truncated = twin.step(action)
            shown, paid, ended, cut, _ = env.step(action)
            steps, over = steps + 1, ended or cut
            ours = np.concatenate([twin.p, twin.q, twin.v, twin.w, twin.u, [twin.steps]])
            np.testing.assert_allclose(env.world[: places.STEPS + 1], ours, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(env._seen, seen, rtol=1e-12, atol=1e-12)
            assert np.array_equal(shown, env._seen.astype(np.float32))
            assert paid == pytest.approx(reward, rel=1e-12, abs=1e-12)
            assert (ended, cut) == (terminated, truncated)
        ends[int(ended)] += 1
    assert min(ends) >= 1 and steps > 500


def test_free_fall() -> None:
    """Without thrust it falls by g t^2 / 2, whatever its attitude, and with the wind's acceleration to the side."""
    env = Quadrotor(thrust=(0.0, 0.0, 0.0), wind=(0.0, 0.027, 0.0), **CALM)
    world = still(env)
    world[places.ATTITUDE : places.ATTITUDE + 4] = 0.5
    for _ in range(30):
        env.step(command(1.0))
    np.testing.assert_allclose(world[:3], [0.0, 0.5 * 0.3**2, -0.5 * 9.81 * 0.3**2], rtol=1e-12)
    np.testing.assert_allclose(entries(world, places.VELOCITY, 3), [0.0, 0.3, -9.81 * 0.3], rtol=1e-12)


@SETS
def test_hover_holds_still(model: dict[str, Any]) -> None:
    """At the thrust of the weight nothing moves for a whole episode."""
    env = Quadrotor(**model, **CALM)
    world = still(env, hover(env))
    truncated, total = False, 0.0
    while not truncated:
        _, reward, terminated, truncated, _ = env.step(command(hover(env)))
        total += reward
        assert not terminated
    assert np.abs(world[:3]).max() < 1e-10 and np.abs(world[places.VELOCITY : places.ROTORS]).max() < 1e-10
    assert hover(env) == pytest.approx(0.66 if model else 14475.8 / 21702.0, abs=5e-5)
    assert total == pytest.approx(500.0, abs=0.1)


def test_payload_sinks() -> None:
    """With a given thrust: a = T / m - g, before and after the mass doubles in flight."""
    world = still(env := Quadrotor(**CALM), 0.8)
    for mass in (0.027, 0.054):
        world[places.MASS], before = mass, world[places.VELOCITY + 2]
        env.step(command(0.8))
        lift = 4.0 * world[places.THRUST + 2] * 0.8**2
        assert world[places.VELOCITY + 2] - before == pytest.approx(0.01 * (lift / mass - 9.81), rel=1e-9)


@pytest.mark.parametrize(("pattern", "axis", "sign"), [(YAW, 2, 1), (Y, 0, 1), (X, 1, -1)])
@SETS
def test_rotors_turn_the_body_about_its_axes(model: dict[str, Any], pattern: Floats, axis: int, sign: int) -> None:
    """Rotors held at speeds that differ in a pattern give torque / inertia about one axis alone, and no more lift."""
    world = still(env := Quadrotor(**model, **CALM))
    lift, part = world[places.MASS] * 9.81 / 4.0, 1e-4
    c0, c1, c2 = entries(world, places.THRUST, 3)
    speeds = (-c1 + np.sqrt(c1 * c1 + 4.0 * c2 * (lift + part * pattern - c0))) / (2.0 * c2)
    world[places.ROTORS : places.ROTORS + 4] = speeds
    for _ in range(10):
        env.step(command(speeds))
    torque = sign * 4.0 * part * (world[places.DRAG] if axis == 2 else world[places.ARM])
    expected = np.zeros(3)
    expected[axis] = torque / world[places.INERTIA + axis] * 0.1
    np.testing.assert_allclose(entries(world, places.TURN, 3), expected, rtol=1e-9, atol=1e-12)
    half = 0.5 * expected[axis] * 0.1 / 2.0  # half the angle turned
    np.testing.assert_allclose(world[places.ATTITUDE + 1 + axis], math.sin(half), rtol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_constant_torque_about_a_principal_axis(axis: int) -> None:
    """The disturbing torque alone: turn grows as tau t / J, and the angle as half of that times t."""
    env = Quadrotor(thrust=(0.0, 0.0, 0.0), gravity=0.0, **CALM)
    world = still(env)
    world[places.TORQUE + axis] = 1e-5
    for _ in range(50):
        env.step(command(0.0))
    turn = 1e-5 / world[places.INERTIA + axis] * 0.5
    assert world[places.TURN + axis] == pytest.approx(turn, rel=1e-12)
    assert world[places.ATTITUDE] == pytest.approx(math.cos(turn * 0.5 / 4.0), abs=1e-7)
    assert np.abs(world[:3]).max() == 0.0


def test_free_rotation_keeps_energy_and_momentum() -> None:
    """No torque, three unlike inertias, tumbling: energy and momentum in the world's axes stay, and q has length 1."""
    inertia, turned = np.array([1e-5, 2e-5, 4e-5]), 0.0
    env = Quadrotor(inertia=inertia, thrust=(0.0, 0.0, 0.0), gravity=0.0, **CALM)
    world = still(env)
    world[places.TURN : places.TURN + 3] = start = np.array([2.0, -5.0, 1.0])
    for _ in range(400):
        env.step(command(0.0))
        q, w = entries(world, places.ATTITUDE, 4), entries(world, places.TURN, 3)
        assert abs(np.linalg.norm(q) - 1.0) < 1e-15
        assert w @ (inertia * w) == pytest.approx(start @ (inertia * start), rel=1e-6)
        np.testing.assert_allclose(matrix(q) @ (inertia * w), inertia * start, atol=1e-6 * 1e-4)
        turned = max(turned, float(np.abs(w - start).max()))
    assert turned > 1.0


@SETS
def test_rotors_follow_with_their_time_constant(model: dict[str, Any]) -> None:
    """After a step of the command, 1 - exp(-t / lag) of the way."""
    env = Quadrotor(**model, gravity=0.0, **CALM)
    world = still(env)
    world[places.THRUST : places.THRUST + 3] = 0.0
    for k in range(1, 40):
        env.step(command(0.9))
        expected = 0.9 * (1.0 - math.exp(-0.01 * k / world[places.LAG]))
        np.testing.assert_allclose(entries(world, places.ROTORS, 4), expected, rtol=1e-5)


def test_a_lost_motor_lifts_less() -> None:
    """A factor of 0.7 on motor 3 (back left) takes 30 % of its thrust: it sinks, and leans that way."""
    world = still(env := Quadrotor(**CALM), hover(env))
    world[places.MOTORS + 2] = 0.7
    env.step(command(hover(env)))
    lost = 0.3 * 0.027 * 9.81 / 4.0
    assert world[places.VELOCITY + 2] == pytest.approx(-0.01 * lost / 0.027, rel=1e-3)
    turn = np.array([-0.028, -0.028, 0.005964552]) * lost / world[places.INERTIA : places.INERTIA + 3] * 0.01
    np.testing.assert_allclose(entries(world, places.TURN, 3), turn, rtol=1e-3)
