"""Figures along training are readable with their studies' arms, and say what was worked out by hand."""

import numpy as np
import pandas as pd
import pytest
import synthetic

from pzlib.figures.training import collapse_anatomy, generator_dynamics, generator_profile, masks_by_arm
from pzlib.stats import bootstrap_ci
from pzlib.studies import STUDIES

MASKING = tuple(STUDIES["collapse"].arms)


def training(study, seeds=3, steps=100, **changed):
    return synthetic.training(tuple(STUDIES[study].arms), seeds, steps, every=10, **changed)


def test_stacked_kinds_reach_one_and_end_with_the_irreducible():
    figure = generator_dynamics(synthetic.training())
    stack = next(ax for ax in figure.axes if "Kinds of masks, PretrainZero" in ax.get_title(loc="left"))
    assert [area.get_label() for area in stack.collections] == [
        "trivial",
        "sum",
        "two hop",
        "weekday",
        "irreducible",
    ]
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


def test_the_profile_stacks_the_hits_of_every_group_size():
    tables = [synthetic.training((f"G = {group}",), 2, 40, every=10, group=group) for group in (4, 8)]
    table = pd.concat([*tables, synthetic.training(("random_span",), 2, 40, every=10)])
    axes = {ax.get_title(loc="left"): ax for ax in generator_profile(table).axes}
    assert "(f) Random spans" not in axes  # it has no generator
    stacks = [axes[title].collections for title in ("(d) G = 4", "(e) G = 8")]
    assert [len(stack) for stack in stacks] == [5, 9]
    middle = [stack[len(stack) // 2].get_facecolor().tolist() for stack in stacks]
    assert middle[0] == middle[1]  # half of the predictions right, whatever G is
    wrong = tables[0].groupby("step")["hits/0"].mean()
    assert stacks[0][0].get_paths()[0].vertices[:, 1].max() == pytest.approx(wrong.max())
    with pytest.raises(ValueError, match="no arm has a generator"):
        generator_profile(synthetic.training().query("objective == 'random_span'"))


def test_masks_are_means_over_the_last_quarter():
    table = training("generator_reward")
    left, right = masks_by_arm(table).axes
    late = table[(table["step"] > 75) & (table["objective"] == "min(p, 1 - p)")]
    shares = late.groupby("seed")["mask/irreducible"].mean()
    bars = {bars.get_label(): bars for bars in left.containers}
    assert [label.get_text() for label in left.get_yticklabels()][3] == "min(p, 1 - p)"
    last = [bar for bar in left.patches if bar.get_y() + bar.get_height() / 2 == pytest.approx(3)][-1]
    assert last.get_width() == pytest.approx(shares.mean()) and last.get_x() + last.get_width() == pytest.approx(1)
    assert list(bars)[:5] == ["trivial", "sum", "two hop", "weekday", "irreducible"]
    _, caps, _ = right.containers[3]
    np.testing.assert_allclose([cap.get_xdata()[0] for cap in caps], bootstrap_ci(shares))


def test_a_run_without_a_legal_mask_is_drawn_and_says_so():
    table = synthetic.training(("pretrainzero",), seeds=1, steps=6)
    table = table[[name for name in table if not name.startswith(("mask/", "accuracy/"))]]
    figure = generator_dynamics(table.assign(**{"predictor/accuracy": None, "predictor/dead_groups": None}))
    assert len(figure.axes) == 3 and "No mask was legal" in " ".join(text.get_text() for text in figure.texts)
