"""A page to watch a loop live, served by another process, so that the loop never waits. Needs the extra `watch`."""

from threefactor.watch.attach import watch_agent, watch_loop
from threefactor.watch.watch import Control, Watch, WatchError

__all__ = ["Control", "Watch", "WatchError", "watch_agent", "watch_loop"]
