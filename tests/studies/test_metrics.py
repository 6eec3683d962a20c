"""Metrics of runs at their moments, worked by hand."""

import math

import numpy as np
import pandas as pd
import pytest
import synthetic
from synthetic import bins, curve

from pzlib.figures.forms import group_means
from pzlib.studies.metrics import (
    along_compute,
    class_accuracy,
    comparable,
    equal_tokens,
    kind_shares,
    laws,
    laws_table,
    map_differences,
    next_token_accuracy,
    tokens_used,
    values,
)


def test_values_of_the_evaluations_by_hand():
    rows = curve({0: 0.4, 10: 0.6, 20: 0.3, 30: 0.7})
    assert values(rows, "general").to_dict() == pytest.approx({0: 70, 1: 71, 2: 72})
    assert values(rows, "math", "base")[0] == pytest.approx(20)
    assert values(rows, "overall")[0] == pytest.approx((70 + 35) / 2)  # mean of the groups, not of their tasks
    assert values(rows, "general", "halfway")[0] == pytest.approx(60)  # step 10: the last not after 15
    assert values(rows, "setback")[1] == pytest.approx(30)  # from 61 down to 31
    assert values(rows, "answer length")[2] == 11 and values(rows, "reasoned")[0] == 25
    asked = rows[rows["group"] == "general"].assign(group="next token", task="next token, hard")
    direct = asked.assign(group="next token, direct", task="next token, hard, direct", accuracy=0.2)
    both = pd.concat([asked, direct])
    assert values(both, "next token, hard")[1] == values(both, "next token")[1] == pytest.approx(71)
    assert values(both, "next token, hard", "direct")[1] == pytest.approx(20)
    uneven = pd.concat([rows, rows[rows["group"] == "math"].assign(task="chain", accuracy=0.0)])
    assert values(uneven, "overall")[0] == pytest.approx((70 + 17.5) / 2)
    assert values(rows.drop(columns="reasoned"), "reasoned").empty
    # along training: the area from step 10 to 30 (trapezoids of 60, 30 and 70), by its length; step 0 is no training
    assert values(rows, "general", "along")[0] == pytest.approx((45 + 50) / 2)
    assert values(rows[rows["step"] <= 10], "general", "along").empty  # one point is no curve


def test_lengths_of_reasoned_answers_and_patterns():
    rows = curve({0: 0.4, 10: 0.6}).assign(length_reasoned=16.0)
    assert values(rows, "reasoned length")[0] == 16 and values(rows, "reasoned length, masks").empty
    assert values(rows.assign(length_reasoned=math.nan), "reasoned length").empty  # stored before it was measured
    marks = pd.DataFrame({"seed": 0, "step": [0, 0, 9, 9], "pattern": ["direct guess", "thinks"] * 2})
    marks["mean"] = [0.5, 0.4, 0.1, 0.8]
    assert values(marks, "guesses")[0] == 10 and values(marks, "announced", "base")[0] == 40


def test_values_of_training_by_hand():
    place = np.arange(1, 21)
    columns = {"predictor/entropy": place / 10, "predictor/dead_groups": place / 100, "generator/reward": math.nan}
    rows = bins(**columns)
    assert values(rows, "entropy")[0] == pytest.approx(np.mean([1.7, 1.8, 1.9, 2.0]))
    assert values(rows, "entropy", "start")[0] == pytest.approx(np.mean([0.1, 0.2, 0.3, 0.4]))
    assert values(rows, "entropy", "second fifth")[0] == pytest.approx(np.mean([0.5, 0.6, 0.7, 0.8]))
    assert values(rows, "dead_groups")[0] == pytest.approx(18.5)  # per cent
    assert values(rows, "generator reward").empty  # no generator played
    assert values(rows, "legal").empty  # no such column


@pytest.mark.parametrize(("group", "middle"), [(4, ["2"]), (8, ["2", "3", "4", "5", "6"])])
def test_the_middle_of_the_hits_is_two_to_all_but_two(group, middle):
    columns = {f"hits/{k}": 0.01 * 2**k if k <= group else math.nan for k in range(17)}  # a G of 16 in the same table
    share = sum(2 ** int(k) for k in middle)
    assert values(bins(**columns), "hits middle")[0] == pytest.approx(share)


def test_a_moment_belongs_to_its_table():
    for metric, moment in (("general", "start"), ("entropy", "base"), ("entropy", "halfway"), ("general", "direct")):
        with pytest.raises(ValueError, match="^moment: "):
            values(curve({0: 0.4}), metric, moment)


def test_shares_of_classes_sum_to_one_also_where_a_kind_is_absent():
    table = pd.DataFrame({"mask/trivial": [0.5, 1.0, None, 0.25, None, 1.0], "mask/words": 2.0, "mask/position": 0.5})
    table["mask/sum"] = [0.5, None, None, 0.25, 0.5, None]
    table["mask/sum_inverse"] = [None, None, None, 0.5, 0.5, None]
    table["mask/chain"] = None  # of another world: no column
    shares = kind_shares(table)
    assert shares.columns.tolist() == ["trivial", "reasoning"]
    np.testing.assert_array_equal(shares["reasoning"], [0.5, 0, np.nan, 0.75, 1, 0])
    assert shares.dropna().sum(axis=1).tolist() == [1.0] * 5


