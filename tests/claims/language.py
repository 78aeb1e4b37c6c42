"""The notation in which claims.csv states what must be true of the tables and the engine.

A check is one comparison, written as a clinician would on paper; several are parted by ``;``::

    BF(restless_legs_syndrome | urge_to_move) > 5
    P(motor_neuron_disease | visible_muscle_flicker, not weakness, age=60) < 0.002
    odds(nocturnal_leg_cramps, restless_legs_syndrome | painful_tightening) > 20
    row(urge_to_move, restless_legs_syndrome) >= 0.95

After the bar stands what is observed: a finding or cause (present), ``not`` one (absent), a
measurement (``ferritin=18``), ``age=``, ``sex=``, ``population=`` (else general_adult), and
``assume(cause, p)``: as if the cause's prevalence were p.

What can be compared (`Quantities` defines each):

====================================  ==========================================================
``P(x | ...)``                        probability of a cause, syndrome, finding or older id
``BF(x | ...)``                       Bayes factor: odds of x after over odds before
``odds(x, y | ...)``                  odds of x over odds of y
``rank(x | ...)``, ``rank_BF``        place of x among the causes by probability, Bayes factor
``explains(x | ...)``                 share of the present findings that vanish without x
``rank_explains(x | ...)``            place of x by that share
``row(f, c)``                         P(finding | cause) of the tables, 0 without a row
``link(c, g)``                        P(cause | given) of the tables, 0 without a row
``background(f)``                     P(finding | no cause) of the tables
``prior(c)``                          prevalence row of the tables (``population=``)
``.low``, ``.high``                   the interval of any of these four
``flag(f | ...)``, ``urgency(f)``     whether a red flag fires; how urgent it is
``orders("t" | ...)``, ``avoids``     whether the advice lists a test, or warns of it
``treats(c, line, "t")``              whether management.csv lists a treatment on that line
``mentions(x, "t")``                  whether the text of a cause, finding or flag says so
``note(c, g, "t")``                   whether the note of a link says so
``seen(x | ...)``                     whether the entries show x present
``question(f | ...)``                 place of a finding among the next questions
``reaches(c, f)``                     whether a path of links and rows leads from c to f
``count_first("s", n | ...)``          causes of that seriousness among the n that explain most
``count_flags("u" | ...)``            red flags of that urgency
``kind_of_question(n | ...)``         whether the n-th question is symptom, sign, history or test
``fewest_rows("n")``                  fewest rows and links of any cause of that nature
``highest_row(c, "k")``               highest row of a cause among findings of that kind
``exists(x)``                         whether an id is a cause or a finding
``seriousness(c)``, ``nature(c)``     columns of causes.csv
====================================  ==========================================================
"""

from __future__ import annotations

import ast
import math
import operator
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

from twitchdx.diagnosis import Diagnosis, Engine
from twitchdx.explain.flags import present_nodes, work_up

COMPARE: dict[type, Callable[[Any, Any], bool]] = {
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Add: operator.add,
    ast.Sub: operator.sub,
}
WHO = ("age", "sex", "population")
BAR = "__given__"


@dataclass(frozen=True)
class Outcome:
    """One check: its text, whether it holds, and each number that was compared."""

    check: str
    holds: bool
    measured: tuple[tuple[str, object], ...]


@dataclass(frozen=True)
class Circumstances:
    """What stands after the bar."""

    findings: tuple[tuple[str, object], ...] = ()
    assumed: tuple[tuple[str, float], ...] = ()
    population: str = "general_adult"
    age: float | None = None
    sex: str | None = None

    def before(self) -> Circumstances:
        return Circumstances((), self.assumed, self.population, self.age, self.sex)

    def observing(self, node: str, value: bool) -> Circumstances:
        return Circumstances(
            (*self.findings, (node, value)), self.assumed, self.population, self.age, self.sex
        )


class Interval(float):
    """A number of the tables with its bounds."""

    low: float
    high: float

    def __new__(cls, value: float, low: float, high: float) -> Interval:
        number = super().__new__(cls, value)
        number.low, number.high = low, high
        return number


@cache
def engine(population: str, assumed: tuple[tuple[str, float], ...] = ()) -> Engine:
    """Return the shipped engine of a population, some prevalences replaced."""
    if assumed:
        return engine(population).with_priors(dict(assumed))
    if population != "general_adult":
        return engine("general_adult").with_population(population)
    return Engine.default()


@cache
def diagnose(at: Circumstances) -> Diagnosis:
    return engine(at.population, at.assumed).diagnose(dict(at.findings), at.age, at.sex)


def _odds(probability: float) -> float:
    return probability / (1 - probability) if probability < 1 else math.inf


