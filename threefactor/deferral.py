"""Learning without touching every synapse: a row of traces and of what they change is brought up to date when needed.

Between two spikes of a presynaptic neuron its filtered activity zbar only decays, so that what a tick does to its row,
filtered traces e, eligibility of the adaptation a, and the sum x of what is learnt, is linear in them::

    trace = psi (zbar - beta a) ;  a <- rho a + trace ;  e <- kappa e + gain trace ;  x <- x + s e ;  zbar <- alpha zbar

and so is what any number of ticks from a base tick on do to it. x is the weights themselves under plain descent, with
s = -learning rate x learning signal, or the tags where gradients are summed, with s the signal. For each target j a few
numbers say it all; for LIF neurons (no a)::

    x <- x + C e + D zbar ;  e <- kappa^n e + P zbar                           (zbar: its value at the base tick)

after n ticks, and one tick more carries them on::

    C <- C + kappa^(n + 1) s ;  P <- kappa P + gain alpha^n psi ;  D <- D + s P

ALIF neurons have four more (`carry_adaptation`), and a plain sum of the traces, which homeostasis over a sequence
wants, one or two more. These composites are shared by all rows with the same base. They stand in a ring of `HORIZON`
base ticks, cut into spans of `SPAN`. Carried on each tick are only those with a base in the present span and the first
of each other span: a row with an older base is brought by its own composite, which stopped at the end of its span, to
the base of the next one, and by that one to the present. A tick so costs a dozen vectors or two, whatever the number of
synapses, and two or three more for each row whose neuron spikes; the result is that of the dense rule but for rounding.

Where decays are slow and nobody wants rows as they are at each tick, bases stand only every `stride` ticks, `BASES` of
them, all of whose composites are carried on to the present; a row is then set back to the latest base: `setback`.

Tags that wait beside the weights: `deferred_tags`; rows of a sparse matrix: `sparse`.

A row may wait for less than the ticks of the ring, its `horizon`. Looks at the silent rows are spread over the ticks.
"""

from __future__ import annotations

from threefactor._arithmetic import take_wide_vectors
from threefactor._jit import disjoint, kernel
from threefactor._lanes import LANES, lowest_bit, nonzero_bits
from threefactor.arrays import Array

HORIZON, SPAN = 64, 16  # powers of 2
BASES = 4  # in the ring, where they stand further apart than a tick


C, P, D, SUM = range(4)  # composites of all neurons; SUM only where sums of traces are wanted
A, B, E_A, D_A, SUM_A = range(5)  # further ones of adaptive neurons


@kernel
def horizon(stride: int) -> int:
    """Ticks that the ring covers, with a base every `stride` ticks: `HORIZON` if each is one."""
    return HORIZON if stride == 1 else BASES * stride


@kernel
def live(k: int, slot: int) -> int:
    """Place in the ring of the k-th composite that is carried on, of HORIZON / SPAN + slot % SPAN."""
    spans = HORIZON // SPAN
    return k * SPAN if k < spans else slot - slot % SPAN + 1 + k - spans


@kernel
def start_base(composites: Array, kinds: int, slot: int, stride: int) -> None:
    """Zero the composites of `slot`, if it is to be a base."""
    place = slot if stride == 1 else slot // stride
    for row in range(kinds * place, kinds * place + (kinds if place * stride == slot else 0)):
        for j in range(composites.shape[1]):
            composites[row, j] = 0


