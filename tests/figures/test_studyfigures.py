"""The studies' figures are readable with every study's arms, and say what was worked out by hand from small tables."""

import numpy as np
import pandas as pd
import pytest
import synthetic
from readable import assert_readable

from pzlib import figures
from pzlib.figures import study
from pzlib.stats import bootstrap_ci
from pzlib.studies import STUDIES
from pzlib.studies.metrics import class_accuracy, equal_tokens, map_differences, tokens_used

MASKING = tuple(STUDIES["collapse"].arms)


def training(study, seeds=3, steps=100, **changed):
    return synthetic.training(tuple(STUDIES[study].arms), seeds, steps, every=10, **changed)


def tinybench(study, seeds=3):
    return synthetic.tinybench(tuple(STUDIES[study].arms), seeds, steps=(0, 50, 100))


DRAWN = {
    "collapse_curves": lambda seeds: study.collapse_curves(tinybench("collapse", seeds)),
    "by_tokens": lambda seeds: study.by_tokens(tinybench("collapse", seeds), training("collapse", seeds)),
    "collapse_anatomy": lambda seeds: study.collapse_anatomy(training("collapse", seeds)),
    **{f"result of {name}": lambda seeds, name=name: figures.main_result(tinybench(name, seeds))
       for name in ("baselines", "generator_reward", "guessable_noise", "domain", "group")},
    **{f"masks of {name}": lambda seeds, name=name: study.masks_by_arm(training(name, seeds))
       for name in ("generator_reward", "guessable_noise", "baselines")},
    **{f"profile of {name}": lambda seeds, name=name: study.generator_profile(training(name, seeds))
       for name in ("baselines", "mask_rule", "generator_reward", "guessable_noise")},
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("seeds", [3, 1])
def test_text_is_readable_and_nothing_collides(name, seeds):
    assert_readable(DRAWN[name](seeds))


def test_twelve_arms_are_readable():
    names = tuple(f"arm number {i}, with a rule" for i in range(12))
    assert_readable(figures.main_result(synthetic.tinybench(names, seeds=2)))
    assert_readable(study.masks_by_arm(synthetic.training(names, seeds=2, steps=8)))
    assert_readable(figures.tinybench_curves(synthetic.tinybench(names, seeds=2)))


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


def test_the_axis_of_tokens_shows_what_the_runs_have_used():
    rows, bench = training("collapse"), tinybench("collapse")
    ax = study.by_tokens(bench, rows).axes[0]
    lines = {line.get_label(): line for line in ax.get_lines()}
    np.testing.assert_allclose(lines["PretrainZero"].get_xdata(), [0, 50 * 0.0225, 100 * 0.0225])  # millions
    np.testing.assert_allclose(lines["Random spans"].get_xdata(), [0, 50 * 0.019, 100 * 0.019])
    spans = bench[(bench["group"] == "spans") & (bench["objective"] == "pretrainzero")]
    np.testing.assert_allclose(lines["PretrainZero"].get_ydata(), spans.groupby("step")["accuracy"].mean() * 100)
    dashed = [line for line in ax.get_lines() if line.get_linestyle() == "--"]
    assert dashed[0].get_xdata() == pytest.approx([1.9, 1.9])


def test_the_result_at_equal_tokens_keeps_the_base_and_compares_earlier_steps():
    bench = tinybench("collapse")
    figure = figures.result_at_equal_tokens(bench, training("collapse"), "here")
    ax = figure.axes[2]
    after = {"pretrainzero": 50, "random_span": 100}  # 2.25 million tokens in 100 steps are more than 1.9
    for place, (arm, step) in enumerate(after.items()):
        rows = bench[(bench["objective"] == arm) & (bench["step"] == step) & (bench["group"] == "spans")]
        assert ax.containers[place][0].get_xdata() == pytest.approx(rows["accuracy"].mean() * 100)
    assert figure.axes[0].get_yticklabels()[-1].get_text() == "Base" and len(ax.containers) == 5


def test_accuracy_of_a_class_weighs_its_kinds_by_their_masks():
    rows = {"mask/trivial": [0.5, 1.0], "mask/sum": [0.1, None], "mask/month_inverse": [0.3, None]}
    rows |= {"accuracy/trivial": [0.8, 0.6], "accuracy/sum": [1.0, None], "accuracy/month_inverse": [0.2, None]}
    rows |= {"mask/irreducible": [0.1, None], "accuracy/irreducible": [None, None]}
    found = class_accuracy(pd.DataFrame(rows))
    assert found.columns.tolist() == ["trivial", "reasoning", "irreducible"]
    np.testing.assert_allclose(found, [[0.8, (0.1 * 1 + 0.3 * 0.2) / 0.4, np.nan], [0.6, np.nan, np.nan]])


def test_anatomy_draws_each_arm_by_class_and_stacks_its_masks():
    table = training("collapse")
    axes = {ax.get_title(loc="left"): ax for ax in study.collapse_anatomy(table).axes}
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
    axes = {ax.get_title(loc="left"): ax for ax in study.generator_profile(table).axes}
    assert "(f) Random spans" not in axes  # it has no generator
    stacks = [axes[title].collections for title in ("(d) G = 4", "(e) G = 8")]
    assert [len(stack) for stack in stacks] == [5, 9]
    middle = [stack[len(stack) // 2].get_facecolor().tolist() for stack in stacks]
    assert middle[0] == middle[1]  # half of the predictions right, whatever G is
    wrong = tables[0].groupby("step")["hits/0"].mean()
    assert stacks[0][0].get_paths()[0].vertices[:, 1].max() == pytest.approx(wrong.max())
    with pytest.raises(ValueError, match="no arm has a generator"):
        study.generator_profile(synthetic.training().query("objective == 'random_span'"))


def test_masks_are_means_over_the_last_quarter():
    table = training("generator_reward")
    left, right = study.masks_by_arm(table).axes
    late = table[(table["step"] > 75) & (table["objective"] == "min(p, 1 - p)")]
    shares = late.groupby("seed")["mask/irreducible"].mean()
    bars = {bars.get_label(): bars for bars in left.containers}
    assert [label.get_text() for label in left.get_yticklabels()][3] == "min(p, 1 - p)"
    last = [bar for bar in left.patches if bar.get_y() + bar.get_height() / 2 == pytest.approx(3)][-1]
    assert last.get_width() == pytest.approx(shares.mean()) and last.get_x() + last.get_width() == pytest.approx(1)
    assert list(bars)[:5] == ["trivial", "sum", "two hop", "weekday", "irreducible"]
    _, caps, _ = right.containers[3]
    np.testing.assert_allclose([cap.get_xdata()[0] for cap in caps], bootstrap_ci(shares))


def mapped(accuracies):
    """accuracies: {arm: by seed}; a tinybench of two tasks whose mean they are."""
    rows = [{"arm": arm, "run_id": f"{arm}-{seed}", "objective": arm.split(",")[0], "tier": "mini", "seed": seed,
             "step": step, "task": task, "group": "spans", "n": 4, "accuracy": (value if step else 0.1) + off}
            for arm, values in accuracies.items() for seed, value in enumerate(values)
            for step in (0, 10) for task, off in (("a", -0.1), ("b", 0.1))]  # fmt: skip
    return pd.DataFrame(rows)


PLACE = "density 0.25, noise 0.6"
MAP = {
    f"pretrainzero, {PLACE}": [0.5, 0.7, 0.6], f"random_span, {PLACE}": [0.4, 0.5, 0.3],
    f"entropy_next_token, {PLACE}": [0.3, 0.6], "pretrainzero, density 0.5, noise 1": [0.9, 0.9],
}  # fmt: skip


def test_the_map_pairs_seeds_at_every_place():
    found = map_differences(mapped(MAP))
    assert found[["first", "second", "density", "noise", "n"]].values.tolist() == [
        ["pretrainzero", "random_span", 0.25, 0.6, 3],
        ["entropy_next_token", "random_span", 0.25, 0.6, 2],  # seeds 0 and 1 only
    ]
    assert found["difference"].tolist() == pytest.approx([20, 0])
    low, high = bootstrap_ci([10, 20, 30])
    assert found.loc[0, ["low", "high"]].tolist() == pytest.approx([low, high])
    with pytest.raises(ValueError, match="'sft' is no place on the map; name it"):
        map_differences(mapped({"sft": [0.1, 0.2]}))


def test_the_map_frames_what_leaves_zero_out():
    figure = study.searching_map(mapped(MAP))
    ours, entropy = figure.axes[:2]
    assert ours.get_title(loc="left") == "(a) PretrainZero − Random spans"
    assert [text.get_text().split("\n")[0] for ax in (ours, entropy) for text in ax.texts] == ["+20.0", "+0.0"]
    assert [len(ax.patches) for ax in (ours, entropy)] == [1, 0]
    low, high = ours.images[0].get_clim()
    assert low == -high
    with pytest.raises(ValueError, match="run the study map"):
        study.searching_map(mapped({f"pretrainzero, {PLACE}": [0.5, 0.7]}))


def test_the_map_of_the_study_is_readable():
    assert_readable(study.searching_map(tinybench("map")))
