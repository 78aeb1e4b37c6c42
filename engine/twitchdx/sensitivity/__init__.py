"""What an answer owes to the numbers: functions, tornados, flips, bounds and distributions."""

from __future__ import annotations

from twitchdx.sensitivity.beta import Beta, fit_beta
from twitchdx.sensitivity.compare import Comparison, compare
from twitchdx.sensitivity.flips import Flips, flips, leading_causes
from twitchdx.sensitivity.functions import (
    LinearFractional,
    PiecewiseFractional,
    crossing,
    distance,
    log_odds,
)
from twitchdx.sensitivity.one_way import OneWay, one_way
from twitchdx.sensitivity.prior_sets import (
    Change,
    PriorSet,
    PriorSetWarning,
    apply_prior_set,
    new_prior_set,
    read_prior_set,
)
from twitchdx.sensitivity.probabilistic import (
    Probabilistic,
    posterior_intervals,
    probabilistic,
)
from twitchdx.sensitivity.tornado import Tornado, tornado

__all__ = [
    "Beta",
    "Change",
    "Comparison",
    "Flips",
    "LinearFractional",
    "OneWay",
    "PiecewiseFractional",
    "PriorSet",
    "PriorSetWarning",
    "Probabilistic",
    "Tornado",
    "apply_prior_set",
    "compare",
    "crossing",
    "distance",
    "fit_beta",
    "flips",
    "leading_causes",
    "log_odds",
    "new_prior_set",
    "one_way",
    "posterior_intervals",
    "probabilistic",
    "read_prior_set",
    "tornado",
]
