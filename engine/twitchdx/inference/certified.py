"""The fast exact pass: P(evidence), every posterior and derivative, with a bound on the error.

The buckets of a row (see `buckets`) are worked through forwards, and their adjoint backwards.
As the two terms of a noisy-OR have opposite signs, rare evidence is a small difference of large
numbers, as in Quickscore [1]_. So the numbers are double-double balls (see `balls`): 32 digits,
and a radius that says how many of them are left. A row whose radius is too large is left to the
positive sweep (see `kernel`), which cancels nothing and is slower.

References
----------
.. [1] Heckerman D. A tractable inference algorithm for diagnosing multiple diseases. UAI 1989.
"""

# numpy integers are no int to a checker.
# mypy: disable-error-code="assignment,arg-type"

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import numpy as np

from twitchdx.inference.balls import (
    BENCH,
    PADDING,
    ROUNDING,
    Double,
    add,
    add_tables,
    fill,
    largest,
    multiply,
    multiply_tables,
    new_tables,
    product_to,
    room_of,
    scale,
    sum_product,
    sum_to,
    times,
    two_product,
    two_sum,
)
from twitchdx.inference.buckets import (
    AXIS,
    DEEPEST,
    FIRST_ARROW,
    FIRST_CHILD,
    HEAD,
    JOINT_AXES,
    LAST_ARROW,
    N_ARROWS,
    N_AXES,
    N_BUCKETS,
    NEXT_CHILD,
    NODE,
    OWN_AXES,
    OWN_START,
    PARENT,
    PARTNER,
    PRODUCT_KEPT,
    QUIET,
    ROLE,
    ROOT,
    START,
    STATE,
    STATE_OF_TWO,
    TABLE_KEPT,
    TABLES,
    TAIL,
    WIDEST,
)
from twitchdx.inference.compiling import compiled
from twitchdx.inference.kernel import OFF, ON, P, Q
from twitchdx.inference.structure import FloatArray, IntArray

#: high part, low part, radius
Ball: TypeAlias = tuple[float, float, float]
Four: TypeAlias = tuple[Double, Double, Double, Double]

ZERO: Double = (0.0, 0.0)
UNIT: Double = (1.0, 0.0)

TOLERANCE = 1e-12
"""Largest error of a posterior, and relative error of P(evidence), that passes for exact."""


FEW_ENTRIES = 2**15
"""Entries that nearly every row fits into: a megabyte."""

FAR_BELOW, FAR_ABOVE = 2.0**-40, 2.0**40
"""A table whose first entry lies between is not rescaled: its others are far from any limit."""


class Scratch(NamedTuple):
    """Working memory of the pass."""

    x: FloatArray  # (3, entries): tables, then their adjoints in their place; one bucket at work
    offsets: IntArray  # see `multiply_tables`
    path: IntArray  # (V,) the tables of a bucket
    loss: FloatArray  # (arrows, 2) 1 - strength: high part, low part
    factor: FloatArray  # (V,) power of two by which a table was multiplied
    value: FloatArray  # (V, 3) the ball that a component comes to, at its last bucket
    by_arrow: FloatArray  # (arrows,) derivative by the strength


def new_scratch(n_variables: int, n_arrows: int) -> Scratch:
    """Allocate working memory; tables are attached by `with_tables`."""
    return Scratch(
        x=np.zeros((3, 1)),
        offsets=np.zeros(1, dtype=np.int64),
        path=np.zeros(n_variables, dtype=np.int64),
        loss=np.zeros((n_arrows, 2)),
        factor=np.ones(n_variables),
        value=np.zeros((n_variables, 3)),
        by_arrow=np.zeros(n_arrows),
    )


@compiled()
def with_tables(scratch: Scratch, counts: IntArray, most_entries: int) -> Scratch:
    """Return the same working memory with room for buckets of these `counts`.

    Beyond `FEW_ENTRIES` it gets room for the most at once: growing by and by would need the old
    room beside the new one, and what is not used takes no memory.
    """
    entries = counts[TABLES] + counts[DEEPEST]
    widest = (np.int64(1) << counts[WIDEST]) // 4 + 2
    has_room = scratch.x.shape[1] >= entries + BENCH + PADDING
    if has_room and scratch.offsets.shape[0] >= widest:
        return scratch
    x = scratch.x
    if not has_room:
        room = FEW_ENTRIES if entries <= FEW_ENTRIES else max(entries, most_entries)
        x = new_tables(room + BENCH + PADDING)
    offsets = np.empty(max(widest, scratch.offsets.shape[0]), dtype=np.int64)
    return Scratch(
        x,
        offsets,
        scratch.path,
        scratch.loss,
        scratch.factor,
        scratch.value,
        scratch.by_arrow,
    )


