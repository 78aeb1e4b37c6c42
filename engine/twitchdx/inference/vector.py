"""What the operations of an elimination do to a vector, forwards and backwards.

Vectors lie in one array from a given place on; entry i has the states of the open nodes in its
binary digits. Indices are unsigned, which spares numba the test for negative ones; the lowest
three bits have loops of their own, whose length the compiler knows.
"""
# Loops over uint64 counters, which numba needs for vector instructions, are typed as int.
# mypy: disable-error-code="assignment"

from __future__ import annotations

import numpy as np

from twitchdx.inference.compiling import compiled
from twitchdx.inference.structure import FloatArray

_0, _1, _2, _4 = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(4)


@compiled(fastmath=True)
def open_root(y: FloatArray, x_at: int, y_at: int, size: int, off: float, on: float) -> None:
    """Put a new bit on top: off * x and on * x."""
    x, to = np.uint64(x_at), np.uint64(y_at)
    n = np.uint64(size)
    for i in range(n):
        y[to + i] = off * y[x + i]
    for i in range(n):
        y[to + n + i] = on * y[x + i]


@compiled(fastmath=True)
def reverse_root(g: FloatArray, g_at: int, size: int, off: float, on: float) -> None:
    """Carry the adjoint back over `open_root`, in place."""
    at, n = np.uint64(g_at), np.uint64(size)
    for i in range(n):
        g[at + i] = off * g[at + i] + on * g[at + n + i]


@compiled(fastmath=True)
def dots_root(x: FloatArray, x_at: int, g: FloatArray, g_at: int, size: int) -> tuple[float, float]:
    """Derivatives by `off` and `on` of `open_root`."""
    at, to, n = np.uint64(x_at), np.uint64(g_at), np.uint64(size)
    by_off = 0.0
    by_on = 0.0
    for i in range(n):
        by_off += g[to + i] * x[at + i]
        by_on += g[to + n + i] * x[at + i]
    return by_off, by_on


@compiled(fastmath=True)
def open_first(
    y: FloatArray, y_at: int, size: int, a_at: int, tilt: float, keep: float, gain: float
) -> None:
    """New bit on top: where a is on, off *= keep and on = gain * off; else off *= tilt, on = 0."""
    at, n = np.uint64(y_at), np.uint64(size)
    half = _1 << np.uint64(a_at)
    for block in range(at, at + n, _2 * half):
        for i in range(block, block + half):
            y[n + i] = 0.0
        for i in range(block + half, block + _2 * half):
            y[n + i] = gain * y[i]
        if tilt != 1.0:
            for i in range(block, block + half):
                y[i] *= tilt
        for i in range(block + half, block + _2 * half):
            y[i] *= keep


@compiled(fastmath=True)
def reverse_first(
    g: FloatArray, g_at: int, size: int, a_at: int, tilt: float, keep: float, gain: float
) -> None:
    """Carry the adjoint back over `open_first`, in place."""
    at, n = np.uint64(g_at), np.uint64(size)
    half = _1 << np.uint64(a_at)
    for block in range(at, at + n, _2 * half):
        if tilt != 1.0:
            for i in range(block, block + half):
                g[i] *= tilt
        for i in range(block + half, block + _2 * half):
            g[i] = keep * g[i] + gain * g[n + i]


@compiled(fastmath=True)
def apply(
    y: FloatArray, y_at: int, size: int, a_at: int, b_at: int, keep: float, gain: float
) -> None:
    """Where a is on: b's on += gain * off; b's off *= keep."""
    begin = np.uint64(y_at)
    a, b = _1 << np.uint64(a_at), _1 << np.uint64(b_at)
    low, high = min(a, b), max(a, b)
    for outer in range(begin + a, begin + a + np.uint64(size), _2 * high):
        if low == _1:
            for i in range(outer, outer + high, _2):
                off = y[i]
                y[i + b] += gain * off
                y[i] = keep * off
        elif low == _2:
            for middle in range(outer, outer + high, np.uint64(4)):
                for j in range(2):
                    i = middle + np.uint64(j)
                    off = y[i]
                    y[i + b] += gain * off
                    y[i] = keep * off
        elif low == _4:
            for middle in range(outer, outer + high, np.uint64(8)):
                for j in range(4):
                    i = middle + np.uint64(j)
                    off = y[i]
                    y[i + b] += gain * off
                    y[i] = keep * off
        else:
            for middle in range(outer, outer + high, _2 * low):
                for i in range(middle, middle + low):
                    off = y[i]
                    y[i + b] += gain * off
                    y[i] = keep * off