@disjoint
def carry_on(
    composites: Array, psi: Array, s: Array, kappa_powers: Array, alpha_powers: Array, gain: float, slot: int,
    stride: int, lif: int,
) -> None:  # fmt: skip
    """Put one tick into the ring: start the composites of `slot`, carry on those that are not at their end.

    Parameters
    ----------
    composites : (kinds x bases in the ring, post), read and written
        Those of each base tick, one kind a row; of adaptive neurons, behind the first `lif`, only C.
    psi, s : (post,), read
        Surrogate derivative, and what a trace is multiplied with.
    kappa_powers, alpha_powers : (horizon + 1,), read
        Decays of the filtered trace and of the filtered presynaptic activity to the power of 0, 1, ...
    """
    take_wide_vectors()
    ring = horizon(stride)
    kinds = composites.shape[0] // HORIZON if stride == 1 else composites.shape[0] // BASES
    start_base(composites, kinds, slot, stride)
    kappa = kappa_powers[1]
    for n in range(HORIZON // SPAN + slot % SPAN if stride == 1 else BASES):
        base = live(n, slot) if stride == 1 else n * stride
        ticks = slot - base + (ring if base > slot else 0)
        first = kinds * (base if stride == 1 else n)
        c, p, d = composites[first + C], composites[first + P], composites[first + D]
        weight, now, amount = kappa_powers[ticks + 1], alpha_powers[ticks], gain * alpha_powers[ticks]
        for j in range(psi.size):
            c[j] += weight * s[j]
        for j in range(lif):
            trace = kappa * p[j] + amount * psi[j]
            p[j] = trace
            d[j] += s[j] * trace
        if kinds > SUM:
            total = composites[first + SUM]
            for j in range(lif):
                total[j] += now * psi[j]


@disjoint
def carry_traces(
    p: Array, a: Array, b: Array, e_a: Array, t_z: Array, t_a: Array, psi: Array, rho: Array, now: float, kappa: float,
    gain: float, beta: float,
) -> None:  # fmt: skip
    """Carry what the traces of adaptive neurons depend on from one base by a tick; all arrays have one entry a neuron.

    `now` is alpha^n. Writes all but `psi` and `rho`: see `carry_adaptation`.
    """
    for k in range(a.size):
        t_z[k] = psi[k] * (now - beta * b[k])
        t_a[k] = -beta * psi[k] * a[k]
        b[k] = rho[k] * b[k] + t_z[k]
        a[k] = rho[k] * a[k] + t_a[k]
        p[k] = kappa * p[k] + gain * t_z[k]
        e_a[k] = kappa * e_a[k] + gain * t_a[k]


@disjoint
def carry_adaptation(
    composites: Array, adaptive: Array, psi: Array, s: Array, kappa_powers: Array, alpha_powers: Array,
    gain: float, rho: Array, beta: float, slot: int, room: Array,
) -> None:  # fmt: skip
    """The same for adaptive neurons, the last of the layer, whose traces depend on a, their value at the base too::

        t_z = psi (alpha^n - beta B) ;  t_a = -beta psi A                     (this tick's trace: t_z zbar + t_a a)
        B <- rho B + t_z ;  A <- rho A + t_a ;  P <- kappa P + gain t_z ;  E_A <- kappa E_A + gain t_a
        D <- D + s P ;  D_A <- D_A + s E_A ;  sums of t_z and t_a

    Parameters
    ----------
    composites : (kinds x HORIZON, post), read and written
        P, D and SUM of the last columns.
    adaptive : (kinds x HORIZON, adaptive), read and written
        A, B, E_A, D_A and, where sums are wanted, SUM_A.
    rho : (post,), read
        Decay of the adaptation.
    room : (at least 2 adaptive,), written
    """
    n_alif, kinds, more = adaptive.shape[1], composites.shape[0] // HORIZON, adaptive.shape[0] // HORIZON
    first = psi.size - n_alif
    t_z, t_a = room[:n_alif], room[n_alif : 2 * n_alif]
    for row in range(more * slot, more * (slot + 1)):
        for k in range(n_alif):
            adaptive[row, k] = 1 if row == more * slot + A else 0
    kappa = kappa_powers[1]
    shape, sent, rho = psi[first:], s[first:], rho[first:]
    for n in range(HORIZON // SPAN + slot % SPAN):
        base = live(n, slot)
        now = alpha_powers[(slot - base) % HORIZON]
        p, d = composites[kinds * base + P, first:], composites[kinds * base + D, first:]
        a, b, e_a = adaptive[more * base + A], adaptive[more * base + B], adaptive[more * base + E_A]
        d_a = adaptive[more * base + D_A]
        carry_traces(p, a, b, e_a, t_z, t_a, shape, rho, now, kappa, gain, beta)
        for k in range(n_alif):
            d[k] += sent[k] * p[k]
            d_a[k] += sent[k] * e_a[k]
        if kinds > SUM:
            total, total_a = composites[kinds * base + SUM, first:], adaptive[more * base + SUM_A]
            for k in range(n_alif):
                total[k] += t_z[k]
                total_a[k] += t_a[k]


@kernel
def list_rows(due: Array, pre: Array, age: Array, slot: int, ring: int, everything: bool) -> None:
    """List the rows to bring up to date: those of active neurons, silent ones whose turn it is, or `everything`.

    Writes to `due` (pre + 1,) the rows and, as the last entry, how many they are. Asking each row would be a
    sixth of the tick of a small network.
    """
    count, rows = 0, age.size
    if everything:
        for i in range(rows):
            due[i] = i
        count = rows
    else:
        for start in range(0, rows, LANES):
            bits = nonzero_bits(pre, start)
            if start + LANES > rows:
                bits &= (1 << (rows - start)) - 1
            while bits != 0:
                due[count] = start + lowest_bit(bits)
                count += 1
                bits &= bits - 1
        look = ring // 4
        for i in range(slot % look, rows, look):
            if pre[i] == 0 and age[i] >= ring - look:  # or it would wait too long by the next one
                due[count] = i
                count += 1
    due[rows] = count


@kernel
def ticks_to_next(base: int, waiting: int, slot: int) -> int:
    """Ticks that the composite of this base covers: all that a row waits for, or those to the end of its span."""
    present = (slot - 1) % SPAN + 1  # ticks in the present span
    return SPAN - base % SPAN if base % SPAN != 0 and waiting > present else waiting


@disjoint
def bring_up(
    x: Array, ebar: Array, eps_a: Array, sums: Array, age: Array, base_zbar: Array, due: Array,
    composites: Array, adaptive: Array, kappa_powers: Array, alpha_powers: Array, slot: int, stride: int,
    recurrent: bool,
) -> None:  # fmt: skip
    """Bring the rows of `due` up to date.

    Parameters
    ----------
    x, ebar : (pre, post), read and written
        Weights or tags, and filtered traces; of a recurrent matrix the diagonal of `x` stays 0.
    eps_a : (pre, adaptive), sums : (pre, post), read and written
        Eligibility of the adaptation and sums of traces; without rows where there are none.
    age : (pre,), read and written
        How many ticks each row waits for.
    base_zbar : (pre,), read
        Filtered activity in the first of them.
    slot : int
        Place in the ring of the tick to come.
    """
    take_wide_vectors()
    ring = horizon(stride)
    kinds = composites.shape[0] // HORIZON if stride == 1 else composites.shape[0] // BASES
    more = adaptive.shape[0] // HORIZON
    n = x.shape[1]
    lif = n - (eps_a.shape[1] if eps_a.shape[0] > 0 else 0)
    for listed in range(int(due[age.size])):
        i = int(due[listed])
        waiting, zbar = int(age[i]), base_zbar[i]
        base = slot - waiting + (ring if waiting > slot else 0)
        while waiting > 0:
            ticks = ticks_to_next(base, waiting, slot)
            decay, of_adaptive = kappa_powers[ticks], more * base
            of_all = kinds * (base if stride == 1 else base // stride)  # a division takes as long as a short row
            for j in range(lif):
                trace = ebar[i, j]
                x[i, j] += composites[of_all + C, j] * trace + zbar * composites[of_all + D, j]
                ebar[i, j] = decay * trace + zbar * composites[of_all + P, j]
            if kinds > SUM:
                for j in range(n):
                    sums[i, j] += zbar * composites[of_all + SUM, j]
            if lif < n:
                for k in range(n - lif):
                    x[i, lif + k] += (
                        composites[of_all + C, lif + k] * ebar[i, lif + k]
                        + zbar * composites[of_all + D, lif + k] + eps_a[i, k] * adaptive[of_adaptive + D_A, k]
                    )  # fmt: skip
                for k in range(n - lif):
                    ebar[i, lif + k] = (
                        decay * ebar[i, lif + k] + zbar * composites[of_all + P, lif + k]
                        + eps_a[i, k] * adaptive[of_adaptive + E_A, k]
                    )  # fmt: skip
                if kinds > SUM:
                    for k in range(n - lif):
                        sums[i, lif + k] += eps_a[i, k] * adaptive[of_adaptive + SUM_A, k]
                for k in range(n - lif):
                    eps_a[i, k] = adaptive[of_adaptive + A, k] * eps_a[i, k] + zbar * adaptive[of_adaptive + B, k]
            zbar = alpha_powers[ticks] * zbar
            waiting -= ticks
            base += ticks - (ring if base + ticks >= ring else 0)
        if recurrent:
            x[i, i] = 0
        age[i] = 0


@disjoint
def gather_listed(current: Array, w: Array, pre: Array, due: Array) -> None:
    """current_j += sum_i w_ij pre_i over the rows of `due`."""
    take_wide_vectors()
    count = int(due[w.shape[0]])
    for k in range(0, count - 3, 4):  # four rows at once: the sums are written a quarter as often
        i, g, h, m = int(due[k]), int(due[k + 1]), int(due[k + 2]), int(due[k + 3])
        p, q, r, s = pre[i], pre[g], pre[h], pre[m]
        for j in range(current.size):
            current[j] = current[j] + p * w[i, j] + q * w[g, j] + r * w[h, j] + s * w[m, j]
    for k in range(count - count % 4, count):
        i = int(due[k])
        for j in range(current.size):
            current[j] += pre[i] * w[i, j]


@kernel
def restart(base_zbar: Array, zbar: Array, due: Array) -> None:
    """Let the rows of `due` wait from here on."""
    for k in range(int(due[zbar.size])):
        i = int(due[k])
        base_zbar[i] = zbar[i]