@compiled(inline=True)
def _negative(a: Double) -> Double:
    return -a[0], -a[1]


@compiled(inline=True)
def _coefficients(role: int, apart: bool, numbers: FloatArray) -> Four:
    """What a node's own numbers put into the four corners of (variable, partner).

    The variable off or "some arrow may fire" first. Without a partner the corners are alike in
    pairs; they are one if the node's two variables meet in another bucket.
    """
    q, p, off, on = numbers[Q], numbers[P], numbers[OFF], numbers[ON]
    if role == STATE:
        off_off, on_on = two_product(q, off), two_product(p, on)
        return off_off, off_off, on_on, on_on
    if apart and role > QUIET:
        return UNIT, UNIT, UNIT, UNIT
    quiet_off = two_product(q, off)
    quiet_on = _negative(two_product(q, on))
    either = multiply(two_sum(q, p), (on, 0.0))
    if role == QUIET:
        quiet = add(quiet_off, quiet_on)
        return either, either, quiet, quiet
    if role == STATE_OF_TWO:
        return ZERO, quiet_off, either, quiet_on
    return ZERO, either, quiet_off, quiet_on


@compiled()
def _losses(
    x: FloatArray,
    at: int,
    n_axes: int,
    first: int,
    last: int,
    skip: int,
    arrows: IntArray,
    loss: FloatArray,
) -> None:
    """Fill in the product of 1 - strength over the arrows whose other end is on (or quiet)."""
    x[0, at], x[1, at], x[2, at] = 1.0, 0.0, 0.0
    arrow = first
    for axis in range(n_axes):
        size = 1 << axis
        has_arrow = arrow < last and arrows[arrow, AXIS] == axis
        if has_arrow and arrow != skip:
            times(x, at, at + size, size, (loss[arrow, 0], loss[arrow, 1]))
        else:
            scale(x, at, at + size, size, 1.0)
        arrow += has_arrow


@compiled()
def _times_pattern(
    x: FloatArray, at: int, to: int, size: int, partner: int, first: Double, second: Double
) -> None:
    """Multiply by one number where the partner is 0, by another where it is 1."""
    half = size if partner < 0 else 1 << partner
    for block in range(0, size, 2 * half):
        times(x, at + block, to + block, half, first)
        if partner >= 0:
            times(x, at + block + half, to + block + half, half, second)


@compiled()
def _fill_pattern(
    x: FloatArray, at: int, size: int, partner: int, first: Double, second: Double
) -> None:
    half = size if partner < 0 else 1 << partner
    for block in range(at, at + size, 2 * half):
        fill(x, block, half, first)
        if partner >= 0:
            fill(x, block + half, half, second)


@compiled()
def _own_factors(
    k: int,
    at: int,
    info: IntArray,
    arrows: IntArray,
    loss: FloatArray,
    numbers: FloatArray,
    x: FloatArray,
) -> None:
    """Lay out the product of a bucket's own factors, and behind it that of its losses."""
    partner = info[k, PARTNER]
    first, last = info[k, FIRST_ARROW], info[k, LAST_ARROW]
    n_axes = info[k, OWN_AXES] - 1
    size = 1 << n_axes
    c00, c01, c10, c11 = _coefficients(info[k, ROLE], partner < 0, numbers[info[k, NODE]])
    _fill_pattern(x, at, size, partner, c00, c01)
    if first == last:
        _fill_pattern(x, at + size, size, partner, c10, c11)
    else:
        _losses(x, at + 2 * size, n_axes, first, last, -1, arrows, loss)
        _times_pattern(x, at + 2 * size, at + size, size, partner, c10, c11)


