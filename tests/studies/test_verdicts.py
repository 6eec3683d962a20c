"""The rules of judging against numbers worked by hand, and what is measured over a whole study."""

import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, ttest_1samp
from synthetic import bins, curve

from pzlib.stats import stratified_t
from pzlib.studies.claims import verdicts
from pzlib.studies.claims.verdicts import METRICS


def test_every_metric_has_a_margin_with_its_reason():
    table = verdicts.margins()
    assert sorted(", ".join(table["metrics"]).split(", ")) == sorted(", ".join(METRICS).split(", "))
    assert table["why"].str.len().min() > 10
    assert {verdicts.margin_of(name, 40.0) for name in ("overall", "general", "math", "spans", "setback")} == {2}
    assert verdicts.margin_of("dead_groups", 90.0) == 5 and verdicts.margin_of("entropy", 0.6) == pytest.approx(0.3)
    assert "2 points of accuracy" not in verdicts.RULE and str(verdicts.LEAST_PAIRS) in verdicts.RULE


def test_two_one_sided_tests_are_those_of_scipy():
    values = np.array([0.4, 1.1, -0.3, 0.9, 0.2])
    test = stratified_t(values)
    above, below = verdicts.within(test["difference"], test["interval"], test["df"], 2)
    assert above == pytest.approx(ttest_1samp(values, -2, alternative="greater").pvalue)
    assert below == pytest.approx(ttest_1samp(values, 2, alternative="less").pvalue)
    assert verdicts.within(1.0, (1.0, 1.0), 4, 2) == (0.0, 0.0)  # no spread at all
    assert verdicts.within(2.0, (2.0, 2.0), 4, 2) == (0.0, 1.0)
    with pytest.raises(ValueError, match="margin: 0 must be above 0"):
        verdicts.within(1.0, (0.0, 2.0), 4, 0)


@pytest.mark.parametrize(
    ("direction", "effect", "p", "p_margin", "word"),
    [
        ("=", 1.5, 0.001, 0.3, "inconclusive"),  # surely not nothing, but perhaps within the margin
        ("=", 2.5, 0.001, 0.9, "contradicted"),
        ("=", 0.5, 0.001, 0.001, "reproduced"),  # within it, whatever the other test says
        (">=", -1.5, 0.001, 0.3, "inconclusive"),
        (">=", -2.5, 0.001, 0.9, "contradicted"),
        (">=", 2.5, 0.001, 0.001, "reproduced"),
        ("<=", 2.5, 0.001, 0.9, "contradicted"),
        ("<=", 2.5, 0.200, 0.9, "inconclusive"),
    ],
)
def test_what_is_claimed_to_be_equal_or_not_beyond(direction, effect, p, p_margin, word):
    row = {"paper": "rlp", "direction": direction, "effect": effect, "margin": 2.0, "p": p, "p_margin": p_margin}
    row |= {"p_along": math.nan, "effect_along": math.nan, "spread": 1.0, "shared": 0.0, "signs": True, "failed": ""}
    assert verdicts.judge(pd.DataFrame([row]), "mini")["verdict"].tolist() == [f"{word} at mini"]


@pytest.mark.parametrize(
    ("signs", "p_margin", "word"),
    [
        (True, 0.5, "reproduced"),
        (True, 1e-9, "reproduced"),
        (False, 0.5, "inconclusive"),
        (False, 1e-9, "no difference"),  # of bases that differ in sign only the margin can be settled
    ],
)
def test_an_effect_below_the_margin_is_small_only_where_there_is_a_verdict_on_its_sign(signs, p_margin, word):
    row = {"paper": "rlp", "direction": ">", "effect": 0.5, "margin": 2.0, "p": 1e-9, "p_margin": p_margin}
    row |= {"p_along": math.nan, "effect_along": math.nan, "spread": 1.0, "shared": 0.0, "signs": signs, "failed": ""}
    found = verdicts.judge(pd.DataFrame([row]), "mini").iloc[0]
    assert (found["verdict"], found["small"]) == (f"{word} at mini", signs)


def test_seeds_needed_give_that_power_when_it_is_tried():
    rng, needed = np.random.default_rng(0), verdicts.seeds_needed(2.0, 2.5, margin=2)
    tried = rng.normal(2.0, 2.5, size=(4000, needed))
    t = tried.mean(axis=1) / (tried.std(axis=1, ddof=1) / math.sqrt(needed))
    from scipy.stats import t as student

    found = (np.abs(t) > student.isf(0.025, needed - 1)).mean()
    assert 0.78 < found < 0.86
    assert verdicts.seeds_needed(2.0, 2.5, 2, alpha=0.001) > needed  # in a family
    # a second base takes a degree of freedom, of three pairs one of two: they settle nothing that is not large
    assert [verdicts.seeds_needed(30.0, 2.5, 2, alpha=0.01, bases=bases) for bases in (1, 2)] == [3, 4]
    assert verdicts.seeds_needed(0.0, 2.5, 2, level=0.001) > verdicts.seeds_needed(0.0, 2.5, 2)
    even = verdicts.seeds_needed(0.0, 2.5, margin=2)  # to show that there is nothing
    tried = rng.normal(0.0, 2.5, size=(4000, even))
    reach = student.isf(0.05, even - 1) * tried.std(axis=1, ddof=1) / math.sqrt(even)
    assert 0.78 < (np.abs(tried.mean(axis=1)) + reach < 2).mean() < 0.86
    # where bases differ in sign, nothing but the margin can be settled
    assert verdicts.seeds_needed(3.0, 2.5, 2, signs=False) is None
    assert verdicts.seeds_needed(1.0, 2.5, 2, signs=False) == verdicts.seeds_needed(1.0, 2.5, 2, alpha=1e-12)
    # beside a base that was asked too little, no number of seeds is enough: power is that of its error alone
    assert verdicts.seeds_needed(2.0, 0.1, margin=2, shared=1.0) is None
    assert norm.sf(1.96 - 2.0) < 0.8


