"""Methods side by side on tables written by hand: budgets, means, what a point costs."""

import pandas as pd
import pytest

from pzlib.studies.metrics import budgets, seconds_used
from pzlib.studies.tables import after_rlvr, cost_table, costs_of, rank_correlation, side_by_side, side_table

# Two runs a method, twenty steps: PretrainZero reads ten times as much a step and takes four times as long.
TOKENS = {"pretrainzero": 100.0, "sft": 10.0}
COSTS = pd.DataFrame({"arm": ["sft", "pretrainzero"], "seconds": [0.5, 2.0]})
SCORES = {"pretrainzero": {0: 0.50, 5: 0.60, 10: 0.70, 20: 0.80}, "sft": {0: 0.50, 5: 0.48, 10: 0.46, 20: 0.40}}


def tinybench(scores=SCORES, study=""):
    rows = []
    for arm, curve in scores.items():
        for seed in (0, 1):
            key = {"arm": arm, "run_id": f"{study}{arm}-{seed}", "objective": arm, "tier": "mini", "seed": seed}
            for step, score in curve.items():
                for group, more in (("general", 0.1), ("math", -0.1), ("spans", 0.0)):
                    rows.append(key | {"step": step, "task": group, "group": group, "accuracy": score + more})
    return pd.DataFrame(rows)


def training():
    rows = []
    for arm, tokens in TOKENS.items():
        for seed in (0, 1):
            for step in (10, 20):
                row = {"run_id": f"{arm}-{seed}", "step": step, "tokens_prompt": tokens - 1, "tokens_completion": 1}
                rows.append(row)
    return pd.DataFrame(rows)


def test_time_is_steps_times_what_a_step_of_the_method_costs():
    rows = tinybench()
    used = seconds_used(rows, COSTS).groupby([rows["arm"], rows["step"]]).first()
    assert used["pretrainzero"].tolist() == [0, 10, 20, 40] and used["sft"].tolist() == [0, 2.5, 5, 10]
    with pytest.raises(ValueError, match="costs: 'sft' has no seconds a step; `make bench`"):
        seconds_used(rows, COSTS[1:])


def test_a_budget_is_what_the_cheapest_run_has_used():
    within = budgets(tinybench(), training(), COSTS)
    ends = {at: rows.groupby("arm")["step"].unique().map(list).to_dict() for at, rows in within.items()}
    assert ends["steps"] == {"pretrainzero": [20], "sft": [20]}
    # sft has used 200 tokens at its end, PretrainZero 500 at step 5 already
    assert ends["tokens"] == {"pretrainzero": [0], "sft": [20]}
    assert ends["time"] == {"pretrainzero": [5], "sft": [20]}  # 10 seconds


def test_every_method_is_shown_at_every_budget_and_after_the_same_rlvr():
    arms = {"from the base": {0: 0.5, 20: 0.75}, "from PretrainZero": {0: 0.8, 20: 0.9}}
    after = tinybench(arms, "rlvr ")
    table = side_by_side(tinybench(), training(), COSTS, after)
    found = table[table["metric"] == "overall"].set_index(["method", "at"])["mean"]
    assert found["PretrainZero"].to_dict() == pytest.approx({"steps": 80, "tokens": 50, "time": 60, "RLVR": 90})
    assert found["Base"].to_dict() == pytest.approx({"steps": 50, "tokens": 50, "time": 50, "RLVR": 75})
    assert found["Supervised fine-tuning"].to_dict() == pytest.approx({"steps": 40, "tokens": 40, "time": 40})
    general = table[(table["metric"] == "general") & (table["at"] == "steps")].set_index("method")["mean"]
    assert general["PretrainZero"] == pytest.approx(90)
    lines = side_table(table).splitlines()
    assert lines[2] == "| Base | 2 | 50.0 | 50.0 | 50.0 | 75.0 |"
    assert lines[4] == "| Supervised fine-tuning | 2 | 40.0 | 40.0 | 40.0 | not run |"


def test_a_point_of_gain_has_a_price_where_there_is_a_gain():
    table = cost_table(tinybench(), training(), COSTS)
    ours = table.loc["PretrainZero"]
    assert ours[["tokens a step", "CPU s a step", "gain"]].tolist() == pytest.approx([100, 2, 30])
    # 20 steps of 100 tokens and 2 seconds for 30 points
    assert ours[["thousand tokens a point", "CPU s a point"]].tolist() == pytest.approx([2 / 30, 40 / 30])
    sft = table.loc["Supervised fine-tuning"]
    assert sft["gain"] == pytest.approx(-10) and sft[["thousand tokens a point", "CPU s a point"]].isna().all()


def test_the_order_before_and_after_is_compared_by_rank():
    rows = [("a", 1.0, 5.0), ("b", 2.0, 9.0), ("c", 3.0, 6.0), ("d", 4.0, None)]
    long = [(m, at, "overall", x) for m, *pair in rows for at, x in zip(("steps", "RLVR"), pair, strict=True)]
    table = pd.DataFrame(long, columns=["method", "at", "metric", "mean"]).dropna()
    # ranks 1, 2, 3 against 1, 3, 2: 1 - 6 (0 + 1 + 1) / (3 (9 - 1))
    assert rank_correlation(table) == (pytest.approx(0.5), 3)


def test_costs_come_from_the_bench_or_else_from_the_runs_own_clocks(home):
    runs = training().assign(seconds=[1.0, 3.0, 1.0, 3.0, 5.0, 5.0, 5.0, 5.0], arm=["a"] * 4 + ["b"] * 4)
    own = costs_of(runs, "smoke").set_index("arm")
    assert own["seconds"].to_dict() == {"a": 2, "b": 5} and set(own["device"]) == {"each run's own clock"}
    (home / "data/results/smoke").mkdir(parents=True)
    COSTS.assign(device="here").to_csv(home / "data/results/smoke/costs.csv", index=False)
    assert costs_of(runs, "smoke")["device"].tolist() == ["here", "here"]


def test_the_starts_of_rlvr_are_found_by_the_method_that_made_them():
    rows = pd.DataFrame({"arm": ["from mixed SFT", "from the base", "from RLP"], "run_id": list("abc")})
    found = {start: own["run_id"].tolist() for start, own in after_rlvr(rows).items()}
    assert found["mixed_sft"] == ["a"] and found["base"] == ["b"] and found["rlp"] == ["c"] and found["sft"] == []
