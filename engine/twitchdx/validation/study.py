"""The whole study of a file of vignettes: which runs are made, and what is kept of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING

from twitchdx.errors import BatchError
from twitchdx.explain import DEFAULT_RANKING
from twitchdx.validation.cases import LEVELS, VignetteFile, read_cases
from twitchdx.validation.evaluate import RANKINGS, Number, Scored, make_task, score_task
from twitchdx.validation.misses import Miss, list_misses
from twitchdx.validation.robustness import robustness
from twitchdx.validation.simulated import SimulatedCheck, check_calibration

if TYPE_CHECKING:
    from twitchdx.diagnosis import Engine

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is run.

    Attributes
    ----------
    rankings : tuple of str
        What sorts the differentials that are compared, of `evaluate.RANKINGS`.
    simulated : int
        Vignettes drawn from the network itself; 0 for none.
    robust : bool
        Spoil the vignettes, priors and population too.
    seed : int
    """

    rankings: tuple[str, ...] = RANKINGS
    simulated: int = 2000
    robust: bool = True
    seed: int = 1


@dataclass(frozen=True, eq=False)
class Study:
    """Everything that a report shows.

    Attributes
    ----------
    vignettes : str
        Name of the file.
    populations : tuple of str
        The first is the main one.
    levels : tuple of str
    scored : mapping of (population, level) to Scored
    numbers : tuple of Number
    misses : tuple of Miss
        Of the main population, all findings.
    sorted_by : str
        What sorts the differentials whose misses these are.
    simulated : tuple of SimulatedCheck
    rejected : tuple of str
    manifest : mapping of str to str
        Versions, digest of the tables, seed.
    """

    vignettes: str
    populations: tuple[str, ...]
    levels: tuple[str, ...]
    scored: Mapping[tuple[str, str], Scored]
    numbers: tuple[Number, ...]
    misses: tuple[Miss, ...]
    sorted_by: str
    simulated: tuple[SimulatedCheck, ...]
    rejected: tuple[str, ...]
    manifest: Mapping[str, str] = field(default_factory=dict)

    @property
    def main(self) -> Scored:
        """Main population, everything known."""
        return self.scored[self.populations[0], self.levels[-1]]

    def find(self, **wanted: str) -> list[Number]:
        """Return the numbers whose fields are as wanted."""
        return [n for n in self.numbers if all(getattr(n, key) == w for key, w in wanted.items())]

    def number(self, **wanted: str) -> Number:
        """Return the one number whose fields are as wanted.

        Raises
        ------
        BatchError
            If there is none.
        """
        found = self.find(**wanted)
        if not found:
            raise BatchError(f"the study has no number with {wanted}")
        return found[0]


def run_study(
    engines: Sequence[Engine],
    file: VignetteFile,
    plan: Plan | None = None,
    progress: Progress = lambda _: None,
) -> Study:
    """Score a file of vignettes in every way.

    Parameters
    ----------
    engines : sequence of Engine
        One a population, of the same tables; the first is the main one.
    file : VignetteFile
    plan : Plan, optional
    progress : function
        Called with a word on what is being done.

    Raises
    ------
    BatchError
        If no vignette can be scored.
    """
    wanted = plan or Plan()
    levels = tuple(LEVELS)
    scored: dict[tuple[str, str], Scored] = {}
    rejected: dict[str, None] = {}
    for engine in engines:
        for level in levels:
            progress(f"{engine.population}, {level}")
            cases = read_cases(engine, file, level)
            rejected |= dict.fromkeys(cases.rejected)
            if not len(cases):
                raise BatchError(
                    f"{file.name}: no vignette with a known truth can be scored: "
                    + "; ".join(cases.rejected[:5])
                )
            full = level == levels[-1]
            scored[engine.population, level] = score_task(
                make_task(engine, cases, level),
                rankings=wanted.rankings if full else wanted.rankings[:1],
                details=full,
            )
    numbers = [n for one in scored.values() for n in one.numbers]
    main = scored[engines[0].population, levels[-1]]
    usual = DEFAULT_RANKING if DEFAULT_RANKING in main.found else RANKINGS[0]
    if wanted.robust:
        progress("robustness")
        numbers += robustness(main.task, file, wanted.seed)
    simulated = []
    if wanted.simulated:
        progress("simulation")
        simulated = check_calibration(engines[0], wanted.simulated, wanted.seed)
    return Study(
        vignettes=file.name,
        populations=tuple(engine.population for engine in engines),
        levels=levels,
        scored=scored,
        numbers=tuple(numbers),
        misses=list_misses(main, usual),
        sorted_by=usual,
        simulated=tuple(simulated),
        rejected=tuple(rejected),
        manifest={
            "twitchdx": version("twitchdx"),
            "numpy": version("numpy"),
            "tables_digest": engines[0].knowledge.digest,
            "seed": str(wanted.seed),
            "simulated": str(wanted.simulated),
        },
    )
