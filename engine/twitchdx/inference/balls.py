"""Tables of double-double balls: a number to 32 digits, with a bound on its error.

A table is a run of entries in one array of three rows: high part, low part and radius.
The exact value of an entry lies within its radius of high + low. Sums and products are those of
double-double arithmetic [1]_; each adds its own rounding to the radii of what goes in, as in ball
arithmetic [2]_. An axis of a table is a bit of the index of an entry, the lowest bit first.

References
----------
.. [1] Joldes M, Muller J-M, Popescu V. Tight and rigorous error bounds for basic building blocks
   of double-word arithmetic. ACM Trans Math Softw 2017;44(2):1-27. doi:10.1145/3121432
.. [2] Johansson F. Arb: efficient arbitrary-precision midpoint-radius interval arithmetic. 2016.
"""
# To a checker, numba intrinsics still have the arguments of their generators.
# mypy: disable-error-code="call-arg,no-untyped-call,var-annotated"

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from twitchdx.inference.compiling import compiled
from twitchdx.inference.structure import FloatArray, IntArray

#: value to about 32 digits: high part, low part
Double: TypeAlias = tuple[float, float]

ROUNDING = 2.0**-103
"""Relative error of one sum or product: 8 u^2 with u = 2^-53, more than any bound of [1]_."""


@intrinsic
def _fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a * b + c, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return types.float64(types.float64, types.float64, types.float64), generate


@compiled(inline=True)
def two_sum(a: float, b: float) -> Double:
    """Return a + b exactly."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


@compiled(inline=True)
def two_product(a: float, b: float) -> Double:
    """Return a * b exactly."""
    p = a * b
    return p, _fma(a, b, -p)


@compiled(inline=True)
def add(a: Double, b: Double) -> Double:
    """Return a + b, with an error relative to abs(a) + abs(b)."""
    s, t = two_sum(a[0], b[0])
    low = t + (a[1] + b[1])
    high = s + low
    return high, low - (high - s)


@compiled(inline=True)
def multiply(a: Double, b: Double) -> Double:
    """Return a * b."""
    p = a[0] * b[0]
    low = _fma(a[0], b[0], -p) + _fma(a[1], b[0], a[0] * b[1])
    high = p + low
    return high, low - (high - p)


LANE_AXES = 3
LANES = 1 << LANE_AXES
"""Entries that are multiplied or added at once, in the vector registers of the processor."""

ALL_LANES = LANES - 1
"""Mask of the axes of a table that lie within the lanes."""

LINE = 64
"""Bytes that the processor's cache moves at once: as many as the lanes have.

