"""Figures of scores are readable with their studies' arms, and say what was worked out by hand from small tables."""

import numpy as np
import pandas as pd
import pytest
import synthetic
from readable import assert_readable, texts

from pzlib.figures import accuracy
from pzlib.figures.style import CLASS_COLOURS, WAY_LOOKS
from pzlib.studies import STUDIES
from pzlib.studies.metrics import CLASSES
from pzlib.studies.tables import main_table


def tinybench(study, seeds=3):
    return synthetic.tinybench(tuple(STUDIES[study].arms), seeds, steps=(0, 50, 100))


def training(study, seeds=3):
    return synthetic.training(tuple(STUDIES[study].arms), seeds, 100, every=10)


def test_curves_on_tinybench_are_plain_means_over_the_tasks_of_a_group():
    table = synthetic.tinybench()
    line = accuracy.tinybench_curves(table).axes[1].get_lines()[-1]  # math, random_span
    rows = table[(table["group"] == "math") & (table["objective"] == "random_span")]
    np.testing.assert_allclose(line.get_ydata(), rows.groupby("step")["accuracy"].mean() * 100)


def test_curves_say_what_few_draws_between_the_ends_can_do():
    table = synthetic.tinybench().assign(n=6400, accuracy=0.5)
    between = (table["step"] > 0) & (table["step"] < table["step"].max())
    few = table.assign(n=table["n"].where(~between, 100))
    made = [accuracy.tinybench_curves(rows) for rows in (table, few)]
    alike, fewer = (" ".join(figure.texts[-1].get_text().split()) for figure in made)
    # two tasks of an error of 5 points each: 1.96 * 5 / sqrt(2)
    assert "few draws" not in alike
    assert "Points between the ends: few draws, up to ±7 points, alike in all runs." in fewer


def test_the_result_shows_every_seed_and_names_what_differs_clearly():
    table = synthetic.tinybench()
    figure = accuracy.main_result(table)
    axes = figure.axes
    assert [ax.get_title(loc="left") for ax in axes] == ["General (2 tasks)", "Math (2 tasks)", "Masked words (1 task)"]
    labels = [label.get_text() for label in axes[0].get_yticklabels()]
    assert labels == ["PretrainZero", "Random spans"] and axes[0].yaxis_inverted()
    small = [line for line in axes[0].get_lines() if line.get_alpha()]
    assert [len(line.get_xdata()) for line in small] == [5, 5]  # the seeds of two methods
    assert "no clear difference from PretrainZero: Random spans" in figure.headline
    worse = (table["objective"] == "random_span") & (table["step"] > 0)
    better = table.assign(accuracy=table["accuracy"] - 0.3 * worse)
    assert accuracy.main_result(better).headline == "Masked words and all questions, below PretrainZero: Random spans"


def test_the_result_takes_arms_and_their_order_from_the_table():
    names = {"random_span": "half", "pretrainzero": "whole", "sft": "none"}
    table = synthetic.tinybench(tuple(names), seeds=2)
    table = table.assign(arm=table["objective"].map(names), objective="pretrainzero")  # one objective, one seed an arm
    ax = accuracy.main_result(table).axes[0]
    arms = list(names.values())
    assert [label.get_text() for label in ax.get_yticklabels()] == arms
    means = [bar[0].get_xdata()[0] for bar in ax.containers]
    rows = table[(table["group"] == "general") & (table["step"] == 60)].groupby("arm")["accuracy"].mean() * 100
    np.testing.assert_allclose(means, rows[arms])


def test_runs_that_go_on_from_runs_show_where_each_began():
    table = synthetic.tinybench()
    began = table["accuracy"] + 0.01 * table["seed"] * (table["step"] == 0)
    captions = [accuracy.main_result(each).texts[-1].get_text() for each in (table, table.assign(accuracy=began))]
    assert ["from the mean of the starts" in caption for caption in captions] == [False, True]
    assert ["Dotted" in caption for caption in captions] == [True, False]


def test_after_rlvr_every_start_has_its_tick_and_the_headline_says_how_they_meet():
    figure = accuracy.follow_on(synthetic.follow_on(STUDIES["rlvr"].arms, seeds=3))
    ax = figure.axes[1]  # math
    before = [line.get_xdata()[0] for line in ax.get_lines() if line.get_marker() == "|"]
    assert before == pytest.approx([30, 35, 40, 45])
    assert figure.headline == "4 starts are 15.0 points apart before RLVR and 0.0 after it (means on all questions)"


def test_the_axis_of_tokens_shows_what_the_runs_have_used():
    rows, bench = training("collapse"), tinybench("collapse")
    ax = accuracy.by_tokens(bench, rows).axes[0]
    lines = {line.get_label(): line for line in ax.get_lines()}
    np.testing.assert_allclose(lines["PretrainZero"].get_xdata(), [0, 50 * 0.0225, 100 * 0.0225])  # millions
    np.testing.assert_allclose(lines["Random spans"].get_xdata(), [0, 50 * 0.019, 100 * 0.019])
    spans = bench[(bench["group"] == "spans") & (bench["objective"] == "pretrainzero")]
    np.testing.assert_allclose(lines["PretrainZero"].get_ydata(), spans.groupby("step")["accuracy"].mean() * 100)
    dashed = [line for line in ax.get_lines() if line.get_linestyle() == "--"]
    assert dashed[0].get_xdata() == pytest.approx([1.9, 1.9])