@compiled()
def forwards(
    counts: IntArray,
    info: IntArray,
    arrows: IntArray,
    numbers: FloatArray,
    weight: FloatArray,
    x: FloatArray,
    offsets: IntArray,
    loss: FloatArray,
    factor: FloatArray,
    value: FloatArray,
) -> int:
    """Sum out all buckets.

    Returns
    -------
    twos : int
        Sum of the powers of two by which the components' values have been multiplied.
    """
    for arrow in range(counts[N_ARROWS]):
        strength = weight[arrows[arrow, TAIL], arrows[arrow, HEAD]]
        loss[arrow, 0], loss[arrow, 1] = two_sum(1.0, -strength)
    bench = counts[TABLES]
    workbench = bench + BENCH
    twos = 0
    for k in range(counts[N_BUCKETS]):
        n_axes = info[k, N_AXES]
        size = 1 << n_axes
        at = info[k, OWN_START]
        _own_factors(k, at, info, arrows, loss, numbers, x)
        follows = workbench
        start = info[k, START]
        child = info[k, FIRST_CHILD]
        if child < 0:
            add_tables(x, at, at + size, start, size)
        while child >= 0:
            joint, kept = info[child, JOINT_AXES], info[child, PRODUCT_KEPT]
            taken, table = info[child, START], info[child, TABLE_KEPT]
            following = info[child, NEXT_CHILD]
            if following < 0:
                sum_product(x, at, kept, taken, table, start, joint, n_axes, offsets, bench)
            else:
                multiply_tables(x, at, kept, taken, table, follows, joint, offsets)
            at = follows
            follows += room_of(1 << joint)
            child = following
        most = abs(x[0, start])
        if info[k, PARENT] < 0 or not FAR_BELOW < most < FAR_ABOVE:
            most = largest(x, start, size)
        power = 1.0
        if most > 0.0 and (info[k, PARENT] < 0 or not FAR_BELOW < most < FAR_ABOVE):
            shift = min(1000, max(-1000, -math.frexp(most)[1]))
            power = 2.0**shift
            twos += shift
            scale(x, start, start, size, power)
        factor[k] = power
        if info[k, PARENT] < 0:
            for row in range(3):
                value[k, row] = x[row, start]
    return twos


@compiled(inline=True)
def _weigh(a: float, b: Ball) -> Ball:
    high, low = multiply((a, 0.0), (b[0], b[1]))
    return high, low, abs(a) * b[2] + ROUNDING * abs(high)


@compiled(inline=True)
def _plus(a: Ball, b: Ball) -> Ball:
    high, low = add((a[0], a[1]), (b[0], b[1]))
    return high, low, a[2] + b[2] + ROUNDING * (abs(a[0]) + abs(b[0]))


@compiled(inline=True)
def _ball(x: FloatArray, at: int) -> Ball:
    return x[0, at], x[1, at], x[2, at]


@compiled(inline=True)
def _minus(a: Ball) -> Ball:
    return -a[0], -a[1], a[2]


@compiled(inline=True)
def _by_numbers(
    numbers: FloatArray, quiet_off: Ball, either: Ball, quiet_on: Ball, rest: float, by: FloatArray
) -> float:
    """Set the derivatives by q, p, off and on of a node with arrows to it; return the radius."""
    q, p, off, on = numbers[Q], numbers[P], numbers[OFF], numbers[ON]
    by_off = _weigh(q, quiet_off)
    by_on = _plus(_weigh(q, _plus(either, _minus(quiet_on))), _weigh(p, either))
    by_q = _plus(_weigh(off, quiet_off), _weigh(on, _plus(either, _minus(quiet_on))))
    by[Q] = rest * by_q[0]
    by[P] = rest * on * either[0]
    by[OFF] = rest * by_off[0]
    by[ON] = max(0.0, rest * by_on[0])
    return rest * (on * by_on[2] + off * by_off[2])


