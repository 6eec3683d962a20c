"""The bench of a step runs whole: it calls the engine's own functions, which move."""

import sys

import pandas as pd
import pytest

from pzlib.studies import arms_of
from tests.bench import steps


@pytest.mark.slow
def test_the_bench_measures_every_method_and_stores_what_it_measured(home, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["steps", "--steps", "1"])
    steps.main()
    table = pd.read_csv(home / "data/results/bench.csv").set_index(["measure", "setting"])["value"].sort_index()
    assert table["change of the gradient", "row dropping, float64, equal positions"] <= 1e-6
    assert table["share of a step"].sum() == pytest.approx(1, abs=0.01)
    assert (table.drop("change of the gradient") > 0).all()
    for name, study in (("costs", "side"), ("costs_side_new", "side_new")):
        costs = pd.read_csv(home / f"data/results/{name}.csv")
        assert costs["arm"].tolist() == [arm for arm, _ in arms_of(study, "mini", [0])] and (costs["seconds"] > 0).all()
    assert "seconds a step; mini" in capsys.readouterr().out
