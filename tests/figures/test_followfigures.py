"""What RLVR adds: the table by hand, and figures that a person can read."""

import pandas as pd
import pytest
from readable import assert_readable

from pzlib import studies
from pzlib.figures import paper
from pzlib.studies.tables import follow_on_table

ARMS = tuple(studies.study_of("rlvr").arms)


def rows(arms=ARMS, seeds=5, shift=0.01):
    """Made-up rows: every start lies 5 points above the one before; RLVR adds 20 to the first, 5 less to the next."""
    found = []
    for place, arm in enumerate(arms):
        for seed in range(seeds):
            for step in (0, 10, 20):
                for task, group in (("east", "general"), ("sum", "math"), ("reasoning", "spans")):
                    gain = (0.20 - 0.05 * place) * step / 20
                    accuracy = 0.3 + 0.05 * place + gain + shift * seed * (step > 0) + 0.2 * (group == "general")
                    row = {"arm": arm, "run_id": f"{arm}-{seed}", "objective": "rlvr", "tier": "mini", "seed": seed}
                    row |= {"step": step, "task": task, "group": group, "n": 64, "accuracy": accuracy, "length": 9.0}
                    found.append(row)
    return pd.DataFrame(found)


def test_the_table_by_hand():
    lines = follow_on_table(rows(seeds=3)).split("\n")
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    # overall before: mean of 50 and 30; after: 20 more, and the seeds' 0, 1 and 2 points
    assert cells[:4] == ["from the base", "3", "40.0", "61.0 [60.0, 62.0]"] and cells[8] == ""
    last = [cell.strip() for cell in lines[-1].strip("|").split("|")]
    assert last[:3] == ["from PretrainZero", "3", "55.0"] and last[3].startswith("61.0") and last[8].startswith("+0.0")
    assert len(lines) == 2 + len(ARMS) and {line.count("|") for line in lines} == {10}


@pytest.mark.parametrize("seeds", [1, 5])
@pytest.mark.parametrize("draw", [paper.follow_on, paper.rlvr_beside])
def test_figures_are_readable(draw, seeds):
    assert_readable(draw(rows(seeds=seeds)))
    assert_readable(draw(rows(ARMS[:2], seeds)))


def test_what_the_paper_prints():
    methods = paper.RLVR_PRINTED
    printed = {arm: [paper.paper_value("math", method) for method in methods[arm]] for arm in ARMS}
    assert printed["from the base"] == [50.96, 42.53]
    assert printed["from random spans"] == [51.49, 47.87]  # Table 3's mean: Table 4 repeats the row from before
    assert printed["from PretrainZero, half way"] == [51.84, None]
