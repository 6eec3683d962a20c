"""The scaling law: found again where it is known, open where data say nothing, refused where none can be fitted."""

import math

import numpy as np
import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st

from pzlib.studies.powerlaw import PowerLaw, along_compute, fit, laws, laws_table, next_token_accuracy, words

SIX = np.array([100, 200, 400, 800, 1000, 1200]) * 1e18  # RPT's checkpoints, at some compute a step


@settings(max_examples=30)
@given(st.floats(0.05, 3), st.floats(-30, 30).filter(lambda a: abs(a) > 0.1), st.floats(-50, 90), st.floats(1e-3, 1e21))
def test_a_law_without_noise_is_found_whatever_its_units(alpha, rise, limit, unit):
    values = limit + rise * np.array([1, 2, 4, 8, 16, 32.0]) ** -alpha
    law = fit(unit * np.array([1, 2, 4, 8, 16, 32.0]), values)
    assert law.alpha == pytest.approx(alpha, rel=1e-2)
    assert law.limit == pytest.approx(limit, abs=0.02 * abs(rise) / alpha)
    assert law.r2 == pytest.approx(1, abs=1e-6)
    assert law.predict(law.computes) == pytest.approx(values, abs=1e-3 * abs(rise))


def test_it_is_the_least_squares_curve_of_scipy():
    from scipy.optimize import curve_fit

    rng = np.random.default_rng(3)
    compute = np.geomspace(1, 50, 9)
    values = 45 - 20 * compute**-0.6 + rng.normal(0, 0.4, 9)
    theirs, _ = curve_fit(lambda c, a, alpha, limit: a * c**-alpha + limit, compute, values, p0=(-15, 0.5, 40))
    law = fit(compute, values)
    assert (law.scale, law.alpha, law.limit) == pytest.approx(theirs, rel=1e-3)
    residuals = values - law.predict(compute)
    assert law.r2 == pytest.approx(1 - residuals.var() / values.var()) and law.r2_log < law.r2
    assert law.decades == pytest.approx(math.log10(50))


def test_intervals_hold_what_they_are_to_hold_about_as_often_as_they_say():
    rng, held = np.random.default_rng(0), {"scale": 0, "alpha": 0, "limit": 0}
    truth, compute = {"scale": -20.0, "alpha": 0.5, "limit": 45.0}, np.geomspace(1, 100, 9)
    for _ in range(100):
        law = fit(compute, 45 - 20 * compute**-0.5 + rng.normal(0, 0.5, 9))
        for name, (low, high) in law.intervals.items():
            assert low <= getattr(law, name) <= high
            held[name] += low <= truth[name] <= high
    assert all(86 <= count <= 100 for count in held.values()), held


def test_a_logarithm_has_no_limit_and_a_step_has_no_rate():
    rng = np.random.default_rng(1)
    law = fit(SIX, 3 * np.log(SIX) + rng.normal(0, 0.3, 6))
    assert law.intervals["alpha"][0] == 0 and law.intervals["limit"] == (-math.inf, math.inf)
    assert "No limit P* can be read off" in words(law)
    step = fit(SIX, [10, 30, 30.1, 29.9, 30, 30.1])
    assert step.intervals["alpha"][1] == math.inf and step.intervals["scale"] == (-math.inf, math.inf)
    assert step.intervals["limit"] == pytest.approx((30, 30), abs=0.5)


def test_the_words_say_how_far_the_range_carries():
    law = fit(SIX, 45 - 20 * (SIX / 1e20) ** -0.5)
    assert law.decades == pytest.approx(math.log10(12))
    said = words(law)
    assert said.startswith("6 points over 1.1 decades (1.0e+20 to 1.2e+21 FLOPs): alpha 0.5 [0.5 to 0.5], R² 1.000;")
    assert "The limit P* is 45.0 [45.0, 45.0], if the law holds." in said and "Less than two decades" in said
    wide = fit(np.geomspace(1, 1e3, 8), 45 - 20 * np.geomspace(1, 1e3, 8) ** -0.5)
    assert "Beyond 1.0e+03 FLOPs it is a guess." in words(wide)
    falling = fit(SIX, 20 + 20 * (SIX / 1e20) ** -0.5)
    assert "The values fall with compute." in words(falling) and falling.scale > 0
    loose = PowerLaw(-1.0, 0.5, 40.0, 0.9, 0.9, {"alpha": (0.1, 2.0), "limit": (30.0, 60.0)}, (1.0, 9.0), (30.0, 35.0))
    assert "lies anywhere in [30.0, 60.0], wider than all that was seen to change" in words(loose)


@pytest.mark.parametrize(
    ("computes", "values", "said"),
    [
        ([1, 2, 3], [1, 2, 3, 4], "values: (4,) of them for (3,) computes"),
        ([0, 1, 2, 3], [1, 2, 3, 4], "computes: one is 0, negative or not finite"),
        ([1, 2, 3, math.nan], [1, 2, 3, 4], "computes: one is 0, negative or not finite"),
        ([1, 2, 3, 3], [1, 2, 3, 4], "computes: 3 different ones are too few"),
        ([1, 2, 3, 4], [5, 5, 5, 5], "values: are all equal"),
    ],
)
def test_what_cannot_be_fitted_is_refused_in_words(computes, values, said):
    with pytest.raises(ValueError) as error:
        fit(computes, values)
    assert str(error.value).startswith(said)


def test_accuracy_and_compute_by_hand():
    tinybench, training, runs = synthetic.next_tokens(seeds=1)
    table = next_token_accuracy(tinybench)
    assert len(table) == 2 * len(synthetic.STEPS) * 6 and set(table["split"]) == {"easy", "medium", "hard"}
    one = along_compute(tinybench, training, runs).query("arm == 'rpt' and step == 50 and split == 'hard'")
    right = {"reasoning": 30 - 20 / np.sqrt(50), "outright": 20}
    assert one.set_index("way")["accuracy"].to_dict() == pytest.approx(right)
    assert set(one["flops"]) == {8 * 1000 * 100 * 50}  # 8 for each of 1000 weights and of 100 tokens in 50 steps


def test_laws_are_fitted_to_the_means_of_an_arm_and_split():
    found = laws(along_compute(*synthetic.next_tokens()))
    assert list(found) == [(arm, split) for arm in synthetic.RPT for split in ("easy", "medium", "hard")]
    law = found["rpt", "medium"]
    assert law.alpha == pytest.approx(0.5, rel=1e-3) and law.limit == pytest.approx(41, abs=0.01)  # seeds' mean: + 1
    assert law.scale == pytest.approx(-20 * np.sqrt(8e5), rel=1e-2) and len(law.computes) == 6
    row = laws_table(found).iloc[1]
    assert (row["arm"], row["split"], row["points"]) == ("rpt", "medium", 6) and row["R²"] > 0.999
    assert row["limit, low"] <= row["limit"] <= row["limit, high"]
    assert laws(along_compute(*synthetic.next_tokens(steps=(0, 12)))) == {}  # smoke: before and after only
    assert laws_table({}).empty