Lanes that straddle two lines take twice as long. So tables start at a multiple of the lanes in an
array that starts at a line (see `room_of` and `new_tables`).
"""

BLOCK = 32
"""Runs of lanes that are multiplied before they are summed, so that they stay in the cache."""

BENCH = 2 * BLOCK * LANES
"""Entries of the room that `sum_product` works in."""

PADDING = LANES
"""Entries that may be read, and are not used, behind the last table of an array."""

Vectors: TypeAlias = tuple[Any, Any, Any]


def _compress(lane: int, kept: int) -> int:
    """Bits of a lane at the places of the mask `kept`, moved together."""
    found, place = 0, 0
    for axis in range(LANE_AXES):
        if kept >> axis & 1:
            found |= (lane >> axis & 1) << place
            place += 1
    return found


class _Lanes:
    """Write vector instructions on the rows of a C-contiguous array of shape (3, entries)."""

    def __init__(self, context: Any, builder: Any, array_type: Any, array: Any) -> None:
        view = context.make_array(array_type)(context, builder, array)
        self.do = builder
        self.data = view.data
        self.row = cgutils.unpack_tuple(builder, view.shape)[1]
        self.type = ir.VectorType(ir.DoubleType(), LANES)

    def _place(self, row: int, at: Any) -> Any:
        index = self.do.add(self.do.mul(self.row, ir.Constant(self.row.type, row)), at)
        return self.do.bitcast(self.do.gep(self.data, [index]), self.type.as_pointer())

    def load(self, at: Any) -> Vectors:
        values = [self.do.load(self._place(row, at)) for row in range(3)]
        for value in values:
            value.align = 8
        return values[0], values[1], values[2]

    def store(self, at: Any, values: Vectors) -> None:
        for row, value in enumerate(values):
            self.do.store(value, self._place(row, at)).align = 8

    def choose(self, first: Vectors, second: Vectors, lanes: Sequence[int]) -> Vectors:
        """Take lanes of two balls; those of the second are numbered from `LANES` on."""
        mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), list(lanes))
        a, b, c = (self.do.shuffle_vector(x, y, mask) for x, y in zip(first, second, strict=True))
        return a, b, c

    def load_spread(self, at: Any, low: Any) -> Vectors:
        """Load a table's entries for the next lanes, of whose axes the mask `low` has some."""
        found = self.load(at)
        here = self.do.block
        end = self.do.append_basic_block("spread")
        branch = self.do.switch(low, end)
        results = []
        for case in range(ALL_LANES):
            lanes = [_compress(lane, case) for lane in range(LANES)]
            block = self.do.append_basic_block(f"spread.{case}")
            branch.add_case(ir.Constant(low.type, case), block)
            with self.do.goto_block(block):
                results.append((self.choose(found, found, lanes), self.do.block))
                self.do.branch(end)
        self.do.position_at_end(end)
        merged = []
        for row in range(3):
            value = self.do.phi(self.type)
            value.add_incoming(found[row], here)
            for vectors, block in results:
                value.add_incoming(vectors[row], block)
            merged.append(value)
        return merged[0], merged[1], merged[2]

    def constant(self, value: float) -> Any:
        return ir.Constant(self.type, [value] * LANES)

    def same(self, value: Any) -> Any:
        vector = ir.Constant(self.type, ir.Undefined)
        for lane in range(LANES):
            vector = self.do.insert_element(vector, value, ir.Constant(ir.IntType(32), lane))
        return vector

    def size(self, value: Any) -> Any:
        return self._intrinsic("fabs", value)

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        return self._intrinsic("fma", a, b, c)

    def _intrinsic(self, name: str, *args: Any) -> Any:
        function = cgutils.get_or_insert_function(
            self.do.module,
            ir.FunctionType(self.type, [self.type] * len(args)),
            f"llvm.{name}.v{LANES}f64",
        )
        return self.do.call(function, args)

    def product(self, a: Vectors, b: Vectors) -> Vectors:
        do = self.do
        p = do.fmul(a[0], b[0])
        cross = self.fma(a[1], b[0], do.fmul(a[0], b[1]))
        low = do.fadd(self.fma(a[0], b[0], do.fneg(p)), cross)
        high = do.fadd(p, low)
        radius = self.fma(self.size(high), self.constant(ROUNDING), do.fmul(self.size(a[0]), b[2]))
        radius = self.fma(do.fadd(self.size(b[0]), b[2]), a[2], radius)
        return high, do.fsub(low, do.fsub(high, p)), radius

    def sum(self, a: Vectors, b: Vectors) -> Vectors:
        do = self.do
        s = do.fadd(a[0], b[0])
        t = do.fsub(s, a[0])
        exact = do.fadd(do.fsub(a[0], do.fsub(s, t)), do.fsub(b[0], t))
        low = do.fadd(exact, do.fadd(a[1], b[1]))
        high = do.fadd(s, low)
        sizes = do.fadd(self.size(a[0]), self.size(b[0]))
        radius = self.fma(sizes, self.constant(ROUNDING), do.fadd(a[2], b[2]))
        return high, do.fsub(low, do.fsub(high, s)), radius


