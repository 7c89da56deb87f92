"""The actor-critic in plain NumPy, written from the equations; its two networks are those of `tests.reference`."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box

from controllers import ActorCritic
from tests.reference import ReferenceNetwork

Floats = npt.NDArray[np.float64]


def encoded(s: Floats, n_fields: int, joint: bool = False) -> Floats:
    """Each entry s, followed by its fields: bells of width 2 / n over tanh(s / 2), centres evenly within [-1, 1].

    If `joint`, the outer products of the fields of each two entries come behind.
    """
    centres = (2.0 * np.arange(n_fields) + 1.0) / max(n_fields, 1) - 1.0
    off = (np.tanh(s / 2.0)[:, None] - centres) / (2.0 / max(n_fields, 1))
    fields = np.exp(-(off**2) / 2.0)
    products = [np.outer(a, b).ravel() for a, b in itertools.combinations(fields, 2)] if joint else []
    return np.concatenate([np.concatenate([s[:, None], fields], axis=1).ravel(), *products])


def novelty(visits: Floats, fields: Floats) -> float:
    """Mean over entries of 1 / sqrt(1 + N), N their fields' mean visits, weighted by activity; counts the visit."""
    n = (fields * visits).sum(axis=1) / (fields.sum(axis=1) + 1e-9)
    visits += fields
    return float(np.mean(1.0 / np.sqrt(1.0 + n)))


def rarity(visits: Floats, entries: Floats) -> float:
    """Mean over entries above 0 of 1 / (1 + N), N their visits; counts the visit."""
    above = entries > 0.0
    bonus = float(np.mean(1.0 / (1.0 + visits[above]))) if above.any() else 0.0
    visits[above] += 1.0
    return bonus


def bonus_of(visits: Floats, inputs: Floats) -> float:
    """Bonus for the entries, each followed by its receptive fields, if there are any."""
    of_each = inputs.reshape(len(visits), -1)
    return novelty(visits, of_each[:, 1:]) if of_each.shape[1] > 1 else rarity(visits[:, 0], inputs)


class Errors:
    """TD errors so far: each is bound to 20 times the usual size of those before."""

    def __init__(self, least: float) -> None:
        self.least = least
        self.given: list[float] = []
        self.clipped: list[float] = []

    def clip(self, error: float) -> float:
        """Take one more error; what is left of it."""
        bound = 20.0 * self.size()
        self.given.append(error)
        self.clipped.append(max(-bound, min(bound, error)))
        return self.clipped[-1]

    def size(self) -> float:
        """2 / pi E[d^2] / E[|d|] of what was left of them, at least `least`.

        The k-th of the first ones weighs k (k + 1); from the 14,998th on, each 1 / 0.9998 times the one before it.
        """
        k = np.arange(1.0, len(self.clipped) + 1.0)
        growth = np.where(k < 14_998, (k + 2.0) / k, 1.0 / 0.9998)  # of the weight, from the k-th to the next
        weights = np.concatenate([[1.0], np.cumprod(growth[:-1])])[: k.size]
        sizes = np.abs(self.clipped)
        if not sizes.any():
            return self.least
        return max(2.0 / math.pi * float(weights @ sizes**2) / float(weights @ sizes), self.least)


