"""Figures along training are readable with their studies' arms, and say what was worked out by hand."""

import numpy as np
import pandas as pd
import pytest
import synthetic
from readable import assert_readable

from pzlib.errors import NothingToDraw
from pzlib.figures.training import collapse_anatomy, generator_dynamics, masks_by_arm, thoughts, training_dynamics
from pzlib.studies import STUDIES

MASKING = tuple(STUDIES["collapse"].arms)


def training(study, seeds=3, steps=100, **changed):
    return synthetic.training(tuple(STUDIES[study].arms), seeds, steps, every=10, **changed)


def test_stacked_kinds_reach_one_and_end_with_the_irreducible():
    figure = generator_dynamics(synthetic.training())
    stack = next(ax for ax in figure.axes if ax.get_title(loc="left") == "(d) PretrainZero")
    assert [area.get_label() for area in stack.collections] == ["trivial", "reasoning", "irreducible"]
    assert stack.collections[-1].get_paths()[0].vertices[:, 1].max() == pytest.approx(1)


def test_a_stack_spans_a_step_without_masks():
    table = synthetic.training(("random_span",), seeds=1, steps=6)
    masks = [name for name in table if name.startswith("mask/")]
    table.loc[table["step"] == 3, masks] = None
    stack = generator_dynamics(table).axes[3]
    edge = stack.collections[-1].get_paths()[0].vertices
    assert sorted({x for x, _ in edge}) == [1, 2, 4, 5, 6] and edge[:, 1].max() == pytest.approx(1)


def test_anatomy_draws_each_arm_by_class_and_stacks_its_masks():
    table = training("collapse")
    axes = {ax.get_title(loc="left"): ax for ax in collapse_anatomy(table).axes}
    picked = axes["(j) Entropy next tokens"].collections
    assert [area.get_label() for area in picked] == ["trivial", "reasoning", "irreducible"]
    own = table[table["objective"] == "entropy_next_token"].groupby("step")[["mask/irreducible", "mask/trivial"]].mean()
    assert picked[0].get_paths()[0].vertices[:, 1].max() == pytest.approx(own["mask/trivial"].max())
    lowest = picked[2].get_paths()[0].vertices[:, 1].min()
    assert lowest == pytest.approx(1 - own["mask/irreducible"].max())
    lines = {line.get_label(): line for line in axes["(f) Accuracy, irreducible"].get_lines()}
    mine = table[table["objective"] == "random_span"].groupby("step")["accuracy/irreducible"].mean()
    np.testing.assert_allclose(lines["Random spans"].get_ydata(), mine)
    wrong = {line.get_label(): line for line in axes["(a) Groups all wrong (share)"].get_lines()}
    assert set(MASKING) == {"pretrainzero", *table["objective"]} and wrong["PretrainZero"].get_ydata()[0] > 0


def test_masks_are_shares_of_three_classes_over_the_last_fifth_as_in_the_headline():
    table = training("generator_reward")
    (ax,) = masks_by_arm(table).axes
    late = table[(table["step"] > 80) & (table["objective"] == "min(p, 1 - p)")]
    names = [label.get_text() for label in ax.get_yticklabels()]
    bars = [bar for bar in ax.patches if bar.get_y() + bar.get_height() / 2 == names.index("min(p, 1 - p)")]
    means = late.groupby("seed")[["mask/trivial", "mask/irreducible"]].mean().mean()
    assert [bar.get_width() for bar in bars] == pytest.approx([means.iloc[0], 1 - means.sum(), means.iloc[1]])
    ticks = [line for line in ax.get_lines() if line.get_marker() == "|"]
    assert [len(line.get_xdata()) for line in ticks] == [3] * len(names)
    least, most = (f"{100 * bar.get_width():.0f} %" for bar in (ax.patches[2], ax.patches[-1]))
    assert masks_by_arm(table).headline.endswith(f": {least} (eq. 9, zero rule), {most} (Random spans)")
    # two seeds from one base, one from another: a base weighs as much as the other, in the bars too
    table = training("generator_reward").replace({"seed": {2: 10}})
    late = table[(table["step"] > 80) & (table["objective"] == "min(p, 1 - p)")]
    bases = late.groupby("seed")["mask/irreducible"].mean()
    (ax,) = masks_by_arm(table).axes
    wide = [bar for bar in ax.patches if bar.get_y() + bar.get_height() / 2 == names.index("min(p, 1 - p)")][-1]
    assert wide.get_width() == pytest.approx((bases[[0, 1]].mean() + bases[10]) / 2)


def test_masks_of_several_studies_are_under_their_titles():
    studies = {name: training(name) for name in ("collapse", "collapse_clean")}
    figure = masks_by_arm(studies)
    assert_readable(figure)
    bold = [label.get_text() for label in figure.axes[0].get_yticklabels() if label.get_fontweight() == "bold"]
    assert bold == [STUDIES[name].title for name in studies]
    assert all(STUDIES[name].title in figure.headline for name in studies)


def test_all_samples_are_weighted_by_how_many_there_are():
    table = synthetic.training(seeds=1, steps=4)
    lines = {line.get_label(): line for line in training_dynamics(table).axes[1].get_lines()}
    own = table[table["objective"] == "pretrainzero"]
    many = 8 * own["generator/legal"]
    mean = (own["generator/length"] + many * own["predictor/length"]) / (1 + many)
    np.testing.assert_allclose(lines["PretrainZero, all samples"].get_ydata(), mean)
    assert "Random spans, predictor" not in lines  # whose samples are all


def test_an_accuracy_that_no_run_has_has_no_panel():
    table = training("collapse").drop(columns=["mask/irreducible", "accuracy/irreducible"])
    titles = [ax.get_title(loc="left") for ax in collapse_anatomy(table).axes]
    assert "(e) Accuracy, deducible" in titles and not [title for title in titles if title.startswith("(f) Acc")]


def test_a_run_without_a_legal_mask_is_drawn_and_says_so():
    table = synthetic.training(("pretrainzero",), seeds=1, steps=6)
    table = table[[name for name in table if not name.startswith(("mask/", "accuracy/"))]]
    figure = generator_dynamics(table.assign(**{"predictor/accuracy": None, "predictor/dead_groups": None}))
    assert len(figure.axes) == 3 and "No mask was legal" in " ".join(text.get_text() for text in figure.texts)


def test_runs_without_thoughts_are_left_out_and_nothing_is_drawn_of_them_alone():
    table = synthetic.thoughts(2).assign(arm="rlp")
    other = table.assign(arm="rpt", run_id=table["run_id"] + "r", **{"thought/empty": float("nan")})
    assert "RPT" not in thoughts(pd.concat([table, other])).texts[0].get_text()
    with pytest.raises(NothingToDraw, match="training: no run of these has thoughts"):
        thoughts(other)
