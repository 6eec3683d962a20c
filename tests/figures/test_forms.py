"""Every form is readable, draws what its table says, and refuses a wrong table in words."""

import numpy as np
import pandas as pd
import pytest
import synthetic
from readable import assert_readable

from pzlib.figures import accuracy, training
from pzlib.figures.forms import averaged
from pzlib.figures.style import METHODS
from pzlib.figures.training import generator_dynamics, training_dynamics
from pzlib.stats import bootstrap_ci

FORMS = {
    "training_dynamics": (training_dynamics, synthetic.training),
    "generator_dynamics": (generator_dynamics, synthetic.training),
    "tinybench_curves": (accuracy.tinybench_curves, synthetic.tinybench),
    "main_result": (accuracy.main_result, synthetic.tinybench),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("seeds, objectives", [(5, ("pretrainzero", "random_span")), (1, ("pretrainzero",))])
def test_text_is_readable_and_nothing_collides(name, seeds, objectives):
    form, table = FORMS[name]
    assert_readable(form(table(objectives, seeds=seeds)))


def test_twelve_arms_are_readable():
    names = tuple(f"arm number {i}, with a rule" for i in range(12))
    assert_readable(accuracy.main_result(synthetic.tinybench(names, seeds=2)))
    assert_readable(training.masks_by_arm(synthetic.training(names, seeds=2, steps=8)))
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
        "(a) Entropy (nats a token)", "(b) Response length (tokens)", "(c) Reward"
    ]  # fmt: skip
    lines = {line.get_label(): line for line in axes[2].get_lines() if not line.get_label().startswith("_")}
    assert set(lines) == {"PretrainZero, predictor", "PretrainZero, generator", "Random spans, predictor"}
    mine = table[table["objective"] == "random_span"].groupby("step")["predictor/reward"].mean()
    assert lines["PretrainZero, generator"].get_linestyle() == "--"
    np.testing.assert_allclose(lines["Random spans, predictor"].get_ydata(), mine)
    assert lines["Random spans, predictor"].get_color() == METHODS["random_span"].colour


def test_the_band_is_the_bootstrap_interval_over_seeds():
    table = synthetic.training(("random_span",), steps=10)
    band = training_dynamics(table).axes[2].collections[0].get_paths()[0].vertices
    values = table[table["step"] == 4]["predictor/reward"]
    np.testing.assert_allclose(sorted({y for x, y in band if x == 4}), bootstrap_ci(values, n=1000))


def test_a_single_seed_has_no_band_and_the_caption_says_so():
    figure = training_dynamics(synthetic.training(("pretrainzero",), seeds=1), source="this run")
    assert not figure.axes[0].collections
    words = " ".join(text.get_text() for text in figure.texts)
    assert "One seed only" in words and "this run" in words and "60 rows" in words


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
    assert labels == ["G = 4, predictor", "G = 4, generator", "G = 8, predictor"]


def test_seeds_are_counted_in_few_words_and_exceptions_are_named():
    table = synthetic.training(("pretrainzero", "random_span", "entropy_next_token"), seeds=3, steps=5)
    table = table[(table["objective"] != "random_span") | (table["seed"] < 2)]
    words = training_dynamics(table, source="here").texts[0].get_text()
    assert words.endswith("here, tier mini: 40 rows; seeds: 3 an arm, but Random spans 2.")


def test_steps_of_one_run_are_smoothed_and_means_over_steps_are_not():
    assert averaged(synthetic.training(steps=200)) == (10, "Running mean over 10 steps.")
    binned = synthetic.training(("random_span",), seeds=1, steps=200, every=10)
    figure = training_dynamics(binned)
    np.testing.assert_array_equal(figure.axes[2].get_lines()[0].get_ydata(), binned["predictor/reward"])
    assert "mean over the 10 steps up to it" in " ".join(figure.texts[0].get_text().split())
    assert "Running mean" not in figure.texts[0].get_text()