class Twin:
    """The actor-critic from the equations: td = r + bonus + discount V' - V, w <- w - step td tag, tags laid before it.

    V is the critic's readout plus a baseline, which moves by a share of each td. The entropy bonus takes the sign of
    the td that it is multiplied with. `noise` is the exploration noise; copy the standard normal numbers that the agent
    has drawn ahead into `fresh` before it uses them.
    """

    def __init__(self, agent: ActorCritic, noise: Floats) -> None:
        self.s, self.space = agent.settings, agent.actions.space
        self.noise, self.fresh = noise.copy(), agent._noise[0].copy()
        keep = self.s.discount * self.s.trace_decay
        self.actor, self.critic = (
            ReferenceNetwork(msgspec.structs.replace(net.settings, tag_decay=keep), net.weights, net.feedback)
            for net in (agent.actor, agent.critic)
        )
        self.categorical = not isinstance(self.space, Box)
        several = math.prod(self.space.shape or ()) > 1
        self.bias, self.floor = self.s.deviation_bias - (2.0 if several else 0.0), 0.03 if several else 1e-3
        self.ends = np.cumsum(getattr(self.space, "nvec", getattr(self.space, "n", 0)))  # of the choices of each entry
        self.width = self.sample_weight = 1.0  # what exploration is scaled by, what an observation counts
        self.last = np.zeros(0)  # the last observation, if changes are seen, too; else, and before the first, empty
        self.chosen, self.inputs, self.seen = np.zeros(0, int), np.zeros(0), list[Floats]()
        self.returns: list[float] = []
        self.counted: list[float] = []
        self.episodes = 0
        self.errors = Errors(0.01 if several else 0.1)
        self.total = self.baseline = self.value = self.td_error = 0.0
        self.visits = np.zeros((agent.n_observation * (1 + self.s.differences), max(self.s.n_fields, 1)))

    def begin(self, x: Floats) -> Any:
        """Rest, some ticks of the first observation, and the first action."""
        self.total, self.last = 0.0, np.zeros(0)
        x = self._changed(x)
        for net in (self.actor, self.critic):
            net.clear()
            if not self.s.keep_state:
                net.reset()
        self._look(x)
        for net in (self.actor, self.critic):
            show(net, self.inputs, 1 if self.s.keep_state else self.s.warm_ticks)
        return self._take_action()

    def step(self, x: Floats, reward: float, terminated: bool, truncated: bool) -> Any:
        """Learn, and the next action."""
        s, x = self.s, self._changed(x)
        self.critic.tag([-1.0])
        self.td_error = self._scaled(reward, terminated) - self.value
        if terminated:
            self.inputs = self._inputs(x)
        else:
            self._look(x)
            show(self.critic, self.inputs, 1)
            self.td_error += s.discount * (self.baseline + float(self.critic.y[0]))
        self.td_error += s.novelty * bonus_of(self.visits, self.inputs[: len(x) * (1 + s.n_fields)])
        self.actor.tag(self._blame(math.copysign(s.entropy, self.td_error)))
        intentional = s.optimiser == "intentional"
        delta = self.errors.clip(self.td_error) if intentional else self.td_error
        warmth = max(len(self.returns) / s.warm_up_steps, self.episodes / 4.0) if s.warm_up_steps else 1.0
        self.episodes += terminated or truncated
        self.actor.update(min(warmth, 1.0) * (delta / self.errors.size() if intentional else delta))
        self.critic.update(delta)
        if not terminated:
            show(self.actor, self.inputs, 1)
        action = None if terminated or truncated else self._take_action()
        self.baseline += s.baseline_rate * delta
        return action

    def greedy(self, shown: Sequence[Floats]) -> list[Any]:
        """Greedy actions of an episode, on a copy of the actor."""
        actor, actions = copy.deepcopy(self.actor), list[Any]()
        actor.reset()
        self.last = np.zeros(0)
        for t, x in enumerate(shown):
            show(actor, self._inputs(self._changed(x)), self.s.warm_ticks if t == 0 else 1)
            if self.categorical:
                actions.append(np.array([np.argmax(y) for y in self._entries(actor.y)]) + self.space.start)
            else:
                mu, raw = np.split(actor.y, 2)
                actions.append(self._in_box((self.floor + np.exp(raw + self.bias)) * mu))
        return actions

    def _scaled(self, reward: float, terminated: bool) -> float:
        """Reward over the deviation of the discounted returns so far, which is at least .1 / sqrt(n) of their mean."""
        self.total = reward + self.s.discount * self.total
        self.returns.append(self.total)
        if terminated:
            self.total = 0.0
        if len(self.returns) < 2 or not self.s.scale_rewards:
            return reward
        least = 0.01 * np.mean(self.returns) ** 2 / len(self.returns)
        return reward / math.sqrt(max(np.var(self.returns, ddof=1), least) + 1e-8)

    def _changed(self, x: Floats) -> Floats:
        """The observation, and behind it, if so wished, by how much it differs from the last one."""
        if not self.s.differences:
            return x
        change, self.last = (x - self.last if self.last.size else 0.0 * x), x
        return np.concatenate([x, change])

    def _inputs(self, x: Floats) -> Floats:
        seen, weights = np.array(self.seen), np.array(self.counted)
        mean = np.average(seen, 0, weights)
        squares = weights @ (seen - mean) ** 2
        deviation = np.sqrt(squares / (weights.sum() - 1.0) + 1e-8) if len(seen) > 1 else math.sqrt(1.0 + 1e-8)
        standard = np.clip((x - mean) / deviation, -10.0, 10.0)
        return encoded(standard if self.s.normalise_observations else x, self.s.n_fields, bool(self.s.joint_fields))

    def _look(self, x: Floats) -> None:
        self.seen.append(x)
        self.counted.append(self.sample_weight)
        self.inputs = self._inputs(x)

    def _take_action(self) -> Any:
        """An action of what the networks show, and the value that goes with it."""
        y, c = self.actor.y, self.s.noise_correlation
        self.noise = c * self.noise + math.sqrt(1.0 - c * c) * self.fresh
        self.value = self.baseline + float(self.critic.y[0])
        if self.categorical:
            uniform = [math.erfc(-noise / math.sqrt(2.0)) / 2.0 for noise in self.noise]
            self.chosen = np.array(
                [
                    np.searchsorted(np.cumsum(softmax(one / self.width)), u, side="right")
                    for one, u in zip(self._entries(y), uniform, strict=True)
                ]
            )
            return self.chosen + self.space.start
        mean, raw = np.split(y, 2)
        self.drawn = (self.floor + np.exp(raw + self.bias)) * (mean + self.width * self.noise)
        return self._in_box(self.drawn)

    def _blame(self, weight: float) -> Floats:
        """Error of the readout for the last action: minus the gradient of log-probability and weighted bonus."""
        y = self.actor.y
        if self.categorical:
            each = [softmax(one / self.width) for one in self._entries(y)]
            return np.concatenate(
                [
                    p - np.eye(p.size)[chosen] + weight * (p - 1.0 / p.size)
                    for p, chosen in zip(each, self.chosen, strict=True)
                ]
            )
        mean, raw = np.split(y, 2)
        by_raw = np.exp(raw + self.bias)
        sigma = self.floor + by_raw
        mu, spread = sigma * mean, self.width * sigma
        error = np.zeros((2, mu.size))
        for k, (draw, u) in enumerate(zip(self.drawn, self.noise, strict=True)):
            by_mu, by_log_spread = u, u * u - 1.0
            if abs(draw) >= 1.0:  # the probability of the whole tail
                z = (1.0 - math.copysign(1.0, draw) * mu[k]) / spread[k]
                ratio = NormalDist().pdf(z) / (math.erfc(z / math.sqrt(2.0)) / 2.0)
                by_mu, by_log_spread = math.copysign(ratio, draw), z * ratio
            by_log_sigma = by_log_spread + by_mu * mean[k] / self.width + weight * (1.0 - sigma[k]) / (1.0 + sigma[k])
            error[:, k] = by_mu / self.width, by_log_sigma * by_raw[k] / sigma[k]
        return -error.ravel()

    def _entries(self, y: Floats) -> list[Floats]:
        """What of the readout belongs to each entry of the action."""
        return np.split(y, self.ends[:-1]) if self.ends.ndim else [y]

    def _in_box(self, action: Floats) -> Floats:
        low, high = self.space.low, self.space.high  # type: ignore[attr-defined]
        return np.asarray(low + (high - low) * (1.0 + np.clip(action, -1.0, 1.0)) / 2.0)


def softmax(y: Floats) -> Floats:
    """Probabilities exp(y) / sum exp(y)."""
    p: Floats = np.exp(y - y.max())
    return p / p.sum()


def show(net: ReferenceNetwork, x: Floats, ticks: int) -> None:
    """Ticks of the same input; of those before the last, eligibility traces see nothing but the filtered activity."""
    for k in range(ticks):
        if k > 0:
            net.pending = False
            for layer in net.layers:
                for connection in layer.connections.values():
                    connection.eps_v = layer.alpha * connection.eps_v + layer.scale * connection.pre
        net.step(x)
