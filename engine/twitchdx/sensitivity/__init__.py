"""What an answer owes to the numbers: functions, tornados, flips, bounds and distributions."""

from __future__ import annotations

from twitchdx.explain.leading import contenders
from twitchdx.odds import log_odds
from twitchdx.sensitivity.beta import Beta, fit_beta
from twitchdx.sensitivity.bounds import Bounds, bounds
from twitchdx.sensitivity.cohort import (
    CohortProbabilistic,
    CohortTornado,
    cohort_probabilistic,
    cohort_tornado,
)
from twitchdx.sensitivity.compare import Comparison, compare
from twitchdx.sensitivity.flips import Flips, flips
from twitchdx.sensitivity.functions import (
    LinearFractional,
    PiecewiseFractional,
    crossing,
    distance,
)
from twitchdx.sensitivity.joint_change import JointChange, smallest_joint_change
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
from twitchdx.sensitivity.two_way import TwoWay, two_way
from twitchdx.sensitivity.variance import Sobol, WorthKnowing, sobol, worth_knowing
from twitchdx.sensitivity.vignettes import Reading

__all__ = [
    "Beta",
    "Bounds",
    "Change",
    "CohortProbabilistic",
    "CohortTornado",
    "Comparison",
    "Flips",
    "JointChange",
    "LinearFractional",
    "OneWay",
    "PiecewiseFractional",
    "PriorSet",
    "PriorSetWarning",
    "Probabilistic",
    "Reading",
    "Sobol",
    "Tornado",
    "TwoWay",
    "WorthKnowing",
    "apply_prior_set",
    "bounds",
    "cohort_probabilistic",
    "cohort_tornado",
    "compare",
    "contenders",
    "crossing",
    "distance",
    "fit_beta",
    "flips",
    "log_odds",
    "new_prior_set",
    "one_way",
    "posterior_intervals",
    "probabilistic",
    "read_prior_set",
    "smallest_joint_change",
    "sobol",
    "tornado",
    "two_way",
    "worth_knowing",
]