@compiled(fastmath=True)
def reverse_apply(
    y: FloatArray, y_at: int, size: int, a_at: int, b_at: int, keep: float, gain: float
) -> None:
    """Carry the adjoint back over `apply`, in place."""
    begin = np.uint64(y_at)
    a, b = _1 << np.uint64(a_at), _1 << np.uint64(b_at)
    low, high = min(a, b), max(a, b)
    for outer in range(begin + a, begin + a + np.uint64(size), _2 * high):
        if low == _1:
            for i in range(outer, outer + high, _2):
                y[i] = keep * y[i] + gain * y[i + b]
        elif low == _2:
            for middle in range(outer, outer + high, np.uint64(4)):
                for j in range(2):
                    i = middle + np.uint64(j)
                    y[i] = keep * y[i] + gain * y[i + b]
        elif low == _4:
            for middle in range(outer, outer + high, np.uint64(8)):
                for j in range(4):
                    i = middle + np.uint64(j)
                    y[i] = keep * y[i] + gain * y[i + b]
        else:
            for middle in range(outer, outer + high, _2 * low):
                for i in range(middle, middle + low):
                    y[i] = keep * y[i] + gain * y[i + b]


@compiled(fastmath=True)
def convert(
    y: FloatArray,
    x_at: int,
    y_at: int,
    size: int,
    bit: int,
    off_off: float,
    off_on: float,
    on_on: float,
) -> None:
    """Off = off_off * off; on = on_on * on + off_on * off."""
    x, to, half_size = np.uint64(x_at), np.uint64(y_at), np.uint64(size // 2)
    half = _1 << np.uint64(bit)
    if half == _1:
        for i in range(_0, half_size):
            entry = _2 * i
            off = y[x + entry]
            on = y[x + half + entry]
            y[to + entry] = off_off * off
            y[to + half + entry] = on_on * on + off_on * off
    elif half == _2:
        for block in range(_0, half_size, half):
            for j in range(2):
                i = block + np.uint64(j)
                entry = i + block
                off = y[x + entry]
                on = y[x + half + entry]
                y[to + entry] = off_off * off
                y[to + half + entry] = on_on * on + off_on * off
    elif half == _4:
        for block in range(_0, half_size, half):
            for j in range(4):
                i = block + np.uint64(j)
                entry = i + block
                off = y[x + entry]
                on = y[x + half + entry]
                y[to + entry] = off_off * off
                y[to + half + entry] = on_on * on + off_on * off
    else:
        for block in range(_0, half_size, half):
            for i in range(block, block + half):
                entry = i + block
                off = y[x + entry]
                on = y[x + half + entry]
                y[to + entry] = off_off * off
                y[to + half + entry] = on_on * on + off_on * off


@compiled(fastmath=True)
def reverse_convert(
    g: FloatArray, g_at: int, size: int, bit: int, off_off: float, off_on: float, on_on: float
) -> None:
    """Carry the adjoint back over `convert`, in place."""
    at, half_size = np.uint64(g_at), np.uint64(size // 2)
    half = _1 << np.uint64(bit)
    if half == _1:
        for i in range(_0, half_size):
            entry = at + _2 * i
            on = g[entry + half]
            g[entry] = off_off * g[entry] + off_on * on
            g[entry + half] = on_on * on
    elif half == _2:
        for block in range(_0, half_size, half):
            for j in range(2):
                i = block + np.uint64(j)
                entry = at + i + block
                on = g[entry + half]
                g[entry] = off_off * g[entry] + off_on * on
                g[entry + half] = on_on * on
    elif half == _4:
        for block in range(_0, half_size, half):
            for j in range(4):
                i = block + np.uint64(j)
                entry = at + i + block
                on = g[entry + half]
                g[entry] = off_off * g[entry] + off_on * on
                g[entry + half] = on_on * on
    else:
        for block in range(_0, half_size, half):
            for i in range(block, block + half):
                entry = at + i + block
                on = g[entry + half]
                g[entry] = off_off * g[entry] + off_on * on
                g[entry + half] = on_on * on


@compiled(fastmath=True)
def dots_convert(
    x: FloatArray, x_at: int, g: FloatArray, g_at: int, size: int, bit: int
) -> tuple[float, float, float]:
    """Derivatives by `off_off`, `off_on` and `on_on` of `convert`."""
    at, to, half_size = np.uint64(x_at), np.uint64(g_at), np.uint64(size // 2)
    half = _1 << np.uint64(bit)
    by_off_off = 0.0
    by_off_on = 0.0
    by_on_on = 0.0
    if half == _1:
        for i in range(_0, half_size):
            entry = _2 * i
            off = x[at + entry]
            on = g[to + half + entry]
            by_off_off += g[to + entry] * off
            by_off_on += on * off
            by_on_on += on * x[at + half + entry]
    elif half == _2:
        for block in range(_0, half_size, half):
            for j in range(2):
                i = block + np.uint64(j)
                entry = i + block
                off = x[at + entry]
                on = g[to + half + entry]
                by_off_off += g[to + entry] * off
                by_off_on += on * off
                by_on_on += on * x[at + half + entry]
    elif half == _4:
        for block in range(_0, half_size, half):
            for j in range(4):
                i = block + np.uint64(j)
                entry = i + block
                off = x[at + entry]
                on = g[to + half + entry]
                by_off_off += g[to + entry] * off
                by_off_on += on * off
                by_on_on += on * x[at + half + entry]
    else:
        for block in range(_0, half_size, half):
            for i in range(block, block + half):
                entry = i + block
                off = x[at + entry]
                on = g[to + half + entry]
                by_off_off += g[to + entry] * off
                by_off_on += on * off
                by_on_on += on * x[at + half + entry]
    return by_off_off, by_off_on, by_on_on


@compiled(fastmath=True)
def sum_out(
    y: FloatArray, x_at: int, y_at: int, size: int, bit: int, off: float, on: float
) -> float:
    """Off * off half + on * on half (x_at and y_at may be the same); return the sum of all."""
    x, to, half_size = np.uint64(x_at), np.uint64(y_at), np.uint64(size // 2)
    half = _1 << np.uint64(bit)
    total = 0.0
    if half == _1:
        for i in range(_0, half_size):
            entry = x + _2 * i
            value = off * y[entry] + on * y[entry + half]
            y[to + i] = value
            total += value
    elif half == _2:
        for block in range(_0, half_size, half):
            for j in range(2):
                i = block + np.uint64(j)
                entry = x + i + block
                value = off * y[entry] + on * y[entry + half]
                y[to + i] = value
                total += value
    elif half == _4:
        for block in range(_0, half_size, half):
            for j in range(4):
                i = block + np.uint64(j)
                entry = x + i + block
                value = off * y[entry] + on * y[entry + half]
                y[to + i] = value
                total += value
    else:
        for block in range(_0, half_size, half):
            for i in range(block, block + half):
                entry = x + i + block
                value = off * y[entry] + on * y[entry + half]
                y[to + i] = value
                total += value
    return total


@compiled(fastmath=True)
def reverse_sum_out(
    g: FloatArray, g_at: int, h_at: int, size: int, bit: int, off: float, on: float
) -> None:
    """Carry the adjoint back over `sum_out`, from g_at to h_at of the same array."""
    at, to, half_size = np.uint64(g_at), np.uint64(h_at), np.uint64(size // 2)
    half = _1 << np.uint64(bit)
    if half == _1:
        for i in range(_0, half_size):
            entry = to + _2 * i
            value = g[at + i]
            g[entry] = off * value
            g[entry + half] = on * value
    elif half == _2:
        for block in range(_0, half_size, half):
            for j in range(2):
                i = block + np.uint64(j)
                entry = to + i + block
                value = g[at + i]
                g[entry] = off * value
                g[entry + half] = on * value
    elif half == _4:
        for block in range(_0, half_size, half):
            for j in range(4):
                i = block + np.uint64(j)
                entry = to + i + block
                value = g[at + i]
                g[entry] = off * value
                g[entry + half] = on * value
    else:
        for block in range(_0, half_size, half):
            for i in range(block, block + half):
                entry = to + i + block
                value = g[at + i]
                g[entry] = off * value
                g[entry + half] = on * value


@compiled(fastmath=True)
def dots_close(
    x: FloatArray, x_at: int, g: FloatArray, g_at: int, size: int, bit: int
) -> tuple[float, float]:
    """Derivatives by `off` and `on` of `sum_out`."""
    at, to, half_size = np.uint64(x_at), np.uint64(g_at), np.uint64(size // 2)
    half = _1 << np.uint64(bit)
    by_off = 0.0
    by_on = 0.0
    if half == _1:
        for i in range(_0, half_size):
            entry = at + _2 * i
            value = g[to + i]
            by_off += value * x[entry]
            by_on += value * x[entry + half]
    elif half == _2:
        for block in range(_0, half_size, half):
            for j in range(2):
                i = block + np.uint64(j)
                entry = at + i + block
                value = g[to + i]
                by_off += value * x[entry]
                by_on += value * x[entry + half]
    elif half == _4:
        for block in range(_0, half_size, half):
            for j in range(4):
                i = block + np.uint64(j)
                entry = at + i + block
                value = g[to + i]
                by_off += value * x[entry]
                by_on += value * x[entry + half]
    else:
        for block in range(_0, half_size, half):
            for i in range(block, block + half):
                entry = at + i + block
                value = g[to + i]
                by_off += value * x[entry]
                by_on += value * x[entry + half]
    return by_off, by_on


@compiled(fastmath=True)
def derive_arrow(
    x: FloatArray,
    x_at: int,
    g: FloatArray,
    g_at: int,
    size: int,
    a_at: int,
    b_step: int,
    on: float,
    off: float,
) -> float:
    """Sum of (on * g_on - off * g_off) * x_off where a is on; b is off in every entry used."""
    half = 1 << a_at
    total = 0.0
    for high in range(0, size, 2 * half):
        for i in range(high + half, high + 2 * half):
            if b_step >= size or i & b_step == 0:
                total += (on * g[g_at + i + b_step] - off * g[g_at + i]) * x[x_at + i]
    return total
