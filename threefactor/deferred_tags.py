"""Tags and weights that wait together: `deferral` where a TD error drives the learning.

Tags q decay by d a tick and the weights follow them, at whatever time an update comes::

    q <- d q + s e  (tick) ;  w <- w + r q  (update, r = -learning rate x third factor)

A row's tags and weights are then linear in e, zbar and q at the base tick: q <- d^n q + U e + V zbar and w <- w + A q +
B e + G zbar, with numbers d^n and A for each base, and vectors that a tick and an update carry on by::

    P <- kappa P + gain alpha^n psi ;  U <- d U + kappa^(n + 1) s ;  V <- d V + s P
    A <- A + r d^n ;  B <- B + r U ;  G <- G + r V

For adaptive neurons both depend on a at the base, too, q <- ... + X a and w <- ... + Y a, with the traces of
`deferral.carry_traces` and::

    V <- d V + s P ;  X <- d X + s E_A  (tick) ;  Y <- Y + r X  (update)

A base is opened by the forward step of its tick, for updates may come between that and the tick's tag.
"""

from __future__ import annotations

from threefactor._jit import disjoint, kernel
from threefactor.arrays import Array
from threefactor.deferral import HORIZON, SPAN, carry_traces, live, ticks_to_next

P, U, V, B, G, KINDS = range(6)  # composites
A, KEPT = 0, 1  # numbers, a row of HORIZON each
A_A, B_A, E_A, X, Y, KINDS_A = range(6)  # composites of adaptive neurons: A and B of the traces, E_A, X, Y


@kernel
def open_base(composites: Array, adaptive: Array, numbers: Array, slot: int) -> None:
    """Start the composites of a base tick under a TD error."""
    for row in range(KINDS * slot, KINDS * (slot + 1)):
        for j in range(composites.shape[1]):
            composites[row, j] = 0
    if adaptive.shape[0] > 0:
        for row in range(KINDS_A * slot, KINDS_A * (slot + 1)):
            for k in range(adaptive.shape[1]):
                adaptive[row, k] = 1 if row == KINDS_A * slot + A_A else 0
    numbers[A, slot], numbers[KEPT, slot] = 0, 1


@disjoint
def carry_tags_on(
    composites: Array, adaptive: Array, numbers: Array, psi: Array, s: Array, kappa_powers: Array, alpha_powers: Array,
    gain: float, decay: float, rho: Array, beta: float, slot: int, room: Array,
) -> None:  # fmt: skip
    """Put one tick under a TD error into the ring, whose base `slot` is open; as `carry_on` and `carry_adaptation`.

    Parameters
    ----------
    composites : (KINDS x HORIZON, post), read and written
    adaptive : (KINDS_A x HORIZON, adaptive) or without rows, read and written
    numbers : (2, HORIZON), read and written
        A and what a tag has kept, of each base.
    decay : float
        What the tags keep in this tick.
    rho : (post,), read
        Decay of the adaptation.
    room : (at least 2 adaptive,), written
    """
    n_alif = adaptive.shape[1] if adaptive.shape[0] > 0 else 0
    kappa, lif = kappa_powers[1], psi.size - n_alif
    t_z, t_a = room[:n_alif], room[n_alif : 2 * n_alif]
    shape, sent, rho = psi[lif:], s[lif:], rho[lif:]
    for n in range(HORIZON // SPAN + slot % SPAN):
        base = live(n, slot)
        ticks, first = (slot - base) % HORIZON, KINDS * base
        p, u, v = composites[first + P], composites[first + U], composites[first + V]
        weight, amount = kappa_powers[ticks + 1], gain * alpha_powers[ticks]
        for j in range(lif):
            trace = kappa * p[j] + amount * psi[j]
            p[j] = trace
            u[j] = decay * u[j] + weight * s[j]
            v[j] = decay * v[j] + s[j] * trace
        if n_alif > 0:
            p, u, v = p[lif:], u[lif:], v[lif:]
            first = KINDS_A * base
            e_a, x = adaptive[first + E_A], adaptive[first + X]
            carry_traces(
                p, adaptive[first + A_A], adaptive[first + B_A], e_a, t_z, t_a, shape, rho, alpha_powers[ticks],
                kappa, gain, beta,
            )  # fmt: skip
            for k in range(n_alif):
                u[k] = decay * u[k] + weight * sent[k]
                v[k] = decay * v[k] + sent[k] * p[k]
                x[k] = decay * x[k] + sent[k] * e_a[k]
        numbers[KEPT, base] *= decay


@disjoint
def carry_update_on(composites: Array, adaptive: Array, numbers: Array, r: float, slot: int, is_open: bool) -> None:
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
        if adaptive.shape[0] > 0:
            x, y = adaptive[KINDS_A * base + X], adaptive[KINDS_A * base + Y]
            for k in range(x.size):
                y[k] += r * x[k]
        numbers[A, base] += r * numbers[KEPT, base]
    if is_open and not opens_span:  # the first of a span is among those above
        numbers[A, slot] += r


@kernel
def owes_update(base: int, waiting: int, slot: int, is_open: bool) -> bool:
    """Whether what a row owes of the updates since the last tick stands with base `slot` alone, which is open."""
    return is_open and (waiting == 0 or (slot % SPAN == 0 and base % SPAN != 0 and waiting < SPAN))


@disjoint
def bring_tags_up(
    w: Array, tags: Array, ebar: Array, eps_a: Array, age: Array, base_zbar: Array, due: Array, composites: Array,
    adaptive: Array, numbers: Array, kappa_powers: Array, alpha_powers: Array, slot: int, recurrent: bool,
    is_open: bool,
) -> None:  # fmt: skip
    """As `bring_up`, under a TD error. Where base `slot` is open, rows that wait from it on may owe an update alone."""
    n = w.shape[1]
    lif = n - (eps_a.shape[1] if eps_a.shape[0] > 0 else 0)
    for listed in range(int(due[age.size])):
        i = int(due[listed])
        waiting, zbar = int(age[i]), base_zbar[i]
        base = (slot - waiting) % HORIZON
        owes = owes_update(base, waiting, slot, is_open)
        while waiting > 0:
            ticks = ticks_to_next(base, waiting, slot)
            first, decay, keep, a = KINDS * base, kappa_powers[ticks], numbers[KEPT, base], numbers[A, base]
            for j in range(n):
                trace, tag = ebar[i, j], tags[i, j]
                w[i, j] += a * tag + composites[first + B, j] * trace + zbar * composites[first + G, j]
                tags[i, j] = keep * tag + composites[first + U, j] * trace + zbar * composites[first + V, j]
                ebar[i, j] = decay * trace + zbar * composites[first + P, j]
            if lif < n:
                of_adaptive = KINDS_A * base
                for k in range(n - lif):
                    a_0 = eps_a[i, k]
                    w[i, lif + k] += a_0 * adaptive[of_adaptive + Y, k]
                    tags[i, lif + k] += a_0 * adaptive[of_adaptive + X, k]
                    ebar[i, lif + k] += a_0 * adaptive[of_adaptive + E_A, k]
                    eps_a[i, k] = adaptive[of_adaptive + A_A, k] * a_0 + zbar * adaptive[of_adaptive + B_A, k]
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
