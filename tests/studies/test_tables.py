"""The README's tables say what the results say: means, intervals, pairs, gaps; methods side by side and what they cost.
Synthetic tables, so no number here is a result."""

import pandas as pd
import pytest
import synthetic

from pzlib import studies
from pzlib.paths import REPO
from pzlib.run import Run
from pzlib.runs.folder import RunFolder
from pzlib.studies import STUDIES, arms_of
from pzlib.studies.tables import (
    END,
    OWN_CLOCK,
    START,
    after_rlvr,
    before_and_after,
    beside_seeds,
    budgets,
    by_task,
    change_by_group,
    cost_table,
    costs_of,
    follow_on_table,
    main_table,
    noted,
    overview,
    overview_table,
    per_step,
    rank_correlation,
    readme_tables,
    refresh,
    seconds_used,
    side_by_side,
    side_table,
    verdict_shares,
)

# accuracy after the run, by objective, seed and task; before it, all are 0.5
AFTER = {
    ("random_span", 0): {"weekday": 0.4, "two_hop": 0.6, "sum": 0.3},
    ("random_span", 1): {"weekday": 0.6, "two_hop": 0.8, "sum": 0.4},
    ("pretrainzero", 0): {"weekday": 0.5, "two_hop": 0.7, "reasoning": 0.25},
    ("pretrainzero", 1): {"weekday": 0.9, "two_hop": 0.9, "reasoning": 0.25},
}
HEAD = [
    "| accuracy, % (mini) | seeds | TinyBench general | TinyBench math | masked words (reasoning) |",
    "|---" * 5 + "|",
]
NOTHING = " | not run | not run | not run |"
TWO = ("random_span", "pretrainzero")
MARKS = [START.format("results"), END.format("results")]


def table(after=AFTER, tier="mini", steps=(0, 10, 20)):
    rows = []
    for (objective, seed), tasks in after.items():
        run = {"run_id": f"{objective}-{seed}", "objective": objective, "tier": tier, "seed": seed}
        for step in steps:
            for task, accuracy in tasks.items():
                # Halfway it is worse than at the end: only the last step counts.
                accuracy = {0: 0.5, 10: 0.01}.get(step, accuracy)
                rows.append(run | {"step": step, "task": task, "group": synthetic.TASKS[task], "accuracy": accuracy})
    return pd.DataFrame(rows)


def test_the_table_is_the_one_worked_by_hand():
    assert main_table(table(), arms=TWO).splitlines() == HEAD + [
        "| Base | 2 | 50.0 | 50.0 | 50.0 |",  # equal values have no interval
        "| Random spans | 2 | 60.0 | 35.0 | not run |",
        "| PretrainZero | 2 | 75.0 | not run | 25.0 |",
        "| PretrainZero − Random spans, paired | 2 | +15.0 | not run | not run |",
    ]


def test_five_seeds_have_an_interval_and_four_have_none():
    after = {(arm, seed): {"sum": 0.2 + step * seed} for arm, step in (("random_span", 0.0), ("pretrainzero", 0.1))
             for seed in range(5)}  # fmt: skip
    five, four = (main_table(table({key: own for key, own in after.items() if key[1] < n}), arms=TWO) for n in (5, 4))
    # 0, 10, 20, 30, 40 and 20 more: an error of sqrt(250 / 5), times 2.776 with 4 degrees of freedom
    assert "| 40.0 [20.4, 59.6] |" in five and "| +20.0 [+0.4, +39.6] |" in five
    assert "| 35.0 |" in four and "| +15.0 |" in four and "[" not in four


def test_rows_are_the_arms_of_a_study_and_by_default_those_of_the_paper():
    rows = table()
    named = rows.assign(arm=rows["objective"].replace({"random_span": "sft, late"}), objective="pretrainzero")
    lines = main_table(named, arms=["pretrainzero", "sft, late"]).splitlines()
    assert lines[3].startswith("| PretrainZero | 2 | 75.0") and len(lines) == 6
    assert lines[4].startswith("| Supervised fine-tuning, late | 2 | 60.0")
    assert lines[5].startswith("| PretrainZero − Supervised fine-tuning, late, paired | 2 | +15.0")
    names = [line.split(" | ")[0] for line in main_table(rows).splitlines()[2:]]
    assert names[:3] == ["| Base", "| Continued pretraining", "| Supervised fine-tuning"]
    assert names[3:] == ["| Random spans", "| PretrainZero", "| PretrainZero − Random spans, paired"]


