"""Metrics of runs at their moments, worked by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from synthetic import bins, curve

from pzlib.studies.metrics import values


def test_values_of_the_evaluations_by_hand():
    rows = curve({0: 0.4, 10: 0.6, 20: 0.3, 30: 0.7})
    assert values(rows, "general").to_dict() == pytest.approx({0: 70, 1: 71, 2: 72})
    assert values(rows, "math", "base")[0] == pytest.approx(20)
    assert values(rows, "overall")[0] == pytest.approx((70 + 35) / 2)  # mean of the groups, not of their tasks
    assert values(rows, "general", "halfway")[0] == pytest.approx(60)  # step 10: the last not after 15
    assert values(rows, "setback")[1] == pytest.approx(30)  # from 61 down to 31
    assert values(rows, "answer length")[2] == 11 and values(rows, "reasoned")[0] == 25
    asked = rows[rows["group"] == "general"].assign(group="next token", task="next token, hard")
    direct = asked.assign(group="next token, direct", task="next token, hard, direct", accuracy=0.2)
    both = pd.concat([asked, direct])
    assert values(both, "next token, hard")[1] == values(both, "next token")[1] == pytest.approx(71)
    assert values(both, "next token, hard", "direct")[1] == pytest.approx(20)
    uneven = pd.concat([rows, rows[rows["group"] == "math"].assign(task="chain", accuracy=0.0)])
    assert values(uneven, "overall")[0] == pytest.approx((70 + 17.5) / 2)
    assert values(rows.drop(columns="reasoned"), "reasoned").empty


def test_values_of_training_by_hand():
    place = np.arange(1, 21)
    columns = {"predictor/entropy": place / 10, "predictor/dead_groups": place / 100, "generator/reward": math.nan}
    rows = bins(**columns)
    assert values(rows, "entropy")[0] == pytest.approx(np.mean([1.7, 1.8, 1.9, 2.0]))
    assert values(rows, "entropy", "start")[0] == pytest.approx(np.mean([0.1, 0.2, 0.3, 0.4]))
    assert values(rows, "dead_groups")[0] == pytest.approx(18.5)  # per cent
    assert values(rows, "generator reward").empty  # no generator played
    assert values(rows, "legal").empty  # no such column


@pytest.mark.parametrize(("group", "middle"), [(4, ["2"]), (8, ["2", "3", "4", "5", "6"])])
def test_the_middle_of_the_hits_is_two_to_all_but_two(group, middle):
    columns = {f"hits/{k}": 0.01 * 2**k if k <= group else math.nan for k in range(17)}  # a G of 16 in the same table
    share = sum(2 ** int(k) for k in middle)
    assert values(bins(**columns), "hits middle")[0] == pytest.approx(share)


def test_a_moment_belongs_to_its_table():
    for metric, moment in (("general", "start"), ("entropy", "base"), ("entropy", "halfway"), ("general", "direct")):
        with pytest.raises(ValueError, match="^moment: "):
            values(curve({0: 0.4}), metric, moment)
