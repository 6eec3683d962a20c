"""The pictures of the small world say what their tables say, in text that is readable and clear.
Synthetic tables, so no number here is a property of the world."""

import pandas as pd
import pytest
from readable import assert_readable, texts

from pzlib.figures.style import CLASS_COLOURS, WAY_LOOKS
from pzlib.figures.world import entropy_of_worlds, spans_by_kind

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
    figure = entropy_of_worlds({"tinywiki": positions(60, 10, 30), "tinywiki_clean": positions(85, 15, 0)})
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
    figure = entropy_of_worlds({"tinywiki": positions(95, 5, 0)})
    assert_readable(figure)
    assert "95%" in words(figure) and "5%" not in words(figure)


def test_spans_by_kind_shows_every_kind_and_way():
    table = spans()
    figure = spans_by_kind(table)
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
