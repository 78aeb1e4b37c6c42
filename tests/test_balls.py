"""Double-double balls against mpmath, and the two exact passes against each other."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf

from noisy_or_examples import random_network, random_ratios
from twitchdx.errors import ImpossibleEvidenceError, WidthError
from twitchdx.inference import balls, gradients, infer, infer_batch, infer_evidence
from twitchdx.inference import exact as exact_module
from twitchdx.inference.exact import _infer_rows
from twitchdx.inference.structure import FloatArray, compiled_for
from twitchdx.network import NoisyOrNetwork

SEEDS = st.integers(0, 2**32 - 1)
ROOM = 64 + balls.PADDING


def tables(rng: np.random.Generator, count: int) -> FloatArray:
    """Some tables of 64 balls of very different sizes, the lower half of the array blank."""
    x = np.zeros((3, count * ROOM))
    x[0] = rng.normal(size=x.shape[1]) * 10.0 ** rng.integers(-12, 12, x.shape[1])
    x[1] = x[0] * 2.0**-54 * rng.uniform(-1, 1, x.shape[1])
    x[2] = abs(x[0]) * 1e-30 * rng.random(x.shape[1])
    return x


@pytest.mark.parametrize("entries", [1, 8, 520, 4099])
def test_rows_of_a_new_array_start_at_a_line(entries: int) -> None:
    for _ in range(8):  # the allocator answers differently from time to time
        x = balls.new_tables(entries)
        assert x.shape[1] >= entries
        assert [x[row].ctypes.data % balls.LINE for row in range(3)] == [0, 0, 0]


def exact(x: FloatArray, at: int) -> mpf:
    return mpf(x[0, at]) + mpf(x[1, at])


def among(index: int, kept: int) -> int:
    """The entry of a table over the axes `kept` that a wider table's entry belongs to."""
    axes = [axis for axis in range(8) if kept >> axis & 1]
    return sum((index >> axis & 1) << place for place, axis in enumerate(axes))


@given(SEEDS, st.integers(0, 6), st.data())
@settings(max_examples=150, deadline=None)
def test_products_lie_within_their_radius(seed: int, n_axes: int, data: st.DataObject) -> None:
    masks = st.integers(0, 2**n_axes - 1)
    a_kept, b_kept = data.draw(masks), data.draw(masks)
    x = tables(np.random.default_rng(seed), 3)
    scratch = np.zeros(64, dtype=np.int64)
    balls.multiply_tables(x, 0, a_kept, ROOM, b_kept, 2 * ROOM, n_axes, scratch)
    with mp.workdps(80):
        for i in range(2**n_axes):
            a, b = among(i, a_kept), ROOM + among(i, b_kept)
            found, radius = exact(x, 2 * ROOM + i), x[2, 2 * ROOM + i]
            for sign in (-1, 0, 1):  # the ends of the balls that went in, too
                value = (exact(x, a) + sign * mpf(x[2, a])) * (exact(x, b) + sign * mpf(x[2, b]))
                assert abs(found - value) <= radius
            assert radius <= 1e-28 * abs(found)


@given(SEEDS, st.integers(1, 6), st.data())
@settings(max_examples=150, deadline=None)
def test_a_summed_product_is_the_sum_of_the_product(
    seed: int, n_axes: int, data: st.DataObject
) -> None:
    """Summed on the way or afterwards, also where the result takes the place of a factor."""
    every = 2**n_axes - 1
    kept, a_kept, b_kept = (data.draw(st.integers(0, every)) for _ in range(3))
    in_place = data.draw(st.booleans())
    a_kept = every if in_place else a_kept
    x = tables(np.random.default_rng(seed), 3)
    x = np.concatenate([x, np.zeros((3, 3 * ROOM + balls.BENCH))], axis=1)
    scratch = np.zeros(64, dtype=np.int64)
    product, to, spare, bench = 3 * ROOM, 0 if in_place else 2 * ROOM, 4 * ROOM, 5 * ROOM
    balls.multiply_tables(x, 0, a_kept, ROOM, b_kept, product, n_axes, scratch)
    before = x.copy()
    balls.product_to(x, 0, a_kept, ROOM, b_kept, to, n_axes, kept, scratch, bench, spare)
    with mp.workdps(80):
        for place in range(2 ** kept.bit_count()):
            parts = [product + i for i in range(2**n_axes) if among(i, kept) == place]
            total = sum((exact(before, i) for i in parts), mpf(0))
            doubt = sum((mpf(before[2, i]) for i in parts), mpf(0))
            found = abs(exact(x, to + place) - total) + doubt
            assert found <= x[2, to + place] * (1 + mpf(10) ** -12)


