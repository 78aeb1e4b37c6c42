"""Prior sets, comparisons and distributions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from sensitivity_examples import CASES, coffee
from twitchdx import sensitivity
from twitchdx.errors import EvidenceError, PriorSetError, WidthError
from twitchdx.inference import exact
from twitchdx.sensitivity import Change, PriorSet
from twitchdx.sensitivity.draws import draw_numbers, plan_case, uncertain_rows

TOML = """\
name = "worn"
reason = "Old machines"
reference = "Own count"
{tables}
[[change]]
cause = "pump_worn"
prevalence = 0.3
low = 0.2
high = 0.4

[[change]]
cause = "limescale"
age_band = "5+"
sex = "male"
prevalence = 0.5

[[change]]
cause = "limescale"
given = "hard_water"
probability = 0.5

[[change]]
finding = "dripping"
cause = "limescale"
probability = 0.45

[[change]]
finding = "cold"
background = 0.03
"""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "worn.toml"
    file.write_text(TOML.format(tables=f'tables = "{coffee().knowledge.digest}"'))
    return file


def test_a_prior_set_of_prevalences_alone_equals_with_priors():
    engine = coffee()
    one = engine.with_priors(
        PriorSet("a", "b", "c", (Change(0.3, "pump_worn"), Change(0.5, "hard_water")))
    )
    other = engine.with_priors({"pump_worn": 0.3, "hard_water": 0.5})
    for mine, theirs in zip(one.networks, other.networks, strict=True):
        np.testing.assert_array_equal(mine.prior, theirs.prior)


def test_a_prior_set_meets_every_number(path):
    engine = coffee().with_priors(path)
    prior = engine.prior(30, "male")
    assert prior["limescale"] == pytest.approx(0.5, abs=1e-12)
    assert prior["pump_worn"] == pytest.approx(0.3, abs=1e-12)
    women = engine.prior(30, "female")["limescale"]
    assert women > coffee().prior(30, "female")["limescale"]  # the link alone was raised
    keys = {row.key: row for row in engine.model.parameters}
    assert keys["prior:office:pump_worn:any:any"].low == 0.2
    assert keys["prior:office:limescale:male:5+"].grade == "prior set"
    assert keys["likelihood:limescale:dripping"].value == 0.45
    assert keys["background:cold:any:any"].value == 0.03
    # the strata are covered once each
    for cause in ("pump_worn", "limescale"):
        strata = [
            t.stratum
            for row in keys.values()
            for t in row.targets
            if row.kind == "prior" and row.cause == cause
        ]
        assert sorted(strata) == [0, 1, 2, 3]


def test_sensitivity_of_an_engine_with_a_prior_set_agrees_with_rerunning(path):
    dx = coffee().with_priors(path).diagnose(*CASES[0])
    frame = sensitivity.tornado(dx, "limescale", together=False).frame
    for row in frame.itertuples():
        again = dx.engine.with_parameters({row.parameter: row.high}).diagnose_case(dx.case)
        assert row.posterior_high == pytest.approx(again.posterior["limescale"], abs=1e-10)


def test_round_trip_through_toml_and_csv(path, tmp_path):
    read = sensitivity.read_prior_set(path)
    again = tmp_path / "again.toml"
    again.write_text(read.to_toml())
    assert sensitivity.read_prior_set(again) == read
    table = tmp_path / "set.csv"
    table.write_text(
        "# name: worn\n# reason: Old machines\n# reference: Own count\n"
        "cause,given,finding,sex,age_band,value,low,high\n"
        "pump_worn,,,,,0.3,0.2,0.4\nlimescale,,,male,5+,0.5,,\n"
        "limescale,hard_water,,,,0.5,,\nlimescale,,dripping,,,0.45,,\n,,cold,,,0.03,,\n"
    )
    assert sensitivity.read_prior_set(table) == dataclasses.replace(read, tables="")


def test_other_tables_are_warned_of(tmp_path):
    file = tmp_path / "old.toml"
    file.write_text(TOML.format(tables='tables = "0123456789abcdef"'))
    with pytest.warns(sensitivity.PriorSetWarning, match="other tables"):
        coffee().with_priors(file)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "worn"', "", "has no name"),
        ("prevalence = 0.3", "", "one number"),
        ("prevalence = 0.3", "prevalence = 0.3\nprobability = 0.2", "one number"),
        ("prevalence = 0.3", 'prevalence = "lots"', "no number"),
        ("low = 0.2", "low = 0.35", "does not hold"),
        ('cause = "pump_worn"', 'cause = "pump_wrn"', "did you mean pump_worn"),
        ('cause = "pump_worn"', 'because = "pump_worn"', "unknown entry 'because'"),
        ("background = 0.03", "probability = 0.03", "its background"),
        ('age_band = "5+"', 'age_band = "90+"', "no stratum"),
        ("[[change]]", "[change]", "no valid TOML"),
    ],
)
def test_a_spoilt_prior_set_says_what_is_wrong(tmp_path, old, new, message):
    text = TOML.format(tables="")
    assert old in text
    file = tmp_path / "spoilt.toml"
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(PriorSetError, match=message):
        coffee().with_priors(file)
    with pytest.raises(PriorSetError):
        coffee().with_priors(tmp_path / "missing.toml")


CSV_SET = (
    "# name: worn\n# reason: Old machines\n# reference: Own count\n\n"
    "cause,given,value\npump_worn,,0.3\nlimescale,hard_water,0.5\n"
)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pump_worn,,0.3", "pump_worn,,lots", "line 6, column value: 'lots' is no number"),
        ("pump_worn,,0.3", "pump_worn,,0.3,0.4", "line 6: 4 cells where the header has 3"),
        ("pump_worn,,0.3", "pump_worn,", "line 6: 2 cells where the header has 3"),
        ("limescale,hard_water,0.5", "limescale,hard_water,1.5", "line 7: .*does not hold"),
        ("cause,given,value", "cause,givn,value", "line 5: unknown column 'givn'.*given"),
        ("cause,given,value", "cause,given,cause", "line 5: two columns are named 'cause'"),
    ],
)
def test_a_spoilt_csv_set_names_file_line_and_column(tmp_path, old, new, message):
    file = tmp_path / "set.csv"
    file.write_text(CSV_SET)
    assert len(sensitivity.read_prior_set(file).changes) == 2
    file.write_text(CSV_SET.replace(old, new))
    with pytest.raises(PriorSetError, match=message) as caught:
        sensitivity.read_prior_set(file)
    assert str(file) in str(caught.value)


def test_a_new_prior_set_changes_nothing():
    engine = coffee()
    again = engine.with_priors(sensitivity.new_prior_set(engine, ["limescale", "grinder_blunt"]))
    for mine, theirs in zip(again.networks, engine.networks, strict=True):
        np.testing.assert_allclose(mine.prior, theirs.prior, atol=1e-12)


def test_compare(path):
    dx = coffee().diagnose(*CASES[1])
    result = sensitivity.compare(dx, "repair_shop", path, {"pump_worn": 0.5})
    table = result.table()
    assert list(table.columns) == ["office", "repair_shop", "worn", "pump_worn=0.5"]
    shop = coffee("repair_shop").diagnose(*CASES[1])
    assert table.loc["pump_worn", "repair_shop"] == pytest.approx(shop.posterior["pump_worn"])
    assert result.frame.groupby("priors")["leading"].sum().eq(1).all()


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        (0.3, 0.2, 0.42),
        (1e-6, 3.1e-7, 3.2e-6),
        (0.999, 0.99, 0.9999),
        (0.05, 0.001, 0.4),
        (0.5, 0.4999, 0.5001),
    ],
)
def test_beta_fits_the_interval(value, low, high):
    beta = sensitivity.fit_beta(value, low, high)
    ends = stats.beta(beta.a, beta.b).ppf([0.025, 0.975])
    wanted = np.array([low, high])
    gap = np.abs(stats.logistic.ppf(ends) - stats.logistic.ppf(wanted))
    width = np.ptp(stats.logistic.ppf(wanted))
    assert gap.max() < 0.1 * width
    z = np.array([-3.0, -1.0, 0.0, 2.5])
    expected = stats.beta(beta.a, beta.b).ppf(stats.norm.cdf(z))
    np.testing.assert_allclose(beta.at_normal(z), expected, rtol=1e-3)


def test_a_number_without_width_does_not_vary():
    assert (sensitivity.fit_beta(0.3, 0.3, 0.3).at_normal(np.array([-2.0, 2.0])) == 0.3).all()


@pytest.fixture(params=range(len(CASES)))
def dx(request):
    return coffee().diagnose(*CASES[request.param])


def test_each_draw_agrees_with_running_the_engine(dx):
    rows = uncertain_rows(dx)
    numbers = draw_numbers(rows, 20, seed=1)
    answers = plan_case(dx, rows).posteriors(numbers)
    causes = dx.engine.networks[0].causes
    for draw in range(20):
        again = dx.engine.with_parameters(
            {row: float(x) for row, x in zip(rows, numbers[draw], strict=True)}
        ).diagnose_case(dx.case)
        mine = answers.posterior[draw][dx.engine.reported]
        theirs = again.probabilities[dx.engine.reported]
        np.testing.assert_allclose(mine, theirs, atol=1e-12)
        assert answers.log_evidence[draw] == pytest.approx(again.log_evidence, abs=1e-10)
    assert len(causes) == answers.posterior.shape[1]


def test_rows_that_are_left_out_do_not_matter(dx):
    used = set(uncertain_rows(dx))
    other = {
        row: row.high
        for row in dx.engine.model.parameters
        if row not in used
        and row.low < row.high
        and not (row.kind == "prior" and any(row.cause == u.cause for u in used))
    }
    again = dx.engine.with_parameters(other).diagnose_case(dx.case)
    np.testing.assert_allclose(again.probabilities, dx.probabilities, atol=1e-12)


def test_probabilistic_is_the_same_for_any_threads_and_near_the_base(dx):
    result = sensitivity.probabilistic(dx, draws=2000, seed=7)
    again = sensitivity.probabilistic(dx, draws=2000, seed=7, threads=2)
    np.testing.assert_array_equal(result.samples, again.samples)
    frame = result.frame.set_index("cause")
    assert (frame["low"] <= frame["median"]).all()
    assert (frame["median"] <= frame["high"]).all()
    ranked = result.ranks
    np.testing.assert_allclose(ranked.sum(axis=0), 1)
    np.testing.assert_allclose(ranked.sum(axis=1), 1)
    assert result.leading_unchanged[0] == pytest.approx(ranked.loc[result.leading, 1])
    narrow = sensitivity.probabilistic(dx, "pump_worn", draws=200, seed=7).frame.set_index("cause")
    assert (narrow["high"] - narrow["low"] <= frame["high"] - frame["low"] + 0.02).all()


def test_standard_errors_tell_the_scatter_between_seeds():
    dx = coffee().diagnose(*CASES[1])
    runs = [sensitivity.probabilistic(dx, draws=500, seed=s) for s in range(12)]
    means = np.array([r.frame.set_index("cause").loc["limescale", "mean"] for r in runs])
    errors = np.array([r.frame.set_index("cause").loc["limescale", "se_mean"] for r in runs])
    assert 0.4 < means.std(ddof=1) / errors.mean() < 2.2


def test_the_same_quantity_has_the_same_quantile_in_every_case_and_population():
    one, other = (coffee(p).diagnose(*CASES[1]) for p in ("office", "repair_shop"))
    rows = [uncertain_rows(dx, "pump_worn") for dx in (one, other)]
    drawn = [draw_numbers(r, 200, seed=3)[:, 0] for r in rows]
    assert rows[0][0].value != rows[1][0].value
    np.testing.assert_array_equal(np.argsort(drawn[0]), np.argsort(drawn[1]))


def test_draws_come_in_batches():
    with pytest.raises(EvidenceError, match="multiple of 10"):
        sensitivity.probabilistic(coffee().diagnose(*CASES[0]), draws=15)


def test_differential_with_intervals():
    frame = coffee().diagnose(*CASES[0]).differential(intervals=True)
    assert (frame["low"] <= frame["high"]).all()


def test_intervals_of_a_case_that_had_to_be_sampled_are_blank_and_say_why(monkeypatch):
    monkeypatch.setattr(exact, "most_states", 2)
    dx = coffee().diagnose(*CASES[0])
    assert dx.method == "sampled"
    frame = dx.differential(intervals=True)
    assert frame[["low", "high"]].isna().all(axis=None)
    assert frame["posterior"].notna().all()
    with pytest.raises(WidthError, match=r"width \d+, more than 2 states; leave out"):
        sensitivity.posterior_intervals(dx)
