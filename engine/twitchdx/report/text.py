"""How numbers are written for people."""

from __future__ import annotations

import math


def percent(probability: float) -> str:
    """Write a probability so that small ones stay readable.

    Examples
    --------
    >>> percent(0.4132), percent(0.0571), percent(0.000052), percent(1.0), percent(0.99997)
    ('41 %', '5.7 %', '1 in 19,000', '100 %', '>99.9 %')
    """
    if math.isnan(probability):
        return "-"
    if probability == 0:
        return "0"
    if probability < 0.001:
        return f"1 in {_two_digits(1 / probability):,}"
    if 0.999 < probability < 1:
        return ">99.9 %"
    if probability < 0.1:
        return f"{100 * probability:.2g} %"
    return f"{100 * probability:.0f} %"


def signed(number: float) -> str:
    """Write a weight with its sign; none where it rounds to nothing.

    Examples
    --------
    >>> signed(7.34), signed(-0.04), signed(-2.6)
    ('+7.3', '0.0', '-2.6')
    """
    return "0.0" if abs(number) < 0.05 else f"{number:+.1f}"


def times(factor: float) -> str:
    """Write a Bayes factor.

    Examples
    --------
    >>> times(19.34), times(0.071), times(12345.0), times(1.0)
    ('19', '1/14', '12,000', '1.0')
    """
    if math.isnan(factor):
        return "-"
    if math.isinf(factor):
        return "certain"
    if factor == 0:
        return "excluded"
    if factor < 0.5:
        return f"1/{_two_digits(1 / factor):,}"
    return f"{factor:.1f}" if factor < 9.95 else f"{_two_digits(factor):,}"


def _two_digits(number: float) -> int:
    if number < 10:
        return round(number)
    scale = 10 ** (math.floor(math.log10(number)) - 1)
    return int(round(number / scale) * scale)
