"""A text is placed by a model trained from nothing on it: no article on both sides, rows as the run measured them."""

import json
import random

import pandas as pd
import pytest

from pzlib.masking import Passage
from pzlib.runs.folder import RunFolder
from pzlib.studies.results import load
from tests.bench import scratch


def passages(articles, each):
    return [Passage(f"{a}.{i}", f"text {a} {i}", f"article {a}", 3) for a in range(articles) for i in range(each)]


def test_no_article_is_on_both_sides_and_the_split_is_stable():
    some = passages(articles=40, each=7)
    held, rest = scratch.split(some)
    assert len(held) == scratch.HELD_OUT and (held, rest) == scratch.split(some)
    sides = [{p.id.partition(".")[0] for p in side} for side in (held, rest)]
    assert not sides[0] & sides[1]
    few, others = scratch.split(passages(articles=2, each=3))
    assert len(few) == len(others) == 3
    whole = [Passage(f"tinywiki-0-{i}", f"text {i}", "", 3) for i in range(300)]  # a world's: each an article
    assert [len(side) for side in scratch.split(whole)] == [scratch.HELD_OUT, 200]
    with pytest.raises(ValueError, match="corpus: one article can't be trained on and held out"):
        scratch.split(passages(articles=1, each=9))


@pytest.mark.slow
def test_a_text_that_repeats_itself_is_learned_and_its_place_is_what_the_run_measured(home, tmp_path, monkeypatch):
    """Half of each passage's words follow from the word before, the other half from nothing: the first guess is right
    in the one half, and the fifth of highest entropy holds the other."""
    monkeypatch.setattr(scratch, "VOCABULARY", 400)
    rng, follows = random.Random(0), {name: f"{name}ish" for name in ("red", "blue", "green", "tall", "small", "old")}

    def sentence():
        words = [word for name in rng.choices(list(follows), k=18) for word in (name, follows[name])]
        return " ".join(words) + " ."

    path = tmp_path / "articles.jsonl"
    path.write_text("".join(json.dumps({"id": i, "text": sentence()}) + "\n" for i in range(300)))
    rows = scratch.place(path, "articles", steps=60, every=30)
    assert rows["step"].tolist() == [0, 30, 60] and rows["tokens"].is_monotonic_increasing and rows["tokens"][0] == 0
    assert rows["right"].iloc[0] < 5 and 40 < rows["right"].iloc[-1] < 75
    assert rows["top_fifth_right"].iloc[-1] < rows["right"].iloc[-1] / 2
    evals = RunFolder(home / "data/runs/scratch-articles").evals()
    assert evals[evals["task"] == "all"]["accuracy"].mul(100).round(2).tolist() == rows["right"].tolist()
    again = scratch.place(path, "articles", steps=60, every=30)  # complete: nothing is trained again
    pd.testing.assert_frame_equal(rows, again)
    monkeypatch.setattr("tests.bench.scratch.EVERY", 30)
    for _ in range(2):  # rows of a text replace its old ones
        monkeypatch.setattr("sys.argv", ["scratch", str(path), "--steps", "60"])
        scratch.main()
    assert load("scratch")["top_fifth_right"].tolist() == rows["top_fifth_right"].tolist()
