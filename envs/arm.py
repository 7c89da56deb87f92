"""A two-link arm that reaches in the plane, by torques or by muscles, compiled, with every parameter within reach."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from envs import arm_dynamics as places
from envs.arm_dynamics import HIGHEST, LOWEST, N_MUSCLES, N_OBSERVATION, forward_kinematics, inverse_kinematics, step
from envs.compiled import CompiledEnv, Floats
from envs.sequences import require
from threefactor._jit import entry

START = np.radians([45.0, 90.0])  # the joints' angles at home [rad]


class Arm(CompiledEnv):
    """Reach for a target in the plane, when the cue says go.

    Description
    -----------
    A human's arm of two links, upper arm and forearm with hand, lies in a horizontal plane, so that gravity plays no
    part; the shoulder is the origin, x points to the right, y ahead. The hand rests at home. A target is shown; after a
    random delay the cue says go, and the hand is to go there and stay. An episode is one such trial.

    M(q) q'' + C(q, q') + B q' = torques + J(q)^T F, integrated by the classical Runge-Kutta rule in two steps an
    interval. F pushes the hand: F = `curl` [[0, 1], [-1, 0]] v + `force`, with the hand's velocity v; 13 N s/m is a
    usual strength of the curl field. The shoulder's joint has hard stops at -30 and 120 degrees, the elbow's at 0 and
    150.

    The arm is moved by torques, or by six muscles: flexor and extensor of the shoulder, of the elbow and of both. A
    muscle's activation follows its excitation in 50 ms upwards and 66 ms downwards; it pulls by activation times
    force-length times force-velocity times its largest force, at a constant lever. It has no passive force.

    All parameters, from `mass` to `interval`, may be changed amid a reach by `change`, and stay as they are over a
    reset. Controllers find the arm's kinematics and dynamics in `envs.arm_dynamics`: `forward_kinematics`, `jacobian`,
    `inverse_kinematics`, `inverse_dynamics`.

    `reset` takes the option ``"target"``: k, the k-th of the targets on the circle, or (x, y), relative to home [m].

    Action Space
    ------------
    ``Box(-1, 1, (2,), float32)``: torques of shoulder and elbow, as shares of `torque`; or, with muscles,
    ``Box(0, 1, (6,), float32)``: their excitations. What is beyond is taken as the nearest.

    Observation Space
    -----------------
    ``Box((11,), float32)``:

    ===== ============================================ ======= =======
    Num   Observation                                  Min     Max
    ===== ============================================ ======= =======
    0     shoulder's angle, from the x axis on [rad]   -0.53   2.10
    1     elbow's angle, 0 when stretched [rad]        -0.01   2.62
    2-3   their rates [rad/s]                          none    none
    4-5   hand, relative to home [m]                   none    none
    6-7   hand's velocity [m/s]                        none    none
    8-9   target, relative to home [m]                 none    none
    10    cue: 1 from go on                            0       1
    ===== ============================================ ======= =======

    `info` holds, in metres from the shoulder, ``"hand"``, ``"target"`` and ``"home"``, the hand's ``"velocity"`` [m/s],
    ``"go"``, whether the cue has said go, and ``"success"``.

    Rewards
    -------
    -10 |p - goal| - 0.1 |v|^2 - 0.1 e after each step, with the hand's place p [m] and velocity v [m/s], and e the mean
    of the squared entries of the action, cut to their bounds. The goal is home until the cue has been seen, then the
    target.

    Starting State
    --------------
    At rest at home, with the shoulder at 45 degrees and the elbow at 90; muscles not active. The target is drawn, and
    so is the delay.

    Episode End
    -----------
    Termination, a success, once the hand has been within `radius` of the target for `hold` steps on end after go;
    truncation after `limit` steps.

    Arguments
    ---------
    actuation : str
        "torque" or "muscle".
    mass : sequence of 2 floats
        Of the links [kg], above 0.
    length : sequence of 2 floats
        [m], above 0.
    centre : sequence of 2 floats
        Distance of a link's centre of mass from its joint [m], 0 or more.
    inertia : sequence of 2 floats
        About the centres of mass [kg m^2], above 0.
    friction : array_like, shape (2, 2)
        B [N m s/rad], 0 or more.
    torque : sequence of 2 floats
        Largest torques of shoulder and elbow [N m], 0 or more.
    muscles : sequence of 6 floats
        Factor on each muscle's force, 0 or more; 1 is a sound muscle.
    curl : float
        Of the field at the hand [N s/m].
    force : sequence of 2 floats
        On the hand [N].
    interval : float
        Of a step [s], above 0 and at most 0.01.
    n_targets : int
        Targets, evenly on a circle of the radius `distance` around home, the first to the right; 0 draws a target in
        any direction, half of `distance` to `distance` away.
    distance : float
        [m], above 0.
    delay : tuple of 2 ints
        Least and largest number of steps until go; 0: the cue says go from the start.
    radius : float
        Of a target [m], above 0.
    hold : int
        Steps, 1 or more.
    limit : int
        Steps of an episode.
    render_mode : str, optional
        "rgb_array" or "human".

    Version History
    ---------------
    v0: first version. Its reward threshold is a little under what a minimum jerk path with the torques for it, and
    stiffness and viscosity about it, returns: -24 on average.

    Raises
    ------
    ValueError
        An argument outside its range, or of another shape; a target that is none or is out of reach.

    Examples
    --------
    A curl field sets in amid a reach to the left:

    >>> from envs import Arm
    >>> env = Arm()
    >>> observation, info = env.reset(seed=0, options={"target": 4})
    >>> (info["target"] - info["home"]).round(3).tolist()
    [-0.1, 0.0]
    >>> env.change("curl", 13.0)
    >>> observation, reward, terminated, truncated, info = env.step([0.1, -0.1])

    References
    ----------
    Li, Todorov 2004, ICINCO 1:222: links and joints (there with inertias about the joints), forces, force-length-
    velocity and activation of the muscles. Lillicrap, Scott 2013, Neuron 77:168: levers and optimal lengths of the
    muscles. Shadmehr, Mussa-Ivaldi 1994, J. Neurosci. 14:3208: reaching in force fields.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array", "human"], "render_fps": 100}  # type: ignore[misc]
    kernel = staticmethod(step)
    ranges = places.RANGES

    def __init__(
        self, actuation: str = "torque", mass: npt.ArrayLike = (1.4, 1.0), length: npt.ArrayLike = (0.3, 0.33),
        centre: npt.ArrayLike = (0.11, 0.16), inertia: npt.ArrayLike = (0.00806, 0.0194),
        friction: npt.ArrayLike = ((0.05, 0.025), (0.025, 0.05)), torque: npt.ArrayLike = (10.0, 10.0),
        muscles: npt.ArrayLike = (1.0,) * N_MUSCLES, curl: float = 0.0, force: npt.ArrayLike = (0.0, 0.0),
        interval: float = 0.01, n_targets: int = 8, distance: float = 0.1, delay: tuple[int, int] = (20, 60),
        radius: float = 0.01, hold: int = 20, limit: int = 250, render_mode: str | None = None,
    ) -> None:  # fmt: skip
        if actuation not in ("torque", "muscle"):
            raise ValueError(f'actuation is {actuation!r}; it must be "torque" or "muscle".')
        muscular = actuation == "muscle"
        n_command = N_MUSCLES if muscular else 2
        super().__init__(np.zeros(places.SIZE), n_command, N_OBSERVATION, locals(), render_mode)
        for name, count, least in (("n_targets", n_targets, 0), ("hold", hold, 1), ("limit", limit, 1)):
            require(name, count, count >= least, f"{least} or more")
        for name, span in (("distance", distance), ("radius", radius)):
            require(name, span, 0.0 < span < math.inf, "finite and above 0")
        if np.shape(delay) != (2,) or not 0 <= delay[0] <= delay[1]:
            raise ValueError(f"delay is {delay}; it must be two numbers of steps, 0 or more, the least first.")
        self.n_targets, self.distance, self.delay = int(n_targets), float(distance), (int(delay[0]), int(delay[1]))
        self._wanted: Floats | None = None
        row = self.world
        row[places.RADIUS], row[places.HOLD], row[places.LIMIT], row[places.MUSCULAR] = radius, hold, limit, muscular
        n_drawn = self.n_targets or 64
        targets = (self.on_circle(2.0 * math.pi * k / n_drawn, self.distance) for k in range(n_drawn))
        require("distance", distance, all(map(self._reaches, targets)), "within the hand's reach, to each target")
        self.action_space = gym.spaces.Box(0.0 if muscular else -1.0, 1.0, (n_command,), np.float32)
        largest = np.finfo(np.float32).max  # checkers do not like infinity
        high = np.array([*(HIGHEST + 0.01), *[largest] * 8, 1.0], np.float32)
        low = np.array([*(LOWEST - 0.01), *[-largest] * 8, 0.0], np.float32)
        self.observation_space = gym.spaces.Box(low, high)

    def _compile(self) -> None:
        super()._compile()
        self._observe = entry(places.observe, self.world, self._seen)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
        """Begin an episode; see the class for the options.

        Raises
        ------
        ValueError
            The target is none, or out of reach.
        """
        given = (options or {}).get("target")
        self._wanted = None if given is None else self._target(given)
        return super().reset(seed=seed)

    def _target(self, given: Any) -> Floats:
        """Place of a target relative to home [m], of its number or its place."""
        place = np.asarray(given, np.float64)
        if place.shape == ():
            wanted = f"a whole number from 0 on and below n_targets, {self.n_targets}, or a place (x, y)"
            require("target", given, given in range(self.n_targets), wanted)
            return self.on_circle(2.0 * math.pi * float(given) / self.n_targets, self.distance)
        reachable = place.shape == (2,) and bool(np.isfinite(place).all()) and self._reaches(place)
        require("target", given, reachable, "a place (x, y), relative to home [m], that the hand can reach")
        return place

    def _reaches(self, place: Floats) -> bool:
        goal = place + forward_kinematics(self.world, *START)
        angles = np.array(inverse_kinematics(self.world, *goal))
        found = np.array(forward_kinematics(self.world, *angles))
        return bool(np.allclose(found, goal, 0.0, 1e-9) and (angles >= LOWEST).all() and (angles <= HIGHEST).all())

    @staticmethod
    def on_circle(angle: float, distance: float) -> Floats:
        """Place (2,) so far from home in a direction."""
        return distance * np.array([math.cos(angle), math.sin(angle)])

    def begin(self, rng: np.random.Generator, seen: Floats) -> None:
        """At rest at home."""
        world = self.world
        world[: places.DELAY] = 0.0
        world[:2] = START
        world[places.DELAY] = rng.integers(self.delay[0], self.delay[1] + 1)
        if self.n_targets:
            drawn = self._target(int(rng.integers(self.n_targets)))
        else:
            drawn = self.on_circle(rng.uniform(0.0, 2.0 * math.pi), self.distance * rng.uniform(0.5, 1.0))
        world[places.HOME : places.HOME + 2] = home = forward_kinematics(world, *START)
        world[places.TARGET : places.TARGET + 2] = home + (drawn if self._wanted is None else self._wanted)
        self._observe(world, seen)

    def info(self) -> dict[str, Any]:
        """See the class."""
        row = self.world
        names = {"hand": places.HAND, "velocity": places.HAND_VELOCITY, "target": places.TARGET, "home": places.HOME}
        told: dict[str, Any] = {name: row[place : place + 2].copy() for name, place in names.items()}
        told["go"] = bool(row[places.STEPS] >= row[places.DELAY])
        told["success"] = bool(row[places.HELD] >= row[places.HOLD])
        return told

    def draw(self, axes: Any) -> None:
        """Draw the arm, its trail, home and the target, which is filled from go on."""
        from matplotlib.patches import Circle

        from threefactor.pictures import BLUE, GREY, LIGHT, RED

        row, told = self.world, self.info()
        joint = row[places.LENGTH] * np.array([math.cos(row[0]), math.sin(row[0])])
        axes.plot(*np.array([[0.0, 0.0], joint, told["hand"]]).T, "o-", color=GREY, linewidth=3)
        axes.plot(*self.trail[:, places.HAND : places.HAND + 2].T, color=LIGHT, linewidth=1)
        axes.plot(*told["hand"], "o", color=BLUE, markersize=6)
        axes.plot(*told["home"], "+", color=GREY, markersize=8)
        axes.add_patch(Circle(told["target"], row[places.RADIUS], fill=told["go"], color=RED))
        reach = float(row[places.LENGTH : places.LENGTH + 2].sum())
        bounds = (-0.6 * reach, 1.05 * reach)
        axes.set(xlim=bounds, ylim=bounds, xlabel="x [m]", ylabel="y [m]", aspect="equal")
        axes.set_title(f"{row[places.STEPS] * row[places.INTERVAL]:.2f} s, {'go' if told['go'] else 'wait'}")
