"""The supervisor: when it takes over, what it rolls back, when it hands back; with a fake agent and with real ones."""

from __future__ import annotations

import math
import pickle
import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from controllers import LQR, PID, ActorCritic, Loop, StreamAC, Supervisor
from controllers.supervisor import restore, snapshot
from envs import CartPole
from tests.checks import assert_same

BAND: dict[str, Any] = {"inside": 1.0, "outside": 2.0, "time": 1.0}


def shown_cost(observation: Any, reward: float) -> float:
    """The observation is the cost."""
    return float(observation[0])


class Learning:
    """Its weight counts what it learnt, and is its action; draws a random number each time; notes who called."""

    def __init__(self) -> None:
        self.weight, self._rng, self.draws = 0.0, np.random.default_rng(0), list[float]()
        self.calls: list[str] = []

    def begin(self, observation: Any) -> Any:
        self.calls.append("begin")
        return np.array([self.weight])

    def step(self, observation: Any, reward: float, terminated: bool, truncated: bool) -> Any:
        self.calls.append("end" if terminated or truncated else "step")
        self.weight += 1.0
        self.draws.append(self._rng.random())
        return np.array([self.weight])

    def act(self, observation: Any) -> Any:
        return np.array([self.weight])

    def reset(self) -> None:
        self.calls.append("reset")


class Steady:
    """Counts the steps that it was in charge; below zero, to be told apart."""

    def __init__(self) -> None:
        self.count = 0.0

    def begin(self, observation: Any) -> Any:
        self.count = -1.0
        return np.array([self.count])

    def step(self, observation: Any, reward: float, terminated: bool, truncated: bool) -> Any:
        self.count -= 1.0
        return np.array([self.count])

    def act(self, observation: Any) -> Any:
        self.count -= 1.0
        return np.array([self.count])

    def reset(self) -> None:
        self.count = -100.0


def supervised(**settings: Any) -> Supervisor:
    """A fake agent under supervision, that has begun."""
    supervisor = Supervisor(Learning(), Steady(), shown_cost, **{**BAND, "every": 10, "patience": 3, **settings})
    supervisor.begin([0.0])
    return supervisor


def play(supervisor: Supervisor, costs: Any) -> list[float]:
    """Actions after steps of these costs."""
    return [float(supervisor.step([cost], 0.0, False, False)[0]) for cost in costs]


def test_inside_the_band_the_agent_acts_and_learns() -> None:
    """It gets every transition, the ends included, and its actions go out."""
    supervisor = supervised()
    assert play(supervisor, [0.5, 1.5, 1.99, 0.0]) == [1.0, 2.0, 3.0, 4.0]
    supervisor.step([0.0], 0.0, True, False)
    assert supervisor.begin([0.0])[0] == 5.0
    assert supervisor.agent.calls == ["begin", *["step"] * 4, "end", "begin"]
    assert supervisor.in_control and supervisor.steps == 5 and not supervisor.counts


def test_outside_the_fallback_acts_until_all_is_well_for_long_enough() -> None:
    """Hysteresis: between the bounds nothing changes, whoever acts; calm steps must follow each other."""
    supervisor = supervised()
    assert play(supervisor, [0.0, 1.9]) == [1.0, 2.0]
    assert play(supervisor, [2.1, 1.9, 0.9, 0.9, 1.1, 0.9, 0.9]) == [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0, -7.0]
    assert not supervisor.in_control and supervisor.steps_of_fallback == 6
    assert play(supervisor, [0.9, 0.9]) == [0.0, 1.0]
    assert supervisor.agent.calls == ["begin", "step"]  # what was before is rolled back
    assert [(e.step, e.kind, e.cost) for e in supervisor.events] == [(3, "take-over", 2.1), (10, "hand-back", 0.9)]
    assert supervisor.counts == {"take-over": 1, "hand-back": 1} and supervisor.steps_of_fallback == 7


@pytest.mark.parametrize(
    ("costs", "weight"),
    [
        ([0.0] * 25 + [3.0], 10.0),  # what was kept after 20 steps has not been shown to be good yet
        ([0.0] * 15 + [3.0], 0.0),
        ([0.0] * 20 + [1.5, 3.0], 10.0),
        ([0.0] * 15 + [1.5] + [0.0] * 25 + [3.0], 26.0),  # doubt: counted anew; kept after 26 and after 36
        ([0.0] * 9 + [1.5] * 50 + [3.0], 0.0),
    ],
)
def test_what_was_learnt_is_rolled_back_to_the_last_good_snapshot(costs: list[float], weight: float) -> None:
    """The last one after which the cost stayed inside for as long as until the next."""
    supervisor = supervised()
    play(supervisor, costs)
    assert not supervisor.in_control and supervisor.agent.weight == weight
    play(supervisor, [3.0] * 5)
    assert supervisor.agent.weight == weight