@compiled()
def backwards(
    counts: IntArray,
    info: IntArray,
    arrows: IntArray,
    numbers: FloatArray,
    x: FloatArray,
    offsets: IntArray,
    path: IntArray,
    loss: FloatArray,
    factor: FloatArray,
    rest_of: FloatArray,
    derive: bool,
    by_arrow: FloatArray,
    by: FloatArray,
) -> float:
    """Carry the adjoint back over all buckets and set the derivatives by the nodes' numbers.

    Parameters
    ----------
    rest_of : ndarray, shape (V,)
        By what the value of a component is multiplied in P(evidence), at its last bucket.
    derive : bool
        Also by the strengths of the arrows.
    by : ndarray, shape (N, 4)

    Returns
    -------
    radius : float
        Largest error of P(evidence, a node on) or P(evidence, it off).
    """
    bench = counts[TABLES]
    workbench = bench + BENCH
    worst = 0.0
    for k in range(counts[N_BUCKETS] - 1, -1, -1):
        n_axes = info[k, N_AXES]
        own_axes = info[k, OWN_AXES]
        own = info[k, OWN_START]
        losses = own + (1 << own_axes)
        g = info[k, START]
        if info[k, PARENT] < 0:
            fill(x, g, 1, (factor[k], 0.0))
            x[2, g] = 0.0
        g_kept = (1 << n_axes) - 1  # it does not depend on the variable that was summed out
        count = 0
        child = info[k, FIRST_CHILD]
        while child >= 0:
            path[count] = child
            count += 1
            child = info[child, NEXT_CHILD]
        # products before each table joined, as on the way forwards
        at = own
        follows = workbench
        for i in range(count - 1):
            child = path[i]
            joint, kept = info[child, JOINT_AXES], info[child, PRODUCT_KEPT]
            start, table = info[child, START], info[child, TABLE_KEPT]
            multiply_tables(x, at, kept, start, table, follows, joint, offsets)
            at = follows
            follows += room_of(1 << joint)
        room = follows
        most = own_axes if count < 2 else info[path[count - 2], JOINT_AXES]
        spare = room + room_of(1 << most)
        for i in range(count - 1, -1, -1):
            child = path[i]
            joint, kept = info[child, JOINT_AXES], info[child, PRODUCT_KEPT]
            start, table = info[child, START], info[child, TABLE_KEPT]
            size = 1 << info[child, N_AXES]
            # the adjoints of the product before and of the table; each needs the other's factor
            if i == count - 1:
                product_to(x, g, g_kept, start, table, room, joint, kept, offsets, bench, spare)
                product_to(x, g, g_kept, at, kept, start, joint, table, offsets, bench, spare)
                if factor[child] != 1.0:
                    scale(x, start, start, size, factor[child])
            else:
                beyond = spare + room_of(size)
                product_to(x, g, g_kept, at, kept, spare, joint, table, offsets, bench, beyond)
                product_to(x, g, g_kept, start, table, room, joint, kept, offsets, bench, beyond)
                scale(x, spare, start, size, factor[child])
            g = room
            before = own_axes if i == 0 else info[path[i - 1], JOINT_AXES]
            g_kept = (1 << before) - 1
            if i > 1:
                at -= room_of(1 << info[path[i - 2], JOINT_AXES])
            else:
                at = own
        if count == 0:
            scale(x, g, room, 1 << n_axes, 1.0)
            scale(x, g, room + (1 << n_axes), 1 << n_axes, 1.0)
        role, partner = info[k, ROLE], info[k, PARTNER]
        rest = rest_of[info[k, ROOT]]
        if derive:
            _by_arrows(
                k, room, losses, spare, info, arrows, loss, numbers, rest, x, offsets, by_arrow
            )
        if partner < 0 and role > QUIET:
            continue  # the node's numbers are in the bucket of its other variable
        half = own_axes - 1
        kept = 0 if partner < 0 else 1 << partner
        upper = room + (1 << half)
        if info[k, FIRST_ARROW] < info[k, LAST_ARROW]:
            every = (1 << half) - 1
            multiply_tables(x, upper, every, losses, every, upper, half, offsets)
        sum_to(x, room, half, kept)
        sum_to(x, upper, half, kept)
        node = info[k, NODE]
        if role == STATE:
            d_off, d_on = _ball(x, room), _ball(x, upper)
            q, p = numbers[node, Q], numbers[node, P]
            off, on = numbers[node, OFF], numbers[node, ON]
            by[node, Q] = rest * off * d_off[0]
            by[node, P] = rest * on * d_on[0]
            by[node, OFF] = rest * q * d_off[0]
            by[node, ON] = max(0.0, rest * p * d_on[0])
            radius = rest * (q * off * d_off[2] + p * on * d_on[2])
        elif role == QUIET:
            quiet, either = _ball(x, upper), _ball(x, room)
            radius = _by_numbers(numbers[node], quiet, either, quiet, rest, by[node])
        else:
            off_quiet, either, on_quiet = _ball(x, room + 1), _ball(x, upper), _ball(x, upper + 1)
            if role != STATE_OF_TWO:
                off_quiet, either = either, off_quiet
            radius = _by_numbers(numbers[node], off_quiet, either, on_quiet, rest, by[node])
        worst = max(worst, radius)
    return worst


@compiled()
def _by_arrows(
    k: int,
    g: int,
    losses: int,
    spare: int,
    info: IntArray,
    arrows: IntArray,
    loss: FloatArray,
    numbers: FloatArray,
    rest: float,
    x: FloatArray,
    offsets: IntArray,
    by_arrow: FloatArray,
) -> None:
    """Set the derivatives by the strengths of a bucket's arrows, from its adjoint at `g`."""
    role, partner = info[k, ROLE], info[k, PARTNER]
    first, last = info[k, FIRST_ARROW], info[k, LAST_ARROW]
    n_axes = info[k, OWN_AXES] - 1
    size = 1 << n_axes
    every = size - 1
    _, _, c10, c11 = _coefficients(role, partner < 0, numbers[info[k, NODE]])
    for arrow in range(first, last):
        certain = loss[arrow, 0] == 0.0
        at = losses
        if certain:
            at = spare
            _losses(x, spare, n_axes, first, last, arrow, arrows, loss)
        multiply_tables(x, g + size, every, at, every, spare, n_axes, offsets)
        _times_pattern(x, spare, spare, size, partner, c10, c11)
        sum_to(x, spare, n_axes, 1 << arrows[arrow, AXIS])
        total = -rest * x[0, spare + 1]
        by_arrow[arrow] = total if certain else total / loss[arrow, 0]
