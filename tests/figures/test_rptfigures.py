"""RPT's tables and figures: worked by hand from made-up rows, readable, and refused where nothing was asked."""

import numpy as np
import pandas as pd
import pytest
from readable import assert_readable

from pzlib.figures import paper
from pzlib.studies.paper import reported
from pzlib.studies.powerlaw import along_compute, laws, laws_table, next_token_accuracy

ARMS = ("rpt", "rpt, clean text")
STEPS = (0, 25, 50, 75, 100, 150, 200)


def made_up(arms=ARMS, seeds=3, steps=STEPS):
    """(tinybench, training, runs): reasoning follows 50 - 20 / sqrt(step) points, seed s is s points above."""
    asked, trained, runs = [], [], []
    for arm in arms:
        for seed in range(seeds):
            run = {"arm": arm, "run_id": f"{arm}-{seed}", "objective": "rpt", "tier": "mini", "seed": seed}
            runs.append(run | {"parameters": 1000})
            trained.append(run | {"step": max(steps), "tokens_prompt": 90.0, "tokens_completion": 10.0})
            for step in steps:
                for place, split in enumerate(("easy", "medium", "hard")):
                    right = (0.5 - 0.2 / np.sqrt(step) - 0.1 * place + 0.01 * seed) if step else 0.05
                    row = run | {"step": step, "n": 64, "length": 9.0}
                    task = {"task": f"next token, {split}", "group": "next token", "accuracy": right}
                    direct = {"task": f"next token, {split}, direct", "group": "next token, direct"}
                    asked += [row | task, row | direct | {"accuracy": 0.4 - 0.1 * place}]
                asked.append(row | {"task": "sum", "group": "math", "accuracy": 0.3})
    return pd.DataFrame(asked), pd.DataFrame(trained), pd.DataFrame(runs)


def test_accuracy_and_compute_by_hand():
    tinybench, training, runs = made_up(seeds=1)
    table = next_token_accuracy(tinybench)
    assert len(table) == 2 * len(STEPS) * 6 and set(table["split"]) == {"easy", "medium", "hard"}
    one = along_compute(tinybench, training, runs).query("arm == 'rpt' and step == 50 and split == 'hard'")
    right = {"reasoning": 30 - 20 / np.sqrt(50), "outright": 20}
    assert one.set_index("way")["accuracy"].to_dict() == pytest.approx(right)
    assert set(one["flops"]) == {8 * 1000 * 100 * 50}  # 8 for each of 1000 weights and of 100 tokens in 50 steps


def test_laws_are_fitted_to_the_means_of_an_arm_and_split():
    found = laws(along_compute(*made_up()))
    assert list(found) == [(arm, split) for arm in ARMS for split in ("easy", "medium", "hard")]
    law = found["rpt", "medium"]
    assert law.alpha == pytest.approx(0.5, rel=1e-3) and law.limit == pytest.approx(41, abs=0.01)  # seeds' mean: + 1
    assert law.scale == pytest.approx(-20 * np.sqrt(8e5), rel=1e-2) and len(law.computes) == 6
    row = laws_table(found).iloc[1]
    assert (row["arm"], row["split"], row["points"]) == ("rpt", "medium", 6) and row["R²"] > 0.999
    assert row["limit, low"] <= row["limit"] <= row["limit, high"]
    assert laws(along_compute(*made_up(steps=(0, 12)))) == {}  # smoke: before and after only
    assert laws_table({}).empty


@pytest.mark.parametrize(("seeds", "steps"), [(1, (0, 12)), (3, STEPS)])
def test_figures_are_readable(seeds, steps):
    tinybench, training, runs = made_up(seeds=seeds, steps=steps)
    assert_readable(paper.next_tokens_beside(tinybench))
    assert_readable(paper.scaling(tinybench, training, runs))


def test_the_ladders_are_the_papers_table_and_ours():
    figure = paper.next_tokens_beside(made_up()[0])
    printed_axes, ours, _ = figure.axes
    printed = reported("rpt 1").pivot(index=["model", "method"], columns="benchmark", values="value")
    rpt = printed.loc[("RPT-14B", "reasoning"), ["easy", "medium", "hard"]].tolist()
    assert rpt in [line.get_ydata().tolist() for line in printed_axes.get_lines()]
    lines = [line.get_ydata() for line in ours.get_lines() if len(line.get_ydata()) == 3]
    ends = 51 - 20 / np.sqrt(200) - np.array([0, 10, 20])
    assert any(np.allclose(line, ends) for line in lines) and any(np.allclose(line, 5) for line in lines)


def test_the_curve_is_the_law_and_dotted_is_the_base_outright():
    figure = paper.scaling(*made_up())
    ax = figure.axes[0]
    labels = ax.get_legend_handles_labels()[1]
    assert [label.split(" (")[0] for label in labels] == ["Easy", "Medium", "Hard"] and "R² = 1.00" in labels[0]
    dotted = [line.get_ydata()[0] for line in ax.get_lines() if line.get_linestyle() == ":"]
    assert dotted == pytest.approx([40, 30, 20])


def test_runs_that_were_not_asked_are_refused_in_words():
    tinybench, training, runs = made_up(seeds=1)
    others = tinybench[tinybench["group"] == "math"]
    for draw in (lambda: paper.next_tokens_beside(others), lambda: paper.scaling(others, training, runs)):
        with pytest.raises(ValueError, match="tinybench: no run was asked for next tokens"):
            draw()
