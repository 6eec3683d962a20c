"""Runs that degenerate are found, in rows of every length, and named wherever they are shown."""

import numpy as np
import pandas as pd
import pytest

from pzlib.figures.training import collapse_anatomy
from pzlib.paths import REPO
from pzlib.studies.results import degenerate, load, notes
from pzlib.studies.tables import main_table
from tests import synthetic


def rows(steps, clipped=0.0, entropy=1.0, run_id="a"):
    found = {"run_id": run_id, "step": steps, "predictor/clipped": clipped, "predictor/entropy": entropy}
    return pd.DataFrame(found)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (rows([10, 20, 30], [0.9, 1.0, 1.0]), "every completion at the cut from step 11 to 30"),
        (rows([10, 20, 30], [1.0, 0.9, 1.0]), None),  # not on end
        (rows([10, 20, 30], [0.9, 0.999, 0.999]), None),  # not every one
        (rows(range(1, 41), entropy=[1.0] * 15 + [0.04] * 20 + [1.0] * 5), "entropy under 0.05 from step 16 to 35"),
        (rows(range(1, 41), entropy=[1.0] * 15 + [0.04] * 19 + [1.0] * 6), None),
        (rows([10, 20, 30], np.nan, np.nan), None),  # supervised
        (rows([30, 10, 20], [1.0, 0.0, 1.0]), "every completion at the cut from step 11 to 30"),
    ],
)
def test_twenty_steps_on_end_by_either_sign(table, words):
    healthy = rows([10, 20], run_id="b")
    found = degenerate(pd.concat([healthy, table])).to_dict()
    assert found == ({"a": words} if words else {})


@pytest.mark.parametrize("path", sorted(REPO.glob("data/results/**/training.csv")), ids=lambda path: path.parent.name)
def test_stored_marks_are_those_of_the_stored_rows(path):
    found = degenerate(pd.read_csv(path, low_memory=False)).to_dict()
    stored = pd.read_csv(path.with_name("runs.csv")).set_index("run_id")
    marks = stored["degenerate"].dropna() if "degenerate" in stored else pd.Series(dtype=object)
    assert set(marks.index) == set(found)


def test_its_rows_carry_the_mark_in_every_table_of_runs(tmp_path):
    sick, well = (rows([10, 20, 30], clipped, run_id=name) for name, clipped in (("a", 1.0), ("b", 0.5)))
    pd.concat([sick, well]).to_csv(tmp_path / "training.csv", index=False)
    for name in ("runs", "tinybench"):
        pd.DataFrame({"run_id": ["a", "b"], "step": 30}).to_csv(tmp_path / f"{name}.csv", index=False)
    for name in ("runs", "training", "tinybench"):
        table = load(name, folder=tmp_path)
        assert set(table.loc[table["degenerate"] != "", "run_id"]) == {"a"}


def test_where_none_degenerated_none_is_noted_whatever_the_type_of_the_column():
    row = {"arm": ["rlp"], "seed": [1]}
    for none in ("", None, np.nan):
        assert notes(pd.DataFrame({**row, "degenerate": [none]})) == []
    assert notes(pd.DataFrame({**row, "degenerate": [np.nan]})[:0]) == notes(pd.DataFrame(row)) == []


def test_its_figures_and_tables_say_so():
    table = synthetic.training(("pretrainzero", "random_span"), seeds=3)
    sick = table["run_id"] == table["run_id"].iloc[0]
    table = table.assign(degenerate=np.where(sick, "entropy under 0.05 from step 3 to 60", ""))
    figure = collapse_anatomy(table)
    assert "† degenerated: PretrainZero 1." in figure.texts[-1].get_text().replace("\n", " ")
    assert "† PretrainZero, seed 0: entropy under 0.05 from step 3 to 60" in figure.notes  # for the gallery
    plain = [text.get_text() for text in collapse_anatomy(table.assign(degenerate="")).texts][-1]
    assert "†" not in plain
    scores = synthetic.tinybench(("pretrainzero", "random_span"))
    marked = scores.assign(degenerate=np.where(scores["seed"] == 1, "entropy under 0.05 from step 3 to 60", ""))
    assert "†" not in main_table(scores)
    below = main_table(marked, arms=("random_span",)).splitlines()[-1]
    assert below == "† Random spans, seed 1: entropy under 0.05 from step 3 to 60"
    said = {}
    for name, runs in (("all", scores["seed"] >= 0), ("most", scores["seed"] > 0)):
        sick = scores.assign(degenerate=np.where(runs, "entropy under 0.05 from step 3 to 60", ""))
        said[name] = [line for line in main_table(sick, arms=("random_span",)).splitlines() if "†" in line]
    sign = "entropy under 0.05 for 20 steps or more"
    assert said == {"all": [f"† All 5 runs: {sign}"], "most": [f"† 4 runs: {sign} (Random spans 4)"]}
