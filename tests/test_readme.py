"""The README: its code runs, and its test command is the one that continuous integration calls."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_python_blocks_run(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each Python block of the README runs as it stands, with fewer steps."""
    monkeypatch.chdir(tmp_path)  # where a block may save what it learnt
    code = compile(re.sub(r"(range|run)\([\d_]+\)", r"\1(200)", block), "README.md", "exec")
    exec(code, {"__name__": "readme"})


def test_there_are_blocks() -> None:
    """The loop and the supervised face are both shown."""
    assert len(BLOCKS) >= 2


def test_ci_calls_the_test_command() -> None:
    """The test command of the README stands in .ci/run to the letter."""
    (command,) = re.findall(r"^python3 -m venv .*pytest$", README, re.M)
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()


def test_pictures_exist() -> None:
    """Every picture and table that the README links to is there."""
    for path in re.findall(r"\]\((results/[^)]+|docs/[^)]+)\)", README):
        assert (ROOT / path).is_file(), path
