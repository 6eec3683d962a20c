"""Every form is readable, draws what its table says, and refuses a wrong table in words."""

import numpy as np
import pandas as pd
import pytest
import synthetic
from readable import assert_readable

from pzlib.figures import accuracy, paper
from pzlib.figures import training as along
from pzlib.figures.forms import averaged
from pzlib.figures.style import METHODS
from pzlib.figures.training import generator_dynamics, training_dynamics
from pzlib.studies import STUDIES
from pzlib.studies.metrics import over_seeds
from pzlib.studies.patterns import STRUCTURE


def training(study, seeds):
    return synthetic.training(tuple(STUDIES[study].arms), seeds, 100, every=10)


def tinybench(study, seeds):
    rows = synthetic.tinybench(tuple(STUDIES[study].arms), seeds, steps=(0, 50, 100))
    return rows.assign(arm=rows["objective"])


def patterns(seeds):
    rows = synthetic.tinybench(tuple(STUDIES["baselines"].arms), seeds)
    names = dict(zip(rows["task"].unique(), (*STRUCTURE[:2], "direct guess", "words", "right"), strict=True))
    return rows.assign(pattern=rows["task"].map(names), mean=rows["accuracy"], cases=12).drop(columns="task")


# Every form that a study's record names, with rows of its longest study: a new figure adds itself here.
DRAWN = {
    "training_dynamics": lambda seeds: along.training_dynamics(synthetic.training(seeds=seeds)),
    "generator_dynamics": lambda seeds: along.generator_dynamics(synthetic.training(seeds=seeds)),
    "collapse_anatomy": lambda seeds: along.collapse_anatomy(training("collapse", seeds)),
    "masks_by_arm": lambda seeds: along.masks_by_arm(training("collapse", seeds)),
    "thoughts": lambda seeds: along.thoughts(synthetic.thoughts(seeds)),
    "tinybench_curves": lambda seeds: accuracy.tinybench_curves(tinybench("baselines", seeds)),
    "collapse_curves": lambda seeds: accuracy.collapse_curves(
        *({name: table(name, seeds) for name in ("collapse", "collapse_clean")} for table in (tinybench, training))
    ),
    "by_tokens": lambda seeds: accuracy.by_tokens(tinybench("collapse", seeds), training("collapse", seeds)),
    "by_time": lambda seeds: accuracy.by_time(tinybench("collapse", seeds), synthetic.costs(STUDIES["collapse"].arms)),
    "main_result": lambda seeds: accuracy.main_result(tinybench("collapse_noise", seeds)),
    "follow_on": lambda seeds: accuracy.follow_on(synthetic.follow_on(STUDIES["side_rlvr"].arms, seeds)),
    "perplexities": lambda seeds: accuracy.perplexities(synthetic.perplexity(STUDIES["rlp"].arms, seeds)),
    "structure_by_arm": lambda seeds: accuracy.structure_by_arm(patterns(seeds)),
    "baselines_beside": lambda seeds: paper.baselines_beside({name: tinybench(name, seeds) for name in paper.SIZES}),
    "rlvr_beside": lambda seeds: paper.rlvr_beside(synthetic.follow_on(STUDIES["rlvr"].arms, seeds)),
    "next_tokens_beside": lambda seeds: paper.next_tokens_beside(synthetic.next_tokens(seeds=seeds)[0]),
    "scaling": lambda seeds: paper.scaling(*synthetic.next_tokens(seeds=seeds)),
    "rlvr_after_beside": lambda seeds: paper.rlvr_after_beside(
        synthetic.follow_on(STUDIES["rlvr_after"].arms, seeds)
    ),
    "rlp_beside": lambda seeds: paper.rlp_beside(synthetic.follow_on(STUDIES["rlvr_after_rlp"].arms, seeds)),
    "ablations": lambda seeds: paper.ablations(
        {name: tinybench(name, seeds) for name in ("rlp_rollouts", "rlp_thoughts", "rlp_kl", "rlp_ema")}
    ),
    "case": lambda seeds: paper.case(synthetic.case()),
}
FORMS = {
    "training_dynamics": (training_dynamics, synthetic.training),
    "generator_dynamics": (generator_dynamics, synthetic.training),
    "tinybench_curves": (accuracy.tinybench_curves, synthetic.tinybench),
    "main_result": (accuracy.main_result, synthetic.tinybench),
}


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("seeds", [3, 1])
def test_text_is_readable_and_nothing_collides(name, seeds):
    figure = DRAWN[name](seeds)
    assert_readable(figure)
    assert figure.headline and figure.texts[-1].get_text().count("\n") <= 1  # a caption has two lines
    assert intervals(figure) == 0, "no interval under five seeds"
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            own = next((mark for mark in METHODS.values() if label.split(", ")[0] == mark.label), None)
            if own and hasattr(handle, "get_marker"):  # one hue for one method; whole names have its whole mark
                assert handle.get_color() == own.colour or label != own.label
                assert handle.get_marker() in (own.marker, "None")