def _interval(row: Any, column: str) -> Interval:
    if row is None:
        return Interval(0.0, 0.0, 0.0)
    return Interval(getattr(row, column), row.low, row.high)


def _says(text: str | None, words: str) -> bool:
    return words.lower() in (text or "").lower()


class Quantities:
    """Everything that a check may compare."""

    def P(self, node: str, at: Circumstances) -> float:
        dx = diagnose(at)
        tables = dx.engine.knowledge
        if node in tables.findings:
            return math.exp(diagnose(at.observing(node, True)).log_evidence - dx.log_evidence)
        return dx.probability(node)

    def BF(self, node: str, at: Circumstances) -> float:
        return _odds(self.P(node, at)) / _odds(self.P(node, at.before()))

    def odds(self, node: str, rival: str, at: Circumstances) -> float:
        return _odds(self.P(node, at)) / _odds(self.P(rival, at))

    def rank(self, node: str, at: Circumstances) -> int:
        return 1 + list(diagnose(at).posterior.index).index(node)

    def rank_BF(self, node: str, at: Circumstances) -> int:
        return 1 + list(diagnose(at).bayes_factor.index).index(node)

    def explains(self, node: str, at: Circumstances) -> float:
        frame = diagnose(at).differential("disablement")
        return float(frame.set_index("cause")["disablement"][node])

    def rank_explains(self, node: str, at: Circumstances) -> int:
        return 1 + list(diagnose(at).differential("disablement")["cause"]).index(node)

    def row(self, finding: str, cause: str, at: Circumstances) -> Interval:
        rows = {(r.finding, r.cause): r for r in engine(at.population).knowledge.likelihoods}
        return _interval(rows.get((finding, cause)), "probability")

    def link(self, cause: str, given: str, at: Circumstances) -> Interval:
        rows = {(r.cause, r.given): r for r in engine(at.population).knowledge.links}
        return _interval(rows.get((cause, given)), "probability")

    def background(self, finding: str, at: Circumstances) -> Interval:
        return _interval(engine(at.population).knowledge.findings[finding], "background")

    def prior(self, cause: str, at: Circumstances) -> Interval:
        tables = engine(at.population).knowledge
        return _interval(tables.prior_row(at.population, cause, "any", "any"), "prevalence")

    def flag(self, name: str, at: Circumstances) -> bool:
        dx = diagnose(at)
        if name not in dx.engine.knowledge.red_flags:
            raise KeyError(f"red_flags.csv has no flag {name}")
        return name in {row.flag for row in dx.red_flags.patterns}

    def urgency(self, name: str, at: Circumstances) -> str:
        return engine(at.population).knowledge.red_flags[name].urgency

    def _advice(self, words: str, at: Circumstances, action: str) -> bool:
        rows = [row for row in work_up(diagnose(at)) if row.action == action]
        return any(_says(row.test, words) for row in rows)

    def orders(self, words: str, at: Circumstances) -> bool:
        return self._advice(words, at, "order")

    def avoids(self, words: str, at: Circumstances) -> bool:
        return self._advice(words, at, "avoid")

    def treats(self, cause: str, line: str, words: str, at: Circumstances) -> bool:
        return any(
            row.cause == cause
            and row.line == line
            and (_says(row.treatment, words) or _says(row.caveat, words))
            for row in engine(at.population).knowledge.management
        )

    def mentions(self, node: str, words: str, at: Circumstances) -> bool:
        tables = engine(at.population).knowledge
        row: Any = tables.causes.get(node) or tables.findings.get(node) or tables.red_flags[node]
        texts = (
            getattr(row, name, None)
            for name in ("name", "definition", "question", "note", "message")
        )
        return any(_says(text, words) for text in texts)

    def note(self, cause: str, given: str, words: str, at: Circumstances) -> bool:
        rows = engine(at.population).knowledge.links
        return any(
            (row.cause, row.given) == (cause, given) and _says(row.note, words) for row in rows
        )

    def seen(self, node: str, at: Circumstances) -> bool:
        return node in present_nodes(diagnose(at))

    def question(self, finding: str, at: Circumstances) -> int:
        return 1 + list(diagnose(at).next_questions().frame["finding"]).index(finding)

    def count_first(self, seriousness: str, n: int, at: Circumstances) -> int:
        frame = diagnose(at).differential("disablement").head(n)
        return int((frame["seriousness"] == seriousness).sum())

    def count_flags(self, urgency: str, at: Circumstances) -> int:
        return sum(row.urgency == urgency for row in diagnose(at).red_flags.patterns)

    def kind_of_question(self, n: int, at: Circumstances) -> str:
        return str(diagnose(at).next_questions().frame["kind"].iloc[n - 1])

    def fewest_rows(self, nature: str, at: Circumstances) -> int:
        tables = engine(at.population).knowledge
        used = Counter(row.cause for row in tables.likelihoods)
        used.update(name for row in tables.links for name in (row.cause, row.given))
        return min(used[c] for c, row in tables.causes.items() if row.nature == nature)

    def highest_row(self, cause: str, kind: str, at: Circumstances) -> float:
        tables = engine(at.population).knowledge
        return max(
            (
                row.probability
                for row in tables.likelihoods
                if row.cause == cause and tables.findings[row.finding].kind == kind
            ),
            default=0.0,
        )

    def reaches(self, cause: str, finding: str, at: Circumstances) -> bool:
        tables = engine(at.population).knowledge
        reached, new = {cause}, {cause}
        while new:
            new = {row.cause for row in tables.links if row.given in new} - reached
            reached |= new
        return any(r.finding == finding and r.cause in reached for r in tables.likelihoods)

    def exists(self, node: str, at: Circumstances) -> bool:
        tables = engine(at.population).knowledge
        return node in tables.causes or node in tables.findings

    def seriousness(self, cause: str, at: Circumstances) -> str:
        return engine(at.population).knowledge.causes[cause].seriousness

    def nature(self, cause: str, at: Circumstances) -> str:
        return engine(at.population).knowledge.causes[cause].nature