def test_pairs_are_of_equal_seeds_only():
    only = {key: tasks for key, tasks in AFTER.items() if key != ("random_span", 0)}
    assert main_table(table(only), arms=TWO).splitlines()[-1] == (
        "| PretrainZero − Random spans, paired | 1 | +20.0 | not run | not run |"
    )


def test_what_is_not_run_is_said():
    one = {key: tasks for key, tasks in AFTER.items() if key[0] == "pretrainzero"}
    lines = main_table(table(one), arms=TWO).splitlines()
    assert lines[3] == "| Random spans | 0" + NOTHING and len(lines) == 5  # and no row of differences
    begun = main_table(table(steps=(0,)), arms=TWO).splitlines()
    assert begun[2].startswith("| Base | 2 | 50.0") and [line[-len(NOTHING) :] for line in begun[3:]] == [NOTHING] * 2
    elsewhere = main_table(table(tier="smoke"), arms=TWO).splitlines()
    assert [line[-len(NOTHING) :] for line in elsewhere[2:]] == [NOTHING] * 3
    assert main_table(table(tier="smoke"), "smoke").splitlines()[2:] == main_table(table()).splitlines()[2:]


def test_refresh_replaces_what_is_between_the_marks_and_nothing_else(tmp_path):
    readme = tmp_path / "README.md"
    text = "# Title\n\n| a table | by hand |\n\n{}\n{}\n{}\n\nMiddle.\n\n{}\n{}\n{}\n\nThe end, 100 %.\n"
    claims = [START.format("claims"), END.format("claims")]
    readme.write_text(text.format(MARKS[0], "old\n| and older |", MARKS[1], claims[0], "old", claims[1]))
    for new in ("| new |", "| newer |\n| two lines |"):
        refresh(readme, {"claims": "| sum |", "results": new})
        assert readme.read_text() == text.format(MARKS[0], new, MARKS[1], claims[0], "| sum |", claims[1])


@pytest.mark.parametrize("lines", [[], [0], [1], [0, 1, 0, 1], [1, 0]])
def test_refresh_refuses_a_readme_without_its_marks(tmp_path, lines):
    readme = tmp_path / "README.md"
    text = "\n".join([START.format("claims"), END.format("claims"), *(MARKS[line] for line in lines)])
    readme.write_text(text)
    with pytest.raises(ValueError, match="README.md: needs the lines .* once each, for the table 'results'"):
        refresh(readme, {"claims": "new", "results": "new"})
    assert readme.read_text() == text


def test_the_readme_says_what_the_stored_rows_say(tmp_path):
    ours = REPO / "README.md"
    copy = tmp_path / "README.md"
    copy.write_text(ours.read_text())
    refresh(copy, readme_tables())
    assert copy.read_text() == ours.read_text(), "run `make figures`"


# Two runs a method, twenty steps: PretrainZero reads ten times as much a step and takes four times as long.
TOKENS = {"pretrainzero": 100.0, "sft": 10.0}
COSTS = pd.DataFrame({"arm": ["sft", "pretrainzero"], "seconds": [0.5, 2.0]})
SCORES = {"pretrainzero": {0: 0.50, 5: 0.60, 10: 0.70, 20: 0.80}, "sft": {0: 0.50, 5: 0.48, 10: 0.46, 20: 0.40}}


def side(scores=SCORES, study=""):
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
    rows = side()
    used = seconds_used(rows, COSTS).groupby([rows["arm"], rows["step"]]).first()
    assert used["pretrainzero"].tolist() == [0, 10, 20, 40] and used["sft"].tolist() == [0, 2.5, 5, 10]
    with pytest.raises(ValueError, match="costs: 'sft' has no seconds per step; `make bench`"):
        seconds_used(rows, COSTS[1:])


def test_a_budget_is_what_the_cheapest_run_has_used():
    within = budgets(side(), training(), COSTS)
    ends = {at: rows.groupby("arm")["step"].unique().map(list).to_dict() for at, rows in within.items()}
    assert ends["steps"] == {"pretrainzero": [20], "sft": [20]}
    # sft has used 200 tokens at its end, PretrainZero as many after 2 steps of the 5 to its first evaluation
    assert ends["tokens"] == {"pretrainzero": [2], "sft": [20]}
    general = within["tokens"].query("arm == 'pretrainzero' and group == 'general'")["accuracy"]
    assert general.tolist() == pytest.approx([0.6 + 2 / 5 * 0.1] * 2)
    assert ends["time"] == {"pretrainzero": [5], "sft": [20]}  # 10 seconds


