"""Marks tell arms apart, pictures are the same files for the same table, and the check for readable text sees."""

import pytest
import synthetic
from matplotlib.colors import rgb_to_hsv, to_rgb
from readable import assert_readable

from pzlib.figures.style import HEADLINE_COLUMNS, METHODS, Picture, caption, marks_of, save, sheet
from pzlib.figures.training import training_dynamics


def test_the_check_for_collisions_sees_one():
    figure = Picture(4, 2)
    for place, words in enumerate("abcd"):
        figure.text(0.1 + 0.001 * place, 0.5, words * 10)
    with pytest.raises(AssertionError, match="lies on"):
        assert_readable(figure)


def test_a_method_keeps_its_mark_and_a_variant_has_its_hue_open():
    methods = {f"variant {i}": "pretrainzero" for i in range(12)}
    arms = ["pretrainzero", *methods, "random_span, late", "from RLP", "numbers"]
    marks = marks_of(arms, methods)
    assert list(marks) == arms and marks["pretrainzero"] == METHODS["pretrainzero"]
    assert marks["random_span, late"].label == "Random spans, late" and marks["from RLP"].label == "from RLP"
    assert marks["from RLP"][1:3] == METHODS["rlp"][1:3] and not marks["from RLP"].open
    assert all(marks[arm].open and marks[arm].marker == "o" for arm in methods)
    hues = {rgb_to_hsv(to_rgb(marks[arm].colour))[0].round(2) for arm in ["pretrainzero", *methods]}
    assert len(hues) == 1
    assert len({(mark.colour, mark.line) for mark in marks.values()}) == len(arms)
    assert len({mark.colour for mark in METHODS.values()}) == len({m.marker for m in METHODS.values()}) == len(METHODS)
    assert not {marks["numbers"].colour} & {mark.colour for mark in METHODS.values()}


def test_saved_files_are_the_same_for_the_same_table(tmp_path):
    table = synthetic.training(seeds=1, steps=5)
    first = [path.read_bytes() for path in save(training_dynamics(table), "a", tmp_path)]
    again = [path.read_bytes() for path in save(training_dynamics(table), "b", tmp_path)]
    assert first == again
    assert {path.name for path in tmp_path.iterdir()} == {"a.pdf", "a.png", "b.pdf", "b.png"}
    assert save(training_dynamics(table), "c", tmp_path, pdf=False) == [tmp_path / "c.png"]


def test_a_caption_has_two_lines_and_leaves_the_panels_their_size():
    figure = training_dynamics(synthetic.training(seeds=1, steps=5))
    headline, below = figure.texts
    long = caption(sheet(2), f"{'x' * (HEADLINE_COLUMNS - 3)} 6 % and 7 % of all", "", "")
    assert [line[:3] for line in long.texts[0].get_text().split("\n")] == ["xxx", "6 %"]  # no line begins with a %
    assert headline.get_text().replace("\n", " ") == figure.headline and below.get_text().count("\n") <= 1
    assert "One seed, no interval. " in below.get_text().replace("\n", " ")
