"""What a base must be able to do: counted by hand, and asserted of the shipped ones."""

import re

import pandas as pd
import pytest
import torch

from pzlib.engine.models import to_ask
from pzlib.engine.packing import after
from pzlib.evaluation import bases
from pzlib.paths import REPO
from pzlib.run import Run
from pzlib.tiers import SMALL_WORLD
from pzlib.world import forms
from pzlib.world.tinybase import new_model, tokenizer

SHIPPED = [name for name in (*SMALL_WORLD.bases, SMALL_WORLD.smaller) if (REPO / name / "config.json").exists()]


@pytest.fixture(scope="module")
def raw():
    torch.manual_seed(0)
    tok = tokenizer()
    return new_model(96, tok).eval(), tok


def test_answers_are_counted_by_form(monkeypatch):
    made = []
    for form in bases.ASKED:
        def kept(rng, longest, side, make=forms.FORMS[form]):
            read, learned = make(rng, longest, side)
            made.append(learned.split(" <eos> ")[0])
            return read, learned

        monkeypatch.setitem(bases.FORMS, form, kept)

    wrong = "Think : it is", "\\mask{ xx } \\boxed{ xx }"

    def answers(model, tok, prompts, repeats, *_):
        return [text for own in made[-len(prompts) :] for text in (own, *wrong)], [3] * 3 * len(prompts)

    monkeypatch.setattr(bases, "complete", answers)
    table = bases.spoken(None, None, items=20, repeats=3).set_index("form")
    assert list(table.index) == list(bases.ASKED) and (table["n"] == 60).all()
    assert table["parsed"].tolist() == pytest.approx([2 / 3] * 5)
    reasoned = sum(own.startswith("Think :") for own in made)
    assert table["reasoned"].sum() * 60 == pytest.approx(reasoned + 5 * 20)
    assert (table["right, direct"] < 0.6).all() and (table["right, direct"] > 0.1).all()


def test_a_thoughts_gain_is_what_it_adds_to_the_words_log_likelihood(raw, monkeypatch):
    model, tok = raw
    said = ["Think : 12 . \\boxed{ 9 }", "\\boxed{ 9 }"]
    monkeypatch.setattr(bases, "complete", lambda m, t, prompts, *_: (said * len(prompts), []))
    table = bases._gains(model, tok, "tinywiki:left=1", 4, 2, 99)
    sought, drawn = table[table["sought"]], table[~table["sought"]]
    assert set(sought["class"]) == {"left"} and drawn["way"].tolist() == ["own"] * 8
    assert sought["way"].tolist() == ["own", "own", "right", "none"] * (len(sought) // 4)
    asked = []
    monkeypatch.setattr(bases, "after", lambda m, q: asked.append(q) or after(m, q))
    again = bases._gains(model, tok, "tinywiki:left=1", 4, 2, 99)
    assert again.equals(table)
    (prompt, thoughts, word), (context, empty, same) = asked[0][0], asked[1][0]
    assert word == same and empty == [[]] and tok.decode(prompt) == f"Passage : {tok.decode(context)} [mask] Answer :"
    ends = [model(torch.tensor([ids])).logits[0, -1] for ids in (prompt + thoughts[0], context)]
    with_, without = (end.log_softmax(-1)[word].item() for end in ends)
    assert table["gain"][0] == pytest.approx(with_ - without, abs=1e-4)
    assert table["bare"][0] == pytest.approx(without, abs=1e-4)
    assert all(sought["gain"][sought["way"] == "none"] == sought["gain"].iloc[1::4].to_numpy())  # it says nothing too
    *_, right, none = next(texts for _, texts, _ in asked[0] if len(texts) == 4)
    assert re.fullmatch(r"Think : (\d+) (plus|minus) (\d+) is (\d+) \. \\boxed\{", tok.decode(right))
    assert tok.decode(none) == "\\boxed{"


def test_where_a_thought_pays_has_a_row_a_text_and_no_more_than_there_is_to_tell(raw):
    texts = ["tinywiki", "tinymath"]
    table = bases.where_a_thought_pays(*raw, texts=texts, limit=4, repeats=2)
    assert table.index.tolist() == texts and table.notna().all(axis=None)
    assert table["from the left"].is_monotonic_increasing
    assert table["at most"].tolist() == pytest.approx((table["from the left"] * table["to tell"]).tolist())
    assert (table[["right", "own", "none"]].max(axis=1) <= table["to tell"]).all()  # no word is surer than certain
    rows = bases._gains(*raw, texts[0], 4, 2, 99)
    drawn = rows["gain"][~rows["sought"]].to_numpy().reshape(4, 2).mean(axis=1)
    assert table["±"].iloc[0] == pytest.approx(drawn.std(ddof=1) / 2)  # four positions


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_base_has_the_properties_the_small_tier_rests_on(name):
    table = bases.properties(*to_ask(Run(model=name)))
    assert set(table.property) == {*bases.BOUNDS}
    with pd.option_context("display.width", 200):
        assert table.holds.all(), "\n" + table.to_string()