QUANTITIES = Quantities()
PLAIN = {"min": min, "max": max}


def parse(check: str) -> ast.expr:
    """Return the syntax tree of one check."""
    return ast.parse(check.replace("|", f", {BAR},"), mode="eval").body


def run(expectation: str) -> Iterator[Outcome]:
    """Run every check of an expectation."""
    for check in filter(None, (part.strip() for part in expectation.split(";"))):
        measured: list[tuple[str, object]] = []
        holds = _truth(parse(check), measured)
        yield Outcome(" ".join(check.split()), bool(holds), tuple(measured))


def _truth(tree: ast.expr, measured: list[tuple[str, object]]) -> bool:
    if isinstance(tree, ast.BoolOp):
        parts = [_truth(part, measured) for part in tree.values]
        return all(parts) if isinstance(tree.op, ast.And) else any(parts)
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.Not):
        return not _truth(tree.operand, measured)
    if isinstance(tree, ast.Compare):
        values = [_value(part) for part in (tree.left, *tree.comparators)]
        for part, value in zip((tree.left, *tree.comparators), values, strict=True):
            if not isinstance(part, ast.Constant):
                measured.append((_text(part), value))
        return all(
            COMPARE[type(op)](*pair) for op, pair in zip(tree.ops, pairwise(values), strict=True)
        )
    value = _value(tree)
    measured.append((_text(tree), value))
    if not isinstance(value, bool):
        raise ValueError(f"{_text(tree)} is neither true nor false: compare it with something")
    return value


def _text(tree: ast.expr) -> str:
    return ast.unparse(tree).replace(f", {BAR}, ", " | ")


def _value(tree: ast.expr) -> Any:
    if isinstance(tree, ast.Constant):
        return tree.value
    if isinstance(tree, ast.Name):
        return tree.id
    if isinstance(tree, ast.Attribute):
        return getattr(_value(tree.value), tree.attr)
    if isinstance(tree, ast.BinOp):
        return ARITHMETIC[type(tree.op)](_value(tree.left), _value(tree.right))
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
        if tree.func.id in PLAIN:
            return PLAIN[tree.func.id](_value(part) for part in tree.args)
        quantity = getattr(QUANTITIES, tree.func.id)
        bars = [k for k, part in enumerate(tree.args) if _text(part) == BAR]
        end = bars[0] if bars else len(tree.args)
        return quantity(*map(_value, tree.args[:end]), _circumstances(tree, end + 1))
    raise ValueError(f"cannot read {ast.unparse(tree)}")


def _circumstances(call: ast.Call, start: int) -> Circumstances:
    findings: list[tuple[str, object]] = []
    assumed: list[tuple[str, float]] = []
    for part in call.args[start:]:
        if isinstance(part, ast.UnaryOp) and isinstance(part.op, ast.Not):
            findings.append((_value(part.operand), False))
        elif isinstance(part, ast.Call):
            cause, prevalence = map(_value, part.args)
            assumed.append((cause, float(prevalence)))
        else:
            findings.append((_value(part), True))
    given = {word.arg: _value(word.value) for word in call.keywords if word.arg is not None}
    who = {name: given.pop(name) for name in WHO if name in given}
    return Circumstances((*findings, *given.items()), tuple(assumed), **who)