def test_the_perplexity_of_the_base_is_that_of_step_0():
    figure = accuracy.perplexities(synthetic.perplexity(STUDIES["rlp"].arms, 2))
    assert len(figure.axes[0].get_yticklabels()) == len(STUDIES["rlp"].arms)
    assert [ax.get_title("left") for ax in figure.axes] == ["All tokens", *CLASSES.values(), "RLP's paper"]
    dotted = [line.get_xdata()[0] for ax in figure.axes for line in ax.get_lines() if line.get_linestyle() == ":"]
    assert dotted == [4, 1.5, 9, 140, 5.83]


KINDS = {"trivial": ["trivial"], "reasoning": ["two_hop", "weekday", "sum_inverse"], "irreducible": ["irreducible"]}


def positions(trivial, reasoning, irreducible):
    """A table of `next_token_entropy`: so many positions of each class; the highest fifth are the last ones."""
    classes = ["trivial"] * trivial + ["reasoning"] * reasoning + ["irreducible"] * irreducible
    n = len(classes)
    return pd.DataFrame({"from_left": classes, "top_fifth": [i >= n - n // 5 for i in range(n)]})


def spans():
    """A table of `base_spans`: the later the kind, the better; a reasoning helps."""
    rows = []
    for name, kinds in KINDS.items():
        for i, kind in enumerate(kinds):
            for way, more in (("free", 0.1), ("reasoning", 0.2), ("direct", 0.0)):
                scores = {"pass@1": 0.5 - 0.1 * i + more, "pass@8": 0.7 - 0.1 * i + more}
                rows.append({"kind": kind, "class": name, "way": way, "n": 24} | scores)
    return pd.DataFrame(rows)


def words(figure):
    return [text.get_text() for text, _ in texts(figure)]


def test_entropy_of_worlds_shows_each_world_whole_and_its_highest_fifth():
    figure = accuracy.entropy_of_worlds({"tinywiki": positions(60, 10, 30), "tinywiki_clean": positions(85, 15, 0)})
    assert_readable(figure)
    said = words(figure)
    for label in (
        "tinywiki, all positions", "tinywiki, highest fifth", "tinywiki_clean, all positions", *CLASS_COLOURS,
        "tinywiki_clean, highest fifth", "Share of positions, by what can be said of them from the left",
    ):  # fmt: skip
        assert said.count(label) == 1, label
    # 60/10/30; the last 20 of them; 85/15; 5 and 15 of the last 20
    assert sorted(word for word in said if word.endswith("%") and word not in ("0%",)) == sorted(
        ["60%", "10%", "30%", "100%", "85%", "15%", "25%", "75%"]
    )
    bars = figure.axes[0].patches
    assert len(bars) == 4 * len(CLASS_COLOURS)
    for row in range(4):
        assert sum(bar.get_width() for bar in bars[3 * row : 3 * row + 3]) == pytest.approx(1)
    centres = [bar.get_y() + bar.get_height() / 2 for bar in bars[::3]]
    assert figure.axes[0].get_yticks().tolist() == pytest.approx(centres)  # each label beside its bar


def test_entropy_of_one_world_is_readable_and_small_shares_bear_no_number():
    figure = accuracy.entropy_of_worlds({"tinywiki": positions(95, 5, 0)})
    assert_readable(figure)
    assert "95%" in words(figure) and "5%" not in words(figure)


def test_spans_by_kind_shows_every_kind_and_way():
    table = spans()
    figure = accuracy.spans_by_kind(table)
    assert_readable(figure)
    said = words(figure)
    for label in [*table["kind"].unique(), *WAY_LOOKS, "pass@1 at temperature 1", "pass@8 at temperature 1"]:
        assert said.count(label) == 1, label
    kinds = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert kinds == ["irreducible", "sum_inverse", "weekday", "two_hop", "trivial"]  # by class, then by accuracy
    for ax, score in zip(figure.axes, ("pass@1", "pass@8"), strict=True):
        for line, way in zip(ax.get_lines(), WAY_LOOKS, strict=True):
            rows = table[table["way"] == way].set_index("kind")
            assert line.get_xdata().tolist() == rows[score][kinds].tolist()
            assert line.get_color() == WAY_LOOKS[way][0]


def training_at(table):
    return synthetic.training(tuple(table["objective"].unique()), 3, 100, every=10).assign(tier=table["tier"].iloc[0])


@pytest.mark.parametrize("tasks", [("mmlu_pro_tenth",), ("mmlu_pro", "supergpqa", "math500", "gsm8k")])
def test_benchmarks_are_drawn_as_the_small_world_is(tasks):
    """The groups that were asked, each a panel; nothing is said of words that were not masked."""
    table = synthetic.tinybench(("pretrainzero", "random_span"), 3, steps=(0, 50, 100))
    table = table[table["group"].isin(["general", "math"][: len(tasks)])].assign(tier="gpu")
    own = [task for task in table["task"].unique() if len(tasks) > 1 or task == table["task"].iloc[0]]
    table = table[table["task"].isin(own)]
    table = table.assign(task=table["task"].map(dict(zip(own, tasks, strict=True))), reasoned=None)
    groups = table["group"].nunique()
    for form, panels in ((accuracy.tinybench_curves, groups + 1), (accuracy.collapse_curves, groups + 1),
                         (accuracy.main_result, groups)):  # fmt: skip
        figure = form(*[table, training_at(table)][: 1 + (form is accuracy.collapse_curves)])
        assert len(figure.axes) == panels
        assert "Masked words" not in " ".join(text.get_text() for text, _ in texts(figure))
        assert_readable(figure)
    assert "TinyBench" not in main_table(table, "gpu") and "| not run |" in main_table(table, "gpu")