def test_it_falls_back_on_the_same_snapshot_again() -> None:
    """What is learnt after a roll-back does not spoil it; new snapshots follow the old."""
    supervisor = supervised()
    play(supervisor, [0.0] * 25 + [3.0])
    for _ in range(3):
        play(supervisor, [0.0] * 3 + [0.0] * 5)
        assert supervisor.agent.weight == 15.0
        play(supervisor, [3.0])
        assert supervisor.agent.weight == 10.0
    play(supervisor, [0.0] * 3 + [0.0] * 20 + [3.0])
    assert supervisor.agent.weight == 20.0


def test_random_numbers_go_on() -> None:
    """An agent that was rolled back does not draw the same again."""
    supervisor, draws = supervised(), np.random.default_rng(0)
    play(supervisor, [0.0] * 4)
    drawn = list(supervisor.agent.draws)
    play(supervisor, [3.0] + [0.0] * 3 + [0.0] * 4)
    assert drawn + supervisor.agent.draws == [draws.random() for _ in range(8)]


def test_ends_of_episodes_do_not_stop_the_fallback() -> None:
    """It begins the next episode; the agent gets back amid one, never at an end."""
    supervisor = supervised()
    play(supervisor, [3.0, 0.0, 0.0])
    supervisor.step([0.0], 0.0, False, True)
    assert not supervisor.in_control
    assert supervisor.begin([0.0])[0] == -1.0 and not supervisor.in_control
    assert play(supervisor, [0.0, 0.0]) == [0.0, 1.0]


def test_the_cost_is_low_passed() -> None:
    """Over the given number of steps, across episodes."""
    supervisor, cost = supervised(time=5.0, outside=50.0, inside=40.0), 0.0
    for step in range(20):
        supervisor.step([float(step)], 0.0, step == 7, False)
        cost += (step - cost) / 5.0
        assert supervisor.cost == pytest.approx(cost)
        if step == 7:
            supervisor.begin([99.0])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_cost_that_is_no_number_counts_as_outside(bad: float) -> None:
    """And what comes after it counts again."""
    supervisor = supervised(time=10.0)
    assert play(supervisor, [0.0, bad]) == [1.0, -1.0]
    play(supervisor, [0.5] * 3)
    assert supervisor.in_control and supervisor.cost == pytest.approx(0.5)


def test_an_action_that_is_no_number_never_goes_out() -> None:
    """At the start, in flight, and when control is handed back."""
    supervisor = supervised()
    supervisor.agent.weight = np.nan
    assert supervisor.begin([0.0])[0] == -1.0 and supervisor.agent.weight == 0.0
    play(supervisor, [0.0] * 4)
    supervisor.agent.weight = np.inf
    assert play(supervisor, [0.0]) == [-1.0] and supervisor.counts["take-over"] == 2
    supervisor.agent.weight = np.nan
    assert play(supervisor, [0.0] * 3) == [-2.0, -3.0, -1.0] and supervisor.counts["take-over"] == 3


def test_greedy_actions_disturb_no_flight() -> None:
    """They are those of whoever is in control, and the fallback keeps what it has counted."""
    supervisor = supervised()
    play(supervisor, [0.0] * 2)
    supervisor.reset()
    assert supervisor.act([0.0])[0] == 2.0
    play(supervisor, [3.0, 3.0])
    assert [supervisor.act([0.0])[0] for _ in range(2)] == [-101.0, -102.0]
    assert play(supervisor, [3.0]) == [-3.0]


def test_it_keeps_no_more_than_the_last_events() -> None:
    """Memory stays flat; the counts go on."""
    supervisor = supervised(patience=1)
    play(supervisor, [3.0, 0.0] * 1500)
    assert len(supervisor.events) == 1000 and supervisor.events[-1].step == 3000
    assert supervisor.counts == {"take-over": 1500, "hand-back": 1500}


LQR_COST = LQR.for_cart_pole(CartPole()).riccati


def cost_to_come(observation: Any, reward: float) -> float:
    """What it would cost an LQR to get from here to rest: 2 to 4 while it balances the pole; at 50 it may fail."""
    return float(observation @ LQR_COST @ observation)


