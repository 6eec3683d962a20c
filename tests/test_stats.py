"""Statistics against numbers worked by hand, against scipy, and against the coverage they promise."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from pzlib.stats import bootstrap_ci, clustered_ci, paired_test, pass_at_k, stratified_t, wilson

finite = st.floats(-1e6, 1e6)


@pytest.mark.parametrize(
    ("n", "c", "k", "chance"),
    [
        (8, 0, 8, 0.0),
        (8, 8, 1, 1.0),
        (8, 1, 8, 1.0),
        (8, 3, 1, 3 / 8),
        (5, 2, 2, 0.7),  # 10 pairs, 3 of them from the 3 wrong ones
        (10, 2, 5, 7 / 9),  # C(8,5) / C(10,5) = 56 / 252 = 2/9
        (1000, 1, 100, 0.1),
        (10_000, 9_000, 2_000, 1.0),  # more drawn than are wrong
    ],
)
def test_pass_at_k_by_hand(n, c, k, chance):
    assert pass_at_k(n, c, k) == pytest.approx(chance)
    assert pass_at_k(np.int64(n), np.int64(c), np.int64(k)) == pytest.approx(chance)


@given(st.integers(1, 7).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_all_subsets(case):
    n, c, k = case
    subsets = list(itertools.combinations([True] * c + [False] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(any(s) for s in subsets) / len(subsets))


@pytest.mark.parametrize(("n", "c", "k", "name"), [(4, 5, 1, "c"), (4, -1, 1, "c"), (4, 2, 5, "k"), (4, 2, 0, "k")])
def test_pass_at_k_refuses_the_impossible(n, c, k, name):
    with pytest.raises(ValueError, match=f"^{name}: "):
        pass_at_k(n, c, k)


@given(st.lists(finite, min_size=1, max_size=30), st.integers(0, 3))
def test_bootstrap_interval_holds_the_mean_and_stays_in_range(values, seed):
    low, high = bootstrap_ci(values, n=2000, seed=seed)
    slack = 1e-9 * max(map(abs, values))
    assert min(values) <= low <= high <= max(values)
    assert low - slack <= sum(values) / len(values) <= high + slack
    assert (low, high) == bootstrap_ci(values, n=2000, seed=seed)


def test_bootstrap_interval_of_equal_values_has_no_width():
    assert bootstrap_ci([0.1] * 7) == (0.1, 0.1)
    assert bootstrap_ci([3]) == (3.0, 3.0)


def test_bootstrap_interval_narrows_with_values_and_widens_with_level():
    rng = np.random.default_rng(0)
    many = rng.normal(size=400)

    def width(values, **kw):
        low, high = bootstrap_ci(values, **kw)
        return high - low

    assert width(many) == pytest.approx(2 * 1.96 * many.std(ddof=1) / 20, rel=0.05)
    assert width(many) < width(many[:100]) < width(many[:25])
    assert width(many, level=0.8) < width(many, level=0.95) < width(many, level=0.99)


def test_bootstrap_interval_of_five_values_by_all_resamples():
    # The tail is Phi(-sqrt(5/4) * 2.7764) = Phi(-3.1042) = 0.000954; t = 2.7764 at 4 degrees of freedom.
    values = [0.0, 0.31, 1.07, 2.03, 9.7]
    means = np.mean(list(itertools.product(values, repeat=5)), axis=1)
    expected = np.quantile(means, [0.000954, 1 - 0.000954])
    assert bootstrap_ci(values, n=400_000) == pytest.approx(expected, abs=0.02)
    assert np.quantile(means, 0.975) < 0.8 * expected[1]  # what a plain percentile would have said


def test_bootstrap_interval_of_many_values_is_scipys():
    values = np.random.default_rng(1).exponential(size=300)
    theirs = scipy_stats.bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(0))
    assert bootstrap_ci(values) == pytest.approx(tuple(theirs.confidence_interval), abs=0.02)


@pytest.mark.parametrize(("m", "least"), [(5, 0.90), (20, 0.93)])
def test_bootstrap_interval_covers_what_it_promises(m, least):
    # Five seeds are what our studies have. A plain percentile interval would cover only about 0.83 there.
    rng = np.random.default_rng(2)
    hits = 0
    for seed in range(400):
        low, high = bootstrap_ci(rng.normal(size=m), n=1000, seed=seed)
        hits += low <= 0 <= high
    assert least < hits / 400 < 0.98


def test_bootstrap_works_in_blocks():
    values = np.random.default_rng(3).normal(size=300_000)  # 6 resamples a block, not 200 at once
    low, high = bootstrap_ci(values, n=200)
    assert low < values.mean() < high and high - low == pytest.approx(2 * 1.96 / math.sqrt(300_000), rel=0.3)


@pytest.mark.parametrize(
    ("values", "settings", "name"),
    [
        ([], {}, "values"),
        ([1.0, math.nan], {}, "values"),
        ([1.0, math.inf], {}, "values"),
        ([[1.0, 2.0]], {}, "values"),
        ([1.0, 2.0], {"level": 95}, "level"),
        ([1.0, 2.0], {"n": 0}, "n"),
    ],
)
def test_bootstrap_refuses_what_has_no_interval(values, settings, name):
    with pytest.raises(ValueError, match=f"^{name}: "):
        bootstrap_ci(values, **settings)


def test_paired_test_by_hand():
    # Differences 1, 2, -1: the 8 sign patterns sum to 4, 2, 2, 0 and their negatives; 2 was seen: 6 of 8.
    result = paired_test([2.0, 4.0, 0.0], [1.0, 2.0, 1.0])
    assert result["difference"] == pytest.approx(2 / 3) and result["p"] == 6 / 8 and result["n"] == 3
    low, high = result["interval"]
    assert -1 <= low <= 2 / 3 <= high <= 2
    assert paired_test([1, 2, 3, 4, 5], [0, 0, 0, 0, 0])["p"] == 2 / 32  # the least that five pairs can give
    # Summed in another order, the same five differences come out one bit apart; all of one sign, so 2 of 32.
    assert paired_test([0.3, 0.6, 0.6, 0.6, 0.8], np.zeros(5))["p"] == 2 / 32
    assert paired_test([1, 2], [1, 2])["p"] == 1.0
    assert paired_test([0.1, 0.2, 0.3], [0.0, 0.1, 0.2])["p"] == 2 / 8  # equal up to rounding


def test_paired_test_at_random_agrees_with_all_patterns():
    rng = np.random.default_rng(4)
    a, b = rng.normal(0.6, 1, 17), np.zeros(17)  # the first size that is sampled
    signs = np.array(list(itertools.product([1, -1], repeat=17)))
    exact = (np.abs(signs @ a) >= abs(a.sum()) - 1e-9).mean()
    result = paired_test(a, b, n=20_000)
    assert result["p"] == pytest.approx(exact, abs=0.01)
    assert result == paired_test(a, b, n=20_000)
    assert paired_test(np.ones(40), np.zeros(40))["p"] == 1 / 10_001  # never 0


@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=8))
def test_paired_test_is_symmetric(pairs):
    a, b = zip(*pairs, strict=True)
    one, other = paired_test(a, b, n=500), paired_test(b, a, n=500)
    assert one["difference"] == -other["difference"]
    assert one["p"] == other["p"] and 0 < one["p"] <= 1


def test_paired_test_refuses_other_seeds():
    with pytest.raises(ValueError, match="b: has 2 values, a has 3"):
        paired_test([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="^a: "):
        paired_test([], [])
    with pytest.raises(ValueError, match="^b: "):
        paired_test([1.0], [math.nan])


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_wilson_is_scipys(case, level):
    c, n = case
    low, high = wilson(c, n, level)
    theirs = scipy_stats.binomtest(c, n).proportion_ci(level, method="wilson")
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    assert 0 <= low <= c / n <= high <= 1


def test_wilson_by_hand_and_at_the_ends():
    # No hit in n: the upper end is z^2 / (n + z^2).
    z2 = 1.959964**2
    assert wilson(0, 10) == pytest.approx((0.0, z2 / (10 + z2)), abs=1e-6)
    assert wilson(10, 10) == pytest.approx((10 / (10 + z2), 1.0), abs=1e-6)
    for c, n, level in [(1, 0, 0.95), (3, 2, 0.95), (-1, 2, 0.95), (1, 2, 95)]:
        with pytest.raises(ValueError):
            wilson(c, n, level)


def test_clustered_interval_by_hand():
    # Four pairs that agree: sums of residuals +-1, var = 4/3 * 4 / 64 = 1/12, so 1/4 / (1/12) = 3 effective questions,
    # and Wilson's interval at 3 with t = 3.1824 (3 degrees of freedom) is 0.5 -+ 0.4392.
    low, high = clustered_ci([1, 1, 1, 1, 0, 0, 0, 0], clusters="aabbccdd")
    assert (low, high) == (pytest.approx(0.0608, abs=1e-4), pytest.approx(0.9392, abs=1e-4))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=40), st.data())
def test_clustered_interval_holds_the_mean_and_stays_in_range(values, data):
    clusters = data.draw(st.lists(st.integers(0, 5), min_size=len(values), max_size=len(values)))
    low, high = clustered_ci(values, clusters)
    assert 0 <= low <= np.mean(values) + 1e-9 and np.mean(values) - 1e-9 <= high <= 1
    alone = clustered_ci(values)
    assert low <= alone[0] + 1e-9 and alone[1] - 1e-9 <= high  # what shares a source never knows more
    assert clustered_ci(values, [f"c{label}" for label in clusters]) == (low, high)


def test_clustered_interval_where_all_are_equal():
    assert clustered_ci([0] * 30)[0] == 0 and 0.1 < clustered_ci([0] * 30)[1] < 0.13  # Wilson, with t at 29 degrees
    assert clustered_ci([1] * 30)[1] == 1
    low, high = clustered_ci([0.5] * 30)
    assert low == pytest.approx(1 - high) and 0.3 < low < 0.35  # thirty questions, each half right: no certainty
    assert clustered_ci([1, 0, 1], clusters=["a", "a", "a"]) == (0.0, 1.0)


def test_clustered_interval_covers_the_truth_where_a_plain_one_does_not():
    rng = np.random.default_rng(0)
    covered = np.zeros(2)
    for _ in range(400):
        chances = rng.beta(2, 2, size=20)  # of 20 sources with 20 questions each; 0.5 in the mean
        hits = rng.random((20, 20)) < chances[:, None]
        intervals = clustered_ci(hits.ravel(), np.repeat(np.arange(20), 20)), wilson(int(hits.sum()), 400)
        covered += [low <= 0.5 <= high for low, high in intervals]
    assert 0.92 <= covered[0] / 400 <= 0.98
    assert covered[1] / 400 < 0.75


@pytest.mark.parametrize(
    ("values", "clusters", "said"),
    [([], None, "values"), ([2.0], None, "values: holds a score"), ([1, 0], ["a"], "clusters: 1 of them for 2")],
)
def test_clustered_interval_refuses(values, clusters, said):
    with pytest.raises(ValueError, match=said):
        clustered_ci(values, clusters)


def test_runs_of_one_base_without_error_are_tested_as_pairs():
    found, plain = stratified_t([1.0, 2.0, 4.0]), scipy_stats.ttest_1samp([1.0, 2.0, 4.0], 0)
    assert found["interval"] == pytest.approx(plain.confidence_interval()) and found["p"] == pytest.approx(plain.pvalue)
    assert (found["difference"], found["n"], found["df"]) == (pytest.approx(7 / 3), 3, 2)


def test_two_bases_and_their_errors_by_hand():
    """Within a base the spread is 1 (s² = 1); means 2 and 6; errors 0.5 and 0: variance (1/3 + 1/3 + 1/4) / 4."""
    found = stratified_t([1.0, 2.0, 3.0, 5.0, 6.0, 7.0], list("aaabbb"), [0.5] * 3 + [0.0] * 3)
    variance, between = (2 / 3 + 1 / 4) / 4, (2 / 3) / 4
    assert found["difference"] == 4 and found["df"] == pytest.approx(4 * (variance / between) ** 2)
    half = scipy_stats.t.ppf(0.975, found["df"]) * math.sqrt(variance)
    assert found["interval"] == pytest.approx((4 - half, 4 + half))
    assert found["p"] == pytest.approx(2 * scipy_stats.t.sf(4 / math.sqrt(variance), found["df"]))


@pytest.mark.parametrize(("n", "error"), [(5, 0.0), (5, 0.5), (10, 1.0)])
def test_intervals_against_a_sampled_base_cover_the_truth_where_those_that_take_it_as_exact_do_not(n, error):
    rng, held, taken, strata = np.random.default_rng(0), 0, 0, ["a"] * n + ["b"] * n
    for _ in range(1000):
        bases = np.repeat(rng.normal(0, error, 2), n)  # what sampling made of the score of each base
        points = rng.normal(1, 1, 2 * n) - bases
        for errors in ([error] * 2 * n, None):
            low, high = stratified_t(points, strata, errors)["interval"]
            held, taken = held + bool(errors and low <= 1 <= high), taken + (errors is None and low <= 1 <= high)
    assert 930 <= held <= 975
    assert error == 0 or taken < 920


@pytest.mark.parametrize(
    ("values", "strata", "errors", "said"),
    [
        ([1.0, 2.0], "abc", None, "strata: 3 of them"),
        ([1.0, 2.0], "ab", None, "differences: no two are of one base"),
        ([1.0, 2.0], "aa", [0.1, 0.2], "errors: differ within a base"),
        ([1.0, 2.0], "aa", [0.1], "strata: 2 of them and 1 errors"),
    ],
)
def test_a_test_over_bases_refuses(values, strata, errors, said):
    with pytest.raises(ValueError, match=said):
        stratified_t(values, strata, errors)