def test_every_method_is_shown_at_every_budget_and_after_the_same_rlvr():
    arms = {"from the base": {0: 0.5, 20: 0.75}, "from PretrainZero": {0: 0.8, 20: 0.9}}
    after = side(arms, "rlvr ")
    table = side_by_side(side(), training(), COSTS, after)
    found = table[table["metric"] == "overall"].set_index(["method", "at"])["mean"]
    assert found["PretrainZero"].to_dict() == pytest.approx({"steps": 80, "tokens": 54, "time": 60, "RLVR": 90})
    assert found["Base"].to_dict() == pytest.approx({"steps": 50, "tokens": 50, "time": 50, "RLVR": 75})
    assert found["Supervised fine-tuning"].to_dict() == pytest.approx({"steps": 40, "tokens": 40, "time": 40})
    general = table[(table["metric"] == "general") & (table["at"] == "steps")].set_index("method")["mean"]
    assert general["PretrainZero"] == pytest.approx(90)
    lines = side_table(table).splitlines()
    assert lines[2] == "| Base | 2 | 50.0 | 50.0 | 50.0 | 75.0 | not run |"
    assert lines[4] == "| Supervised fine-tuning | 2 | 40.0 | 40.0 | 40.0 | not run | not run |"
    one = {"arm": "pretrainzero", "way": "another's", "measure": "right", "about": "all", "step": 20}
    told = [{"seed": seed, "change": change} for seed, change in ((0, -0.25), (1, -0.15))]
    beside = [{"way": "blank"}, {"measure": "nats"}, {"about": "reasoning"}, {"step": 0}]  # none of which counts
    probes = pd.DataFrame([one | row for row in told] + [one | told[0] | {"change": -9.0} | row for row in beside])
    silent = one | {"arm": "sft", "seed": 0, "n": 0, "change": None}  # asked, and no answer reasoned
    lines = side_table(table, probes=pd.concat([probes, pd.DataFrame([silent])])).splitlines()
    assert lines[3].endswith("| -20.0 (2 seeds) |") and lines[4].endswith("| no answer reasons |")


def test_a_row_says_where_rlvr_has_other_seeds():
    after = side({"from PretrainZero": {0: 0.8, 20: 0.9}}, "rlvr ")
    lines = side_table(side_by_side(side(), training(), COSTS, after[after["seed"] == 0])).splitlines()
    assert lines[3].startswith("| PretrainZero | 2; 1 after RLVR | ")
    assert lines[4].startswith("| Supervised fine-tuning | 2 | ")


def test_the_overview_has_a_row_a_method():
    arms = {"from the base": {0: 0.5, 20: 0.75}, "from PretrainZero": {0: 0.8, 20: 0.9}}
    lines = overview_table(side(), training(), COSTS, side(arms, "rlvr ")).splitlines()
    # PretrainZero used 100 tokens and 2 seconds in each of 20 steps; two seeds are too few for an interval
    assert lines[2:] == [
        "| Base | 2 | 60.0 | 40.0 | 50.0 | – | – | 75.0 |",
        "| PretrainZero | 2 | 90.0 | 70.0 | 80.0 | 0.0 | 0.7 | 90.0 |",
        "| Supervised fine-tuning | 2 | 50.0 | 30.0 | 40.0 | 0.0 | 0.2 | not run |",
    ]


