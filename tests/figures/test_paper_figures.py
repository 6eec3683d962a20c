"""The papers' numbers on the left, ours on the right: readable, nothing dropped, refused where nothing was asked."""

import numpy as np
import pandas as pd
import pytest
import synthetic
from readable import assert_readable

from pzlib.figures import paper
from pzlib.figures.style import METHODS
from pzlib.studies import STUDIES
from pzlib.studies.claims import reported

ARMS = tuple(STUDIES["rlvr"].arms)


def test_a_run_without_evaluations_between_has_no_law_and_is_readable():
    tables = synthetic.next_tokens(seeds=1, steps=(0, 12))
    assert_readable(paper.next_tokens_beside(tables[0]))
    assert_readable(paper.scaling(*tables))


def test_what_the_paper_prints():
    found = {arm: paper.printed(paper.TABLES_3_4["math"], paper.RLVR[arm])["Qwen3-4B-Base"] for arm in ARMS}
    assert found["from the base"] == (50.96, 42.53)
    assert found["from random spans"] == (51.49, 47.87)  # Table 3's mean: Table 4 repeats the row from before
    assert found["from PretrainZero, half way"] == (51.84, pytest.approx(np.nan, nan_ok=True))
    assert paper.printed(paper.RPT_2["math"], paper.RPT_ARMS["from RPT"]) == {"RPT-14B": (58.3, 56.3)}
    assert paper.printed(paper.RLP_1["math"], paper.RLP_ARMS["from RLP"]) == {"Qwen3-1.7B-Base": (36.03, 31.74)}


def test_ablations_are_below_the_papers():
    names = ["rlp_rollouts", "rlp_thoughts", "rlp_kl", "rlp_ema"]
    rows = {name: synthetic.tinybench(tuple(STUDIES[name].arms), seeds=3) for name in names}
    figure = paper.ablations({name: table.assign(arm=table["objective"]) for name, table in rows.items()})
    for name, above, below, many in zip(names, figure.axes[:4], figure.axes[4:], (4, 7, 3, 4), strict=True):
        assert len(above.lines[0].get_xdata()) == many == len(above.get_xticklabels())
        ticks = [label.get_text() for label in below.get_xticklabels()]
        assert ticks == [arm.rpartition(" ")[2] for arm in STUDIES[name].arms]


def test_the_ladders_are_the_papers_table_and_ours():
    figure = paper.next_tokens_beside(synthetic.next_tokens()[0])
    printed_axes, ours, _ = figure.axes
    printed = reported("rpt 1").pivot(index=["model", "method"], columns="benchmark", values="value")
    rpt = printed.loc[("RPT-14B", "reasoning"), ["easy", "medium", "hard"]].tolist()
    assert rpt in [line.get_ydata().tolist() for line in printed_axes.get_lines()]
    lines = [line.get_ydata() for line in ours.get_lines() if len(line.get_ydata()) == 3]
    ends = 51 - 20 / np.sqrt(200) - np.array([0, 10, 20])
    assert any(np.allclose(line, ends) for line in lines) and any(np.allclose(line, 5) for line in lines)


def test_the_curve_is_the_law_and_dotted_is_the_base_outright():
    figure = paper.scaling(*synthetic.next_tokens())
    ax = figure.axes[0]
    labels = ax.get_legend_handles_labels()[1]
    assert [label.split(" (")[0] for label in labels] == ["Easy", "Medium", "Hard"] and "R² = 1.00" in labels[0]
    dotted = [line.get_ydata()[0] for line in ax.get_lines() if line.get_linestyle() == ":"]
    assert dotted == pytest.approx([40, 30, 20])


def test_runs_that_were_not_asked_are_refused_in_words():
    tinybench, training, runs = synthetic.next_tokens(seeds=1)
    others = tinybench[tinybench["group"] == "math"]
    for draw in (lambda: paper.next_tokens_beside(others), lambda: paper.scaling(others, training, runs)):
        with pytest.raises(ValueError, match="tinybench: no run was asked for next tokens"):
            draw()


def ours(arms=("pretrainzero", "random_span", "sft", "continued_pretraining"), seeds=3, up=0.1):
    """A study's rows: base 0.4 general and 0.2 math; an arm gains `up` times its place and 0.01 times the seed."""
    rows = []
    for place, arm in enumerate(arms):
        for seed in range(seeds):
            for step, gain in ((0, 0), (20, up * place + 0.01 * seed)):
                for group, share in (("general", 0.4), ("math", 0.2)):
                    row = {"arm": arm, "objective": arm, "run_id": f"{arm}-{seed}", "tier": "mini"}
                    row |= {"seed": seed, "step": step}
                    rows.append(row | {"task": group, "group": group, "accuracy": share + gain})
    return pd.DataFrame(rows)


def marks(ax, method, size):
    """(x, y) of the marks of one method: the large ones (size 5) or the seeds (2.5)."""
    lines = [line for line in ax.get_lines() if line.get_color() == METHODS[method].colour]
    lines = [line for line in lines if line.get_markersize() == size and line.get_marker() == METHODS[method].marker]
    return sorted(tuple(point) for line in lines for point in line.get_xydata())


def test_the_papers_tables_are_beside_ours():
    figure = paper.baselines_beside({"baselines": ours(), "baselines_small": ours(seeds=1)})
    assert_readable(figure)
    axes = figure.axes
    assert [text.get_text() for text in axes[0].get_xticklabels()] == [
        "SmolLM3\n3B", "Qwen3\n4B", "Qwen3\n8B", "Qwen3\n30B-A3B"
    ]  # fmt: skip
    assert [text.get_text() for text in axes[1].get_xticklabels()] == ["tinybase\nsmall", "tinybase\n(default)"]
    assert [y for _, y in marks(axes[0], "pretrainzero", 5)] == [23.41, 39.61, 42.78, 43.55]
    assert [y for _, y in marks(axes[0], "sft", 5)] == [24.27, 26.80]
    np.testing.assert_allclose(marks(axes[2], "base", 5)[1][1], (26.32 + 8.67 + 51.94) / 3)
    assert [y for _, y in marks(axes[4], "base", 5)] == [32.31, 42.53, 47.48, 52.49]
    np.testing.assert_allclose([y for _, y in marks(axes[3], "random_span", 5)], [50, 51])  # 40 + 10, + mean seed
    np.testing.assert_allclose([y for _, y in marks(axes[5], "base", 5)], [20, 20])
    assert marks(axes[5], "base", 2.5) == []  # one model, not a mark a seed
    np.testing.assert_allclose([y for _, y in marks(axes[1], "sft", 2.5)], [50, 51, 52])  # 30 + 20, a mark a seed
    words = " ".join(text.get_text() for text in figure.texts).replace("\n", " ")
    assert "data/results/tinybench.csv, tier mini, 1 to 3 seeds per arm" in words


def test_a_figure_without_runs_is_refused():
    with pytest.raises(ValueError, match="^tinybench: no study has rows"):
        paper.baselines_beside({"baselines": ours()[:0]})
