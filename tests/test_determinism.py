"""The same seed gives the same run, also between a process that compiles and one that loads from the cache."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = """
import hashlib
import gymnasium as gym
from controllers import ActorCritic, Loop

env = gym.make("CartPole-v1")
agent = ActorCritic.for_env(env, seed=0)
list(Loop(agent, env, 0).run(1000))
print(hashlib.sha256(agent.actor.state.tobytes() + agent.critic.state.tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_compiled_and_loaded_kernels_agree_to_the_bit(tmp_path: Path) -> None:
    """Weights and traces after 1,000 steps are the same bytes in the process that compiled and in the next one."""
    environment = os.environ | {"THREEFACTOR_CACHE_DIR": str(tmp_path)}
    runs = [
        subprocess.run([sys.executable, "-c", RUN], env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1] != ""