def _on_lanes(write: Callable[..., None]) -> Callable[..., Any]:
    """Generate what is written on the lanes of an array, given further arguments."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        write(_Lanes(context, builder, signature.args[0], args[0]), *args[1:])
        return context.get_dummy_value()

    return generate


def _write_product(v: _Lanes, a: Any, a_low: Any, b: Any, b_low: Any, to: Any) -> None:
    v.store(to, v.product(v.load_spread(a, a_low), v.load_spread(b, b_low)))


def _write_sum(v: _Lanes, a: Any, b: Any, to: Any) -> None:
    v.store(to, v.sum(v.load(a), v.load(b)))


def _write_sum_axis(v: _Lanes, a: Any, axis: int, to: Any) -> None:
    first, second = v.load(a), v.load(v.do.add(a, ir.Constant(a.type, LANES)))
    off = [lane for lane in range(2 * LANES) if not lane >> axis & 1]
    on = [lane for lane in range(2 * LANES) if lane >> axis & 1]
    v.store(to, v.sum(v.choose(first, second, off), v.choose(first, second, on)))


def _write_fold_axis(v: _Lanes, a: Any, axis: int, to: Any) -> None:
    run = v.load(a)
    off = [lane for lane in range(LANES) if not lane >> axis & 1]
    on = [lane for lane in range(LANES) if lane >> axis & 1]
    v.store(to, v.sum(v.choose(run, run, 2 * off), v.choose(run, run, 2 * on)))


def _write_multiple(v: _Lanes, a: Any, to: Any, f: Any, g: Any) -> None:
    zero = v.constant(0.0)
    v.store(to, v.product(v.load(a), (v.same(f), v.same(g), zero)))


_AT, _LOW, _REAL = types.int64, types.int64, types.float64


@intrinsic
def _multiply_lanes(typing: Any, x: Any, a: Any, a_low: Any, b: Any, b_low: Any, to: Any) -> Any:
    return types.void(x, _AT, _LOW, _AT, _LOW, _AT), _on_lanes(_write_product)


@intrinsic
def _add_lanes(typing: Any, x: Any, a: Any, b: Any, to: Any) -> Any:
    return types.void(x, _AT, _AT, _AT), _on_lanes(_write_sum)


def _summing(write_axis: Callable[..., None], axis: int) -> Any:
    """Return what sums runs of lanes over an axis within them."""

    @intrinsic
    def sum_lanes(typing: Any, x: Any, a: Any, to: Any) -> Any:
        write = _on_lanes(lambda v, a, to: write_axis(v, a, axis, to))
        return types.void(x, _AT, _AT), write

    return sum_lanes


_sum_lanes_0, _sum_lanes_1, _sum_lanes_2 = (
    _summing(_write_sum_axis, axis) for axis in range(LANE_AXES)
)
_fold_lanes_0, _fold_lanes_1, _fold_lanes_2 = (
    _summing(_write_fold_axis, axis) for axis in range(LANE_AXES)
)


@intrinsic
def _times_lanes(typing: Any, x: Any, a: Any, to: Any, f: Any, g: Any) -> Any:
    return types.void(x, _AT, _AT, _REAL, _REAL), _on_lanes(_write_multiple)


@compiled(inline=True)
def room_of(entries: int) -> int:
    """Entries from the start of a table to that of the next."""
    return max(entries, LANES)


@compiled()
def new_tables(entries: int) -> FloatArray:
    """Allocate an array of balls, each row of which starts at a line of the cache."""
    length = (entries + LANES - 1) // LANES * LANES
    flat = np.empty(3 * length + LANES)
    first = (-flat.ctypes.data % LINE) // 8
    return flat[first : first + 3 * length].reshape((3, length))


@compiled(inline=True)
def _entries(mask: int) -> int:
    """Entries of a table over the axes of a mask."""
    entries = 1
    while mask != 0:
        mask &= mask - 1
        entries <<= 1
    return entries


@compiled(inline=True)
def _add_entry(x: FloatArray, a: int, b: int, to: int) -> None:
    h, k = x[0, a], x[0, b]
    high, low = add((h, x[1, a]), (k, x[1, b]))
    x[2, to] = x[2, a] + x[2, b] + ROUNDING * (abs(h) + abs(k))
    x[0, to] = high
    x[1, to] = low


@compiled()
def _offsets(n_axes: int, kept: int, skipped: int, index: IntArray, first: int) -> None:
    """Where a table over the axes `kept` stands at each run of lanes of one over all but one."""
    step = 1
    for axis in range(LANE_AXES):
        step <<= (kept >> axis) & 1
    index[first] = 0
    count = 1
    for axis in range(LANE_AXES, n_axes):
        has_axis = (kept >> axis) & 1
        if axis != skipped:
            jump = step if has_axis == 1 else 0
            for i in range(first, first + count):
                index[i + count] = index[i] + jump
            count <<= 1
        step <<= has_axis


@compiled()
def _multiply_runs(
    x: FloatArray,
    a: int,
    a_low: int,
    b: int,
    b_low: int,
    index: IntArray,
    a_first: int,
    b_first: int,
    runs: int,
    to: int,
) -> None:
    for k in range(runs):
        a_at, b_at = a + index[a_first + k], b + index[b_first + k]
        _multiply_lanes(x, a_at, a_low, b_at, b_low, to + LANES * k)


@compiled()
def multiply_tables(
    x: FloatArray,
    a: int,
    a_kept: int,
    b: int,
    b_kept: int,
    to: int,
    n_axes: int,
    index: IntArray,
) -> None:
    """Multiply two tables, over some of the axes each, into one over all.

    Parameters
    ----------
    a, b, to : int
        Where the tables start. The result may overwrite a table over all axes. It takes room for
        all lanes, also where it is shorter.
    a_kept, b_kept : int
        Masks of their axes.
    index : ndarray
        Scratch, a quarter as long as the result, and two entries.
    """
    if n_axes <= LANE_AXES:
        _multiply_lanes(x, a, a_kept, b, b_kept, to)
        return
    runs = (1 << n_axes) // LANES
    _offsets(n_axes, a_kept, -1, index, 0)
    _offsets(n_axes, b_kept, -1, index, runs)
    _multiply_runs(x, a, a_kept & ALL_LANES, b, b_kept & ALL_LANES, index, 0, runs, runs, to)


@compiled()
def sum_product(
    x: FloatArray,
    a: int,
    a_kept: int,
    b: int,
    b_kept: int,
    to: int,
    n_axes: int,
    axis: int,
    index: IntArray,
    bench: int,
) -> None:
    """Multiply two tables like `multiply_tables`, and sum the product over one axis.

    Parameters
    ----------
    bench : int
        Where `BENCH` entries of scratch start.
    """
    half = (1 << n_axes) // 2
    if n_axes <= LANE_AXES:
        _multiply_lanes(x, a, a_kept, b, b_kept, bench)
        if axis == 0:
            _fold_lanes_0(x, bench, to)
        elif axis == 1:
            _fold_lanes_1(x, bench, to)
        else:
            _fold_lanes_2(x, bench, to)
        return
    a_low, b_low = a_kept & ALL_LANES, b_kept & ALL_LANES
    if axis < LANE_AXES:
        runs = 2 * half // LANES
        _offsets(n_axes, a_kept, -1, index, 0)
        _offsets(n_axes, b_kept, -1, index, runs)
        for first in range(0, runs, 2 * BLOCK):
            count = min(2 * BLOCK, runs - first)
            _multiply_runs(x, a, a_low, b, b_low, index, first, runs + first, count, bench)
            sum_axis(x, bench, LANES * count, axis, to + LANES * first // 2)
        return
    runs = half // LANES
    _offsets(n_axes, a_kept, axis, index, 0)
    _offsets(n_axes, b_kept, axis, index, runs)
    below = (1 << axis) - 1
    a_on = a + (_entries(a_kept & below) if (a_kept >> axis) & 1 == 1 else 0)
    b_on = b + (_entries(b_kept & below) if (b_kept >> axis) & 1 == 1 else 0)
    on = bench + BLOCK * LANES
    for first in range(0, runs, BLOCK):
        count = min(BLOCK, runs - first)
        _multiply_runs(x, a, a_low, b, b_low, index, first, runs + first, count, bench)
        _multiply_runs(x, a_on, a_low, b_on, b_low, index, first, runs + first, count, on)
        add_tables(x, bench, on, to + LANES * first, LANES * count)


@compiled()
def product_to(
    x: FloatArray,
    a: int,
    a_kept: int,
    b: int,
    b_kept: int,
    to: int,
    n_axes: int,
    kept: int,
    index: IntArray,
    bench: int,
    spare: int,
) -> None:
    """Multiply two tables like `multiply_tables`, and sum the product to the axes `kept`.

    Parameters
    ----------
    spare : int
        Where scratch of half the product starts; not used if no more than one axis goes.
    """
    gone = ((1 << n_axes) - 1) & ~kept
    if gone == 0:
        multiply_tables(x, a, a_kept, b, b_kept, to, n_axes, index)
        return
    axis = n_axes - 1
    while (gone >> axis) & 1 == 0:
        axis -= 1
    gone ^= 1 << axis
    at = to if gone == 0 else spare
    sum_product(x, a, a_kept, b, b_kept, at, n_axes, axis, index, bench)
    size = (1 << n_axes) // 2
    while gone != 0:
        axis -= 1
        if (gone >> axis) & 1 == 1:
            gone ^= 1 << axis
            sum_axis(x, spare, size, axis, to if gone == 0 else spare)
            size >>= 1


@compiled()
def add_tables(x: FloatArray, a: int, b: int, to: int, size: int) -> None:
    """Entries from `to` on become the sums of those from a and from b on."""
    if size < LANES:
        for i in range(size):
            _add_entry(x, a + i, b + i, to + i)
    else:
        for i in range(0, size, LANES):
            _add_lanes(x, a + i, b + i, to + i)


@compiled()
def fill(x: FloatArray, at: int, size: int, value: Double) -> None:
    """Set all entries of a table to a number."""
    error = ROUNDING * abs(value[0])
    for i in range(at, at + size):
        x[0, i] = value[0]
        x[1, i] = value[1]
        x[2, i] = error


@compiled()
def times(x: FloatArray, at: int, to: int, size: int, factor: Double) -> None:
    """Entries from `to` on become those from `at` on times a number."""
    f, g = factor
    if size < LANES:
        for i in range(size):
            high, low = multiply((x[0, at + i], x[1, at + i]), factor)
            x[2, to + i] = abs(f) * x[2, at + i] + ROUNDING * abs(high)
            x[0, to + i] = high
            x[1, to + i] = low
    else:
        for i in range(0, size, LANES):
            _times_lanes(x, at + i, to + i, f, g)


@compiled()
def scale(x: FloatArray, at: int, to: int, size: int, factor: float) -> None:
    """Entries from `to` on become those from `at` on times a power of two."""
    for row in range(3):
        for i in range(size):
            x[row, to + i] = factor * x[row, at + i]


@compiled()
def sum_axis(x: FloatArray, at: int, size: int, axis: int, to: int) -> None:
    """Sum a table of `size` entries over one axis; the result may overwrite it."""
    half = 1 << axis
    if axis >= LANE_AXES:
        for block in range(size >> (axis + 1)):
            a = at + 2 * half * block
            add_tables(x, a, a + half, to + half * block, half)
    elif size < 2 * LANES:
        for i in range(size // 2):
            a = at + ((i >> axis) << (axis + 1)) + (i & (half - 1))
            _add_entry(x, a, a + half, to + i)
    elif axis == 2:
        for i in range(0, size // 2, LANES):
            _sum_lanes_2(x, at + 2 * i, to + i)
    elif axis == 1:
        for i in range(0, size // 2, LANES):
            _sum_lanes_1(x, at + 2 * i, to + i)
    else:
        for i in range(0, size // 2, LANES):
            _sum_lanes_0(x, at + 2 * i, to + i)


@compiled()
def sum_to(x: FloatArray, at: int, n_axes: int, kept: int) -> None:
    """Sum a table over the axes that are not in the mask `kept`, in place."""
    size = 1 << n_axes
    for axis in range(n_axes - 1, -1, -1):
        if (kept >> axis) & 1 == 0:
            sum_axis(x, at, size, axis, at)
            size >>= 1


@compiled()
def largest(x: FloatArray, at: int, size: int) -> float:
    """Largest size of the entries of a table."""
    if size < 4:
        found = 0.0
        for i in range(at, at + size):
            found = max(found, abs(x[0, i]))
        return found
    a, b, c, d = 0.0, 0.0, 0.0, 0.0  # four chains, so that none waits for another
    for i in range(at, at + size, 4):
        a = max(a, abs(x[0, i]))
        b = max(b, abs(x[0, i + 1]))
        c = max(c, abs(x[0, i + 2]))
        d = max(d, abs(x[0, i + 3]))
    return max(max(a, b), max(c, d))
