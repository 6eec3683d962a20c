"""Marks tell arms apart, pictures are the same files for the same table, and the check for readable text sees."""

import pytest
import synthetic
from readable import assert_readable

from pzlib.figures.style import CLASS_COLOURS, GREYS, METHODS, Picture, marks_of, save
from pzlib.figures.training import training_dynamics


def test_the_check_for_collisions_sees_one():
    figure = Picture(4, 2)
    for place, words in enumerate("abcd"):
        figure.text(0.1 + 0.001 * place, 0.5, words * 10)
    with pytest.raises(AssertionError, match="lies on"):
        assert_readable(figure)


def test_variants_look_different_and_methods_keep_their_marks():
    arms = ["pretrainzero", *(f"variant {i}" for i in range(12)), "random_span, late"]
    marks = marks_of(arms)
    assert list(marks) == arms and marks["pretrainzero"] == METHODS["pretrainzero"]
    assert marks["random_span, late"].label == "Random spans, late"
    assert len({(mark.colour, mark.line) for mark in marks.values()}) == len(arms)
    assert len({(mark.colour, mark.marker) for mark in marks.values()}) == len(arms)
    assert len({mark.colour for mark in METHODS.values()}) == len({m.marker for m in METHODS.values()}) == len(METHODS)


def test_saved_files_are_the_same_for_the_same_table(tmp_path):
    table = synthetic.training(seeds=1, steps=5)
    first = [path.read_bytes() for path in save(training_dynamics(table), "a", tmp_path)]
    again = [path.read_bytes() for path in save(training_dynamics(table), "b", tmp_path)]
    assert first == again
    assert {path.name for path in tmp_path.iterdir()} == {"a.pdf", "a.png", "b.pdf", "b.png"}


def test_classes_bear_the_colours_they_have_everywhere():
    assert {kind: CLASS_COLOURS[kind] for kind in GREYS.keys() & CLASS_COLOURS} == {
        kind: GREYS[kind] for kind in ("trivial", "irreducible")
    }
