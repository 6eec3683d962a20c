"""A revision beside another: the very same steps, and what fails is told."""

from unittest.mock import MagicMock

import pytest

from pzlib.paths import REPO
from tests.bench import revisions


def test_a_row_takes_the_place_of_its_own(home):
    (home / "data/results").mkdir(parents=True)
    for objective, ratio in (("rlp", 1.5), ("sft", 1.1), ("rlp", 1.0)):
        revisions.keep({"objective": objective, "ratio": ratio, "against": "f317cd7"})
    table = revisions.pd.read_csv(home / "data/results/revisions.csv")
    assert table[["objective", "ratio"]].to_numpy().tolist() == [["sft", 1.1], ["rlp", 1.0]]


def test_steps_are_of_so_many_pairs_of_processes(monkeypatch):
    started = []
    monkeypatch.setattr(revisions, "_child", lambda place, *_: started.append(place) or MagicMock())
    monkeypatch.setattr(revisions, "_step", lambda child: 1.0 + len(started) // 3)
    found = revisions.compared("sft", "before", 4, processes=2)
    assert started == ["before", REPO] * 2
    assert (found["pairs"], found["before"], found["ratio"]) == (8, 1.5, 1.0)


@pytest.mark.slow
def test_this_revision_beside_itself_takes_as_long():
    found = revisions.compared("continued_pretraining", REPO, 3)
    assert found["pairs"] == 3 and found["before"] > 0 and 0.5 < found["ratio"] < 2


@pytest.mark.slow
def test_a_child_that_fails_says_why():
    with pytest.raises(RuntimeError, match="exit code 1 before its last step: ValueError: objective: 'dream' is no"):
        revisions.compared("dream", REPO, 1)
    assert not revisions._starts(REPO, "dream") and revisions._starts(REPO, "rlp")