@pytest.mark.parametrize("make", [ActorCritic, StreamAC])
def test_agents_are_put_back_and_learn_on(make: Any) -> None:
    """Greedy actions are those of the snapshot, not those of what was learnt since; then it learns."""
    env = gym.make("CartPole-v1")
    agent = make.for_env(env, seed=0)
    list(Loop(agent, env, seed=0).run(500))
    rng = np.random.default_rng(0)
    shown = [rng.normal(0.0, 0.1, 4) for _ in range(200)]

    def greedy() -> list[int]:
        agent.reset()
        return [agent.act(x) for x in shown]

    def random() -> Any:
        return agent._draws.state if make is ActorCritic else agent._rng.bit_generator.state

    before, saved, state = greedy(), snapshot(agent), random()
    list(Loop(agent, env, seed=1).run(3000))
    assert greedy() != before and random() != state
    drawn = random()
    for _ in range(2):  # the snapshot itself is not used up
        restore(agent, saved)
        assert greedy() == before and random() == drawn
        list(Loop(agent, env, seed=2).run(300))
        drawn = random()


def steady_learner() -> Supervisor:
    """A learner that never leaves its band, under supervision; every third one is so after 25,000 steps."""
    env = CartPole()
    for seed in range(12):
        agent = ActorCritic.for_env(env, seed=seed)
        list(Loop(agent, env, seed=seed).run(25_000))
        supervisor = Supervisor(
            agent, LQR.for_cart_pole(env), cost_to_come, inside=15.0, outside=40.0, time=1.0, every=200, patience=50
        )  # fmt: skip
        list(Loop(supervisor, env, seed=1).run(3_000))
        if supervisor.counts["snapshot"] > 3 and not supervisor.counts["take-over"]:
            return supervisor
    pytest.fail("none of twelve learners keeps to its band")


def test_a_learner_that_is_spoilt_in_flight_is_saved() -> None:
    """Its readout is turned round: the pole goes on standing, and soon by its own doing; alone it falls at once."""
    env, supervisor = CartPole(), steady_learner()
    agent = supervisor.agent
    alone = pickle.loads(pickle.dumps(agent))
    for each in (agent, alone):
        each.actor.weights["w_out"][...] *= -1.0
    saved, lost = ([e.episode_return for e in Loop(x, env, seed=2).run(3_000)] for x in (supervisor, alone))
    assert saved == [500.0] * 6 and max(lost[:3]) < 100.0
    assert supervisor.counts["take-over"] == supervisor.counts["hand-back"] == 1
    assert supervisor.steps_of_fallback < 100 and supervisor.in_control


def test_a_beginner_is_kept_from_falling() -> None:
    """A fresh actor-critic under an LQR's eye: no fall in 10,000 steps, with hundreds of turns of its own."""
    env = CartPole()
    supervisor = Supervisor(
        ActorCritic.for_env(env, seed=3), LQR.for_cart_pole(env), cost_to_come, inside=5.0, outside=40.0, time=1.0,
        patience=20,
    )  # fmt: skip
    episodes = list(Loop(supervisor, env, seed=0).run(10_000))
    assert [episode.episode_return for episode in episodes] == [500.0] * 20
    assert 0.03 < 1.0 - supervisor.steps_of_fallback / supervisor.steps < 0.3
    assert supervisor.counts["take-over"] > 50


def test_a_pickle_goes_on_identically() -> None:
    """Amid a flight of the fallback, events and snapshots included."""
    env = CartPole()
    pid = PID(40.0, 5.0, 8.0, 0.02, [2], rate=[3], low=-10.0, high=10.0, choices=[10.0, -10.0])
    first = Supervisor(
        ActorCritic.for_env(env), pid, cost_to_come, inside=5.0, outside=40.0, time=2.0, every=50, patience=10
    )
    list(Loop(first, CartPole(), seed=0).run(700))
    twin = pickle.loads(pickle.dumps(first))
    ends = [[e.end for e in Loop(each, CartPole(), seed=5).run(700)] for each in (first, twin)]
    assert ends[0] == ends[1] and first.events == twin.events and first.cost == twin.cost
    assert_same(first.agent.__getstate__(), twin.agent.__getstate__())
    assert len(first.events) > 2 and math.isfinite(first.cost)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inside": 2.0}, "inside is 2.0 and outside 2.0; they must be finite, inside below outside."),
        ({"outside": np.inf}, "inside is 1.0 and outside inf"),
        ({"time": 0.5}, "time is 0.5; it must be finite and 1 or more."),
        ({"every": 0}, "every is 0; it must be finite and 1 or more."),
        ({"patience": 0}, "patience is 0; it must be finite and 1 or more."),
    ],
)
def test_bad_arguments_are_refused(settings: dict[str, Any], message: str) -> None:
    """The error says what came and what is wanted."""
    with pytest.raises(ValueError, match=re.escape(message)):
        supervised(**settings)
