"""Probabilistic sensitivity analysis: all numbers vary at once, each by its own distribution."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from twitchdx.explain.leading import contenders
from twitchdx.sensitivity.draws import BATCHES, draw_numbers, plan_case, uncertain_rows
from twitchdx.sensitivity.functions import FloatArray
from twitchdx.sensitivity.knobs import Selection

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from twitchdx.diagnosis import Diagnosis

DRAWS = 10_000
INTERVAL_DRAWS = 1_000
"""Draws of `posterior_intervals`: a 2.5 % limit then rests on 25 draws beyond it."""
SEED = 20_251
TAILS = (0.025, 0.5, 0.975)


@dataclass(frozen=True, eq=False)
class Probabilistic:
    """The distribution of every posterior as the numbers of the tables vary.

    Attributes
    ----------
    causes : tuple of str
        All causes without syndromes.
    ranked : tuple of str
        Those that are ranked (see `flips`): not observed, by default no exposures.
    base : ndarray, shape (causes,)
        Posteriors at the tables' numbers.
    samples : ndarray, shape (draws, causes)
        Posteriors under each draw; draws under which the case is impossible are left out.
    parameters : int
        How many numbers varied.
    seed, draws, impossible : int
        `impossible`: draws under which the case has probability zero.
    """

    causes: tuple[str, ...]
    ranked: tuple[str, ...]
    base: FloatArray
    samples: FloatArray
    parameters: int
    seed: int
    draws: int
    impossible: int

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row a cause, most probable first.

        Columns: `cause`, `posterior` (at the tables' numbers), `mean`, `median`, `low`, `high`
        (95 % interval), `p_first` (probability to be ranked first; missing for a cause that is
        not ranked), and the Monte Carlo standard errors `se_mean`, `se_median`, `se_low`,
        `se_high`.
        """
        import pandas as pd

        low, median, high = np.quantile(self.samples, TAILS, axis=0)
        first = np.full(len(self.causes), np.nan)
        places = [self.causes.index(cause) for cause in self.ranked]
        if places:
            leader = np.argmax(self.samples[:, places], axis=1)
            first[places] = np.bincount(leader, minlength=len(places)) / len(self.samples)
        frame = pd.DataFrame(
            {
                "cause": self.causes,
                "posterior": self.base,
                "mean": self.samples.mean(axis=0),
                "median": median,
                "low": low,
                "high": high,
                "p_first": first,
                "se_mean": self._error(lambda part: part.mean(axis=0)),
                "se_median": self._error(lambda part: np.quantile(part, 0.5, axis=0)),
                "se_low": self._error(lambda part: np.quantile(part, TAILS[0], axis=0)),
                "se_high": self._error(lambda part: np.quantile(part, TAILS[2], axis=0)),
            }
        )
        return frame.sort_values("posterior", ascending=False, kind="stable", ignore_index=True)

    @cached_property
    def ranks(self) -> pd.DataFrame:
        """Probability of each rank (columns, from 1) of each ranked cause (rows)."""
        import pandas as pd

        places = [self.causes.index(cause) for cause in self.ranked]
        order = np.argsort(-self.samples[:, places], axis=1, kind="stable")
        count = len(places)
        table = np.stack(
            [np.bincount(order[:, rank], minlength=count) for rank in range(count)], axis=1
        )
        frame = pd.DataFrame(
            table / len(self.samples),
            index=pd.Index(self.ranked, name="cause"),
            columns=pd.RangeIndex(1, count + 1, name="rank"),
        )
        return frame.loc[sorted(self.ranked, key=lambda c: -self.base[self.causes.index(c)])]

    @property
    def leading(self) -> str:
        """The leading cause at the tables' numbers."""
        return max(self.ranked, key=lambda cause: self.base[self.causes.index(cause)])

    @cached_property
    def leading_unchanged(self) -> tuple[float, float]:
        """Probability that the leading cause stays the leading one, and its standard error."""
        places = [self.causes.index(cause) for cause in self.ranked]
        same = np.argmax(self.samples[:, places], axis=1) == self.ranked.index(self.leading)
        error = self._error_of(same.astype(np.float64), lambda part: part.mean(axis=0))
        return float(same.mean()), float(error)

    @cached_property
    def convergence(self) -> pd.DataFrame:
        """Mean and 95 % interval of the leading cause after each batch: they should settle."""
        import pandas as pd

        own = self.samples[:, self.causes.index(self.leading)]
        records = []
        for batch in range(1, BATCHES + 1):
            part = own[: len(own) * batch // BATCHES]
            low, _, high = np.quantile(part, TAILS)
            records.append({"draws": len(part), "mean": part.mean(), "low": low, "high": high})
        return pd.DataFrame(records)

    def plot(self, axes: Axes | None = None, top: int = 12) -> Axes:
        """Draw the intervals of the most probable causes."""
        from twitchdx.sensitivity.plots import plot_probabilistic

        return plot_probabilistic(self, axes, top)

    def __repr__(self) -> str:
        same, error = self.leading_unchanged
        return (
            f"Probabilistic({self.draws:,} draws of {self.parameters} numbers; {self.leading} "
            f"leads in {same:.1%} (standard error {error:.1%}))\n{self.frame.head(10)}"
        )

    def _error(self, statistic: object) -> FloatArray:
        return self._error_of(self.samples, statistic)

    def _error_of(self, samples: FloatArray, statistic: object) -> FloatArray:
        parts = np.array_split(samples, BATCHES)
        values = np.stack([statistic(part) for part in parts])  # type: ignore[operator]
        return np.asarray(values.std(axis=0, ddof=1) / np.sqrt(BATCHES))


def probabilistic(
    dx: Diagnosis,
    parameters: Selection = "all",
    *,
    draws: int = DRAWS,
    seed: int = SEED,
    exposures: bool = False,
    bystanders: bool = False,
    threads: int | None = 1,
) -> Probabilistic:
    """Let the numbers of the tables vary, each by the Beta fitted to its value and interval.

    Parameters
    ----------
    dx : Diagnosis
    parameters : str, Parameter, or several of them
        What varies: "priors", "links", "likelihoods", "backgrounds", "all", causes, keys.
    draws : int
        A multiple of 10: they come in ten independent Latin hypercubes, whose scatter gives the
        Monte Carlo standard errors.
    seed : int
        The same seed gives the same quantile of the same quantity in any case, population or
        prior set.
    exposures : bool
        Rank exposures, too.
    bystanders : bool
        Likewise causes that the evidence does not speak for.
    threads : int, optional
        None: as many as there are. The result is the same for any number.

    Returns
    -------
    Probabilistic

    Raises
    ------
    UnknownIdError
        For a parameter that does not exist.
    EvidenceError
        For a number of draws that cannot be divided into batches.
    WidthError
        Where the case is too wide for exact inference.
    """
    rows = uncertain_rows(dx, parameters)
    answers = plan_case(dx, rows).posteriors(draw_numbers(rows, draws, seed), threads)
    network = dx.engine.networks[0]
    place = {cause: i for i, cause in enumerate(network.causes)}
    causes = dx.engine.causes
    possible = np.isfinite(answers.log_evidence)
    return Probabilistic(
        causes,
        contenders(dx, exposures=exposures, bystanders=bystanders),
        dx.posterior[list(causes)].to_numpy(dtype=np.float64),
        answers.posterior[possible][:, [place[cause] for cause in causes]],
        len(rows),
        seed,
        draws,
        int((~possible).sum()),
    )


def posterior_intervals(
    dx: Diagnosis, *, draws: int = INTERVAL_DRAWS, seed: int = SEED
) -> pd.DataFrame:
    """Return the 95 % interval of every cause's posterior as all numbers of the tables vary.

    Parameters
    ----------
    dx : Diagnosis
    draws : int
        By default 1,000; the limits of `probabilistic` rest on 10,000.
    seed : int

    Returns
    -------
    DataFrame
        Columns `low` and `high`, indexed by cause, most probable first.
    """
    frame = probabilistic(dx, draws=draws, seed=seed).frame
    return frame.set_index("cause")[["low", "high"]]