def test_the_overview_shows_the_new_methods_once_they_have_rows(home):
    """Rows of real run ids: of `side`, then also of `side_new`, whose shared arms come once."""
    (home / "data/results").mkdir(parents=True)  # without costs.csv

    def rows_of(*names):
        runs = {(arm, run.seed): run for name in names for arm, run in studies.arms_of(name, "mini", [0, 1])}
        ends = side({arm: SCORES["sft"] for arm, _ in runs}).assign(n=2500)
        ends["run_id"] = [runs[arm, seed].run_id for arm, seed in zip(ends["arm"], ends["seed"], strict=True)]
        spent = [{"run_id": run.run_id, "step": 20, "tokens_prompt": 9.0, "tokens_completion": 1.0, "seconds": 1.0}
                 for run in runs.values()]  # fmt: skip
        return {"tinybench": ends.drop(columns="arm"), "training": pd.DataFrame(spent)}

    old, both = (overview(rows_of(*names)) for names in (("side",), ("side", "side_new")))
    assert "| CPU minutes |" not in both
    assert "up to ±2.0 points in each score too" in both  # masked words, 0.5 of 2,500 answers
    assert "*Minutes* are by the runs' own clocks" in both and "| M tokens | minutes |" in both
    assert "so it trains at the one that loses least: Continued pretraining, Supervised" in both  # by stored sweeps
    shown, lines = (text.partition("\n\n")[0].splitlines() for text in (old, both))
    assert lines[: len(shown)] == shown and len(shown) == 3 + len(STUDIES["side"].arms)
    labels = [line.split(" | ")[0].removeprefix("| ") for line in lines[len(shown) :]]
    assert labels == ["RLPT", "Quiet-STaR", "Random spans, logprob"]
    assert f"*Not run*: {'; '.join(labels)}: `pzlib study side_new` makes the rows" in old and "*Not run*" not in both
    assert lines[-1].endswith("| 50.0 | 30.0 | 40.0 | 0.0 | 0.3 | not run |")  # 20 steps of a second, by its own clock
    later = rows_of("side_rlvr")["tinybench"]
    assert "after RLVR |" in both and "runs of RLVR" not in both
    old = rows_of("side")
    sick = pd.concat([old["tinybench"], later.assign(degenerate="entropy under 0.05 from step 3 to 60")])
    marked = overview(old | {"tinybench": sick})
    said = f"† All {later['run_id'].nunique()} runs of RLVR: entropy under 0.05"
    assert "after RLVR † |" in marked and said in marked
    fewer, whole = (
        overview(some | {"tinybench": pd.concat([some["tinybench"], rows])})
        for some, rows in ((rows_of("side"), later[later["seed"] == 0]), (rows_of("side"), later))
    )
    assert "*After RLVR*: 1 of 2 seeds so far." in fewer and "After RLVR*" not in whole + both
    some = {name: rows.iloc[:0] for name, rows in rows_of("side").items()}
    assert overview(some).startswith("*Not run*: ") and "`pzlib study side side_rlvr side_new`" in overview(some)


def test_two_bases_are_two_numbers_and_no_part_of_an_interval():
    seeds = {0: 0.00, 1: 0.01, 2: 0.02, 10: 0.00, 11: 0.01}
    rows = pd.concat([side()[lambda one: one["seed"] == 0].assign(seed=seed) for seed in seeds], ignore_index=True)
    rows["accuracy"] += 0.1 * (rows["seed"] >= 10) + rows["seed"].map(seeds) * (rows["step"] > 0)
    rows["run_id"] = rows["arm"] + "-" + rows["seed"].astype(str)
    runs = [training()[lambda one: one["run_id"].str.endswith("-0")].replace(f"{arm}-0", f"{arm}-{seed}")
            for arm in TOKENS for seed in seeds]  # fmt: skip
    lines = overview_table(rows, pd.concat(runs), COSTS, rows[:0]).splitlines()
    assert lines[2].startswith("| Base | 5 | 60.0 and 70.0 | 40.0 and 50.0 |")
    first = rows[(rows["seed"] < 10) | (rows["arm"] == "sft")]
    some = overview_table(first, pd.concat(runs), COSTS, rows[:0]).splitlines()
    assert "| CPU minutes |" in some[0] and some[3].startswith("| PretrainZero | 3, one base | 91.0 |")
    assert some[4].startswith("| Supervised fine-tuning | 5 |")
    assert noted("", first) == "\n\n*One base* so far, not comparable with means over two: PretrainZero."
    assert noted("", rows) == ""
    # the mean of 91.0 and 100.5; within bases 0, 1, 2 and 0, 1: s² = 2.5 / 3, an error of sqrt(s² (1/3 + 1/2)) / 2
    assert lines[3].startswith("| PretrainZero | 5 | 95.8 ± 1.3 |")


def test_a_point_of_gain_has_a_price_where_there_is_a_gain():
    table = cost_table(side(), training(), COSTS)
    ours = table.loc["PretrainZero"]
    assert ours[["tokens a step", "CPU s a step", "gain"]].tolist() == pytest.approx([100, 2, 30])
    # 20 steps of 100 tokens and 2 seconds for 30 points
    assert ours[["thousand tokens a point", "CPU s a point"]].tolist() == pytest.approx([2 / 30, 40 / 30])
    own = cost_table(side(), training(), COSTS.assign(device=OWN_CLOCK))
    assert own.loc["PretrainZero", ["s a step", "s a point"]].tolist() == pytest.approx([2, 40 / 30])
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