def test_tokens_are_counted_in_steps_between_rows():
    rows = {"run_id": "a", "step": [10, 20, 25], "tokens_prompt": [3.0, 4.0, 10.0]}
    rows["tokens_completion"] = [1.0, 2.0, 10.0]
    asked = pd.DataFrame({"run_id": "a", "step": [0, 10, 15, 20, 25]})
    # 10 steps of 4, 10 of 6, 5 of 20
    assert tokens_used(asked, pd.DataFrame(rows)).tolist() == [0, 40, 70, 100, 200]
    with pytest.raises(ValueError, match="of run b; collect"):
        tokens_used(asked.assign(run_id="b"), pd.DataFrame(rows))
    with pytest.raises(ValueError, match="of run a; collect"):
        tokens_used(asked, pd.DataFrame(rows).assign(tokens_prompt=None))


def test_equal_tokens_are_each_runs_last_evaluation_within_what_all_have_used():
    # Runs of 20 steps: a uses 10 tokens a step, b 16, c 25. All have used 200: a at step 20, b at 12.5, c at 8.
    runs = {"a": 10.0, "b": 16.0, "c": 25.0}
    rows = [{"run_id": run, "step": step, "tokens_prompt": use - 1, "tokens_completion": 1.0}
            for run, use in runs.items() for step in (10, 20)]  # fmt: skip
    asked = pd.DataFrame([{"run_id": run, "step": step, "task": task, "accuracy": step / 100}
                          for run in runs for step in (0, 5, 10, 15, 20) for task in ("sum", "east")])  # fmt: skip
    found = equal_tokens(asked, pd.DataFrame(rows))
    assert found.groupby("run_id")["step"].unique().map(list).to_dict() == {"a": [20], "b": [10], "c": [5]}
    assert len(found) == 6 and set(found["budget"]) == {200}
    assert found.groupby("run_id")["tokens"].first().to_dict() == {"a": 200, "b": 160, "c": 125}


def test_accuracy_of_a_class_weighs_its_kinds_by_their_masks():
    rows = {"mask/trivial": [0.5, 1.0], "mask/sum": [0.1, None], "mask/month_inverse": [0.3, None]}
    rows |= {"accuracy/trivial": [0.8, 0.6], "accuracy/sum": [1.0, None], "accuracy/month_inverse": [0.2, None]}
    rows |= {"mask/irreducible": [0.1, None], "accuracy/irreducible": [None, None]}
    found = class_accuracy(pd.DataFrame(rows))
    assert found.columns.tolist() == ["trivial", "reasoning", "irreducible"]
    np.testing.assert_allclose(found, [[0.8, (0.1 * 1 + 0.3 * 0.2) / 0.4, np.nan], [0.6, np.nan, np.nan]])


def test_the_map_pairs_seeds_at_every_place():
    found = map_differences(synthetic.mapped(synthetic.MAP))
    assert found[["first", "second", "density", "noise", "n"]].values.tolist() == [
        ["pretrainzero", "random_span", 0.25, 0.6, 3],
        ["entropy_next_token", "random_span", 0.25, 0.6, 2],  # seeds 0 and 1 only
    ]
    assert found["difference"].tolist() == pytest.approx([20, 0])
    assert found.loc[0, ["low", "high"]].tolist() == pytest.approx([20 - 24.84, 20 + 24.84], abs=0.01)  # 4.303 10/√3
    with pytest.raises(ValueError, match="'sft' is not a place on the map; name it"):
        map_differences(synthetic.mapped({"sft": [0.1, 0.2]}))


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


def test_a_mean_of_benchmarks_is_over_the_same_ones_at_every_step():
    """Whatever else was asked at some steps, and never over a benchmark and a part of it."""
    scores = {  # task -> accuracy at steps 0, 5, 9; None where it was not asked
        "mmlu_pro_tenth": (0.2, 0.3, 0.4), "mmlu_pro": (0.1, 0.2, 0.3), "supergpqa": (0.3, None, 0.1),
        "bbeh": (0.5, None, 0.5), "gsm8k": (0.6, None, 0.8),
    }  # fmt: skip
    rows = pd.DataFrame([
        {"run_id": "a", "seed": 0, "arm": "x", "objective": "x", "tier": "gpu", "step": step, "task": task,
         "group": "math" if task == "gsm8k" else "general", "accuracy": share}
        for task, own in scores.items() for step, share in zip((0, 5, 9), own, strict=True) if share is not None
    ])  # fmt: skip
    assert set(comparable(rows)["task"]) == {"mmlu_pro", "gsm8k"}
    assert values(rows, "general")[0] == pytest.approx(30) and values(rows, "math", "base")[0] == pytest.approx(60)
    means = group_means(rows[rows["task"] != "mmlu_pro"])
    assert means.query("group == 'general'")["accuracy"].tolist() == [0.2, 0.3, 0.4]
    only = rows[rows["task"].isin(["supergpqa", "mmlu_pro_tenth"])]
    assert set(comparable(only[only["step"] != 5])["task"]) == {"supergpqa", "mmlu_pro_tenth"}
