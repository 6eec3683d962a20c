"""The view of a run: masks over their passage, sample episodes, any text as it is, readable."""

import pytest
import synthetic
from readable import assert_readable

from pzlib.figures.run_view import heat_map, heat_of, passage_heat, run_view, sample_episodes
from pzlib.figures.style import METHODS, Picture
from pzlib.prompts import PAPER, TINY


def view(objective="pretrainzero", steps=57, **changed):
    metrics = synthetic.training((objective,), seeds=1, steps=steps)
    return run_view(metrics, synthetic.episodes(objective=objective, **changed), title="A run", template=TINY)


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()] if figure.legends else []


def test_stored_runs_are_a_grey_band_behind_the_curves_of_the_methods_colour():
    rows = synthetic.training(seeds=3, objectives=("pretrainzero",))
    scores = synthetic.tinybench(("pretrainzero",), seeds=3)
    metrics, own = rows[rows["seed"] == 0].iloc[:20], scores[(scores["seed"] == 0) & (scores["step"] <= 20)]
    known = {"training": rows[rows["seed"] > 0], "tinybench": scores[scores["seed"] > 0]}
    given = {"title": "A run", "template": TINY, "evals": own}
    figure = run_view(metrics, synthetic.episodes(), others=known, **given)
    assert labels(figure) == ["range of 2 stored seeds", "predictor", "generator"]
    bands = [len(ax.collections) for ax in figure.axes[:5]]
    assert bands == [2, 2, 2, 2, 3]  # a band a role; a band a group of questions
    assert_readable(figure)
    reward = figure.axes[0]
    assert {line.get_color() for line in reward.lines} == {"#8C8C8C", METHODS["pretrainzero"].colour}
    low, high = (reward.collections[0].get_paths()[0].get_extents().get_points()[:, 1]).tolist()
    seen = known["training"]["predictor/reward"]
    assert (low, high) == pytest.approx((seen.min(), seen.max()))
    given["title"] = "High-entropy next tokens · seed 100 · step 1 of 200 · interrupted; run the cell again to go on"
    first = run_view(metrics.iloc[:1], synthetic.episodes(), others=known, **given)
    assert_readable(first)  # the title is clear of the legend
    assert first.axes[0].get_xlim()[1] >= known["training"]["step"].max()  # the band is in sight
    alone = run_view(metrics, synthetic.episodes(), **given)
    assert labels(alone) == ["predictor", "generator"] and not alone.axes[0].collections
    other = run_view(metrics, synthetic.episodes(), objective="random_span", **given)
    assert METHODS["random_span"].colour in {line.get_color() for line in other.axes[0].lines}


@pytest.mark.parametrize("objective", ["pretrainzero", "random_span"])
@pytest.mark.parametrize("steps", [1, 57])
def test_the_view_of_a_run_is_readable(objective, steps):
    assert_readable(view(objective, steps))


def test_the_view_of_a_run_shows_rewards_that_are_no_shares():
    metrics = synthetic.training(("rlp",), seeds=1).assign(**{"predictor/reward": -2.0})
    figure = run_view(metrics, synthetic.episodes()[:0], title="RLP", template=TINY)
    assert figure.axes[0].get_ylim()[0] < -2


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


def test_of_masks_that_teach_one_that_can_be_deduced_is_preferred():
    rows = synthetic.episodes().assign(kind="trivial")
    rows.loc[rows["mask"] == "7", "kind"] = "difference"
    assert set(sample_episodes(rows)["mask"]) == {"7"}  # Friday comes first, but is trivial here
    rows.loc[rows["mask"].isin(["7", "Orvian"]), "kind"] = ["irreducible"] * 5 + ["two_hop"] * 5
    assert set(sample_episodes(rows.assign(kind=None))["mask"]) == {"Friday"}


def test_sample_episodes_are_a_mask_and_a_right_and_a_wrong_prediction_of_it():
    rows = sample_episodes(synthetic.episodes())
    assert list(rows["role"]) == ["generator", "predictor", "predictor"]
    assert set(rows["mask"]) == {"Friday"} and list(rows["reward"])[1:] == [1.0, 0.0]
    assert len(sample_episodes(synthetic.episodes().iloc[:0])) == 0