def test_the_follow_on_table_by_hand():
    starts = tuple(STUDIES["rlvr"].arms)
    lines = follow_on_table(synthetic.follow_on(starts, seeds=3)).split("\n")
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    # overall before: mean of 50 and 30; after: 20 more, and the seeds' 0, 1 and 2 points
    assert cells[:4] == ["from the base", "3", "40.0", "61.0"] and cells[8] == ""
    last = [cell.strip() for cell in lines[-1].strip("|").split("|")]
    assert last[:3] == ["from PretrainZero", "3", "55.0"] and last[3].startswith("61.0") and last[8].startswith("+0.0")
    assert len(lines) == 2 + len(starts) and {line.count("|") for line in lines} == {10}


def a_run(**accuracies):
    """Rows of an eval.csv: {group: accuracy by step}."""
    rows = [{"step": step, "task": f"{group} task", "group": group, "n": 8, "accuracy": x, "low": x - 0.1,
             "high": x + 0.1, "length": 7.0 + step, "reasoned": 0.5}
            for group, steps in accuracies.items() for step, x in steps.items()]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_runs_scores_before_and_after_by_task_and_group():
    evals = a_run(general={0: 0.5, 5: 0.1, 9: 0.75}, spans={0: 0.25, 9: 0.375})
    table = by_task(evals)
    assert table.loc[("general", "general task"), ("accuracy", "before")] == "50% [40%, 60%]"
    assert table.loc[("spans", "spans task"), ("length (tokens)", "after")] == 16.0
    change = change_by_group(evals)
    assert change.loc["general"].tolist() == [50.0, 75.0, 25.0] and change.loc["spans", "change"] == 12.5
    assert by_task(evals.iloc[:0]).empty and change_by_group(evals.iloc[:0]).empty
    once = by_task(a_run(general={0: 0.5}))
    assert once.loc[("general", "general task"), ("accuracy", "after")] == "–"


def test_a_run_of_a_real_tier_is_shown_by_what_it_was_asked_and_not_beside_the_small_world(home):
    known = synthetic.tinybench(("pretrainzero",), seeds=5)
    ids = {run.seed: run.run_id for _, run in arms_of("baselines", "mini", [0, 1, 2, 3, 4]) if run.method.has_generator}
    (home / "data/results").mkdir(parents=True)
    known.assign(run_id=known["seed"].map(ids)).to_csv(home / "data/results/tinybench.csv", index=False)
    for tier, lines in (("gpu", 1), ("mini", 2)):
        folder = RunFolder(home / "data/runs" / tier).open(Run(tier=tier, steps=9))
        folder.append_eval(a_run(general={0: 0.5, 9: 0.75}).assign(group="general").to_dict("records"))
        said = before_and_after(folder)
        assert f"(this run, 9 steps at {tier}): general 50.0 → 75.0" in said.splitlines()[0], said
        assert "nan" not in said and len(said.splitlines()) == lines and ("at mini)" in said) == (tier == "mini")


def test_a_run_beside_the_stored_seeds():
    known = synthetic.tinybench(("sft",), seeds=5).assign(arm="sft")
    table = beside_seeds(a_run(general={0: 0.5, 9: 0.75}), known)
    assert table.loc["this run", ["runs", "general"]].tolist() == [1, "75.0"] and table.loc["this run", "math"] == "–"
    stored = table.loc["Supervised fine-tuning, stored"]
    assert stored["runs"] == 5 and stored["general"].count("[") == 1


def test_verdicts_of_the_first_and_last_fifth_and_means_of_a_step():
    rows = pd.DataFrame({"run_id": "a", "arm": "rlvr", "step": range(10, 101, 10), "tokens_prompt": 3.0})
    rows = rows.assign(tokens_completion=1.0, seconds=2.0, rows_trained=5.0)
    rows["verdict/right"], rows["verdict/no answer"] = [0.25] * 2 + [0.5] * 6 + [1.0] * 2, [0.5, None] * 5
    shares = verdict_shares(rows)
    assert shares.index.tolist() == [("rlvr", "first fifth"), ("rlvr", "last fifth")]
    assert shares.to_dict("list") == {"right": [0.25, 1.0], "no answer": [0.25, 0.25]}
    costs = {"tokens per step": 4.0, "seconds per step": 2.0, "rows trained per step": 5.0}
    assert per_step(rows).loc["rlvr"].to_dict() == costs
