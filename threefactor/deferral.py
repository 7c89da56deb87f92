"""Plain descent without touching every synapse: a row of weights and traces is brought up to date when it is needed.

Between two spikes of a presynaptic neuron its filtered activity zbar only decays, so that what a tick does to its row,
weights w and filtered traces e towards all targets j, is linear in (w, e, zbar)::

    e <- kappa e + gain zbar psi ;  w <- w - step e ;  zbar <- alpha zbar            (step: learning rate x signal)

and so is what any number of ticks from a base tick s0 on do to it. For each target three numbers say it all::

    w <- w - kappa C e - D zbar ;  e <- kappa^a e + P zbar                           (zbar: its value at the base tick)

after a ticks, and one tick more carries them on::

    C <- C + kappa^a step ;  P <- kappa P + gain alpha^a psi ;  D <- D + step P

These composites are shared by all rows with the same base. They stand in a ring of `HORIZON` base ticks, cut into
spans of `SPAN`. Carried on each tick are only those with a base in the present span and the first of each other span:
a row with an older base is brought by its own composite, which stopped at the end of its span, to the base of the next
one, and by that one to the present. A tick so costs a dozen vectors, whatever the number of synapses, and two or three
more for each row whose neuron spikes; the weights are those of the dense rule but for rounding.

A row may wait for `HORIZON` ticks at most. The looks at the silent rows are spread over the ticks.
"""

from __future__ import annotations

from threefactor._jit import kernel
from threefactor.arrays import Array

HORIZON, SPAN = 64, 16  # powers of 2
LOOK = HORIZON // 2  # ticks between two looks at a silent row


@kernel
def carry_on(
    composites: Array, psi: Array, step: Array, kappa_powers: Array, alpha_powers: Array, gain: float, slot: int
) -> None:
    """Put one tick into the ring: start the composite of `slot`, carry on those that are not at their end.

    Parameters
    ----------
    composites : (3 HORIZON, post), read and written
        C, P and D of each base tick.
    psi, step : (post,), read
        Surrogate derivative, and learning rate x learning signal.
    kappa_powers, alpha_powers : (HORIZON + 1,), read
        Decays of the filtered trace and of the filtered presynaptic activity to the power of 0, 1, ...
    """
    spans, first = HORIZON // SPAN, slot - slot % SPAN
    for j in range(psi.size):
        for row in range(3 * slot, 3 * slot + 3):
            composites[row, j] = 0
    kappa = kappa_powers[1]
    for k in range(spans + slot % SPAN):
        base = k * SPAN if k < spans else first + 1 + k - spans
        ticks = (slot - base) % HORIZON
        c, p, d = composites[3 * base], composites[3 * base + 1], composites[3 * base + 2]
        weight, amount = kappa_powers[ticks], gain * alpha_powers[ticks]
        for j in range(psi.size):
            c[j] += weight * step[j]
        for j in range(psi.size):
            trace = kappa * p[j] + amount * psi[j]
            p[j] = trace
            d[j] += step[j] * trace


@kernel
def list_rows(due: Array, pre: Array, age: Array, slot: int, everything: bool) -> None:
    """List the rows to bring up to date: those of active neurons, silent ones whose turn it is, or `everything`.

    Writes to `due` (pre + 1,) the rows and, as the last entry, how many they are. A list without a branch to predict
    for each row costs half of what asking each row costs.
    """
    count, rows = 0, age.size
    for i in range(rows):
        due[count] = i
        count += 1 if everything or pre[i] != 0 else 0
    if not everything:
        for i in range(slot % LOOK, rows, LOOK):
            if pre[i] == 0 and age[i] > LOOK:
                due[count] = i
                count += 1
    due[rows] = count


@kernel
def bring_up(
    w: Array, ebar: Array, age: Array, base_zbar: Array, due: Array, composites: Array,
    kappa_powers: Array, alpha_powers: Array, slot: int, recurrent: bool,
) -> None:  # fmt: skip
    """Bring the rows of `due` up to date.

    Parameters
    ----------
    w, ebar : (pre, post), read and written
        Weights and filtered traces; of a recurrent matrix the diagonal of `w` stays 0.
    age : (pre,), read and written
        How many ticks each row waits for.
    base_zbar : (pre,), read
        Filtered activity in the first of them.
    slot : int
        Place in the ring of the tick to come.
    """
    present = (slot - 1) % SPAN + 1  # ticks in the present span
    for k in range(int(due[age.size])):
        i = int(due[k])
        waiting, zbar = int(age[i]), base_zbar[i]
        base = (slot - waiting) % HORIZON
        while waiting > 0:
            ticks = waiting  # that the composite covers: all, or those up to the end of its span
            if base % SPAN != 0 and waiting > present:
                ticks = SPAN - base % SPAN
            kappa, decay = kappa_powers[1], kappa_powers[ticks]
            for j in range(w.shape[1]):
                trace = ebar[i, j]
                w[i, j] -= kappa * composites[3 * base, j] * trace + zbar * composites[3 * base + 2, j]
                ebar[i, j] = decay * trace + zbar * composites[3 * base + 1, j]
            zbar = alpha_powers[ticks] * zbar
            waiting -= ticks
            base = (base + ticks) % HORIZON
        if recurrent:
            w[i, i] = 0
        age[i] = 0


@kernel
def gather_listed(current: Array, w: Array, pre: Array, due: Array) -> None:
    """current_j += sum_i w_ij pre_i over the rows of `due`."""
    for k in range(int(due[w.shape[0]])):
        i = int(due[k])
        amount = pre[i]
        for j in range(current.size):
            current[j] += amount * w[i, j]


@kernel
def restart(base_zbar: Array, zbar: Array, due: Array) -> None:
    """Let the rows of `due` wait from here on."""
    for k in range(int(due[zbar.size])):
        i = int(due[k])
        base_zbar[i] = zbar[i]