def intervals(figure):
    """How many bands, bars and texts in brackets a figure has."""
    found = [bar for ax in figure.axes for bar in ax.containers]
    bars = [bar for bar in found if getattr(bar, "has_xerr", False) or getattr(bar, "has_yerr", False)]
    bands = [area for ax in figure.axes for area in ax.collections if area.get_alpha() == 0.18]
    return len(bars) + len(bands) + sum("[" in text.get_text() for ax in figure.axes for text in ax.texts)


@pytest.mark.parametrize("name", ["main_result", "tinybench_curves", "training_dynamics", "ablations"])
def test_five_seeds_have_intervals(name):
    assert intervals(DRAWN[name](5)) > 0


@pytest.mark.parametrize("name", ["main_result", "tinybench_curves", "collapse_curves", "by_tokens", "by_time"])
def test_accuracies_are_compared_with_a_base_line(name):
    figure = DRAWN[name](3)
    for ax in figure.axes:
        title = ax.get_title(loc="left")
        if any(word in title for word in ("General", "Math", "Masked words")):
            dotted = [line for line in ax.get_lines() if line.get_linestyle() == ":"]
            places = {value for line in dotted for value in (*line.get_xdata(), *line.get_ydata())}
            assert any(value == pytest.approx(40) for value in places), title
            assert len(ax.patches) == 1, "the band of its answers"
    assert "Dotted: each base" in " ".join(figure.texts[-1].get_text().split())


def test_every_form_of_a_record_is_checked():
    assert {figure.form for study in STUDIES.values() for figure in study.figures} == set(DRAWN)


def test_twelve_arms_are_readable():
    names = tuple(f"arm number {i}, with a rule" for i in range(12))
    assert_readable(accuracy.main_result(synthetic.tinybench(names, seeds=2)))
    assert_readable(along.masks_by_arm(synthetic.training(names, seeds=2, steps=8)))
    assert_readable(accuracy.tinybench_curves(synthetic.tinybench(names, seeds=2)))


@pytest.mark.parametrize("name", FORMS)
def test_wrong_tables_are_refused_in_words(name):
    function, make = FORMS[name]
    table = make()
    gone = "predictor/accuracy" if name == "generator_dynamics" else "predictor/reward"
    gone = gone if "predictor/reward" in table else "accuracy"
    with pytest.raises(ValueError, match=f"'{gone}' is not a column; it has .*'objective'"):
        function(table.drop(columns=gone))
    with pytest.raises(ValueError, match="no rows"):
        function(table.iloc[:0])
    with pytest.raises(ValueError, match="tiers mini, smoke"):
        function(pd.concat([make(seeds=1), make(seeds=1, tier="smoke")]))
    with pytest.raises(ValueError, match="several runs of pretrainzero, seed 0"):
        function(table.replace({"run_id": "random_span-1", "seed": 1}, {"run_id": "random_span-1", "seed": 0}))


def test_one_line_a_method_and_role_whose_points_are_the_means_over_seeds():
    table = synthetic.training(steps=10)
    axes = training_dynamics(table).axes
    assert [ax.get_title(loc="left") for ax in axes] == [
        "(a) Entropy (nats per token)", "(b) Response length (tokens)", "(c) Reward"
    ]  # fmt: skip
    lines = {line.get_label(): line for line in axes[2].get_lines() if not line.get_label().startswith("_")}
    names = {f"PretrainZero, {who}" for who in ("all samples", "predictor", "generator")}
    assert set(lines) == names | {"Random spans, all samples"}
    mine = table[table["objective"] == "random_span"].groupby("step")["predictor/reward"].mean()
    assert lines["PretrainZero, generator"].get_linestyle() == "--"
    np.testing.assert_allclose(lines["Random spans, all samples"].get_ydata(), mine)
    assert lines["Random spans, all samples"].get_color() == METHODS["random_span"].colour


