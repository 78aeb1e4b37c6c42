"""What one observation says of one yes/no node: a likelihood ratio.

Everything that can be observed of a node is one number,

    ratio = P(observation | node on) / P(observation | node off),

1 for nothing known, infinity for seen present, 0 for seen absent, and any other positive number
for an observation that is not certain (virtual evidence, Pearl 1988, section 2.2.2).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from twitchdx.errors import EvidenceError

PRESENT = math.inf
ABSENT = 0.0
UNKNOWN = 1.0

#: every accepted spelling of a state, in lower case
STATES = {
    "present": PRESENT,
    "yes": PRESENT,
    "y": PRESENT,
    "true": PRESENT,
    "t": PRESENT,
    "1": PRESENT,
    "1.0": PRESENT,
    "absent": ABSENT,
    "no": ABSENT,
    "n": ABSENT,
    "false": ABSENT,
    "f": ABSENT,
    "0": ABSENT,
    "0.0": ABSENT,
    "unknown": UNKNOWN,
    "na": UNKNOWN,
    "n/a": UNKNOWN,
    "nan": UNKNOWN,
    "none": UNKNOWN,
    "?": UNKNOWN,
    "": UNKNOWN,
}

_SOFT = re.compile(r"^(lr|p)\s*=\s*(\S+)$")


@dataclass(frozen=True)
class Soft:
    """An uncertain observation, by its likelihood ratio.

    Parameters
    ----------
    likelihood_ratio : float
        How many times likelier the observation is where the node is on than where it is off;
        positive and finite.

    Raises
    ------
    EvidenceError
        If the ratio is not a positive finite number.

    Examples
    --------
    >>> Soft(3.5).likelihood_ratio
    3.5
    >>> Soft.from_probability(0.75).likelihood_ratio
    3.0
    """

    likelihood_ratio: float

    def __post_init__(self) -> None:
        if not (self.likelihood_ratio > 0 and math.isfinite(self.likelihood_ratio)):
            raise EvidenceError(
                f"likelihood ratio {self.likelihood_ratio!r} is not a positive finite number; "
                "use present or absent for a certain observation"
            )

    @classmethod
    def from_probability(cls, probability: float) -> Soft:
        """Read a probability that the observation is right, before the rest is considered.

        The probability p counts as virtual evidence of ratio p / (1 - p), so that 0.5 says
        nothing; it is not the posterior of the node.
        """
        if not 0 < probability < 1:
            raise EvidenceError(
                f"probability {probability!r} of an uncertain observation is not between 0 and 1; "
                "use present or absent for a certain one"
            )
        return cls(probability / (1 - probability))


def state_ratio(value: object) -> float:
    """Return the likelihood ratio that a state stands for.

    Parameters
    ----------
    value : bool, None, Soft, number or str
        True, False, None (unknown), a `Soft`, 1 or 0, or a text: any key of `STATES` in any
        case, ``lr=3.5`` or ``p=0.8``.

    Raises
    ------
    EvidenceError
        If the value is none of these.

    Examples
    --------
    >>> state_ratio(True), state_ratio("Absent"), state_ratio(""), state_ratio("lr=3.5")
    (inf, 0.0, 1.0, 3.5)
    """
    if value is None:
        return UNKNOWN
    if isinstance(value, Soft):
        return value.likelihood_ratio
    if isinstance(value, bool | np.bool_):
        return PRESENT if value else ABSENT
    if isinstance(value, int | float | np.integer | np.floating):
        number = float(value)
        if math.isnan(number):
            return UNKNOWN
        if number in (0.0, 1.0):
            return PRESENT if number else ABSENT
    if isinstance(value, str):
        text = value.strip().lower()
        if text in STATES:
            return STATES[text]
        soft = _SOFT.match(text)
        if soft:
            return _soft_ratio(*soft.groups())
    raise EvidenceError(
        f"{value!r} is no state; write present, absent or nothing (also yes/no, true/false, 1/0), "
        "lr=3.5 for a likelihood ratio, or p=0.8 for a probability"
    )


def _soft_ratio(kind: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise EvidenceError(f"{text!r} after {kind}= is not a number") from None
    soft = Soft(number) if kind == "lr" else Soft.from_probability(number)
    return soft.likelihood_ratio
