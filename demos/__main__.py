"""`python -m demos` names the demos; `python -m demos NAME [OPTIONS]` runs one."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

NAMES = sorted(
    path.stem
    for path in Path(__file__).parent.glob("*.py")
    if path.stem != "__main__" and 'if __name__ == "__main__"' in path.read_text()
)


def main() -> None:
    """Run the demo that is named, or say which there are."""
    name = sys.argv[1] if len(sys.argv) > 1 else None
    if name not in NAMES:
        wrong = "" if name in (None, "--help") else f"there is no demo {name!r}. "
        print(f"{wrong}python -m demos NAME, NAME being one of {', '.join(NAMES)}")
        raise SystemExit(2 if wrong else 0)
    sys.argv = [f"demos.{name}", *sys.argv[2:]]
    runpy.run_module(f"demos.{name}", run_name="__main__")


if __name__ == "__main__":
    main()