def test_the_band_is_the_interval_over_seeds_and_bases_and_the_line_is_in_its_middle():
    table = synthetic.training(("random_span",), steps=10)
    table["seed"] = table["seed"].map({0: 0, 1: 1, 2: 2, 3: 10, 4: 11})
    table.loc[table["seed"] > 9, "predictor/reward"] += 5  # another base
    axes = training_dynamics(table).axes[2]
    values = table[table["step"] == 4].set_index("seed")["predictor/reward"]
    mean, low, high = over_seeds(values)
    band = axes.collections[0].get_paths()[0].vertices
    np.testing.assert_allclose(sorted({y for x, y in band if x == 4}), [low, high])
    assert high - low < 1 and mean == pytest.approx((values[:3].mean() + values[3:].mean()) / 2)
    (line,) = (line for line in axes.get_lines() if line.get_label() == "Random spans, all samples")
    assert line.get_ydata()[list(line.get_xdata()).index(4)] == pytest.approx(mean)


def test_a_single_seed_has_no_band_and_the_caption_says_so():
    figure = training_dynamics(synthetic.training(("pretrainzero",), seeds=1), source="this run")
    assert not figure.axes[0].collections
    words = " ".join(text.get_text() for text in figure.texts)
    assert "One seed, no interval." in words and "this run" in words


def test_a_mean_never_changes_its_seeds_along_the_line():
    table = synthetic.training(("random_span",), seeds=2, steps=10)
    table = table[(table["seed"] == 0) | (table["step"] <= 6)]  # seed 1 was killed at step 6
    line = training_dynamics(table).axes[0].get_lines()[-1]
    assert line.get_xdata().max() == 6


def test_the_same_seed_may_stand_once_in_every_arm():
    table = synthetic.training(seeds=2, steps=5)
    with pytest.raises(ValueError, match="several runs of pretrainzero, seed 0: .*; give those of one study"):
        training_dynamics(table.assign(objective="pretrainzero"))
    arms = table["objective"].replace({"pretrainzero": "G = 4", "random_span": "G = 8"})
    figure = training_dynamics(table.assign(objective="pretrainzero", arm=arms))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    whose = ("all samples", "predictor", "generator")
    assert labels == [*(f"G = 4, {who}" for who in whose), "G = 8, all samples"]


def test_seeds_are_counted_in_few_words_and_exceptions_are_named():
    table = synthetic.training(("pretrainzero", "random_span", "entropy_next_token"), seeds=3, steps=5)
    table = table[(table["objective"] != "random_span") | (table["seed"] < 2)]
    words = training_dynamics(table, source="here").texts[-1].get_text().replace("\n", " ")
    assert words.endswith("here, tier mini, 3 seeds per arm, but Random spans 2.")
    more = [f"all occurrences, number {n}" for n in range(4)]  # too many exceptions to name
    others = [synthetic.training(("pretrainzero",), seeds=5, steps=5).assign(arm=arm) for arm in more]
    table = pd.concat([table, *others])
    table = table.assign(arm=table["arm"].fillna(table["objective"]))
    words = training_dynamics(table, source="here").texts[-1].get_text().replace("\n", " ")
    assert words.endswith("here, tier mini, 2 to 5 seeds per arm.")


def test_steps_of_one_run_are_smoothed_and_means_over_steps_are_not():
    assert averaged(synthetic.training(steps=200)) == (10, "Running mean over 10 steps.")
    binned = synthetic.training(("random_span",), seeds=1, steps=200, every=10)
    figure = training_dynamics(binned)
    np.testing.assert_array_equal(figure.axes[2].get_lines()[0].get_ydata(), binned["predictor/reward"])
    assert figure.notes == ["Each point: mean over the 10 steps up to it."]


def test_seeds_are_counted_study_by_study_where_arms_share_a_name():
    noisy, clean = (synthetic.tinybench(("random_span",), seeds=seeds) for seeds in (6, 5))
    clean = clean.assign(run_id="clean " + clean["run_id"])
    ends = [accuracy.tinybench_curves(rows).texts[-1].get_text() for rows in (noisy, {"domain": noisy, "rpt": clean})]
    one, both = (" ".join(end.split()) for end in ends)
    assert one.endswith(", 6 seeds per arm.") and both.endswith(", 5 to 6 seeds per arm.")