def test_the_sampling_variance_of_an_accuracy():
    rows = curve({0: 0.4}, seeds=1, n=50)  # one task a group, 0.4 and 0.2
    general, math_ = 0.4 * 0.6 / 50, 0.2 * 0.8 / 50
    assert verdicts.sampling_variance(rows, "general") == pytest.approx(1e4 * general)
    assert verdicts.sampling_variance(rows, "overall") == pytest.approx(1e4 * (general + math_) / 4)
    assert verdicts.sampling_variance(rows, "reasoned") == pytest.approx(1e4 * 0.25 * 0.75 / 50 / 2)
    assert verdicts.sampling_variance(rows, "answer length") is None
    assert verdicts.sampling_variance(rows, "gain") is None
    stored = rows.assign(error=[0.03 if group == "general" else None for group in rows["group"]])
    assert verdicts.sampling_variance(stored, "overall") == pytest.approx(1e4 * (0.03**2 + math_) / 4)
    assert verdicts.sampling_variance(stored, "reasoned") == verdicts.sampling_variance(rows, "reasoned")
    assert verdicts.sampling_variance(rows, "perplexity") == 0
    greedy = rows.assign(task="mmlu_pro", group="general", k=1)
    assert verdicts.sampling_variance(greedy, "general") == 0  # the same answer whenever it is asked


def study(name, **tables):
    return partial(lambda tables, table: tables[table], tables)


def test_tokens_are_summed_over_a_run():
    training = bins(tokens_prompt=90.0, tokens_completion=10.0, run_id="a")
    training.loc[training["step"] > 100, "tokens_prompt"] = 190.0
    used = verdicts.tokens(study("side", training=training), "a")
    assert used.to_dict() == {0: pytest.approx((100 * 100 + 100 * 200) / 1000)}


def test_rank_correlation_is_over_starts_of_one_seed():
    ends = {"w": (0.2, 0.9), "x": (0.4, 0.8), "y": (0.6, 0.7), "z": (0.8, 0.6)}
    rows = pd.concat([curve({0: before, 10: after}, arm) for arm, (before, after) in ends.items()])
    found = verdicts.rank_correlation(study("rlvr", tinybench=rows))
    assert found.to_dict() == {seed: pytest.approx(-1) for seed in range(3)}
    few = rows[rows["arm"] != "w"]
    assert verdicts.rank_correlation(study("rlvr", tinybench=few)).empty  # three points make no correlation


def test_efficiency_and_how_far_lengths_wander():
    rows = curve({0: 0.4, 10: 0.6, 20: 0.8}, seeds=1)  # lengths 8, 9, 10
    rows["length_reasoned"] = rows["step"].map({0: 12.0, 10: 15.0, 20: 14.0})
    of = study("rlvr", tinybench=rows)
    assert verdicts.efficiency(of, "a").to_dict() == {0: pytest.approx((80 + 40) / 2 / 10)}
    assert verdicts.length_wander(of, "a").to_dict() == {0: 3.0}
    assert verdicts.length_wander(study("rlvr", tinybench=rows.assign(length_reasoned=np.nan)), "a").empty


def test_the_fit_of_a_power_law_by_seed():
    rows = []
    for step in (0, 10, 20, 40, 80):
        share = 0.6 - 0.5 * max(step, 5) ** -0.5
        for split in ("easy", "hard"):
            row = {"arm": "rpt", "run_id": "r", "tier": "mini", "seed": 3, "step": step, "n": 9000, "accuracy": share}
            rows.append(row | {"group": "next token", "task": f"next token, {split}"})
    training = bins(tokens_prompt=90.0, tokens_completion=10.0, run_id="r", arm="rpt")
    runs = pd.DataFrame({"arm": "rpt", "run_id": ["r"], "parameters": [1000]})
    of = study("rpt", tinybench=pd.DataFrame(rows), training=training, runs=runs)
    assert verdicts.power_law_fit(of, "rpt").to_dict() == {3: pytest.approx(1.0, abs=1e-6)}
    noisy = study("rpt", tinybench=pd.DataFrame(rows).assign(n=90), training=training, runs=runs)
    assert verdicts.power_law_fit(noisy, "rpt").empty  # what is drawn moves as much as what is learnt