@given(SEEDS, st.integers(0, 6), st.data())
@settings(max_examples=150, deadline=None)
def test_sums_lie_within_their_radius(seed: int, n_axes: int, data: st.DataObject) -> None:
    kept = data.draw(st.integers(0, 2**n_axes - 1))
    x = tables(np.random.default_rng(seed), 1)
    before = x.copy()
    balls.sum_to(x, 0, n_axes, kept)
    with mp.workdps(80):
        for place in range(2 ** kept.bit_count()):
            parts = [i for i in range(2**n_axes) if among(i, kept) == place]
            total = sum((exact(before, i) for i in parts), mpf(0))
            doubt = sum((mpf(before[2, i]) for i in parts), mpf(0))
            assert abs(exact(x, place) - total) + doubt <= x[2, place] * (1 + mpf(10) ** -12)


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_both_passes_agree(seed: int) -> None:
    """The certified pass and the positive sweep share no arithmetic."""
    rng = np.random.default_rng(seed)
    network = random_network(rng, int(rng.integers(1, 12)), int(rng.integers(0, 12)))
    rows = np.stack([random_ratios(rng, network) for _ in range(4)])
    compiled, weights = compiled_for((network,)), np.ones((4, 1))
    fast = _infer_rows(compiled, rows, weights, 1)
    sweep = _infer_rows(compiled, rows, weights, 1, sweep_only=True)
    assert fast.method.tolist() == sweep.method.tolist()
    np.testing.assert_allclose(fast.log_evidence, sweep.log_evidence, rtol=0, atol=1e-11)
    np.testing.assert_allclose(fast.posterior, sweep.posterior, rtol=0, atol=1e-11)


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_a_row_is_the_sum_of_its_cases(seed: int) -> None:
    """Where memory is short some causes are settled both ways; the answer is the same."""
    rng = np.random.default_rng(seed)
    network = random_network(rng, int(rng.integers(4, 12)), int(rng.integers(4, 12)))
    rows = np.stack([random_ratios(rng, network) for _ in range(4)])
    compiled, weights = compiled_for((network,)), np.ones((4, 1))
    sweep = _infer_rows(compiled, rows, weights, 1, sweep_only=True)
    for most in (2**7, 2**8, 2**9, 2**10):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(exact_module, "most_states", most)
            cases = _infer_rows(compiled, rows, weights, 1)
        done = cases.method != "too_wide"
        assert cases.method[done].tolist() == sweep.method[done].tolist()
        np.testing.assert_allclose(
            cases.log_evidence[done], sweep.log_evidence[done], rtol=0, atol=1e-11
        )
        np.testing.assert_allclose(cases.posterior[done], sweep.posterior[done], rtol=0, atol=1e-11)


@given(SEEDS)
@example(18921)  # a finding without leak, which one cause alone can make present
@settings(max_examples=40, deadline=None)
def test_derivatives_are_the_sum_of_those_of_the_cases(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng, int(rng.integers(4, 12)), int(rng.integers(4, 12)))
    row = random_ratios(rng, network)
    try:
        whole = gradients(network, row)
    except ImpossibleEvidenceError:
        return
    for most in (2**7, 2**8, 2**9, 2**10):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(exact_module, "most_states", most)
            try:
                cases = gradients(network, row)
            except WidthError:
                continue
        assert cases.log_evidence == pytest.approx(whole.log_evidence, abs=1e-11)
        for name in ("posterior", "d_prior", "d_links", "d_strength", "d_leak"):
            found, expected = getattr(cases, name), getattr(whole, name)
            scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * scale)


@pytest.mark.parametrize("rare", [1e-6, 1e-15, 1e-30])
def test_rare_evidence_keeps_its_digits(rare: float) -> None:
    """However much cancels in the certified pass, the answer is right to 1e-9 of itself."""
    n = 6
    strength = np.full((2, n), 0.5)
    network = NoisyOrNetwork.from_arrays([rare, rare], strength, np.full(n, rare))
    found = infer(network, np.array([1.0, 1.0, *[np.inf] * n]))
    p, half = Fraction(rare), Fraction(1, 2)
    total, both = Fraction(0), Fraction(0)
    for on in range(3):
        ways = (1, 2, 1)[on] * p**on * (1 - p) ** (2 - on)
        value = ways * (1 - (1 - p) * half**on) ** n
        total += value
        both += value * on / 2
    assert found.log_evidence == pytest.approx(
        float(mp.log(mpf(total.numerator)) - mp.log(mpf(total.denominator))), rel=1e-12
    )
    np.testing.assert_allclose(found.posterior, float(both / total), rtol=1e-9)


def test_causes_that_are_not_wanted_are_blank() -> None:
    rng = np.random.default_rng(5)
    network = random_network(rng, 9, 5)
    rows = np.stack([random_ratios(rng, network) for _ in range(20)])
    weights = np.ones((20, 1))
    wanted = np.arange(9) % 2 == 0
    every = infer_batch((network,), weights, rows)
    some = infer_batch((network,), weights, rows, wanted=wanted)
    np.testing.assert_allclose(some.posterior[:, wanted], every.posterior[:, wanted], atol=1e-12)
    np.testing.assert_allclose(some.log_evidence, every.log_evidence, atol=1e-12)
    assert np.isnan(some.posterior[:, ~wanted]).all()
    none = infer_evidence((network,), weights, rows)
    np.testing.assert_allclose(none.log_evidence, every.log_evidence, atol=1e-12)
    assert np.isnan(none.posterior).all()
    assert none.method.tolist() == every.method.tolist()
