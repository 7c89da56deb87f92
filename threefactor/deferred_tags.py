"""Tags and weights that wait together: `deferral` where a TD error drives the learning.

Tags q decay by d a tick and the weights follow them, at whatever time an update comes::

    q <- d q + s e  (tick) ;  w <- w + r q  (update, r = -learning rate x third factor)

A row's tags and weights are then linear in e, zbar and q at the base tick: q <- d^n q + U e + V zbar and w <- w + A q +
B e + G zbar, with numbers d^n and A for each base, and vectors that a tick and an update carry on by::

    P <- kappa P + gain alpha^n psi ;  U <- d U + kappa^(n + 1) s ;  V <- d V + s P
    A <- A + r d^n ;  B <- B + r U ;  G <- G + r V

A base is opened by the forward step of its tick, for updates may come between that and the tick's tag.
"""

from __future__ import annotations

from threefactor._jit import disjoint, kernel
from threefactor.arrays import Array
from threefactor.deferral import HORIZON, SPAN, live, ticks_to_next

P, U, V, B, G, KINDS = range(6)  # composites
A, KEPT = 0, 1  # numbers, a row of HORIZON each


@kernel
def open_base(composites: Array, numbers: Array, slot: int) -> None:
    """Start the composites of a base tick under a TD error."""
    for row in range(KINDS * slot, KINDS * (slot + 1)):
        for j in range(composites.shape[1]):
            composites[row, j] = 0
    numbers[A, slot], numbers[KEPT, slot] = 0, 1


@disjoint
def carry_tags_on(
    composites: Array, numbers: Array, psi: Array, s: Array, kappa_powers: Array, alpha_powers: Array, gain: float,
    decay: float, slot: int,
) -> None:  # fmt: skip
    """Put one tick under a TD error into the ring, whose base `slot` is open; as `carry_on`.

    Parameters
    ----------
    composites : (KINDS x HORIZON, post), read and written
    numbers : (2, HORIZON), read and written
        A and what a tag has kept, of each base.
    decay : float
        What the tags keep in this tick.
    """
    kappa = kappa_powers[1]
    for n in range(HORIZON // SPAN + slot % SPAN):
        base = live(n, slot)
        ticks, first = (slot - base) % HORIZON, KINDS * base
        p, u, v = composites[first + P], composites[first + U], composites[first + V]
        weight, amount = kappa_powers[ticks + 1], gain * alpha_powers[ticks]
        for j in range(psi.size):
            trace = kappa * p[j] + amount * psi[j]
            p[j] = trace
            u[j] = decay * u[j] + weight * s[j]
            v[j] = decay * v[j] + s[j] * trace
        numbers[KEPT, base] *= decay


@disjoint
def carry_update_on(composites: Array, numbers: Array, r: float, slot: int, is_open: bool) -> None:
    """Put an update w <- w + r q into the ring; `slot` is the base of the tick to come, which may be open already."""
    newest, opens_span = (slot - 1) % HORIZON, is_open and slot % SPAN == 0
    # rows from within the span that has just ended will come by the base that is open, and find the update there
    for n in range(HORIZON // SPAN + (0 if opens_span else newest % SPAN)):
        base = live(n, newest)
        first = KINDS * base
        u, v = composites[first + U], composites[first + V]
        b, g = composites[first + B], composites[first + G]
        for j in range(u.size):
            b[j] += r * u[j]
            g[j] += r * v[j]
        numbers[A, base] += r * numbers[KEPT, base]
    if is_open and not opens_span:  # the first of a span is among those above
        numbers[A, slot] += r


@disjoint
def bring_tags_up(
    w: Array, tags: Array, ebar: Array, age: Array, base_zbar: Array, due: Array, composites: Array, numbers: Array,
    kappa_powers: Array, alpha_powers: Array, slot: int, recurrent: bool, is_open: bool,
) -> None:  # fmt: skip
    """As `bring_up`, under a TD error. Where base `slot` is open, rows that wait from it on may owe an update alone."""
    n = w.shape[1]
    for listed in range(int(due[age.size])):
        i = int(due[listed])
        waiting, zbar = int(age[i]), base_zbar[i]
        base = (slot - waiting) % HORIZON
        # whether what was learnt since the last tick stands with the base that is open alone
        owes = is_open and (waiting == 0 or (slot % SPAN == 0 and base % SPAN != 0 and waiting < SPAN))
        while waiting > 0:
            ticks = ticks_to_next(base, waiting, slot)
            first, decay, keep, a = KINDS * base, kappa_powers[ticks], numbers[KEPT, base], numbers[A, base]
            for j in range(n):
                trace, tag = ebar[i, j], tags[i, j]
                w[i, j] += a * tag + composites[first + B, j] * trace + zbar * composites[first + G, j]
                tags[i, j] = keep * tag + composites[first + U, j] * trace + zbar * composites[first + V, j]
                ebar[i, j] = decay * trace + zbar * composites[first + P, j]
            zbar = alpha_powers[ticks] * zbar
            waiting -= ticks
            base = (base + ticks) % HORIZON
        if owes:
            for j in range(n):
                w[i, j] += numbers[A, slot] * tags[i, j]
        if recurrent:
            w[i, i] = 0
            tags[i, i] = 0
        age[i] = 0
