"""What a viewer of the page may say, and how what it asks for reaches the loop."""

from __future__ import annotations

import math
import secrets
import time

import msgspec
import numpy as np

from threefactor.watch.board import ASKS, Board

PER_SECOND = 20  # requests that are passed on, of all viewers together: the loop finds the last 64 of them


class Ready(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="ready"):
    """The last frame is drawn; send one more."""


class Away(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="away"):
    """Nobody looks for now."""


class Compare(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="compare"):
    """Count the change of weights from now."""


class May(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="may"):
    """Whether this token is the right one."""

    token: str


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="ask"):
    """Ask the loop for something."""

    control: str
    value: float
    token: str


Message = Ready | Away | Compare | May | Ask


class Answer(msgspec.Struct, frozen=True, tag="answer", kw_only=True):
    """To `May` and `Ask`, and to what cannot be understood."""

    to: str  #: name of a control, "may" or ""
    ok: bool
    text: str = ""


class Bell:
    """Rings for the loop: somebody looks, or asks for something.

    Parameters
    ----------
    board : Board
    token : str
        Needed for asking.
    """

    def __init__(self, board: Board, token: str) -> None:
        self._board, self._token = board, token.encode()
        self._asked, self._looked_at = int(board.bell[0]) >> 1, False
        self._left, self._filled = float(PER_SECOND), time.monotonic()
        self._ring()

    def look(self, looked_at: bool) -> None:
        """Say whether somebody looks."""
        if looked_at != self._looked_at:
            self._looked_at = looked_at
            self._ring()

    def may(self, token: str) -> bool:
        """Whether a token is the right one."""
        return secrets.compare_digest(token.encode(), self._token)

    def ask(self, wanted: Ask) -> Answer:
        """Pass a request on, or refuse it and say why; then nothing changes."""
        if refused := self._refusal(wanted):
            return Answer(to=wanted.control, ok=False, text=refused)
        number = self._board.plan.controls.index(wanted.control)
        self._board.asked[self._asked % ASKS] = number, wanted.value
        self._asked += 1
        self._ring()
        return Answer(to=wanted.control, ok=True)

    def _refusal(self, wanted: Ask) -> str:
        controls = self._board.plan.controls
        if not self.may(wanted.token):
            return "this token is wrong; open the address that the loop printed when it started."
        if wanted.control not in controls:
            return f"control is {wanted.control!r}; this loop has {', '.join(controls) or 'none'}."
        if wanted.control == "slope" and not 0.0 < wanted.value < math.inf:
            return f"slope is {wanted.value}; it must be positive and finite."
        if wanted.control != "slope" and wanted.value not in (0.0, 1.0):
            return f"{wanted.control} is {wanted.value}; it must be 0 or 1."
        return "" if self._has_room() else f"more than {PER_SECOND} requests in a second; wait a moment."

    def _has_room(self) -> bool:
        now = time.monotonic()
        self._left = min(self._left + (now - self._filled) * PER_SECOND, float(PER_SECOND))
        self._filled = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True

    def _ring(self) -> None:
        """Written last, at once: the loop looks at nothing else."""
        self._board.bell[0] = np.int64(2 * self._asked + self._looked_at)
