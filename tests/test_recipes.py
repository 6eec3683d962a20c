"""CONTRIBUTING.md's recipes for a study and for a figure, followed step by step; the library knows neither of them."""

import pytest
from readable import assert_readable

from pzlib import studies
from pzlib.__main__ import main
from pzlib.figures import redraw, training
from pzlib.figures.forms import TRAINING, checked, explain, legend, lines, panel_of
from pzlib.figures.style import Picture, sheet, styled
from pzlib.studies.boxes import headlines
from pzlib.studies.records import STUDIES, Figure, Study
from pzlib.studies.results import folder_of

NAME = "group_of_two"


@styled
def answer_lengths(training, source: str = TRAINING) -> Picture:
    """Length of the predictor's answers by step: a form as the recipe has one written into pzlib/figures/."""
    panel = panel_of("response length", " (tokens)")
    table, figure = checked(training, "training", [panel.column]), sheet(2.6)
    ax = figure.subplots()
    lines(ax, table, panel)
    legend(figure, [ax])
    return explain(figure, table, source, headlines.moving(table, ("response length",)))


@pytest.fixture
def recorded(tiny_model, monkeypatch):
    """The study and its figure where the recipes have them written."""
    sizes = {"model": str(tiny_model), "steps": 2, "passages": 1, "eval_items": 2, "max_completion_tokens": 6}
    arms = {f"G = {group}": {"objective": "random_span", "group": group, **sizes} for group in (2, 4)}
    figures = (Figure(f"{NAME}_lengths", "answer_lengths"),)
    monkeypatch.setitem(STUDIES, NAME, Study("Do two answers to a mask teach enough?", arms, figures=figures))
    monkeypatch.setattr(training, "answer_lengths", answer_lengths, raising=False)
    return list(arms)


def test_a_study_of_ones_own_is_planned_made_opened_and_drawn(recorded, monkeypatch, capsys, tmp_path):
    assert main(["study", NAME, "--tier", "smoke", "--plan"]) == 0
    assert "2 runs: 0 stored, 2 to make" in capsys.readouterr().out

    study = studies.open(NAME, tier="smoke", jobs=2)
    assert "Do two answers to a mask teach enough?" in capsys.readouterr().out
    assert study.tally()["finished"].to_dict() == {(NAME, arm): 1 for arm in recorded}
    rows = study.rows("training")
    assert rows.groupby("arm", sort=False)["step"].agg(list).to_dict() == dict.fromkeys(recorded, [1, 2])

    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    study.draw(answer_lengths)
    assert_readable(shown[0])
    assert [text.get_text() for text in shown[0].legends[0].get_texts()] == recorded

    files = redraw(folder_of("smoke"), tmp_path / "figures", tier="smoke")
    assert tmp_path / f"figures/appendix/{NAME}_lengths.png" in files
    assert f"{NAME}_lengths" not in capsys.readouterr().out  # nothing that it lacks
