"""Figures say what their tables say, in text that is readable and clear; wrong tables are refused."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import synthetic
from readable import assert_readable

from pzlib import figures, studies
from pzlib.figures.forms import averaged
from pzlib.figures.run_view import heat_map, heat_of, passage_heat, run_view, sample_episodes
from pzlib.figures.style import METHODS, Picture, marks_of, save
from pzlib.prompts import PAPER, TINY
from pzlib.stats import bootstrap_ci
from pzlib.studies.metrics import kind_shares

PAPER_FIGURES = {
    "training_dynamics": (figures.training_dynamics, synthetic.training),
    "generator_dynamics": (figures.generator_dynamics, synthetic.training),
    "tinybench_curves": (figures.tinybench_curves, synthetic.tinybench),
    "main_result": (figures.main_result, synthetic.tinybench),
}


def view(objective="pretrainzero", steps=57, **changed):
    metrics = synthetic.training((objective,), seeds=1, steps=steps)
    return run_view(metrics, synthetic.episodes(objective=objective, **changed), title="A run", template=TINY)


@pytest.mark.parametrize("name", PAPER_FIGURES)
@pytest.mark.parametrize("seeds, objectives", [(5, ("pretrainzero", "random_span")), (1, ("pretrainzero",))])
def test_text_is_readable_and_nothing_collides(name, seeds, objectives):
    function, table = PAPER_FIGURES[name]
    assert_readable(function(table(objectives, seeds=seeds)))


@pytest.mark.parametrize("objective", ["pretrainzero", "random_span"])
@pytest.mark.parametrize("steps", [1, 57])
def test_the_view_of_a_run_is_readable(objective, steps):
    assert_readable(view(objective, steps))


def test_the_check_for_collisions_sees_one():
    figure = Picture(4, 2)
    for place, words in enumerate("abcd"):
        figure.text(0.1 + 0.001 * place, 0.5, words * 10)
    with pytest.raises(AssertionError, match="lies on"):
        assert_readable(figure)


def test_one_line_a_method_and_role_whose_points_are_the_means_over_seeds():
    table = synthetic.training(steps=10)
    axes = figures.training_dynamics(table).axes
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
    band = figures.training_dynamics(table).axes[2].collections[0].get_paths()[0].vertices
    values = table[table["step"] == 4]["predictor/reward"]
    np.testing.assert_allclose(sorted({y for x, y in band if x == 4}), bootstrap_ci(values, n=1000))


def test_a_single_seed_has_no_band_and_the_caption_says_so():
    figure = figures.training_dynamics(synthetic.training(("pretrainzero",), seeds=1), source="this run")
    assert not figure.axes[0].collections
    words = " ".join(text.get_text() for text in figure.texts)
    assert "One seed only" in words and "this run" in words and "60 rows" in words


def test_a_mean_never_changes_its_seeds_along_the_line():
    table = synthetic.training(("random_span",), seeds=2, steps=10)
    table = table[(table["seed"] == 0) | (table["step"] <= 6)]  # seed 1 was killed at step 6
    line = figures.training_dynamics(table).axes[0].get_lines()[-1]
    assert line.get_xdata().max() == 6


def test_curves_on_tinybench_are_plain_means_over_the_tasks_of_a_group():
    table = synthetic.tinybench()
    line = figures.tinybench_curves(table).axes[1].get_lines()[-1]  # math, random_span
    rows = table[(table["group"] == "math") & (table["objective"] == "random_span")]
    np.testing.assert_allclose(line.get_ydata(), rows.groupby("step")["accuracy"].mean() * 100)


def test_the_result_shows_every_seed_the_base_and_the_paired_difference():
    table = synthetic.tinybench()
    axes = figures.main_result(table).axes
    assert [ax.get_title(loc="left") for ax in axes] == ["General (2 tasks)", "Math (2 tasks)", "Masked words (1 task)"]
    labels = [label.get_text() for label in axes[0].get_yticklabels()]
    assert labels == ["PretrainZero", "Random spans", "Base"] and axes[0].yaxis_inverted()
    small = [line for line in axes[0].get_lines() if line.get_alpha()]
    assert [len(line.get_xdata()) for line in small] == [5, 5, 5]  # the seeds of two methods and of the base
    after = table[(table["step"] == 60) & (table["group"] == "spans")].groupby("objective")["accuracy"].mean()
    difference = 100 * (after["random_span"] - after["pretrainzero"])
    assert [text.get_text()[:6] for text in axes[2].texts] == [f"{difference:+.1f} [".replace("-", "−")]


def test_the_result_takes_arms_and_their_order_from_the_table_or_by_name():
    names = {"random_span": "half", "pretrainzero": "whole", "sft": "none"}
    table = synthetic.tinybench(tuple(names), seeds=2)
    table = table.assign(arm=table["objective"].map(names), objective="pretrainzero")  # one objective, one seed an arm
    for order, expected in ((None, ["half", "whole", "none"]), (["none", "half"], ["none", "half"])):
        ax = figures.main_result(table, order=order).axes[0]
        assert [label.get_text() for label in ax.get_yticklabels()] == [*expected, "Base"]
        assert len(ax.texts) == len(expected) - 1  # each but the first has a difference to the first
        means = [bar[0].get_xdata()[0] for bar in ax.containers]
        rows = table[(table["group"] == "general") & (table["step"] == 60)].groupby("arm")["accuracy"].mean() * 100
        np.testing.assert_allclose(means, [*rows[expected], 40])


def test_variants_look_different_and_methods_keep_their_marks():
    arms = ["pretrainzero", *(f"variant {i}" for i in range(12)), "random_span, late"]
    marks = marks_of(arms)
    assert list(marks) == arms and marks["pretrainzero"] == METHODS["pretrainzero"]
    assert marks["random_span, late"].label == "Random spans, late"
    assert len({(mark.colour, mark.line) for mark in marks.values()}) == len(arms)
    assert len({(mark.colour, mark.marker) for mark in marks.values()}) == len(arms)
    assert len({mark.colour for mark in METHODS.values()}) == len({m.marker for m in METHODS.values()}) == len(METHODS)


def test_the_same_seed_may_stand_once_in_every_arm():
    table = synthetic.training(seeds=2, steps=5)
    with pytest.raises(ValueError, match="several runs of pretrainzero, seed 0: .*; give one, as pzlib.studies.select"):
        figures.training_dynamics(table.assign(objective="pretrainzero"))
    arms = table["objective"].replace({"pretrainzero": "G = 4", "random_span": "G = 8"})
    figure = figures.training_dynamics(table.assign(objective="pretrainzero", arm=arms))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["G = 4, predictor", "G = 4, generator", "G = 8, predictor"]


def test_seeds_are_counted_in_few_words_and_exceptions_are_named():
    table = synthetic.training(("pretrainzero", "random_span", "entropy_next_token"), seeds=3, steps=5)
    table = table[(table["objective"] != "random_span") | (table["seed"] < 2)]
    words = figures.training_dynamics(table, source="here").texts[0].get_text()
    assert words.endswith("here, tier mini: 40 rows; seeds: 3 an arm, but Random spans 2.")


def test_steps_of_one_run_are_smoothed_and_means_over_steps_are_not():
    assert averaged(synthetic.training(steps=200)) == "Running mean over 10 steps."
    binned = synthetic.training(("random_span",), seeds=1, steps=200, every=10)
    figure = figures.training_dynamics(binned)
    np.testing.assert_array_equal(figure.axes[2].get_lines()[0].get_ydata(), binned["predictor/reward"])
    assert "mean over the 10 steps up to it" in " ".join(figure.texts[0].get_text().split())
    assert "Running mean" not in figure.texts[0].get_text()


def test_stacked_kinds_reach_one_and_end_with_the_irreducible():
    figure = figures.generator_dynamics(synthetic.training())
    stack = next(ax for ax in figure.axes if "Kinds of masks, PretrainZero" in ax.get_title(loc="left"))
    assert [area.get_label() for area in stack.collections] == [
        "trivial",
        "sum",
        "two hop",
        "weekday",
        "irreducible",
    ]
    assert stack.collections[-1].get_paths()[0].vertices[:, 1].max() == pytest.approx(1)


@pytest.mark.parametrize("name", PAPER_FIGURES)
def test_wrong_tables_are_refused_in_words(name):
    function, make = PAPER_FIGURES[name]
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


def test_heat_reads_masks_back_from_the_prompts():
    heat = heat_of(synthetic.episodes(), TINY)
    assert heat.text == synthetic.TEXT and heat.passage_id == "belmora"
    found = {(heat.text[start:end], accuracy) for start, end, accuracy in heat.masks}
    assert found == {("Friday", 0.5), ("7", 0.25), ("the", 1.0), ("Orvian", 0.0)}
    assert sum(heat.text[start:end] == "the" for start, end, _ in heat.masks) == synthetic.TEXT.count("the")


def test_heat_reads_the_paper_template_whose_own_words_hold_a_mask():
    before, after = PAPER.predictor.split("{text}")
    rows = synthetic.episodes()
    tiny = rows["prompt"].str.removeprefix("Passage : ").str.removesuffix(" Answer :")
    rows["prompt"] = before + tiny + after
    assert heat_of(rows, PAPER).text == synthetic.TEXT


def test_heat_of_one_replaced_occurrence_colours_that_one_only():
    rows = synthetic.episodes()
    rows = rows[(rows["role"] == "predictor") & (rows["mask"] == "the")].copy()
    rows["prompt"] = "Passage : " + synthetic.TEXT[::-1].replace("eht", "]ksam[", 1)[::-1] + " Answer :"
    assert [mask[0] for mask in heat_of(rows, TINY).masks] == [synthetic.TEXT.rfind("the")]


def test_no_legal_mask_is_no_heat_and_no_error():
    rows = synthetic.episodes()
    rows = rows[rows["role"] == "generator"].assign(mask=None, legal=False)
    assert heat_of(rows, TINY) is None
    assert_readable(run_view(synthetic.training(seeds=1).iloc[:3], rows, title="A run", template=TINY))


def test_characters_are_coloured_by_mean_accuracy_and_dead_masks_are_edged():
    figure = Picture(10, 2)
    ax = figure.add_axes((0, 0, 1, 1))
    text = "one two three four"
    shown = passage_heat(ax, text, [(0, 3, 0.5), (4, 7, 0.0), (4, 7, 0.5), (14, 18, 1.0)])
    assert shown == (0, 1, 1)
    cells = [(round(patch.get_x() + 0.1), patch.get_edgecolor()[3], patch.get_facecolor()) for patch in ax.patches]
    assert [left for left, _, _ in cells] == [0, 4, 14]
    assert [edge > 0 for _, edge, _ in cells] == [False, False, True]  # only accuracy 1 is without signal
    assert len({colour for _, _, colour in cells}) == 3
    assert [word.get_text() for word in ax.texts] == ["one", "two", "three", "four"]


def test_a_long_passage_shows_the_lines_with_most_masks():
    text = "word " * 2000
    figure = Picture(10, 2)
    first, shown, lines = passage_heat(figure.add_axes((0, 0, 1, 1)), text, [(5000, 5004, 0.5)])
    assert shown < lines and first + 3 <= 5000 * lines // len(text) < first + shown - 3
    assert "lines" in view(text=synthetic.TEXT * 20).axes[4].get_title(loc="left")


@pytest.mark.filterwarnings("error")
def test_any_text_is_drawn_as_it_is(tmp_path):
    text = "a $100 $ _{x ^ \\frac \t\n 漢字 👍 <b>Friday</b> 7 the Orvian " + "x" * 400
    figure = view(text=text)
    assert figure.png()[:4] == b"\x89PNG"
    heat_map(heat_of(synthetic.episodes(text=text), TINY)).png()


def test_sample_episodes_are_a_mask_and_a_right_and_a_wrong_prediction_of_it():
    rows = sample_episodes(synthetic.episodes())
    assert list(rows["role"]) == ["generator", "predictor", "predictor"]
    assert set(rows["mask"]) == {"Friday"} and list(rows["reward"])[1:] == [1.0, 0.0]
    assert len(sample_episodes(synthetic.episodes().iloc[:0])) == 0


def test_saved_files_are_the_same_for_the_same_table(tmp_path):
    table = synthetic.training(seeds=1, steps=5)
    first = [path.read_bytes() for path in save(figures.training_dynamics(table), "a", tmp_path)]
    again = [path.read_bytes() for path in save(figures.training_dynamics(table), "b", tmp_path)]
    assert first == again
    assert {path.name for path in tmp_path.iterdir()} == {"a.pdf", "a.png", "b.pdf", "b.png"}


def selected(table, study, tier):
    """In the place of studies.select: every objective is an arm of the study baselines."""
    rows = table[table["tier"] == tier] if study == "baselines" else table.iloc[:0]
    return rows.assign(arm=rows["objective"])


def test_redraw_needs_no_torch_and_says_what_is_missing(tmp_path):
    synthetic.training(seeds=2, steps=10).to_csv(tmp_path / "training.csv", index=False)
    code = (
        "import sys; from pzlib import figures, studies\n"
        "studies.select = lambda rows, study, tier: (\n"
        "    rows.assign(arm=rows['objective']) if study == 'baselines' else rows[:0].assign(arm=''))\n"
        f"files = figures.redraw({str(tmp_path)!r}, {str(tmp_path)!r})\n"
        "assert not {'torch', 'transformers', 'trl'} & set(sys.modules); print(len(files))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "main_result: not drawn" in done.stdout and "collapse_anatomy: not drawn" in done.stdout
    assert done.stdout.endswith("\n6\n")  # of PretrainZero's rows two figures of training, and one of the generator
    with pytest.raises(FileNotFoundError, match="no folder"):
        figures.redraw(tmp_path / "absent", tmp_path)


def told(table, source):
    """A figure that says what it was given."""
    figure = Picture(6, 2, layout="constrained")
    figure.text(0, 0.5, f"{source}: {sorted(table['arm'].unique())}")
    return figure


def test_redraw_takes_the_arms_of_the_study_and_names_it(tmp_path, monkeypatch, capsys):
    assert {drawing.study for drawing in figures.PLAN.values()} == set(studies.STUDIES)
    monkeypatch.setattr(studies, "select", selected)
    both = ("pretrainzero", "random_span")
    plan = {"mine": ("baselines", both), "main": ("baselines", both[:1]), "other": ("baselines", ())}
    plan = {name: figures.Drawing(told, study, ("tinybench",), arms) for name, (study, arms) in plan.items()}
    monkeypatch.setattr(figures, "PLAN", plan)
    rows = pd.concat([synthetic.tinybench(seeds=1), synthetic.tinybench(("sft",), seeds=1, tier="smoke")])
    rows.to_csv(tmp_path / "tinybench.csv", index=False)
    files = figures.redraw(tmp_path, tmp_path / "out")
    assert [path.name for path in files] == ["mine.png", "mine.pdf", "main.png", "main.pdf"]
    for path, arms in ((files[0], ["pretrainzero", "random_span"]), (files[2], ["pretrainzero"])):
        table = pd.DataFrame({"arm": arms})
        expected = save(told(table, "data/results/tinybench.csv, study baselines"), path.stem, tmp_path)
        assert path.read_bytes() == expected[0].read_bytes()
    said = "other: not drawn, 2 of 4 arms of baselines lack runs at tier mini\n"
    assert capsys.readouterr().out == said  # half a study would look like a whole one
    rows = rows[(rows["objective"] == "pretrainzero") | (rows["seed"] == 1)]
    pd.concat([rows, rows.assign(seed=1, run_id="pretrainzero-1")]).to_csv(tmp_path / "tinybench.csv", index=False)
    assert [path.name for path in figures.redraw(tmp_path, tmp_path / "out")] == ["main.png", "main.pdf"]
    assert "mine: not drawn, 1 of 2 arms" in capsys.readouterr().out  # nor one seed more for one arm


def test_shares_of_kinds_sum_to_one_also_where_a_kind_is_absent():
    table = pd.DataFrame({"mask/trivial": [0.5, 1.0, None, 0.25, None, 1.0], "mask/words": 2.0, "mask/position": 0.5})
    table["mask/sum"] = [0.5, None, None, 0.25, 0.5, None]
    table["mask/sum_inverse"] = [None, None, None, 0.5, 0.5, None]
    table["mask/chain"] = None  # of another world: no column
    shares = kind_shares(table)
    assert shares.columns.tolist() == ["trivial", "sum"]
    np.testing.assert_array_equal(shares["sum"], [0.5, 0, np.nan, 0.75, 1, 0])
    assert shares.dropna().sum(axis=1).tolist() == [1.0] * 5


def test_a_stack_spans_a_step_without_masks():
    table = synthetic.training(("random_span",), seeds=1, steps=6)
    masks = [name for name in table if name.startswith("mask/")]
    table.loc[table["step"] == 3, masks] = None
    stack = figures.generator_dynamics(table).axes[3]
    edge = stack.collections[-1].get_paths()[0].vertices
    assert sorted({x for x, _ in edge}) == [1, 2, 4, 5, 6] and edge[:, 1].max() == pytest.approx(1)
