"""What an answer owes to the numbers: functions, tornados, flips, bounds and distributions."""

from __future__ import annotations

from twitchdx.sensitivity.flips import Flips, flips, leading_causes
from twitchdx.sensitivity.functions import (
    LinearFractional,
    PiecewiseFractional,
    crossing,
    distance,
    log_odds,
)
from twitchdx.sensitivity.one_way import OneWay, one_way
from twitchdx.sensitivity.tornado import Tornado, tornado

__all__ = [
    "Flips",
    "LinearFractional",
    "OneWay",
    "PiecewiseFractional",
    "Tornado",
    "crossing",
    "distance",
    "flips",
    "leading_causes",
    "log_odds",
    "one_way",
    "tornado",
]
