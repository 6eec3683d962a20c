"""What a base must be able to do: counted by hand, and asserted of the shipped ones."""

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

SHIPPED = [name for name in SMALL_WORLD.bases if (REPO / name / "config.json").exists()]


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
    assert table["reasoned"].tolist() == [True, False] * (len(table) // 2)
    assert set(table[table["sought"]]["class"]) == {"left"} and (~table["sought"]).sum() == 8
    asked = []
    monkeypatch.setattr(bases, "after", lambda m, q: asked.append(q) or after(m, q))
    again = bases._gains(model, tok, "tinywiki:left=1", 4, 2, 99)
    assert again.equals(table)
    (prompt, thoughts, word), (context, empty, same) = asked[0][0], asked[1][0]
    assert word == same and empty == [[]] and tok.decode(prompt) == f"Passage : {tok.decode(context)} [mask] Answer :"
    ends = [model(torch.tensor([ids])).logits[0, -1] for ids in (prompt + thoughts[0], context)]
    with_, without = (end.log_softmax(-1)[word].item() for end in ends)
    assert table["gain"][0] == pytest.approx(with_ - without, abs=1e-4)


def test_where_a_thought_pays_has_a_row_for_each_left(raw):
    table = bases.where_a_thought_pays(*raw, lefts=(0, 1), limit=4, repeats=2)
    assert table["left"].tolist() == [0, 1] and table["from the left"].is_monotonic_increasing
    even = table["breaks even"] * table["deducible"] + (1 - table["breaks even"]) * table["elsewhere"]
    assert even.dropna().tolist() == pytest.approx([0.0] * even.notna().sum(), abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_base_has_the_properties_the_small_tier_rests_on(name):
    table = bases.properties(*to_ask(Run(model=name)))
    assert set(table.property) == {*bases.BOUNDS}
    with pd.option_context("display.width", 200):
        assert table.holds.all(), "\n" + table.to_string()
